"""Data sets that come as a folder of image files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.report import Report
from initpools_cli.datasets.arrays import table_of
from initpools_cli.datasets.cache import cache_folder, in_blocks, read_cache, write_cache
from initpools_cli.datasets.decode import decode_files, is_gray
from initpools_cli.datasets.labels import counted, in_order, named
from initpools_cli.datasets.sources import Files
from initpools_cli.datasets.spec import COLUMNS, SPLITS
from initpools_cli.datasets.splits import held_out

if TYPE_CHECKING:
    import pandas as pd

#: Side of the images of a folder where none is asked for, pixels.
DEFAULT_SIZE = 64


@dataclass(frozen=True)
class Storage:
    """Where opening a folder keeps its arrays, does its unfinished work, and speaks."""

    cache: Path
    scratch: Path
    report: Report


@dataclass(frozen=True)
class OpenedFiles:
    """Items, class names, memory-mapped arrays by split, and notes."""

    items: pd.DataFrame
    classes: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    notes: list[str]


def open_files(source: Files, size: int, test: float, seed: int, work: Storage) -> OpenedFiles:
    """Read a folder for the first time.

    Parameters
    ----------
    source : Files
    size : int
        Side of the cached images in pixels.
    test : float
        Share held out where train is labelled and there is no test.
    seed : int
        The root seed.

    Raises
    ------
    UserError
        No images, or labels that don't fit.
    """
    gray, skipped = _headers(source.root, list_files(source.root, source.folders))
    if not gray:
        raise UserError(
            f"{source.root} holds no images" + (f"; {_skipped(skipped)}." if skipped else "."),
            "Name a folder with image files in it or below it.",
        )
    assigned = source.assign(list(gray))
    rows = [row for row, split in enumerate(assigned.splits) if split]
    paths = [list(gray)[row] for row in rows]
    channels = 1 if all(gray[path] for path in paths) else 3
    decoded = decode_files(source.root, paths, size, channels, work.scratch, work.report)
    skipped = sorted(
        [*skipped, *(path for path, good in zip(paths, decoded.good, strict=True) if not good)], key=os.fsencode
    )
    if not decoded.good.any():
        raise UserError(f"No image of {source.root} can be read; {_skipped(skipped)}.", "Check the files.")
    kept = [row for row, good in zip(rows, decoded.good, strict=True) if good]
    paths = [path for path, good in zip(paths, decoded.good, strict=True) if good]
    splits = np.array([assigned.splits[row] for row in kept])
    names = [assigned.labels[row] for row in kept]
    classes = assigned.classes or in_order(name for name in names if name)
    labels = _numbers(names, classes)
    if "test" not in splits and (labels[splits == "train"] >= 0).all() and "train" in splits:
        train = np.flatnonzero(splits == "train")
        splits[train[held_out(labels[train], test, seed)]] = "test"
    members = {split: np.flatnonzero(splits == split) for split in SPLITS if split in splits}
    items = _items(members, paths, names, labels, decoded.nbytes, decoded.sha256)
    # A broken file in colour must not make colour images of all the gray ones that could be read.
    pixels = decoded.pixels if all(gray[path] for path in paths) is (channels == 1) else decoded.pixels[..., :1]
    counts = {split: len(chosen) for split, chosen in members.items()}
    folder = cache_folder(work.cache, items, size)
    arrays = read_cache(folder, counts)
    if arrays is None:
        arrays = write_cache(folder, {split: in_blocks(pixels, chosen) for split, chosen in members.items()}, counts)
    return OpenedFiles(items, classes, arrays, assigned.notes + ([_skipped(skipped)] if skipped else []))


def reopen_files(source: Files, size: int, known: pd.DataFrame, fixed: bool, work: Storage) -> OpenedFiles:
    """Read a folder whose items were fixed before: their rows stay, new images go to the end.

    Parameters
    ----------
    source : Files
    size : int
        Side of the cached images in pixels.
    known : DataFrame
        The items as they were stored.
    fixed : bool
        Whether new images must not join, because a long tail was drawn from the known ones.

    Raises
    ------
    UserError
        A file has changed, or a new image doesn't fit.
    """
    listed = list_files(source.root, source.folders)
    before = set(known["path"])
    vanished = sorted(before - set(listed), key=os.fsencode)
    _refuse_changed(source.root, known, set(vanished))
    gray, skipped = _headers(source.root, [path for path in listed if path not in before])
    counts = _counts(known)
    arrays = read_cache(cache_folder(work.cache, known, size), counts)
    if arrays is None:
        arrays = _decode_again(source.root, size, known, vanished, work)
    notes = (
        [f"{_number(vanished, 'file')} gone from {source.root}; the cached pixels are used: {named(vanished)}"]
        if vanished
        else []
    )
    classes = classes_of(known)
    items = known
    if gray:
        new = _join(source, size, known, gray, arrays, fixed, work)
        items, classes, arrays = new.items, new.classes, new.arrays
        notes += new.notes
        skipped = sorted([*skipped, *(set(gray) - set(items["path"]) - set(new.left_out))], key=os.fsencode)
    return OpenedFiles(items, classes, arrays, notes + ([_skipped(skipped)] if skipped else []))


def list_files(root: Path, folders: Sequence[str] = ()) -> list[str]:
    """All files below a folder (or some of its folders) as POSIX relative paths, sorted by their bytes; no hidden ones.

    Links to folders are followed; a folder that can be reached twice is read once, so that a loop of links ends.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [(root / name, f"{name}/") for name in folders] or [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except PermissionError:
            raise UserError(
                f"The folder {folder} can't be read: permission denied.", "Change its permissions, or move it away."
            ) from None
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        found += [prefix + entry.name for entry in shown if _leads_to(entry.is_file)]
        # Real folders before links to folders: the last that is put on the pile is read first.
        below = sorted((entry for entry in shown if _leads_to(entry.is_dir)), key=lambda entry: not entry.is_symlink())
        waiting += [(Path(entry.path), f"{prefix}{entry.name}/") for entry in below]
    return sorted(found, key=os.fsencode)


def _leads_to(kind: Callable[[], bool]) -> bool:
    """What an entry is; a link that leads to itself or through a closed folder is nothing."""
    try:
        return kind()
    except OSError:
        return False


def classes_of(items: pd.DataFrame) -> tuple[str, ...]:
    """Class names by class number, as the items tell them."""
    labelled = items[items["label"].notna()].drop_duplicates("label")
    names = {int(label): str(name) for label, name in zip(labelled["label"], labelled["class"], strict=True)}
    return tuple(names.get(c, str(c)) for c in range(max(names, default=-1) + 1))


@dataclass(frozen=True)
class _Joined:
    items: pd.DataFrame
    classes: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    left_out: list[str]
    notes: list[str]


def _join(
    source: Files,
    size: int,
    known: pd.DataFrame,
    gray: Mapping[str, bool],
    arrays: dict[str, np.ndarray],
    fixed: bool,
    work: Storage,
) -> _Joined:
    """New images at the end of their splits."""
    import pandas as pd

    everything = sorted({*known["path"], *gray}, key=os.fsencode)
    assigned = source.assign(everything)
    facts = dict(zip(everything, zip(assigned.splits, assigned.labels, strict=True), strict=True))
    paths = [path for path in gray if facts[path][0]]
    left_out = [path for path in gray if not facts[path][0]]
    channels = arrays["train"].shape[-1]
    decoded = decode_files(source.root, paths, size, channels, work.scratch, work.report)
    paths = [path for path, good in zip(paths, decoded.good, strict=True) if good]
    notes = [f"Left out {counted(left_out, 'image')} outside the splits: {named(left_out)}"] if left_out else []
    if not paths:
        return _Joined(known, classes_of(known), arrays, left_out, notes)
    if fixed:
        raise UserError(
            f"{_number(paths, 'new image')} in {source.root}, but this run's long tail is fixed: {named(paths)}.",
            "Move the new images away, or begin another run with --run DIR.",
        )
    colored = [path for path in paths if not gray[path]]
    if channels == 1 and colored:
        raise UserError(
            f"{_number(colored, 'new image')} in colour, but all images of this run are gray: {named(colored)}.",
            "Move the new images away, or begin another run with --run DIR.",
        )
    # A split that did not exist when the run began can't appear in the middle of it.
    splits = np.array([facts[path][0] if facts[path][0] in arrays else "train" for path in paths])
    labelled = {split for split in arrays if known.loc[known["split"] == split, "label"].notna().all()}
    names = [facts[path][1] if split in labelled else "" for path, split in zip(paths, splits, strict=True)]
    unlabelled = [
        path for path, split, name in zip(paths, splits, names, strict=True) if split in labelled and not name
    ]
    if unlabelled:
        raise UserError(
            f"{_number(unlabelled, 'new image')} without a label: {named(unlabelled)}.",
            "Label them, or move them away.",
        )
    classes = classes_of(known)
    classes += in_order({name for name in names if name} - set(classes))
    members = {split: np.flatnonzero(splits == split) for split in SPLITS if split in arrays}
    fresh = _items(members, paths, names, _numbers(names, classes), decoded.nbytes, decoded.sha256)
    parts = []
    for split in members:
        old, new = known[known["split"] == split], fresh[fresh["split"] == split]
        parts += [old, new.assign(index=new["index"] + len(old))]
    items = pd.concat([part for part in parts if len(part)], ignore_index=True)
    blocks: dict[str, Iterator[np.ndarray]] = {
        split: itertools.chain(
            in_blocks(arrays[split], np.arange(len(arrays[split]))), in_blocks(decoded.pixels, chosen)
        )
        for split, chosen in members.items()
    }
    arrays = write_cache(cache_folder(work.cache, items, size), blocks, _counts(items))
    return _Joined(
        items,
        classes,
        arrays,
        left_out,
        [*notes, f"{counted(paths, 'new image')} appended: {named(paths)}"],
    )


def _decode_again(
    root: Path, size: int, known: pd.DataFrame, vanished: list[str], work: Storage
) -> dict[str, np.ndarray]:
    """The arrays of known items whose cache is gone."""
    if vanished:
        raise UserError(
            f"{_number(vanished, 'file')} gone from {root}, and so are the cached pixels: {named(vanished)}.",
            "Put the files back, or begin another run with --run DIR.",
        )
    paths = list(known["path"])
    gray, _ = _headers(root, paths)
    decoded = decode_files(root, paths, size, 1 if all(gray.values()) else 3, work.scratch, work.report)
    checksums = iter(decoded.sha256)
    changed = [
        path
        for path, good, sha in zip(paths, decoded.good, known["sha256"], strict=True)
        if not good or next(checksums) != sha
    ]
    if changed:
        raise UserError(
            f"{counted(changed, 'file')} changed since this run began: {named(changed)}.",
            "Put the files back as they were, or begin another run with --run DIR.",
        )
    blocks = {split: in_blocks(decoded.pixels, np.flatnonzero(known["split"] == split)) for split in _counts(known)}
    return write_cache(cache_folder(work.cache, known, size), blocks, _counts(known))


def _refuse_changed(root: Path, known: pd.DataFrame, vanished: set[str]) -> None:
    for path, nbytes in zip(known["path"], known["bytes"], strict=True):
        if path not in vanished and (now := (root / path).stat().st_size) != nbytes:
            raise UserError(
                f"{root / path} has changed since this run began: it had {nbytes} bytes and has {now}.",
                "Put the file back as it was, or begin another run with --run DIR.",
            )


def _headers(root: Path, paths: Sequence[str]) -> tuple[dict[str, bool], list[str]]:
    """The images among the files, with whether they are gray; and the other files."""
    gray: dict[str, bool] = {}
    skipped: list[str] = []
    for path in paths:
        found = is_gray(root / path) if _survives_a_table(path) else None
        if found is None:
            skipped.append(path)
        else:
            gray[path] = found
    return gray, skipped


def _survives_a_table(path: str) -> bool:
    """Whether a CSV file gives the name back: not without valid UTF-8, nor with a lone carriage return."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\r" not in path


def _items(
    members: Mapping[str, np.ndarray],
    paths: Sequence[str],
    names: Sequence[str],
    labels: np.ndarray,
    nbytes: Sequence[int],
    sha256: Sequence[str],
) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    for split, rows in members.items():
        for index, row in enumerate(rows):
            label = pd.NA if labels[row] < 0 else int(labels[row])
            values = (index, paths[row], split, label, names[row], nbytes[row], sha256[row])
            for column, value in zip(COLUMNS, values, strict=True):
                columns[column].append(value)
    return table_of(columns)


def _numbers(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Class numbers (n,) int64; -1 for the empty name."""
    number = {name: c for c, name in enumerate(classes)}
    return np.array([number[name] if name else -1 for name in names], dtype=np.int64)


def _counts(items: pd.DataFrame) -> dict[str, int]:
    sizes = items["split"].value_counts()
    return {split: int(sizes[split]) for split in SPLITS if split in sizes}


def _number(paths: Sequence[str], noun: str) -> str:
    return f"{counted(paths, noun)} {'is' if len(paths) == 1 else 'are'}"


def _skipped(paths: Sequence[str]) -> str:
    shown = [path.replace("\r", "\\r").encode(errors="backslashreplace").decode() for path in paths]
    said = "is not a readable image and was" if len(paths) == 1 else "are not readable images and were"
    return f"{counted(paths, 'file')} {said} skipped: {named(shown)}"
