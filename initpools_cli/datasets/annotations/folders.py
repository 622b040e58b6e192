"""Reader of class folders: the label of an image is the name of its top-level folder."""

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
    """Return a row for each file, which is identified by its content.

    Parameters
    ----------
    by_pixels : bool
        Whether the checksums of the data set are of pixels (arrays), not of files.

    Raises
    ------
    UserError
        No sub-folder has a file.
    """
    if folder.resolve() == Path(folder.resolve().anchor):
        raise UserError(
            f"{folder} ({what}) is the root of the file system.", "Name a folder with one sub-folder per class.", folder
        )
    files = [file for file in sorted(folder.rglob("*")) if not file.is_dir() and not file.name.startswith(".")]
    rows, outside, labels = [], 0, _labels([file.relative_to(folder).parts[0] for file in files])
    for file in files:
        place = file.relative_to(folder)
        if len(place.parts) == 1:
            outside += 1
            continue
        name, label = Path(*place.parts[1:]).as_posix(), labels[place.parts[0]]
        if file.is_file() and file.stat().st_size > LARGEST:
            rows.append(Row(place.as_posix(), name, label=label, problem="is too large for an image"))
        elif file.is_file():
            rows.append(Row(place.as_posix(), name, label=label, sha256=_checksum(file, by_pixels)))
        else:
            rows.append(Row(place.as_posix(), name, label=label, problem="is a broken link"))
    if not rows:
        raise UserError(f"{folder} ({what}) has no folders with images.", "Create one folder per class in it.", folder)
    return rows, [f"{outside} files in {folder} are not in a class folder and are left out."] if outside else []


def _labels(folders: Sequence[str]) -> dict[str, str]:
    """Return the label of each folder: its name in Unicode form NFC, since macOS stores names in NFD."""
    nfc = {name: unicodedata.normalize("NFC", name) for name in folders}
    return nfc if len(set(nfc.values())) == len(nfc) else {name: name for name in nfc}


def _checksum(file: Path, by_pixels: bool) -> str:
    """Return the checksum as in items.csv; empty if the file is not an image."""
    if not by_pixels:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError):
        return ""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
