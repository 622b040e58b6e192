"""Charts of what a choice costs against the number of images, on logarithmic axes, a line for each strategy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

# charts.py draws for the documentation, too.
sys.path.append(str(Path(__file__).parents[1] / "docs"))

from charts import Line, Panel, line_chart, look


def draw(source, target, memory, goal=None):
    """Draw seconds and memory from the rows of a CSV file.

    `memory` is the column of the peak memory and its title, and `goal` the most that it shall be, if there is a goal.
    """
    rows = pd.read_csv(source).drop_duplicates(["strategy", "n", "budget"], keep="last").sort_values("n")
    rows = rows[rows["seconds"].notna() & (rows["budget"] == rows["budget"].min())]
    column, title = memory
    # What needs next to nothing has no place on a logarithmic axis.
    rows[column] = rows[column].clip(lower=0.01)
    last, threads = rows.iloc[-1], sorted(set(rows["threads"]))
    panels = [
        Panel(_lines(rows, "seconds"), "images", "seconds", logarithmic=True, bound=rows["limit"].max()),
        Panel(_lines(rows, column), "images", title, logarithmic=True, bound=goal),
    ]
    stop_note = " Crosses: stopped at a time limit." if (rows["status"] != "done").any() else ""
    about = (
        f"{last['budget']:,} of up to {rows['n'].max():,} images, {last['d']} dimensions, "
        f"{' or '.join(map(str, threads))} thread{'s' if threads[-1] > 1 else ''} ({last['cpu']}); "
        f"dotted lines: the goals.{stop_note}"
    )
    chart = line_chart(panels, title="Cost of choosing a pool", description=about, width=330, height=560)
    target.write_text(chart, encoding="utf-8")


def _lines(rows, quantity):
    """The line of every strategy; a cross where a run was stopped."""
    curves = []
    for i, (name, own) in enumerate(rows[rows[quantity].notna()].groupby("strategy")):
        markers = np.where(own["status"] == "done", "o", "x").tolist()
        curves.append(Line(name, own["n"].tolist(), own[quantity].tolist(), *look(i), markers=markers))
    return curves
