"""Class counts of pools, beside those expected of a random pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import MISSED, NEUTRAL, PALETTE, headline
from initpools_cli.stats.classes import class_names, ordered_classes

#: The height of a line of text in pixels.
LINE = 13
CHOSEN = {"width": 0.56, "marker": {"color": PALETTE[0]}}
EXPECTED = {"width": 0.86, "marker": {"color": "rgba(0,0,0,0)", "line": {"color": NEUTRAL, "width": 1.5}}}


@plots.register()
def histogram(pools: DataFrame, items: DataFrame) -> Figure:
    """Images of each class in each pool, against the counts expected of a random pool of that size.

    A pool with images of unknown class may have images of every class: none is marked as missed in it. Expected counts
    are of its images with a known class.

    Parameters
    ----------
    pools : DataFrame
        Columns pool, index, label, class; one row per chosen image.
    items : DataFrame
        Columns label, class and, where there is more than the train split, split.

    Raises
    ------
    UserError
        No chosen image has a class.
    """
    train = items[items["split"] == "train"] if "split" in items else items
    everything = Counter(name for name in class_names(train) if name)
    counts_by_pool = {str(name): Counter(class_names(pool)) for name, pool in pools.groupby("pool", sort=False)}
    # An image with several labels has a row for each.
    several = "index" in pools
    sizes: dict[Any, int] = pools.groupby("pool", sort=False)["index"].nunique().to_dict() if several else {}
    classes = ordered_classes(train)
    classes += [name for name in ordered_classes(pools) if name not in everything]
    if not any(name for counts in counts_by_pool.values() for name in counts):
        raise UserError("None of the chosen images has a known class.", "Pass their labels with --labels FILE.", "None")
    total = everything.total()
    headings, lines = [], []
    for pool, counts in counts_by_pool.items():
        absent = _absent_classes(counts, classes, everything)
        size, unknown = int(sizes.get(pool, counts.total())), counts[""]
        note = f"{size} images"
        if unknown:
            note += f", {unknown} without a label"
        elif total:
            note += f", {_absent_note(len(absent), len(everything))}"
        headings.append(f"<b>{plotly_text(shortened(pool, 24))}</b><br>{note}")
        listing = ", ".join(f"{name} {counts[name]}" for name in classes if counts[name])
        lines.append(f"{pool}: {note}; {listing}." + (f" Missed: {', '.join(absent)}." if absent else ""))
    # Horizontal, so that the names of classes can be read; a hundred classes need thin bars.
    height = min(1600, 40 + len(classes) * (22 if len(classes) <= 30 else 13))
    # If there are more classes than lines of text, name every second, third ...; hovering shows the others.
    ticks = classes[:: -(-len(classes) * LINE // height)]
    figure = faceted(headings, x_title="images", y_title="", columns=3, height=height, same_y=True)
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=classes,
        range=[len(classes) - 0.5, -0.5],
        tickmode="array",
        tickvals=ticks,
        ticktext=[plotly_text(shortened(name, 22)) for name in ticks],
        showgrid=False,
    )
    figure.update_layout(barmode="overlay")
    has_legend = False
    for i, counts in enumerate(counts_by_pool.values()):
        place = {"xaxis": axis_name("x", i), "yaxis": axis_name("y", i)}
        labeled = counts.total() - counts[""]
        expected = [labeled * everything[name] / total if total else 0.0 for name in classes]
        most = max([counts[name] for name in classes] + expected)
        figure.update_xaxes(
            range=[0, 1.05 * most or 1], dtick=1 if most <= 6 else None, selector={"anchor": axis_name("y", i)}
        )
        absent = _absent_classes(counts, classes, everything)
        _bars(figure, classes, [counts[name] for name in classes], "chosen", CHOSEN, {**place, "showlegend": i == 0})
        if total:
            _bars(figure, classes, expected, "expected of a random pool", EXPECTED, {**place, "showlegend": i == 0})
        if absent:
            figure.add_scatter(
                x=[0] * len(absent),
                y=absent,
                mode="markers",
                marker={"symbol": "x", "size": 9, "color": MISSED},
                cliponaxis=False,
                name="class missed",
                legendgroup="class missed",
                customdata=[plotly_text(name) for name in absent],
                hovertemplate="%{customdata}: none chosen<extra></extra>",
                showlegend=not has_legend,
                **place,
            )
            has_legend = True
    basis = "The data set's own classes are not known."
    if total:
        basis = f"Outlines: expected counts of a random pool, from {total} labeled images."
    if total < len(train):
        basis += f" {len(train) - total} images have no label, and the others may not be a random sample of all."
    headline(figure, "Classes in each pool", basis)
    return complete(figure, ["Bar chart: images of each class in each pool.", *lines])


def _bars(
    figure: Figure,
    classes: list[str],
    heights: Sequence[float],
    name: str,
    look: Mapping[str, Any],
    place: Mapping[str, Any],
) -> None:
    figure.add_bar(
        orientation="h",
        y=classes,
        x=heights,
        name=name,
        legendgroup=name,
        customdata=[plotly_text(label) for label in classes],
        hovertemplate="%{customdata}: %{x:.4~r} " + name + "<extra></extra>",
        **look,
        **place,
    )


def _absent_classes(counts: Mapping[str, int], classes: Sequence[str], everything: Mapping[str, int]) -> list[str]:
    """The classes that a pool has no image of; none where an image of it has no label and may be of any class."""
    return [] if counts[""] else [name for name in classes if name in everything and not counts[name]]


def _absent_note(absent: int, classes: int) -> str:
    return f"{absent}/{classes} classes missed" if absent else f"all {classes} classes"
