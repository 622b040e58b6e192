"""Decoding of image files to pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.cpu import available_cores
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.kept_files import Images
from initpools_cli.datasets.raster import read_raster
from initpools_cli.datasets.scale import SAMPLE_IMAGES, Scale, sample_of
from initpools_cli.datasets.stored.shards import OriginalFile
from initpools_cli.datasets.to_uint8 import Facts, eight_bits, notes_of

if TYPE_CHECKING:
    from PIL.Image import Image

#: Files submitted to the threads at a time.
CHUNK = 256


@dataclass(frozen=True)
class DecodedFiles:
    """DecodedFiles image files.

    Attributes
    ----------
    pixels : ndarray of shape (n_good, size, size, c), uint8
        Memory-mapped.
    good : ndarray of shape (n,), bool
        Which of the files could be decoded.
    nbytes : list of int
    sha256 : list of str
        Checksums of the files that could be decoded.
    conversions : list of str
        Conversions of these for ``items.csv``; see `Facts`.
    notes : list of str
        Notes for the user.
    """

    pixels: np.ndarray
    good: np.ndarray
    nbytes: list[int]
    sha256: list[str]
    conversions: list[str]
    notes: list[str]


def decode_files(
    root: Images, paths: Sequence[str], size: int, channels: int, scale: Scale, scratch: Path, report: Reporter
) -> DecodedFiles:
    """Decode files in threads.

    Parameters
    ----------
    root : Path, Shards or KeptFiles
        The folder that `paths` are relative to.
    paths : sequence of str
    size : int
        Side of the result in pixels.
    channels : int
        1 or 3.
    scale : Scale
        The range of values with more than 8 bits.
    scratch : Path
        An existing folder for the pixels; it must outlive them.

    Raises
    ------
    UserError
        The pixels don't fit on the disk.
    """
    # Twice: the cached arrays are written while these pixels exist.
    require_disk(
        scratch.parent,
        2 * len(paths) * size * size * channels,
        f"{len(paths)} images of {size} x {size} pixels take",
        "Set a smaller dataset.size, free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )
    good = np.zeros(len(paths), dtype=bool)
    nbytes: list[int] = []
    sha256: list[str] = []
    facts: list[Facts] = []
    raw = scratch / f"pixels-{len(list(scratch.iterdir()))}"
    with (
        place_errors(scratch.parent),
        raw.open("wb") as stream,
        report.progress("reading images", len(paths), "images") as bar,
        ThreadPoolExecutor(min(8, available_cores())) as pool,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for start in range(0, len(paths), CHUNK):
            files = [root / path for path in paths[start : start + CHUNK]]
            results = pool.map(partial(_decode, size=size, channels=channels, scale=scale), files)
            for row, result in enumerate(results, start):
                bar.advance()
                if result is not None:
                    pixels, n, checksum, fact = result
                    good[row] = True
                    stream.write(pixels.data)
                    nbytes.append(n)
                    sha256.append(checksum)
                    facts.append(fact)
    shape = (len(sha256), size, size, channels)
    pixels = np.memmap(raw, np.uint8, "r", shape=shape) if sha256 else np.empty(shape, np.uint8)
    notes = notes_of([path for path, ok in zip(paths, good, strict=True) if ok], facts, scale)
    return DecodedFiles(pixels, good, nbytes, sha256, [each.conversion for each in facts], notes)


def sampled(root: Images, kinds: Mapping[str, str], scale: Scale, seed: int) -> Scale:
    """Return the scale with a range for each kind of value deeper than 8 bits, from a seeded sample of the files.

    Parameters
    ----------
    root : Path, Shards or KeptFiles
    kinds : mapping of path to str
        By relative path, the kind of value: "integer" or "float".
    scale : Scale
    seed : int
        The root seed.

    Raises
    ------
    UserError
        No sampled value is finite.
    """
    sample_paths: list[str] = []
    for kind in scale.misses(sorted(set(kinds.values()))):
        paths = [path for path in kinds if kinds[path] == kind]
        rows = generator(seed, "scale", kind).permutation(len(paths))[:SAMPLE_IMAGES]
        sample_paths += [paths[row] for row in sorted(rows)]

    def sample(path: str) -> np.ndarray | None:
        file = root / path
        try:
            values = read_raster(file.name, file.read_bytes()).values
        # Files that can't be read are counted when they are decoded.
        except Exception:
            return None
        return None if values is None else sample_of(values, generator(seed, "scale", path))

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, available_cores())) as pool:
        warnings.simplefilter("ignore")
        samples = [values for values in pool.map(sample, sample_paths) if values is not None]
    return scale.fitted(samples)


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side of an image (h, w, c) and crop the center: (size, size, c)."""
    from PIL import Image

    gray = image.shape[-1] == 1
    return _as_array(_square(Image.fromarray(image[..., 0] if gray else image), size))


def read_image(file: OriginalFile, scale: Scale, draft: int = 0) -> Image:
    """Read an original image at its own size, upright, as 8-bit RGB, with the scale of training.

    Parameters
    ----------
    file : Path or StoredImage
    scale : Scale
    draft : int
        A sufficient side of large JPEG files; see `read_raster`.

    Raises
    ------
    UserError
        The file no longer exists, or can't be decoded.
    """
    try:
        return eight_bits(read_raster(file.name, file.read_bytes(), draft), 3, scale)[0]
    except Exception as error:
        raise UserError(
            f"The image {file} can't be read: {error}.", "Restore the file, or start another run with --run DIR.", file
        ) from None


def _decode(file: OriginalFile, size: int, channels: int, scale: Scale) -> tuple[np.ndarray, int, str, Facts] | None:
    try:
        content = file.read_bytes()
        image, facts = eight_bits(read_raster(file.name, content, draft=size), channels, scale)
        return _as_array(_square(image, size)), len(content), hashlib.sha256(content).hexdigest(), facts
    # Decoders can raise almost any exception for damaged files.
    except Exception:
        return None


def _square(image: Image, size: int) -> Image:
    from PIL import Image as pil

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), pil.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _as_array(image: Image) -> np.ndarray:
    array = np.asarray(image)
    return np.ascontiguousarray(array[..., None] if array.ndim == 2 else array)
