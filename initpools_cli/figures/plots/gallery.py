"""The gallery: the chosen images, and the images that each represents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.core.types import DataFrame, Image
from initpools_cli.figures.escape import printable, shortened
from initpools_cli.figures.html import render
from initpools_cli.figures.registry import plots
from initpools_cli.figures.section import Section
from initpools_cli.figures.theme import PAGES
from initpools_cli.figures.thumbnails import LOSSLESS, data_uri, fitted, png
from initpools_cli.stats.classes import class_names

#: Of the PNG: columns, side of a picture and room for its caption, in pixels.
COLUMNS, SIDE, CAPTION = 8, 144, 40
#: Chosen images described in words.
DESCRIBED = 20


@plots.register()
def gallery(
    picks: DataFrame,
    pictures: Mapping[int, Image],
    near: Mapping[int, Sequence[int]] | None = None,
    small: Mapping[int, Image] | None = None,
    lost: Sequence[str] = (),
    pool: str = "",
    *,
    neighbors: Count = 5,
    most: PositiveCount = 200,
) -> Section:
    """The chosen images in order, each with the nearest of the images that it represents.

    Parameters
    ----------
    picks : DataFrame
        One row a chosen image, in order of choice; columns order and index and, where known, path, class, label, score
        and represents (how many images have it as their nearest pick).
    pictures : mapping of int to PIL.Image.Image
        The chosen images by index.
    near : mapping of int to sequence of int, optional
        For a chosen image the images to show with it, nearest first; None where it is not known.
    small : mapping of int to PIL.Image.Image, optional
        Pictures of those.
    lost : sequence of str
        Paths of originals that are gone, for which a small copy is shown.
    pool : str
        The name of the pool.
    neighbors : int
        Images shown with each chosen image, among those that it represents.
    most : int
        Chosen images shown, the first ones.
    """
    first = picks.iloc[:most]
    columns: dict[str, list[Any]] = {str(name): first[name].tolist() for name in first}
    columns["name"] = class_names(first)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    cells = [_cell(row, pictures, near or {}, small or {}) for row in rows]
    count = f"{len(picks):,} image{'s' * (len(picks) != 1)}"
    parts = [f"{count} in the order of choice" + (f" of {pool}." if pool else ".")]
    if len(picks) > most:
        parts.append(f"The first {most} are shown (--set most=N).")
    if near is None:
        parts.append("Which images each one represents is not known: the pool was chosen without embeddings.")
    if lost:
        names = ", ".join(shortened(path, 60) for path in lost[:3]) + (" …" if len(lost) > 3 else "")
        what = "original is" if len(lost) == 1 else "originals are"
        parts.append(f"{len(lost)} {what} missing; the resized copy used in training is shown instead: {names}.")
    words = [_alt(row) + "." for row in rows[:DESCRIBED]]
    if len(picks) > DESCRIBED:
        words.append(f"And {len(picks) - DESCRIBED} more.")
    body = render("gallery.html.j2", cells=cells)
    return Section("The chosen images", " ".join(parts), body, words, lambda: _sheet(rows, pictures))


def _cell(
    row: Mapping[str, Any],
    pictures: Mapping[int, Image],
    near: Mapping[int, Sequence[int]],
    small: Mapping[int, Image],
) -> dict[str, Any]:
    """The values of the template for one chosen image."""
    index = int(row["index"])
    represents = _text(row, "represents")
    return {
        "picture": _picture(pictures[index], _alt(row)),
        "order": row["order"],
        "name": printable(row["name"]),
        "path": printable(_text(row, "path")),
        "index": index,
        # A first pick may be infinitely far from those before it.
        "score": f"{row['score']:.4g}" if np.isfinite(row.get("score", np.nan)) else "",
        "represents": f"{int(row['represents']):,}" if represents else "",
        "near": [_picture(small[other], f"image {other}, near choice {row['order']}") for other in near.get(index, ())],
    }


def _alt(row: Mapping[str, Any]) -> str:
    """The picture in words."""
    parts = [row["name"], _text(row, "path") or f"image {row['index']}"]
    represents = f", represents {int(row['represents'])} images" if _text(row, "represents") else ""
    return f"Choice {row['order']}: {', '.join(str(part) for part in parts if part)}{represents}"


def _picture(image: Image, words: str) -> dict[str, Any]:
    return {"source": data_uri(image), "words": printable(words), "small": max(image.size) <= LOSSLESS}


def _text(row: Mapping[str, Any], column: str) -> str:
    """A cell as text; "" where the table has none."""
    import pandas as pd

    value = row.get(column, "")
    return "" if pd.isna(value) else str(value)


def _sheet(rows: Sequence[Mapping[str, Any]], pictures: Mapping[int, Image]) -> bytes:
    """All chosen images on one PNG, with order and class below each."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    columns = min(COLUMNS, len(rows))
    down = -(-len(rows) // columns)
    page = PAGES["light"]
    gap = 8
    size = (columns * (SIDE + gap) + gap, down * (SIDE + CAPTION + gap) + gap)
    sheet = pil.new("RGB", size, page.background)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, row in enumerate(rows):
        image = pictures[int(row["index"])]
        if max(image.size) <= LOSSLESS:
            times = SIDE // max(image.size)
            image = image.resize((image.width * times, image.height * times), pil.Resampling.NEAREST)
        image = fitted(image, SIDE)
        left, top = gap + i % columns * (SIDE + gap), gap + i // columns * (SIDE + CAPTION + gap)
        sheet.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        label = row["name"] or _text(row, "path").rsplit("/", 1)[-1] or f"image {row['index']}"
        pen.text((left, top + SIDE + 2), f"choice {row['order']}", page.ink, font)
        pen.text((left, top + SIDE + 20), shortened(label, 18), page.muted, font)
    return png(sheet)
