"""Images small enough to embed in a page: sheets of tiles to hover over, and single ones."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.types import Figure, Image

#: Largest side of a tile in pixels; smaller images keep their size, and the page enlarges them.
TILE = 64
#: Tiles in a row of a sheet, and rows in a sheet: browsers decode pictures of 2048 x 2048 pixels anywhere.
COLUMNS = ROWS = 32
#: Up to this side a picture is stored as it is: it is shown enlarged, where what a codec adds is seen.
LOSSLESS = 48
QUALITY = 80


def sheets(images: NDArray[np.uint8], indices: Sequence[int] | NDArray[np.integer]) -> dict[str, Any]:
    """Make sprite sheets of thumbnails for a page.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), uint8
        All images, perhaps memory-mapped; c in {1, 3}.
    indices : sequence of int, length m
        The images that get a tile.

    Returns
    -------
    dict
        For ``layout.meta["thumbnails"]``: sheets (data URIs), tile (pixels), columns, rows and known; image known[i] is
        tile i % (columns * rows) of sheet i // (columns * rows), row by row. About 1 kB a tile.
    """
    from PIL import Image as pil

    rows = np.asarray(indices, dtype=np.int64)
    tile = min(TILE, max(images.shape[1:3]))
    uris = []
    for start in range(0, len(rows), COLUMNS * ROWS):
        part = rows[start : start + COLUMNS * ROWS]
        down = -(-len(part) // COLUMNS)
        sheet = pil.new("L" if images.shape[-1] == 1 else "RGB", (COLUMNS * tile, down * tile))
        for i, row in enumerate(part):
            small = fitted(picture(images[row]), tile)
            left, top = i % COLUMNS * tile, i // COLUMNS * tile
            sheet.paste(small, (left + (tile - small.width) // 2, top + (tile - small.height) // 2))
        uris.append(data_uri(sheet))
    return {"sheets": uris, "tile": tile, "columns": COLUMNS, "rows": ROWS, "known": rows.tolist()}


def with_thumbnails(figure: Figure, thumbnails: dict[str, Any] | None) -> Figure:
    """Add sheets of thumbnails, from `sheets`, to a figure; unchanged if there are none."""
    if thumbnails is not None and thumbnails["known"]:
        figure.layout.meta = {**(figure.layout.meta or {}), "thumbnails": thumbnails}
    return figure


def picture(pixels: NDArray[np.uint8]) -> Image:
    """An array (h, w, c) as a picture of gray values or colors."""
    from PIL import Image as pil

    return pil.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def fitted(image: Image, side: int) -> Image:
    """Shrink an image to fit into a square; a smaller one is returned unchanged."""
    from PIL import Image as pil

    scale = side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), pil.Resampling.BICUBIC, reducing_gap=2.0)


def png(image: Image) -> bytes:
    """The picture as a file without loss."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def webp(image: Image) -> bytes:
    """Encode a thumbnail; small pictures, which are shown enlarged, without loss."""
    stream = io.BytesIO()
    if max(image.size) <= LOSSLESS:
        image.save(stream, "WEBP", lossless=True)
    else:
        image.save(stream, "WEBP", quality=QUALITY, method=2)
    return stream.getvalue()


def data_uri(image: Image) -> str:
    """The picture as text that a page can show without a request."""
    return f"data:image/webp;base64,{base64.b64encode(webp(image)).decode()}"
