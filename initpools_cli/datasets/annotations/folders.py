"""A folder per class: every image that lies in one, at any depth, has its name as label."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import LARGEST
from initpools_cli.datasets.annotations.rows import Row


def read(folder: Path, what: str, *, by_pixels: bool) -> tuple[list[Row], list[str]]:
    """A row for each file, which is known again by its content, under whatever name.

    Parameters
    ----------
    by_pixels : bool
        The checksums of the data set are of pixels, not of files: it is made of arrays.

    Raises
    ------
    UserError
        No folder inside it has a file.
    """
    if folder.resolve() == Path(folder.resolve().anchor):
        raise UserError(f"{folder} ({what}) is the whole file system.", "Name the folder that has one for each class.")
    files = [file for file in sorted(folder.rglob("*")) if not file.is_dir() and not file.name.startswith(".")]
    rows, beside, labels = [], 0, _labels([file.relative_to(folder).parts[0] for file in files])
    for file in files:
        place = file.relative_to(folder)
        if len(place.parts) == 1:
            beside += 1
            continue
        name, label = Path(*place.parts[1:]).as_posix(), labels[place.parts[0]]
        if file.is_file() and file.stat().st_size > LARGEST:
            rows.append(Row(place.as_posix(), name, label=label, problem="is too large for an image"))
        elif file.is_file():
            rows.append(Row(place.as_posix(), name, label=label, sha256=_checksum(file, by_pixels)))
        else:
            rows.append(Row(place.as_posix(), name, label=label, problem="leads to no file"))
    if not rows:
        raise UserError(f"{folder} ({what}) has no folders with images.", "Make a folder for each class.")
    return rows, [f"{beside} files of {folder} lie in no class folder and are left out."] if beside else []


def _labels(folders: Sequence[str]) -> dict[str, str]:
    """The label of each folder: its name, with accents written as elsewhere, since macOS rewrites names of files."""
    composed = {name: unicodedata.normalize("NFC", name) for name in folders}
    return composed if len(set(composed.values())) == len(composed) else {name: name for name in composed}


def _checksum(file: Path, by_pixels: bool) -> str:
    """As in items.csv; empty for what is no image."""
    if not by_pixels:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError):
        return ""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
