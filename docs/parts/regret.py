"""Generated parts of docs/default-strategy.md: regret of strategies and queries, and the test of the defaults."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import percent, table

CELL = ["data", "encoder", "learner", "labels"]


def regrets(values: pd.DataFrame) -> pd.DataFrame:
    """Compute the regret of every choice in every cell, in points; choices that are missing in a cell are left out."""
    cells = values.pivot_table(index=CELL, columns="choice", values="value").dropna(axis=1)
    return 100 * cells.rsub(cells.max(axis=1), axis=0)


def held_out(regret: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """For each data set, find the choice with the smallest mean regret on all others, and its mean regret on this."""
    data = regret.index.get_level_values("data")
    choices = {name: str(regret[data != name].mean().idxmin()) for name in data.unique()}
    return {name: (choice, float(regret.loc[data == name, choice].mean())) for name, choice in choices.items()}


def regret(*kind: str) -> str:
    """Tabulate the mean regret of first pools, or of queries after first pools."""
    rows = pd.read_csv(RESULTS / "regret.csv")
    by_cell = regrets(rows[rows["kind"] == " ".join(kind)])
    mean, worst = by_cell.mean().sort_values(), by_cell.groupby("data").mean().max()
    encoders, sizes = by_cell.groupby("encoder").mean(), by_cell.groupby("labels").mean()
    sizes = sizes if len(sizes) > 1 else sizes.iloc[:0]
    header = ("choice", "mean", *encoders.index, *(f"{labels} labels" for labels in sizes.index), "worst data set")
    lines = [
        (
            f"`{choice}`",
            f"**{mean[choice]:.1f}**",
            *(f"{value:.1f}" for value in (*encoders[choice], *sizes[choice], worst[choice])),
        )
        for choice in mean.index
    ]
    out = held_out(by_cell)
    left_out = [(name, f"`{choice}`", f"{points:.1f}") for name, (choice, points) in out.items()]
    average = sum(points for _, points in out.values()) / len(out)
    return "\n\n".join(
        [
            f"Mean regret in points of accuracy, over {len(by_cell)} cells of {len(out)} data sets:",
            table(header, lines),
            f"With each data set left out in turn, the mean regret on it is {average:.1f} points:",
            table(("data set left out", "best choice on the others", "its regret on the one left out"), left_out),
        ]
    )


def default_loop() -> str:
    """Tabulate the area under the learning curve of the defaults and of random choices."""
    rows = pd.read_csv(RESULTS / "default-loop.csv")
    lines = [
        (
            row.data if row.data != "mean" else "mean of both",
            percent(row.mean, 1),
            percent(row.against, 1),
            f"{100 * row.difference:+.1f} points ({100 * row.low:+.1f} to {100 * row.high:+.1f})",
        )
        for row in rows.itertuples()
    ]
    both = rows[rows["data"] == "mean"].iloc[0]
    sentence = f"p = {both['p']:.6f} by the sign-flip test on the mean of both, over {both['seeds']} seeds."
    return table(("data set", "default", "random", "difference, 95 % interval"), lines) + "\n\n" + sentence


PARTS = {"regret": regret, "default-loop": default_loop}
