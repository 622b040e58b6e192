"""Generated parts about selections in two rounds, from the results of `benchmarks/partitions.py`."""

from __future__ import annotations

import pandas as pd

from initpools_cli.strategies.registry import strategies
from parts.statistics import RESULTS
from parts.text import table

#: The share of the gain of a choice from all images that one in two rounds is claimed to keep.
CLAIM = 0.98


def _shares() -> pd.DataFrame:
    """Compute the share of the gain over random picks that each way keeps of that of a choice from all images."""
    cell = ["data", "n", "d", "budget", "strategy"]
    rows = pd.read_csv(RESULTS / "partitions.csv").drop_duplicates([*cell, "threads", "way"], keep="last")
    values = rows.pivot_table(index=cell, columns="way", values="value", sort=False).dropna(subset=["random", "whole"])
    gains = values.sub(values["random"], axis=0)
    return gains.div(gains["whole"], axis=0).drop(columns=["random", "whole"]).dropna(how="all")


def partitions() -> str:
    """Tabulate what a choice in two rounds, and one from a sample, keep of the gain of a choice from all images."""
    shares = _shares()
    ways = [f"`{way.replace('partitions=', '--partitions ')}`" for way in shares]
    body = [
        [f"`{name}`", f"{budget:,} of {n:,} × {d}", *("" if pd.isna(each) else f"{each:.4f}" for each in row)]
        for (_, n, d, budget, name), row in zip(shares.index, shares.to_numpy(), strict=True)
    ]
    return table(["strategy", "picks", *ways], body)


def partitions_claim() -> str:
    """Say whether a choice in two rounds keeps the claimed share of the gain."""
    shares = _shares()
    every = shares.filter(like="partitions=").stack().dropna()
    hits, count, least = int((every >= CLAIM).sum()), len(every), every.idxmin()
    verdict = "is met" if hits == count else f"is missed by up to {CLAIM - every.min():.4f}"
    way = least[5].replace("partitions=", "--partitions ")
    names = shares.index.get_level_values("strategy")
    others = ", ".join(f"`{each.name}`" for each in strategies if each.traits.partitions and each.name not in names)
    return (
        f"The claim of the benchmark, at least {CLAIM:g} of the gain, {verdict}: it holds in {hits} of {count} "
        f"selections; the least is {every.min():.4f} (`{least[4]}`, `{way}`)."
        + (f" Not measured: {others}." if others else "")
    )


PARTS = {"partitions": partitions, "partitions-claim": partitions_claim}
