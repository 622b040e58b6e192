"""Conversion of image arrays of any numeric type to uint8 on disk, in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.cache import in_blocks
from initpools_cli.datasets.scale import SAMPLE_IMAGES, ConversionCounts, Scale, conversion_of, sample_of


@dataclass(frozen=True)
class ArrayPixels:
    """Images (uint8) and conversions for ``items.csv`` by split, and notes for the user."""

    images: dict[str, np.ndarray]
    conversions: dict[str, str]
    notes: list[str]


def to_bytes(images: Mapping[str, np.ndarray], scale: Scale, seed: int, scratch: Path) -> ArrayPixels:
    """Convert images that are not uint8, with one range for all splits.

    Parameters
    ----------
    images : mapping of split to ndarray of shape (n, h, w, c)
        Of a boolean, integer or floating type, perhaps memory-mapped.
    scale : Scale
    seed : int
        The root seed; it draws the sample that the range is estimated from.
    scratch : Path
        An existing folder for the result; it must outlive it.

    Raises
    ------
    UserError
        The pixels don't fit on the disk, or no sampled value is finite.
    """
    deep = {split: array for split, array in images.items() if array.dtype != np.uint8}
    if not deep:
        note = f"dataset.scale = {scale.setting} has no effect: all images have 8 bits"
        return ArrayPixels(dict(images), {}, [] if scale.setting == "auto" else [note])
    require_disk(
        scratch.parent,
        sum(array.size for array in deep.values()),
        f"{sum(map(len, deep.values()))} images as 8 bits take",
        "Free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )
    # The range is estimated on train alone if possible, so that no information comes from test images.
    sources = [deep["train"]] if "train" in deep else list(deep.values())
    scale = scale.fitted([_sample(array, seed) for array in sources]) if scale.setting == "auto" else scale
    tally, pixels, conversions = ConversionCounts(), dict(images), {}
    for split, array in deep.items():
        limits = scale.limits(array.dtype)
        file = scratch / f"{split}-pixels"
        with place_errors(scratch.parent), file.open("wb") as stream:
            for block in in_blocks(array, np.arange(len(array))):
                for image in block:
                    stream.write(tally.add(image, limits).data)
        pixels[split] = np.memmap(file, np.uint8, "r", shape=array.shape) if array.size else array.astype(np.uint8)
        conversions[split] = conversion_of(array.dtype, limits)
    return ArrayPixels(pixels, conversions, tally.notes(scale, [array.dtype for array in deep.values()]))


def _sample(images: np.ndarray, seed: int) -> np.ndarray:
    rows = np.sort(generator(seed, "scale").permutation(len(images))[:SAMPLE_IMAGES])
    rng = generator(seed, "scale", "pixels")
    return np.concatenate([sample_of(images[row], rng) for row in rows])


def refuse_type(path: Path, key: str, dtype: np.dtype) -> None:
    """Raise an error if pixels are not numbers.

    Raises
    ------
    UserError
        A type other than boolean, integer and floating.
    """
    if dtype.kind not in "biuf":
        raise UserError(
            f"{key} in {path} has the type {dtype}, not a numeric one.",
            "Save pixels as integers or floats, best as uint8.",
            dtype,
        )
