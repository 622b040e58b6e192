"""Formatting of words, numbers and tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import pandas as pd
from parts.text import table

from initpools_cli.stats.verdicts import ALPHA
from study.sweeps import AGAINST

__all__ = ["LEGEND", "conjoined", "counted", "points", "seconds", "sign", "table"]

SIGNS = {"better": "▲", "worse": "▼", "not distinguishable": ""}
TOO_FEW, NONE = "?", "–"
LEGEND = (
    f"▲ better and ▼ worse than {AGAINST}, by a sign-flip test paired by seed, at {100 * ALPHA:g} % after Holm's "
    f"correction over all comparisons of the sweep; no sign: not distinguishable; {TOO_FEW}: too few seeds for any "
    f"verdict; {NONE}: no verdict."
)


def points(difference: float) -> str:
    """Format a difference of fractions in points with its sign, such as "+1.2"; never "-0.0", and empty for NaN."""
    return "" if math.isnan(difference) else f"{round(100 * difference, 1) + 0.0:+.1f}"


def sign(verdict: str) -> str:
    """Return the sign of a verdict; `LEGEND` explains the signs."""
    return SIGNS.get(verdict, TOO_FEW if verdict.startswith("cannot") else NONE)


def conjoined(names: Iterable[object]) -> str:
    """Join distinct names, such as "a, b and c"."""
    texts = list(dict.fromkeys(map(str, names)))
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def counted(verdicts: pd.Series) -> str:
    """Count the verdicts, such as "3 better, 0 worse, 5 not distinguishable"."""
    counts = Counter(verdict.partition(" with ")[0].partition(":")[0] for verdict in verdicts)
    parts = [f"{counts.pop(name, 0)} {name}" for name in SIGNS]
    others = {"cannot be told apart": "with too few seeds", "no verdict": "without a verdict"}
    return ", ".join([*parts, *(f"{number} {others[name]}" for name, number in counts.items())])


def seconds(duration: float) -> str:
    """Format a duration, such as "12.3 s", "4.5 min" or "2.5 h"."""
    if duration < 120:
        return f"{duration:.1f} s"
    return f"{duration / 60:.1f} min" if duration < 7200 else f"{duration / 3600:.1f} h"
