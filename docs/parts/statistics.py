"""Generated parts of the page on honest results: simulated error rates of tests and intervals."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from parts.text import table

RESULTS = Path(__file__).parent.parent.parent / "benchmarks/results"


def read_results(name: str) -> list[dict[str, str]]:
    """Read the rows of ``benchmarks/results/<name>.csv``."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def false_verdicts() -> str:
    """Tabulate the share of false verdicts, and the power, by the distribution of the differences."""
    rows = read_results("size-power")
    seeds = _distinct(rows, "seeds")
    cells: dict[tuple[str, str], Mapping[str, str]] = {(row["differences"], row["seeds"]): row for row in rows}
    lines = []
    for name in _distinct(rows, "differences"):
        row = cells[name, seeds[0]]
        shares = [_percent(cells[name, count]["size"]) for count in seeds]
        power = [_range([cells[name, count][key] for key in ("power_up", "power_down")]) for count in seeds]
        lines.append((f"{name} ({float(row['skewness']):.1f})", "false verdicts", *shares))
        lines.append(("", "power", *power))
    worst = max(rows, key=lambda row: float(row["size"]))
    wrong = float(worst["false_worse"]) / float(worst["size"])
    sentence = (
        f"The largest share of false verdicts is {_percent(worst['size'])}, with {worst['differences']} differences "
        f"and {worst['seeds']} seeds. Of these, {100 * wrong:.0f} % have the sign of the usual small difference, "
        f"not that of the rare large one. The standard error of a share of 5 % is {_errors(rows)}."
    )
    return table(("differences (skewness)", "", *(f"{count} seeds" for count in seeds)), lines) + "\n\n" + sentence


def interval_coverage() -> str:
    """Tabulate the coverage of both intervals, and their relative width, by the distribution of the differences."""
    rows = read_results("size-power")
    seeds = _distinct(rows, "seeds")
    cells = {(row["differences"], row["seeds"]): row for row in rows}
    lines = []
    for name in _distinct(rows, "differences"):
        for title, key in (("t", "cover_t"), ("bootstrap-t", "cover_bootstrap")):
            shares = [_percent(cells[name, count][key]) for count in seeds]
            lines.append((name if key == "cover_t" else "", title, *shares))
        lines.append(("", "width, relative to t", *(f"{float(cells[name, count]['width']):.2f}" for count in seeds)))
    return table(("differences", "interval", *(f"{count} seeds" for count in seeds)), lines)


def test_split_coverage() -> str:
    """Tabulate the coverage of intervals over seeds, and over seeds and test images."""
    lines = [
        (
            row["test_images"],
            row["seeds"],
            "each its own" if float(row["spread"]) else "the same",
            _percent(row["seeds_only"]),
            _percent(row["measured"]),
            f"{float(row['wider']):.2f}",
            _percent(row["bound"]),
            f"{float(row['wider_bound']):.2f}",
        )
        for row in read_results("test-split-coverage")
    ]
    header = (
        "test images", "seeds", "easy images", "coverage over seeds", "over seeds and images",
        "relative width", "with the upper bound", "relative width",
    )  # fmt: skip
    return table(header, lines)


def measured_on(name: str) -> str:
    """Say how often, when and on what the results of a file were measured."""
    rows = read_results(name)
    row = rows[-1]
    names = {"version": "initpools", "numpy": "NumPy", "scipy": "SciPy"}
    versions = ", ".join(
        f"{title} {' and '.join(_distinct(rows, key))}" for key, title in names.items() if row.get(key)
    )
    return f"Measured on {row['date']} with {versions} on {row['cpu']} (`benchmarks/results/{name}.csv`)."


def _errors(rows: Sequence[Mapping[str, str]]) -> str:
    """Tell the standard error of a share of 5 %, for each number of draws."""
    by_draws = {draws: [row["seeds"] for row in rows if row["draws"] == draws] for draws in _distinct(rows, "draws")}
    return ", ".join(
        f"{100 * (0.05 * 0.95 / int(draws)) ** 0.5:.1f} points with {', '.join(dict.fromkeys(seeds))} seeds"
        for draws, seeds in by_draws.items()
    )


def _distinct(rows: Sequence[Mapping[str, str]], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f} %"


def _range(shares: Sequence[str]) -> str:
    low, high = min(map(float, shares)), max(map(float, shares))
    return f"{100 * low:.0f} %" if f"{low:.2f}" == f"{high:.2f}" else f"{100 * low:.0f}–{100 * high:.0f} %"


PARTS = {
    "false-verdicts": false_verdicts,
    "interval-coverage": interval_coverage,
    "test-split-coverage": test_split_coverage,
    "measured-on": measured_on,
}
