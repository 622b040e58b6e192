"""From image files of any kind to pixels."""

from __future__ import annotations

import hashlib
import io
import itertools
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.processors import available_cores
from initpools_cli.core.report import Report
from initpools_cli.datasets.cache import place_errors

if TYPE_CHECKING:
    from PIL.Image import Image

#: Files handed to the threads at a time.
CHUNK = 256
#: EXIF orientation (tag 0x0112) to the transposition that sets the image upright, by name in ``PIL.Image.Transpose``.
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclass(frozen=True)
class Decoded:
    """Files as pixels.

    Attributes
    ----------
    pixels : ndarray of shape (n_good, size, size, c), uint8
        Memory-mapped.
    good : ndarray of shape (n,), bool
        Which of the files could be decoded.
    nbytes : list of int
    sha256 : list of str
        Of the files that could be decoded.
    """

    pixels: np.ndarray
    good: np.ndarray
    nbytes: list[int]
    sha256: list[str]


def is_gray(file: Path) -> bool | None:
    """Whether an image file holds gray values only, by its header; None if it is no image."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file) as image:
                return _gray_mode(image.mode)
        # Broken files make the decoders raise nearly anything.
        except Exception:
            return None


def decode_files(root: Path, paths: Sequence[str], size: int, channels: int, scratch: Path, report: Report) -> Decoded:
    """Decode files in threads.

    Parameters
    ----------
    root : Path
        The folder that `paths` are relative to.
    paths : sequence of str
    size : int
        Side of the result in pixels.
    channels : int
        1 or 3.
    scratch : Path
        An existing folder for the pixels; it must outlive them.
    """
    good = np.zeros(len(paths), dtype=bool)
    nbytes: list[int] = []
    sha256: list[str] = []
    raw = scratch / f"pixels-{len(list(scratch.iterdir()))}"
    with (
        place_errors(scratch.parent),
        raw.open("wb") as stream,
        report.progress("reading images", len(paths)) as bar,
        ThreadPoolExecutor(min(8, available_cores())) as pool,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for start in range(0, len(paths), CHUNK):
            files = [root / path for path in paths[start : start + CHUNK]]
            results = pool.map(_decode, files, itertools.repeat(size), itertools.repeat(channels))
            for row, result in enumerate(results, start):
                bar.advance()
                if result is not None:
                    pixels, n, checksum = result
                    good[row] = True
                    stream.write(pixels.data)
                    nbytes.append(n)
                    sha256.append(checksum)
    shape = (len(sha256), size, size, channels)
    pixels = np.memmap(raw, np.uint8, "r", shape=shape) if sha256 else np.empty(shape, np.uint8)
    return Decoded(pixels, good, nbytes, sha256)


def square(image: np.ndarray, size: int) -> np.ndarray:
    """One image (h, w, c) as (size, size, c): the shorter side resized, the centre kept."""
    from PIL import Image

    gray = image.shape[-1] == 1
    return _as_array(_square(Image.fromarray(image[..., 0] if gray else image), size))


def read_image(file: Path) -> Image:
    """An original at its own size, upright, as RGB of 8 bits.

    Raises
    ------
    UserError
        It is no longer there, or can't be decoded any more.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return _eight_bits(_upright(image), 3)
    except Exception as error:
        raise UserError(
            f"The image {file} can't be read: {error}.", "Put it back as it was, or begin another run with --run DIR."
        ) from None


def _decode(file: Path, size: int, channels: int) -> tuple[np.ndarray, int, str] | None:
    from PIL import Image

    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            # JPEG can be decoded at a half, a quarter or an eighth; twice the target leaves the filter enough.
            image.draft(None, (2 * size, 2 * size))
            image.load()
            shown = _square(_eight_bits(_upright(image), channels), size)
            return _as_array(shown), len(content), hashlib.sha256(content).hexdigest()
    # Broken files make the decoders raise nearly anything.
    except Exception:
        return None


def _upright(image: Image) -> Image:
    from PIL import Image as pil

    try:
        orientation = image.getexif().get(0x0112)
    # Broken EXIF data is no reason to lose the image.
    except Exception:
        return image
    name = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(pil.Transpose[name]) if name else image


def _eight_bits(image: Image, channels: int) -> Image:
    """As mode L or RGB; 16-bit gray values are scaled by their depth, floats taken as [0, 1] or [0, 255]."""
    from PIL import Image as pil

    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        image = pil.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))
    elif image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = pil.fromarray((np.clip(wide, 0, 65_535) // 257).astype(np.uint8))
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _square(image: Image, size: int) -> Image:
    from PIL import Image as pil

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), pil.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _as_array(image: Image) -> np.ndarray:
    array = np.asarray(image)
    return np.ascontiguousarray(array[..., None] if array.ndim == 2 else array)


def _gray_mode(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")
