"""Generated parts about selections: seconds and memory by number of images, and losses of approximations."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import number, percent, table

SIZES = (10_000, 50_000, 1_281_167)
#: What was different when a strategy was measured.
MEASURED_WITH = {"zcore": "100,000 draws"}


def selection_seconds(*names: str) -> str:
    """Tabulate seconds and memory of selections by number of images; without names, of all strategies."""
    rows = pd.read_csv(RESULTS / "growth.csv")
    names = names or tuple(sorted(set(rows["strategy"].str.partition(":")[0])))
    missing = set(names) - set(rows["strategy"].str.partition(":")[0])
    if missing:
        raise SystemExit(f"benchmarks/results/growth.csv has no '{min(missing)}'.")
    body = []
    for name in names:
        own = rows[(rows["strategy"].str.partition(":")[0] == name) & (rows["status"] == "done")]
        for (variant, threads), each in own.groupby(["strategy", "threads"]):
            by_size = each.drop_duplicates("n", keep="last").set_index("n")
            cells = [number(by_size["seconds"][n]) if n in by_size.index else "–" for n in SIZES]
            body.append([_variant(variant), threads, *cells, f"{by_size['memory'][by_size.index.max()]:.2f}"])
    budget, dimensions = rows["budget"].iloc[0], rows["d"].iloc[0]
    header = [f"{budget:,} of n × {dimensions}", "threads", *(f"{n:,}" for n in SIZES), "memory"]
    return table(header, body)


def approximation_losses() -> str:
    """Tabulate what approximate selections lose of their objective."""
    rows = pd.read_csv(RESULTS / "select.csv")
    rows = rows[rows["peer"] == "its defaults"]
    return table(
        ("selection", "picks", "objective", "approximate", "exact"),
        (
            (_variant(row.strategy), _in_common(row.picks), row.objective, f"{row.value:.3f}", f"{row.peer_value:.3f}")
            for row in rows.itertuples()
        ),
    )


def _in_common(picks: str) -> str:
    """Format the share of equal picks, which is a number unless all are equal."""
    share, _, rest = picks.partition(" ")
    return f"{percent(float(share))} {rest}" if rest else picks


def _variant(text: str) -> str:
    """Format a strategy with its knobs, as `name:knob=value,…` has them."""
    name, _, knobs = text.partition(":")
    words = [f"`{word}`" for word in (name, *filter(None, knobs.split(",")))]
    return ", ".join([*words, *([MEASURED_WITH[name]] if name in MEASURED_WITH else [])])


PARTS = {"selection-seconds": selection_seconds, "approximation-losses": approximation_losses}
