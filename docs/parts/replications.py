"""Generated parts of the page on replications: published results beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import tomli

from parts.statistics import read_results
from parts.text import table

CLAIMS = Path(__file__).parent / "replications.toml"
TITLES = {"lite0": "`efficientnet-lite0`", "simclr": "SimCLR"}


def claims() -> str:
    """Tabulate every published result with its source and our numbers."""
    rows = read_results("replications")
    lines = []
    for claim in tomli.loads(CLAIMS.read_text(encoding="utf-8"))["claim"]:
        missing = [key for key in claim["ours"] if key not in map(_key, rows)]
        if missing:
            raise SystemExit(f"benchmarks/results/replications.csv has no '{missing[0]}'; run replications.py.")
        ours = [_ours(row) for key in claim["ours"] for row in rows if _key(row) == key]
        cells = (f"`{claim['method']}`", claim["published"], claim["source"], "; ".join(ours) or "–", claim["verdict"])
        lines.append(cells)
    return table(("method", "published", "source", "ours", "the same?"), lines)


def picks() -> str:
    """Tabulate what the authors' code did on the same inputs as ours."""
    lines = []
    for row in read_results("replications"):
        if row["kind"] not in AGREEMENT:
            continue
        what = f"{row['data']}, {TITLES[row['encoder']]}" if row["encoder"] else row["data"]
        lines.append((f"`{row['method']}`", what, row["labels"], AGREEMENT[row["kind"]](row)))
    return table(("method", "data", "picks", "agreement with the authors' code"), lines)


def _percents(row: Mapping[str, str]) -> list[str]:
    return [f"{100 * float(row[key]):.0f} %" for key in ("value", "low", "high") if row[key]]


def _equal(row: Mapping[str, str]) -> str:
    order = f"; {row['what']}" if row["what"] else ""
    return f"{_percents(row)[0]} of the picks are equal{order}"


def _strata(row: Mapping[str, str]) -> str:
    return f"{_percents(row)[0]} of the picks are of the same strata"


def _objective(row: Mapping[str, str]) -> str:
    value, low, high = (float(row[key]) for key in ("value", "low", "high"))
    return f"sum of squared distances to the picks, ours over theirs: {value:.3f} ({low:.3f} to {high:.3f})"


def _overlap(row: Mapping[str, str]) -> str:
    both, theirs, ours = _percents(row)
    return f"{both} of the picks are equal with different seeds; two seeds of theirs {theirs}, two seeds of ours {ours}"


def _accuracy(row: Mapping[str, str]) -> str:
    value, low, high = (100 * float(row[key]) for key in ("value", "low", "high"))
    return f"accuracy after labeling, ours minus theirs: {value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _choices(row: Mapping[str, str]) -> str:
    both, theirs = _percents(row)
    return f"{both} of the choices are equal; two seeds of theirs {theirs}"


#: How each kind of agreement is said.
AGREEMENT: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "picks": _equal,
    "strata": _strata,
    "objective": _objective,
    "overlap": _overlap,
    "accuracy": _accuracy,
    "choices": _choices,
}


def _key(row: Mapping[str, str]) -> str:
    return f"{row['kind']} {row['method']} {row['labels']}"


def _ours(row: Mapping[str, str]) -> str:
    if row["kind"] == "classes":
        low, high = float(row["low"]), float(row["high"])
        return f"seed {row['seeds']}: {float(row['value']):.0f} of 10 classes, {low:.0f}–{high:.0f} images of a class"
    setting = f"{row['data']}, {TITLES[row['encoder']]}, {row['labels']} labels"
    name = f"`{row['method']}`, " if "@" in row["method"] else ""
    points, low, high = (100 * float(row[key]) for key in ("value", "low", "high"))
    return f"{name}{setting}: {points:+.1f} points ({low:+.1f} to {high:+.1f})"


PARTS = {"replications": claims, "replication-picks": picks}
