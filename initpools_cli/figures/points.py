"""Points of images in figures: sizes, hover texts, and the chosen images on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text
from initpools_cli.figures.theme import PAGES

#: Marks of several pools, which color does not distinguish.
POOL_SYMBOLS = ("circle", "square", "triangle-up", "star", "cross", "x", "diamond", "hexagram")
#: Of all pools together, so many picks have their number beside them.
NUMBERED = 12
#: Up to so many picks can be hovered over all of their mark.
FEW = 1_000


def size_of(n: int) -> int:
    """The side of a point in pixels where n are drawn."""
    return 3 if n > 20_000 else 4 if n > 2_000 else 6


def hover_texts(items: DataFrame, names: Sequence[str] | NDArray[np.object_]) -> NDArray[np.object_]:
    """Hover text of every image: path and class where known, escaped for Plotly; (n,) str."""
    paths = items["path"].tolist() if "path" in items else [""] * len(items)
    lines = []
    for path, name in zip(paths, names, strict=True):
        parts = [plotly_text(text) for text in (path, name) if text == text and text != ""]
        lines.append("<br>".join(parts) or "image")
    return np.array(lines, dtype=object)


def locate_picks(items: DataFrame, picks: DataFrame | None) -> DataFrame:
    """Find the picks among the items that are drawn; in order of choice within each pool.

    Returns
    -------
    DataFrame
        Columns pool ("" where `picks` has none), order, index and row, the row of the image in `items`.
    """
    import pandas as pd

    if picks is None or picks.empty:
        return pd.DataFrame({"pool": [], "order": [], "index": [], "row": []}).astype({"row": int, "order": int})
    place = pd.Series(np.arange(len(items)), index=items["index"].to_numpy())
    table = picks if "pool" in picks else picks.assign(pool="")
    table = table[table["index"].isin(place.index)]
    return table.assign(row=place[table["index"]].to_numpy())[["pool", "order", "index", "row"]]


def add_selection(
    figure: Figure,
    xy: NDArray[np.floating],
    selection: DataFrame,
    hover: NDArray[np.object_],
    markers: dict[str, Any],
    symbols: NDArray[np.object_] | None = None,
) -> None:
    """Draw the picks of each pool large and outlined, the first few with their number.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        The places of all images.
    selection : DataFrame
        From `locate_picks`.
    hover : ndarray, shape (n,)
        From `hover_texts`.
    markers : dict
        Marker properties that the picks share with the points; an array has one value per image.
    symbols : ndarray of str, shape (n,), optional
        Marks of all images; default: each pool has a mark of its own.
    """
    pools = list(dict.fromkeys(selection["pool"].tolist()))
    n_numbers = max(3, NUMBERED // max(1, len(pools)))
    takers: dict[int, list[str]] = {}
    for pool, order, row in zip(selection["pool"], selection["order"], selection["row"], strict=True):
        takers.setdefault(row, []).append(f"choice {order}" + (f" of {plotly_text(pool)}" if len(pools) > 1 else ""))
    for i, pool in enumerate(pools):
        part = selection[selection["pool"] == pool]
        rows, order, index = (part[name].to_numpy() for name in ("row", "order", "index"))
        name = f"chosen: {plotly_text(pool)}" if len(pools) > 1 else "chosen"
        own = {key: value[rows] if isinstance(value, np.ndarray) else value for key, value in markers.items()}
        texts = [f"<b>{', '.join(takers[row])}</b><br>{hover[row]}" for row in rows]
        symbol = POOL_SYMBOLS[i % len(POOL_SYMBOLS)] if symbols is None else symbols[rows]
        line = {"color": PAGES["light"].ink, "width": 1.5}
        common = {
            "x": xy[rows, 0],
            "y": xy[rows, 1],
            "name": name,
            "legendgroup": name,
            "customdata": np.column_stack([order, index]),
            "hovertext": texts,
            "hovertemplate": "%{hovertext}<br>index %{customdata[1]}<extra></extra>",
        }
        if len(selection) <= FEW:
            # WebGL, which draws the picks above the points, hovers over the nearest center, mostly that of a point.
            # To Plotly a mark of 6 pixels is as near as its center, and nearer than any beside it.
            figure.add_scatter(mode="markers", marker={"size": 6, "opacity": 0}, showlegend=False, **common)
        figure.add_scattergl(
            mode="markers+text",
            text=[str(number) if place < n_numbers else "" for place, number in enumerate(order)],
            textposition="top center",
            textfont={"size": 13},
            marker={"size": 12, "symbol": symbol, "line": line, **own},
            hoverinfo="skip" if len(selection) <= FEW else "all",
            showlegend=len(pools) == 1,
            # The page lists them for those who do not use a pointer.
            meta={
                "picks": index.tolist(),
                "labels": [f"{number} {plotly_text(pool)}" if len(pools) > 1 else str(number) for number in order],
            },
            **common,
        )
        if len(pools) > 1:
            # Without this trace, the legend would show the color of the first pick as that of the pool.
            mark = {"size": 12, "symbol": symbol, "line": line, "color": "rgba(0,0,0,0)"}
            figure.add_scattergl(x=[None], y=[None], mode="markers", marker=mark, name=name, legendgroup=name)
