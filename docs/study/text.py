"""Words, numbers and tables of the page."""

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
    f"correction over all comparisons of the sweep; no sign: not distinguishable; {TOO_FEW}: so few seeds could not "
    f"have told any difference; {NONE}: no verdict."
)


def points(difference: float) -> str:
    """A difference of fractions in points, with its sign: "+1.2"; never "-0.0", and empty for NaN."""
    return "" if math.isnan(difference) else f"{round(100 * difference, 1) + 0.0:+.1f}"


def sign(verdict: str) -> str:
    """A verdict as one sign; `LEGEND` says which."""
    return SIGNS.get(verdict, TOO_FEW if verdict.startswith("cannot") else NONE)


def conjoined(names: Iterable[object]) -> str:
    """Names as a list in words, such as "a, b and c"; of equal ones the first."""
    shown = list(dict.fromkeys(map(str, names)))
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def counted(verdicts: pd.Series) -> str:
    """How many of each verdict, such as "3 better, 0 worse, 5 not distinguishable"."""
    found = Counter(verdict.partition(" with ")[0].partition(":")[0] for verdict in verdicts)
    parts = [f"{found.pop(name, 0)} {name}" for name in SIGNS]
    others = {"cannot be told apart": "where so few seeds could tell nothing", "no verdict": "without a verdict"}
    return ", ".join([*parts, *(f"{number} {others[name]}" for name, number in found.items())])


def seconds(taken: float) -> str:
    """A duration: "12.3 s", "4.5 min", "2.5 h"."""
    return f"{taken:.1f} s" if taken < 120 else f"{taken / 60:.1f} min" if taken < 7200 else f"{taken / 3600:.1f} h"
