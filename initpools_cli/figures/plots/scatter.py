"""The chosen images in a plane through the embeddings."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import complete, faceted
from initpools_cli.figures.points import add_selection, hover_texts, locate_picks, size_of
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import NEUTRAL, PALETTE, SCALE, headline, style
from initpools_cli.figures.thumbnails import with_thumbnails
from initpools_cli.stats.classes import class_names, ordered_classes

# More classes than this are not distinguished by color.
MOST_CLASSES = 20
HEIGHT = 420
#: Values of `color` that are classes.
CLASSES = ("class", "label", "prediction")
AXES = {
    "pca": ("principal component 1", "principal component 2"),
    "tsne": ("t-SNE 1", "t-SNE 2"),
    "umap": ("UMAP 1", "UMAP 2"),
}
# Few points can be seen through; many hide each other.
FAINT, FAINTEST, MANY = 0.6, 0.35, 2_000


@plots.register()
def scatter(
    points: NDArray[np.floating],
    items: DataFrame,
    picks: DataFrame | None = None,
    values: NDArray[np.floating] | None = None,
    pictures: dict[str, Any] | None = None,
    whole: int = 0,
    *,
    projection: Literal["pca", "tsne", "umap"] = "pca",
    color: str = "class",
    sample: Count = 10_000,
    thumbnails: Count = 2_000,
) -> Figure:
    """Every image as a faint point, the chosen ones large; hovering shows the image.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        The embedding on a plane.
    items : DataFrame, n rows
        Columns index and, where known, path, label, class, cluster; in the order of `points`.
    picks : DataFrame, optional
        Columns index and order of the chosen images, and pool where there are several.
    values : ndarray, shape (n,), optional
        The score of each image, which colors it.
    pictures : dict, optional
        From `figures.thumbnails.sheets`.
    whole : int
        How many images there are, where `items` is a sample of them.
    projection : str
        How `points` came about: names the axes.
    color : str
        "class", "cluster" (of a pretrain that makes clusters), or the name of a score; of the last labeling round
        "label", "prediction", "confidence", or "round".
    sample : int
        t-SNE and UMAP place at most so many images: all chosen ones, and a seeded sample of the others; 0: all.
    thumbnails : int
        So many images get a picture: the chosen ones first, then a seeded sample.

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
    hover = hover_texts(items, names)
    selection = locate_picks(items, picks)
    several = selection["pool"].nunique() > 1
    if values is not None:
        groups: list[str] = []
        markers = _by_score(figure, xy, items, hover, selection, values, color)
    else:
        of_class = color in CLASSES
        of_image = names if of_class else items["cluster"].to_numpy(object)
        groups = ordered_classes(items) if of_class else sorted({*of_image.tolist()} - {""}, key=_number)
        markers = _by_group(figure, xy, items, hover, selection, of_image, groups, color)
    symbols = None if several else markers.pop("symbol", np.full(n, "circle", dtype=object))
    markers.pop("symbol", None)
    add_selection(figure, xy, selection, hover, markers, symbols)

    selection_note = f", {selection['row'].nunique():,} chosen (large, outlined" + (
        ", a mark a pool)." if several else ")."
    )
    parts = [f"{n:,} images" + (selection_note if len(selection) else ".")]
    if whole > n:
        parts.append(f"A sample of {whole:,}: all chosen ones, and others at random.")
    if len(groups) > MOST_CLASSES:
        plural = "classes" if color in CLASSES else "clusters"
        parts.append(f"{len(groups)} {plural} are too many for colors; hover names them.")
    if projection != "pca":
        title = {"tsne": "t-SNE", "umap": "UMAP"}[projection]
        parts.append(f"{title} keeps neighbors; distances between groups mean little.")
    if pictures is not None and len(pictures["known"]) < n:
        parts.append(f"Hovering shows the picture of {len(pictures['known']):,} of them.")
    headline(figure, "Images in the embedding", " ".join(parts))
    words = [f"Scatter plot of {n} images by {x_title} and {y_title}; {selection['row'].nunique()} are chosen."]
    if values is not None:
        what = color if color == "confidence" else f"score {color}"
        words.append(f"Color is the {what}, from {values.min():.4g} to {values.max():.4g}.")
    for pool, part in selection.groupby("pool", sort=False):
        classes = sorted({str(name) for name in names[part["row"].to_numpy()]} - {""})
        who = f"The images chosen by {pool}" if several else "The chosen images"
        if classes:
            of = len(ordered_classes(items))
            words.append(f"{who} are of {len(classes)} of {of} classes: {', '.join(classes)}.")
    return with_thumbnails(complete(figure, words), pictures)


def _by_group(
    figure: Figure,
    xy: NDArray[np.float32],
    items: DataFrame,
    hover: NDArray[np.object_],
    selection: DataFrame,
    of_image: NDArray[np.object_],
    groups: list[str],
    what: str,
) -> dict[str, Any]:
    """Draw the points a color a class or cluster; returns the colors and marks of all images."""
    n = len(xy)
    has_colors = 0 < len(groups) <= MOST_CLASSES
    members = [(name, np.flatnonzero(of_image == name)) for name in groups] if has_colors else []
    rest = np.flatnonzero(of_image == "") if has_colors else np.arange(n)
    looks = [(style(i).color, _symbol(i)) for i in range(len(members))]
    if rest.size:
        members.append((f"{what} not known" if has_colors else "not chosen" if len(selection) else "images", rest))
        looks.append((NEUTRAL, "circle"))
    colors, symbols = np.full(n, NEUTRAL, dtype=object), np.full(n, "circle", dtype=object)
    index = items["index"].to_numpy()
    # The class is stored once for each group: stored for every image, it would be most of the page.
    by_class = what in CLASSES and has_colors
    texts = _paths(items) if by_class else hover
    for (name, inside), (tone, symbol) in zip(members, looks, strict=True):
        parts = [] if texts is None else ["%{hovertext}"]
        parts += [plotly_text(name)] if by_class and name in groups else []
        colors[inside], symbols[inside] = tone, symbol
        # A chosen image is drawn once, so that hovering always shows its order.
        faint = np.setdiff1d(inside, selection["row"].to_numpy())
        figure.add_scattergl(
            x=xy[faint, 0],
            y=xy[faint, 1],
            mode="markers",
            marker={"size": size_of(n), "color": tone, "symbol": symbol, "opacity": FAINTEST if n > MANY else FAINT},
            name=plotly_text(shortened(name)),
            customdata=index[faint],
            hovertext=None if texts is None else texts[faint],
            hovertemplate="<br>".join([*parts, "index %{customdata}<extra></extra>"]),
            meta={"group": parts[-1]} if by_class and name in groups else None,
            legendgroup=plotly_text(name),
            showlegend=False,
        )
        # The legend's own marker: the points are too small and too faint to be distinguished there.
        figure.add_scattergl(
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 9, "color": tone, "symbol": symbol},
            name=plotly_text(shortened(name)),
            legendgroup=plotly_text(name),
        )
    return {"color": colors if has_colors else PALETTE[3], "symbol": symbols}


def _by_score(
    figure: Figure,
    xy: NDArray[np.float32],
    items: DataFrame,
    hover: NDArray[np.object_],
    selection: DataFrame,
    values: NDArray[np.floating],
    what: str,
) -> dict[str, Any]:
    """Draw the points in the colors of a scale; returns what picks need to be colored alike."""
    faint = np.setdiff1d(np.arange(len(xy)), selection["row"].to_numpy())
    # A few extreme scores would leave one color to all others.
    low, high = np.quantile(values, [0.01, 0.99])
    scale = {"colorscale": SCALE, "cmin": float(low), "cmax": float(high)}
    colors = np.asarray(values, dtype=np.float32)
    figure.add_scattergl(
        x=xy[faint, 0],
        y=xy[faint, 1],
        mode="markers",
        marker={
            "size": size_of(len(xy)),
            "color": colors[faint],
            "opacity": FAINT,
            "colorbar": {"title": {"text": plotly_text(shortened(what)), "side": "right"}, "thickness": 12},
            **scale,
        },
        name="not chosen" if len(selection) else "images",
        text=[f"{value:.4g}" for value in colors[faint]],
        customdata=items["index"].to_numpy()[faint],
        hovertext=hover[faint],
        hovertemplate="%{hovertext}<br>" + plotly_text(what) + " %{text}<br>index %{customdata}<extra></extra>",
        showlegend=False,
    )
    return {"color": colors, **scale}


def _symbol(i: int) -> str:
    """Plain circles while the colors last."""
    return ("circle", "diamond", "square")[i // len(PALETTE)]


def _paths(items: DataFrame) -> NDArray[np.object_] | None:
    """Hover texts beside the class; None where images have no names."""
    if "path" not in items or not items["path"].astype(bool).any():
        return None
    return np.array([plotly_text(path) for path in items["path"]], dtype=object)


def _number(name: str) -> int:
    return int(name.rsplit(" ", 1)[-1])
