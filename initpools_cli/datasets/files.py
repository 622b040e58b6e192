"""Data sets from folders of image files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.system_errors import no_permission
from initpools_cli.core.wording import counted, counted_are, named
from initpools_cli.datasets.arrays import in_column_order
from initpools_cli.datasets.cache import cache_folder, in_blocks, is_current, mark_current, read_cache, write_cache
from initpools_cli.datasets.classes import in_order
from initpools_cli.datasets.decode import decode_files, sampled
from initpools_cli.datasets.file_items import (
    OpenedFiles,
    Storage,
    class_numbers,
    groups_of,
    items_of,
    side_of,
    split_sizes,
)
from initpools_cli.datasets.headers import no_images_error, read_headers, skipped_notes
from initpools_cli.datasets.item_labels import class_names_of
from initpools_cli.datasets.kept_files import KeptFiles
from initpools_cli.datasets.new_images import append_images
from initpools_cli.datasets.raster import NO_IMAGE
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Files
from initpools_cli.datasets.spec import CONVERSION, SPLITS, DatasetSpec
from initpools_cli.datasets.splits import draw_test_rows
from initpools_cli.datasets.stored.shards import Root, nbytes_of

if TYPE_CHECKING:
    import pandas as pd


def open_files(source: Files, spec: DatasetSpec, scale: Scale, seed: int, work: Storage) -> OpenedFiles:
    """Read a folder for the first time.

    Parameters
    ----------
    source : Files
    spec : DatasetSpec
    scale : Scale
        From the setting.
    seed : int
        The root seed.
    work : Storage

    Raises
    ------
    UserError
        There are no images, or labels or groups are invalid.
    """
    all_paths, size = _paths_in(source), side_of(spec)
    files = KeptFiles(source.root)
    headers = read_headers(files, all_paths)
    if not headers.images:
        remedy = "Name a folder with image files in it or in its sub-folders."
        raise no_images_error(f"{source.root} contains no images", source.root, headers.skip_reasons, all_paths, remedy)
    images = list(headers.images)
    assignment = source.assign(images)
    rows = [row for row, split in enumerate(assignment.splits) if split]
    paths = [images[row] for row in rows]
    gray = [headers.images[path].gray for path in paths]
    channels = 1 if all(gray) else 3
    # The range is estimated on train alone if possible, so that no information comes from test images.
    deep = headers.deep([path for path, row in zip(paths, rows, strict=True) if assignment.splits[row] == "train"])
    scale = sampled(files, deep or headers.deep(paths), scale, seed)
    decoded_files = decode_files(files, paths, size, channels, scale, work.scratch, work.report)
    del files
    skip_reasons = headers.skip_reasons | {
        path: NO_IMAGE for path, good in zip(paths, decoded_files.good, strict=True) if not good
    }
    if not decoded_files.good.any():
        fact = f"No image in {source.root} can be read"
        raise no_images_error(fact, source.root, skip_reasons, all_paths, "Check the files.")
    good_rows = [row for row, good in zip(rows, decoded_files.good, strict=True) if good]
    paths = [path for path, good in zip(paths, decoded_files.good, strict=True) if good]
    splits = np.array([assignment.splits[row] for row in good_rows])
    names = [assignment.labels[row] for row in good_rows]
    classes = assignment.classes or in_order(name for name in names if name)
    labels = class_numbers(names, classes, multilabel=assignment.multilabel)
    group_notes: list[str] = []
    group_names = groups_of(source, spec.groups, paths, group_notes)
    if "test" not in splits:
        train = np.flatnonzero(splits == "train")
        of_train = None if group_names is None else [group_names[row] for row in train.tolist()]
        splits[train[draw_test_rows(labels[train], spec.test, seed, of_train)]] = "test"
    members = {split: np.flatnonzero(splits == split) for split in SPLITS if split in splits}
    items = items_of(members, paths, labels, classes, decoded_files, group_names)
    # A damaged color file must not turn the gray images that could be read into color images.
    all_gray = all(headers.images[path].gray for path in paths)
    pixels = decoded_files.pixels if all_gray is (channels == 1) else decoded_files.pixels[..., :1]
    counts = {split: len(indices) for split, indices in members.items()}
    folder = cache_folder(work.cache, items, size)
    arrays = read_cache(folder, counts)
    if arrays is None:
        arrays = write_cache(folder, {split: in_blocks(pixels, indices) for split, indices in members.items()}, counts)
    notes = assignment.notes + group_notes + decoded_files.notes + skipped_notes(skip_reasons, all_paths)
    return OpenedFiles(items, classes, arrays, notes, scale, assignment.multilabel)


def reopen_files(
    source: Files, spec: DatasetSpec, scale: Scale, seed: int, stored_items: pd.DataFrame, work: Storage
) -> OpenedFiles:
    """Read the folder of an existing run: known rows stay, new images are appended.

    Parameters
    ----------
    source : Files
    spec : DatasetSpec
        With a long tail, which was drawn from the known images, new images are an error.
    scale : Scale
        With the ranges of the known images.
    seed : int
        The root seed.
    stored_items : DataFrame
        The stored items.
    work : Storage

    Raises
    ------
    UserError
        A file has changed, or a new image has an invalid label or color.
    """
    all_paths, size = _paths_in(source), side_of(spec)
    before = set(stored_items["path"])
    missing = sorted(before - set(all_paths), key=os.fsencode)
    _refuse_changed(source.root, stored_items, set(missing))
    headers = read_headers(source.root, [path for path in all_paths if path not in before])
    folder = cache_folder(work.cache, stored_items, size)
    arrays = read_cache(folder, split_sizes(stored_items))
    notes = (
        [f"{counted_are(missing, 'file')} missing in {source.root}; cached pixels are used: {named(missing)}"]
        if missing
        else []
    )
    items = stored_items
    if arrays is None or (
        not missing and not is_current(folder) and _read_differently_before(source.root, stored_items)
    ):
        again = _decode_again(source.root, size, scale, seed, stored_items, missing, work)
        items, arrays, scale = again.items, again.arrays, again.scale
        notes += again.notes
    if not missing:
        mark_current(cache_folder(work.cache, items, size))
    classes = class_names_of(items)
    skip_reasons = headers.skip_reasons
    if headers.images:
        new, left_out = append_images(source, spec, scale, seed, items, headers, arrays, work)
        items, classes, arrays, scale = new.items, new.classes, new.arrays, new.scale
        notes += new.notes
        skip_reasons = skip_reasons | dict.fromkeys(set(headers.images) - set(items["path"]) - set(left_out), NO_IMAGE)
    return OpenedFiles(items, classes, arrays, notes + skipped_notes(skip_reasons, all_paths), scale)


def _paths_in(source: Files) -> list[str]:
    if source.paths is not None:
        return list(source.paths)
    assert isinstance(source.root, Path), "shards list their images"
    return list_files(source.root, source.folders)


def list_files(root: Path, folders: Sequence[str] = ()) -> list[str]:
    """List all files below a folder, or some of its folders, as POSIX relative paths sorted by bytes.

    Hidden files are left out. Links to folders are followed, and each folder is read once, even in a loop of links.
    """
    files: list[str] = []
    inodes: set[tuple[int, int]] = set()
    pending = [(root / name, f"{name}/") for name in folders] or [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in inodes:
            continue
        inodes.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except PermissionError:
            raise no_permission(folder) from None
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        files += [prefix + entry.name for entry in visible if _is(entry.is_file)]
        # Real folders are read before links to folders: the last one on the stack is read first.
        below = sorted((entry for entry in visible if _is(entry.is_dir)), key=lambda entry: not entry.is_symlink())
        pending += [(Path(entry.path), f"{prefix}{entry.name}/") for entry in below]
    return sorted(files, key=os.fsencode)


def _is(check: Callable[[], bool]) -> bool:
    """Whether a directory entry is a file or a folder; False for a link that can't be followed."""
    try:
        return check()
    except OSError:
        return False


def _decode_again(
    root: Root, size: int, scale: Scale, seed: int, stored_items: pd.DataFrame, missing: list[str], work: Storage
) -> OpenedFiles:
    """Decode known items again: their cache is missing, or an older version read some of them differently."""
    if missing:
        raise UserError(
            f"{counted_are(missing, 'file')} missing in {root}, and there are no cached pixels: {named(missing)}.",
            "Restore the files, or start another run with --run DIR.",
            named(missing),
        )
    paths, files = list(stored_items["path"]), KeptFiles(root)
    headers = read_headers(files, paths)
    train = headers.deep(
        [path for path in stored_items.loc[stored_items["split"] == "train", "path"] if path in headers.images]
    )
    scale = sampled(files, train or headers.deep(list(headers.images)), scale, seed)
    channels = 1 if all(header.gray for header in headers.images.values()) else 3
    decoded_files = decode_files(files, paths, size, channels, scale, work.scratch, work.report)
    checksums = iter(decoded_files.sha256)
    changed_paths = [
        path
        for path, good, sha in zip(paths, decoded_files.good, stored_items["sha256"], strict=True)
        if not good or next(checksums) != sha
    ]
    if changed_paths:
        reasons = skipped_notes(headers.skip_reasons, paths)
        raise UserError(
            f"{counted(changed_paths, 'file')} changed since this run was started: {named(changed_paths)}."
            + (f" {'; '.join(reasons)}." if reasons else ""),
            "Restore the files, or start another run with --run DIR.",
            named(changed_paths),
        )
    before = list(stored_items[CONVERSION]) if CONVERSION in stored_items else [""] * len(stored_items)
    differing = [path for path, old, new in zip(paths, before, decoded_files.conversions, strict=True) if old != new]
    notes = []
    if differing:
        stored_items = in_column_order(stored_items.assign(**{CONVERSION: decoded_files.conversions}))
        notes = [
            *decoded_files.notes,
            f"An older version, which started this run, read {counted(differing, 'image')} differently: steps that use "
            "them are stale, and encoders were trained on other pixels",
        ]
    blocks = {
        split: in_blocks(decoded_files.pixels, np.flatnonzero(stored_items["split"] == split))
        for split in split_sizes(stored_items)
    }
    arrays = write_cache(cache_folder(work.cache, stored_items, size), blocks, split_sizes(stored_items))
    return OpenedFiles(stored_items, class_names_of(stored_items), arrays, notes, scale)


def _read_differently_before(root: Root, stored_items: pd.DataFrame) -> bool:
    """Whether an older version may have read some images differently: deep or transparent ones."""
    headers = read_headers(root, list(stored_items["path"]))
    return not all(header.exact for header in headers.images.values())


def _refuse_changed(root: Root, stored_items: pd.DataFrame, missing: set[str]) -> None:
    for path, nbytes in zip(stored_items["path"], stored_items["bytes"], strict=True):
        if path not in missing and (now := nbytes_of(root / path)) != nbytes:
            raise UserError(
                f"{root / path} has changed since this run was started: it had {nbytes} bytes and has {now}.",
                "Restore the file, or start another run with --run DIR.",
                root / path,
            )
