"""A generated part of CONTRIBUTING.md: how many mutants of the code the tests killed."""

from __future__ import annotations

from collections import Counter

from initpools_cli.stats.proportions import share_interval
from parts.statistics import read_results
from parts.text import table


def shares() -> str:
    """Tabulate the mutants of each package, and the share that was killed."""
    counts: dict[str, Counter[str]] = {}
    for row in read_results("mutants"):
        for name in (row["package"], "all"):
            counts.setdefault(name, Counter())[row["outcome"]] += 1
    return table(
        ("package", "mutants", "killed", "survived", "equivalent", "killed, of those that are not equivalent"),
        (_row(name, counts[name]) for name in (*sorted(counts.keys() - {"all"}), "all")),
    )


def _row(name: str, count: Counter[str]) -> tuple[object, ...]:
    kills, real = count["killed"] + count["timeout"], count.total() - count["equivalent"]
    low, high = share_interval(kills, real)
    share = f"{kills / real:.1%} ({low:.1%} to {high:.1%})".replace("%", " %")
    return name, count.total(), kills, count["survived"], count["equivalent"], share


PARTS = {"mutants": shares}
