"""Conversion of one image to 8 bits: white background, upright, with the range of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.raster import TRANSPARENT, Raster
from initpools_cli.datasets.scale import WHITE, WINDOW, ConversionCounts, Scale, conversion_of, full_range

if TYPE_CHECKING:
    from PIL.Image import Image

#: Name in ``PIL.Image.Transpose`` of the transposition to upright, by EXIF orientation (tag 0x0112).
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
class Facts:
    """How an image was converted to 8 bits.

    Attributes
    ----------
    conversion : str
        The conversion for ``items.csv``; empty if 8-bit pixels are unchanged.
    dtype : dtype or None
        The type of values that the range of the data set was applied to.
    pages : bool
        Whether the image is the first of several.
    window : str
        The window of a DICOM file, if it was applied.
    tally : ConversionCounts
    """

    conversion: str = ""
    dtype: np.dtype | None = None
    pages: bool = False
    window: str = ""
    tally: ConversionCounts = field(default_factory=ConversionCounts)


def eight_bits(raster: Raster, channels: int, scale: Scale) -> tuple[Image, Facts]:
    """Convert an image to mode L or RGB, upright, and return how."""
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    tally = ConversionCounts()
    dtype = None
    if raster.picture is not None:
        image, white = _on_white(raster.picture)
        conversion = WHITE if white else ""
    elif raster.windowed is not None and scale.setting == "auto":
        image, conversion = Image.fromarray(np.rint(255 * raster.windowed).astype(np.uint8)), WINDOW
    else:
        assert raster.values is not None
        dtype = raster.values.dtype
        pixels, white = _scaled(raster.values, scale, tally)
        image = Image.fromarray(pixels)
        conversion = conversion_of(dtype, scale.limits(dtype)) + (f"; {WHITE}" if white else "")
    if raster.inverted:
        image = Image.eval(image, lambda value: 255 - value)
    name = UPRIGHT.get(raster.orientation)
    if name:
        image = image.transpose(Image.Transpose[name])
    window = raster.window if conversion == WINDOW else ""
    return image if image.mode == mode else image.convert(mode), Facts(conversion, dtype, raster.pages, window, tally)


def notes_of(paths: Sequence[str], facts: Sequence[Facts], scale: Scale) -> list[str]:
    """Return notes for the user on decoded files."""
    tally = ConversionCounts()
    for each in facts:
        tally.merge(each.tally)
    notes = tally.notes(scale, [each.dtype for each in facts if each.dtype is not None])
    plain = [each for each in facts if each.conversion in ("", WHITE)]
    if tally.images and plain:
        notes.append(f"{counted(plain, 'image')} of 8 bits, left unchanged: the range is not applied to them")
    if not tally.images and scale.setting != "auto":
        notes.append(f"dataset.scale = {scale.setting} has no effect: no image has more than 8 bits")
    windows = [each.window for each in facts if each.window]
    if windows:
        different = sorted(set(windows))
        notes.append(
            f"{counted(windows, 'DICOM file')} converted with the window in the file, {len(different)} different: "
            f"{'; '.join(different[:5])}{' …' if len(different) > 5 else ''} (dataset.scale = lo,hi sets one range for "
            "all)"
        )
    for flags, description in (
        ([WHITE in each.conversion for each in facts], "with transparent pixels, which get a white background"),
        ([each.pages for each in facts], "with several pages or frames, of which the first is used"),
    ):
        matching = [path for path, yes in zip(paths, flags, strict=True) if yes]
        if matching:
            notes.append(f"{counted(matching, 'file')} {description}: {named(matching)}")
    return notes


def _on_white(image: Image) -> tuple[Image, bool]:
    """Put an image on a white background; return whether it had transparent pixels."""
    from PIL import Image as pil

    if image.mode not in TRANSPARENT and "transparency" not in image.info:
        return image, False
    colors = image.convert("RGBA")
    if colors.getchannel("A").getextrema()[0] == 255:
        return image, False
    white = pil.new("RGBA", image.size, "white")
    white.alpha_composite(colors)
    return white.convert("RGB"), True


def _scaled(values: np.ndarray, scale: Scale, tally: ConversionCounts) -> tuple[np.ndarray, bool]:
    """Convert values (h, w) or (h, w, c) to uint8 (h, w) or (h, w, 3), on white if the last channel is opacity."""
    limits = scale.limits(values.dtype)
    if values.ndim == 2 or values.shape[-1] in (1, 3):
        pixels, opacity = tally.add(values, limits), None
    else:
        pixels = tally.add(values[..., :-1], limits)
        opacity = values[..., -1:].astype(np.float32) / full_range(values.dtype)[1]
    white = opacity is not None and bool((opacity < 1).any())
    if opacity is not None and white:
        pixels = np.rint(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels), white
