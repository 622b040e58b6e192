"""Find shards of images in files, folders and patterns, and the split of each by its name."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.splits import SPLIT_NAMES

SUFFIXES = (".parquet", ".tar")
#: Files of a folder that are looked at to see whether it has shards.
FIRST_FILES = 16
#: ``name-{000000..000009}.tar``, as WebDataset writes it.
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern of shards, with ``*``, ``?``, ``[...]`` or ``{000..009}``."""
    return path.suffix.lower() in SUFFIXES and re.search(r"[*?\[]|\{\d+\.\.\d+\}", path.name) is not None


def find_shards(path: Path) -> list[Path]:
    """Return the shards of a file, a folder or a pattern, in the order of their names; none for other data sets.

    A folder with image files in it is a folder of images, whatever else it has.

    Raises
    ------
    UserError
        A pattern matches no file, a range lacks some of its files, or a folder has shards of both kinds.
    """
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    return _matching(path) if is_pattern(path) else []


def exists(path: Path) -> bool:
    """Whether there is a file or folder at a path, or one that a pattern matches."""
    return path.exists() or (is_pattern(path) and any(file.is_file() for file in _expanded(path)))


def split_of(name: str) -> str:
    """Return the split that the name of a shard says, or a folder above it; "" if none does."""
    for part in reversed(name.split("/")):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return ""


def _matching(path: Path) -> list[Path]:
    files = _expanded(path)
    missing = [file for file in files if not file.is_file()]
    if not files or missing:
        fact = f"{missing[0]} of {path} is missing" if missing else f"No file matches {path}"
        raise UserError(f"{fact}.", "Check the pattern, and quote it so that the shell leaves it alone.", path)
    return files


def _expanded(path: Path) -> list[Path]:
    """Return the files of a pattern; those of a range need not exist."""
    files: dict[Path, None] = {}
    for name in _ranges(path.name):
        matches = path.parent.glob(name) if re.search(r"[*?\[]", name) else [path.parent / name]
        files |= dict.fromkeys(sorted(matches, key=os.fsencode))
    return list(files)


def _ranges(name: str) -> Iterator[str]:
    """Yield the names that a range stands for."""
    match = RANGE.search(name)
    if match is None:
        yield name
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _ranges(f"{name[: match.start()]}{number:0{len(first)}}{name[match.end() :]}")


def _in_folder(folder: Path) -> list[Path]:
    from initpools_cli.datasets.files import list_files

    if not _seems_stored(folder):
        return []
    names = list_files(folder)
    kinds = {suffix: [name for name in names if name.lower().endswith(suffix)] for suffix in SUFFIXES}
    if any(_is_image(name) for name in names):
        return []
    if all(kinds.values()):
        raise UserError(
            f"{folder} has both .parquet and .tar files.",
            f"Name those to read: --dataset '{folder}/*.parquet' or '{folder}/*.tar'.",
            folder,
        )
    return [folder / name for name in itertools.chain(*kinds.values())]


def _seems_stored(folder: Path) -> bool:
    """Whether a folder has a shard, or one in it among its first files: there may be millions of images."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError:
        # `list_files` reports it.
        return False
    if any(_is_shard(entry.name) for entry in visible):
        return True
    return any(_starts_with_shards(entry.path) for entry in visible if _is_folder(entry))


def _starts_with_shards(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(_is_shard(entry.name) for entry in itertools.islice(entries, FIRST_FILES))
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_shard(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_image(name: str) -> bool:
    return name.lower().endswith(image_suffixes())


@cache
def image_suffixes() -> tuple[str, ...]:
    """Return the endings of image files."""
    from PIL import Image

    from initpools_cli.datasets.dicom import SUFFIXES as DICOM

    # Pillow also registers films, documents and tables.
    others = {".mpg", ".mpeg", ".pdf", ".ps", ".eps", ".h5", ".hdf", ".grib", ".bufr"}
    return (*sorted(set(Image.registered_extensions()) - others), ".heic", ".heif", ".avif", *DICOM)


def folder_of(path: Path, shards: Sequence[Path]) -> Path:
    """Return the folder that the names of shards are relative to."""
    return path if path.is_dir() else shards[0].parent
