"""Which images a classifier finds easy, hard or ambiguous, and which of them were chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from initpools_cli.core.bounds import Count
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent
from initpools_cli.figures.facets import complete, faceted
from initpools_cli.figures.points import add_selection, hover_texts, locate_picks, size_of
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import SCALE, headline
from initpools_cli.figures.thumbnails import with_thumbnails
from initpools_cli.stats.classes import class_names

HEIGHT = 440
#: Where on the plane each region lies: name, x, y, and which side of that place the name goes.
REGIONS = (
    ("easy to learn", 0.0, 1.06, "middle right"),
    ("ambiguous", 0.5, 0.5, "middle left"),
    ("hard to learn", 0.0, -0.06, "middle right"),
)


@plots.register(paper="Swayamdipta et al. 2020, arXiv:2009.10795")
def datamap(
    dynamics: DataFrame,
    items: DataFrame,
    picks: DataFrame | None = None,
    pictures: dict[str, Any] | None = None,
    *,
    thumbnails: Count = 2_000,
) -> Figure:
    """Every image by how sure a classifier was of its label while it learned, and how much that changed.

    Deviation: the regions are named where they lie and counted by thirds, which the paper does not draw.

    Parameters
    ----------
    dynamics : DataFrame, n rows
        Columns confidence, variability and correctness, from the labels of all images.
    items : DataFrame, n rows
        Columns index and, where known, path, label, class; in the same order.
    picks : DataFrame, optional
        Columns index and order of the chosen images, and pool where there are several.
    pictures : dict, optional
        From `figures.thumbnails.sheets`.
    thumbnails : int
        So many images get a picture: the chosen ones first, then a seeded sample.

    Raises
    ------
    ValueError
        `dynamics` and `items` differ in length.
    """
    if len(dynamics) != len(items):
        raise ValueError(f"dynamics has {len(dynamics)} rows, which must be {len(items)}: one per item")
    n = len(items)
    figure = faceted(
        [""],
        x_title="variability (standard deviation over epochs)",
        y_title="confidence (mean probability of the label)",
        height=HEIGHT,
    )
    xy = dynamics[["variability", "confidence"]].to_numpy(np.float32)
    correct = dynamics["correctness"].to_numpy(np.float32)
    names = np.array(class_names(items), dtype=object)
    hover = hover_texts(items, names)
    selection = locate_picks(items, picks)
    scale = {"colorscale": SCALE, "cmin": 0.0, "cmax": 1.0}
    faint = np.setdiff1d(np.arange(n), selection["row"].to_numpy())
    figure.add_scattergl(
        x=xy[faint, 0],
        y=xy[faint, 1],
        mode="markers",
        marker={
            "size": size_of(n),
            "color": correct[faint],
            "opacity": 0.6,
            "colorbar": {"title": {"text": "correctness", "side": "right"}, "thickness": 12, "tickformat": ".0%"},
            **scale,
        },
        name="not chosen",
        customdata=items["index"].to_numpy()[faint],
        hovertext=hover[faint],
        hovertemplate="%{hovertext}<br>correct in %{marker.color:.0%} of epochs<br>index %{customdata}<extra></extra>",
        showlegend=False,
    )
    add_selection(figure, xy, selection, hover, {"color": correct, **scale})
    names_of, x, y, sides = zip(*REGIONS, strict=True)
    figure.add_scatter(
        x=x,
        y=y,
        mode="text",
        text=[f"<b>{name}</b>" for name in names_of],
        textposition=sides,
        textfont={"size": 14},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(range=[-0.01, 0.51])
    figure.update_yaxes(range=[-0.11, 1.11])
    words = [
        f"Data map of {n} images: a classifier was right about {percent(float(correct.mean()))} of them in an average "
        "epoch.",
        *_shares(dynamics, selection),
    ]
    note = f"{selection['row'].nunique():,} chosen (large, outlined). " if len(selection) else ""
    oracle = f"Oracle: made from the labels of all {n:,} images, bought or not, so it judges pools and can't make them."
    headline(figure, "Data map", f"{n:,} images. {note}{oracle}")
    return with_thumbnails(complete(figure, [*words, oracle]), pictures)


def regions(dynamics: DataFrame) -> DataFrame:
    """Which images are easy, hard or ambiguous: the third highest in confidence, lowest in it, highest in variability.

    Thirds are the paper's share; an image may be in two. Ties count by position, so that each has a third of the rows.

    Returns
    -------
    DataFrame of bool, n rows
        Columns easy, hard and ambiguous.
    """
    third = round(len(dynamics) / 3)
    confidence = dynamics["confidence"].rank(method="first", ascending=False)
    variability = dynamics["variability"].rank(method="first", ascending=False)
    marks = {"easy": confidence <= third, "hard": confidence > len(dynamics) - third, "ambiguous": variability <= third}
    return dynamics.assign(**marks)[list(marks)]


def _shares(dynamics: DataFrame, selection: DataFrame) -> list[str]:
    members = regions(dynamics).reset_index(drop=True)
    lines = []
    for pool, part in selection.groupby("pool", sort=False):
        inside = members.iloc[part["row"].to_numpy()].sum()
        who = f"Of the {len(part)} images chosen" + (f" by {pool!s}" if pool else "")
        counts = ", ".join(f"{int(count)} are {name}" for name, count in inside.items())
        lines.append(f"{who}, {counts}; of random ones {len(part) / 3:.1f} each are expected.")
    easy = (
        "Easy: the third with the highest confidence; hard: with the lowest; ambiguous: with the highest variability."
    )
    return [*lines, easy]
