"""Where in the embedding the chosen images lie."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.analysis.classes import class_names, ordered_classes
from initpools_cli.analysis.facets import complete, faceted
from initpools_cli.analysis.registry import plots
from initpools_cli.analysis.text import inert, shortened
from initpools_cli.analysis.theme import NEUTRAL, PAGES, PALETTE, headline, style
from initpools_cli.analysis.types import DataFrame, Figure

# More colours than this are not told apart.
MOST_CLASSES = 20
HEIGHT = 420
AXES = {"pca": ("principal component 1", "principal component 2"), "tsne": ("t-SNE 1", "t-SNE 2")}


@plots.register()
def scatter(
    points: NDArray[np.floating],
    items: DataFrame,
    picks: DataFrame | None = None,
    *,
    projection: Literal["pca", "tsne"] = "pca",
) -> Figure:
    """Every image as a faint point, the chosen ones large; colour by class where classes are known.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        The embedding on a plane.
    items : DataFrame, n rows
        Columns index and, where known, path, label, class; in the order of `points`.
    picks : DataFrame, optional
        Columns index and order of the chosen images.
    projection : str
        How `points` came about: names the axes.

    Raises
    ------
    ValueError
        `points` and `items` differ in length.
    """
    if points.shape != (len(items), 2):
        raise ValueError(f"points has shape {points.shape}, which must be ({len(items)}, 2): one row per item")
    n = len(items)
    x_title, y_title = AXES[projection]
    figure = faceted([""], x_title=x_title, y_title=y_title, height=HEIGHT)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, scaleanchor="x")
    xy = np.asarray(points, dtype=np.float32)
    names = np.array(class_names(items), dtype=object)
    index = items["index"].to_numpy()
    place = {image: row for row, image in enumerate(index.tolist())}
    picked = picks[picks["index"].isin(place)] if picks is not None else items.iloc[:0].assign(order=[])
    rows = np.array([place[image] for image in picked["index"].tolist()], dtype=int)
    hover = _hover(items, names)

    classes = ordered_classes(items)
    colored = 0 < len(classes) <= MOST_CLASSES
    size = 3 if n > 20_000 else 4 if n > 2_000 else 6
    groups = [(name, np.flatnonzero(names == name)) for name in classes] if colored else []
    rest = np.flatnonzero(names == "") if colored else np.arange(n)
    looks = [(style(i).color, _symbol(i)) for i in range(len(groups))]
    if rest.size:
        groups.append(("class not known" if colored else "not chosen" if rows.size else "images", rest))
        looks.append((NEUTRAL, "circle"))
    color_of, symbol_of = np.full(n, NEUTRAL, dtype=object), np.full(n, "circle", dtype=object)
    for (name, members), (color, symbol) in zip(groups, looks, strict=True):
        color_of[members], symbol_of[members] = color, symbol
        # A chosen image is drawn once, so that hovering always tells its order.
        faint = np.setdiff1d(members, rows)
        figure.add_scattergl(
            x=xy[faint, 0],
            y=xy[faint, 1],
            mode="markers",
            marker={"size": size, "color": color, "symbol": symbol, "opacity": 0.35},
            name=inert(shortened(name)),
            customdata=index[faint],
            hovertext=hover[faint],
            hovertemplate="%{hovertext}<br>index %{customdata}<extra></extra>",
            legendgroup=inert(name),
            showlegend=False,
        )
        # The legend's own marker: the points are too small and too faint to be told apart there.
        figure.add_scattergl(
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 9, "color": color, "symbol": symbol},
            name=inert(shortened(name)),
            legendgroup=inert(name),
        )
    if rows.size:
        figure.add_scattergl(
            x=xy[rows, 0],
            y=xy[rows, 1],
            mode="markers",
            marker={
                "size": 12,
                "color": color_of[rows] if colored else PALETTE[3],
                "symbol": symbol_of[rows],
                "line": {"color": PAGES["light"].ink, "width": 1.5},
            },
            name="chosen",
            customdata=np.column_stack([picked["order"].to_numpy(), index[rows]]),
            hovertext=hover[rows],
            hovertemplate="<b>choice %{customdata[0]}</b><br>%{hovertext}<br>index %{customdata[1]}<extra></extra>",
        )
    parts = [f"{n:,} images" + (f", {rows.size:,} chosen (large, outlined)." if rows.size else ".")]
    if len(classes) > MOST_CLASSES:
        parts.append(f"{len(classes)} classes are too many for colours; hover names them.")
    if projection == "tsne":
        parts.append("t-SNE keeps neighbours; distances between groups mean little.")
    headline(figure, "Images in the embedding", " ".join(parts))
    spread = sorted({str(name) for name in names[rows]} - {""})
    words = [f"Scatter plot of {n} images by {x_title} and {y_title}; {rows.size} are chosen."]
    if spread:
        words.append(f"The chosen images are of {len(spread)} of {len(classes)} classes: {', '.join(spread)}.")
    return complete(figure, words)


def _symbol(i: int) -> str:
    """Plain circles while the colours last."""
    return ("circle", "diamond", "square")[i // len(PALETTE)]


def _hover(items: DataFrame, names: NDArray[np.object_]) -> NDArray[np.object_]:
    paths = items["path"].tolist() if "path" in items else [""] * len(items)
    lines = []
    for path, name in zip(paths, names, strict=True):
        shown = [inert(text) for text in (path, name) if text == text and text != ""]
        lines.append("<br>".join(shown) or "image")
    return np.array(lines, dtype=object)
