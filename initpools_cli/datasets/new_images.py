"""Append new images of a folder to the splits of its run."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.wording import counted, counted_are, named
from initpools_cli.datasets.arrays import in_column_order
from initpools_cli.datasets.cache import cache_folder, in_blocks, write_cache
from initpools_cli.datasets.classes import KnownClasses, in_order, meanings
from initpools_cli.datasets.decode import DecodedFiles, decode_files, sampled
from initpools_cli.datasets.file_items import (
    OpenedFiles,
    Storage,
    class_numbers,
    groups_of,
    items_of,
    side_of,
    split_sizes,
)
from initpools_cli.datasets.headers import Headers
from initpools_cli.datasets.item_labels import class_names_of
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Assignment, Files
from initpools_cli.datasets.spec import CONVERSION, GROUP, SPLITS, DatasetSpec
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd


def append_images(
    source: Files,
    spec: DatasetSpec,
    scale: Scale,
    seed: int,
    stored_items: pd.DataFrame,
    headers: Headers,
    arrays: dict[str, np.ndarray],
    work: Storage,
) -> tuple[OpenedFiles, list[str]]:
    """Append new images to their splits; return the folder with them, and the images outside its splits.

    Parameters
    ----------
    source, spec, scale, seed, stored_items, work
        See `files.reopen_files`.
    headers : Headers
        Of the new images.
    arrays : dict of str to ndarray
        Pixels of the known images by split.

    Raises
    ------
    UserError
        The run can't be extended, or a new image has an invalid label or color.
    """
    size = side_of(spec)
    everything = sorted({*stored_items["path"], *headers.images}, key=os.fsencode)
    assignment = source.assign(everything)
    split_of = dict(zip(everything, assignment.splits, strict=True))
    paths = [path for path in headers.images if split_of[path]]
    left_out = [path for path in headers.images if not split_of[path]]
    notes = [f"Left out {counted(left_out, 'image')} outside the splits: {named(left_out)}"] if left_out else []
    channels = arrays["train"].shape[-1]
    scale = sampled(source.root, headers.deep(paths), scale, seed)
    decoded_files = decode_files(source.root, paths, size, channels, scale, work.scratch, work.report)
    paths = [path for path, good in zip(paths, decoded_files.good, strict=True) if good]
    if not paths:
        classes = assignment.classes or class_names_of(stored_items)
        return OpenedFiles(stored_items, classes, arrays, notes, scale), left_out
    in_color = [path for path in paths if channels == 1 and not headers.images[path].gray]
    _refuse(source.root, paths, spec.imbalance != "none", in_color)
    group_names = _new_groups(source, spec.groups, everything, paths, notes) if GROUP in stored_items else None
    # A run can't get a new split: such images go to train.
    splits = [split_of[path] if split_of[path] in arrays else "train" for path in paths]
    if group_names is not None and "test" not in assignment.splits:
        splits = _in_groups(splits, group_names, stored_items)
    label_of = dict(zip(everything, assignment.labels, strict=True))
    names = _new_labels(paths, splits, [label_of[path] for path in paths], stored_items)
    names, classes = _in_classes(names, stored_items, assignment, source.root)
    members = {split: np.flatnonzero(np.array(splits) == split) for split in SPLITS if split in arrays}
    numbers = class_numbers(names, classes, multilabel=assignment.multilabel)
    items = _behind(stored_items, items_of(members, paths, numbers, classes, decoded_files, group_names))
    arrays = write_cache(
        cache_folder(work.cache, items, size), _blocks(arrays, decoded_files, members), split_sizes(items)
    )
    notes += [*decoded_files.notes, f"{counted(paths, 'new image')} appended: {named(paths)}"]
    return OpenedFiles(items, classes, arrays, notes, scale), left_out


def _refuse(root: Root, paths: Sequence[str], fixed: bool, in_color: Sequence[str]) -> None:
    """Refuse new images if the run has a long tail, or if they are in color and all others are gray."""
    remedy = "Move the new images away, or start another run with --run DIR."
    if fixed:
        raise UserError(
            f"{counted_are(paths, 'new image')} in {root}, but the long tail of this run can't be extended: "
            f"{named(paths)}.",
            remedy,
            root,
        )
    if in_color:
        raise UserError(
            f"{counted_are(in_color, 'new image')} in color, but all images of this run are gray: {named(in_color)}.",
            remedy,
            named(in_color),
        )


def _new_groups(
    source: Files, groups: str, everything: Sequence[str], paths: Sequence[str], notes: list[str]
) -> list[str]:
    """Return the groups of new images, which are read with those of all images, and add a note on those without."""
    names = dict(zip(everything, groups_of(source, groups, everything, []) or everything, strict=True))
    alone = [path for path in paths if names[path] == path]
    if alone:
        notes.append(f"{counted_are(alone, 'new image')} without a group in {groups}: {named(alone)}")
    return [names[path] for path in paths]


def _in_groups(splits: Sequence[str], groups: Sequence[str], stored_items: pd.DataFrame) -> list[str]:
    """Return the split of each new image where the test split was drawn: that of its group, if it is known."""
    split_of = dict(zip(stored_items[GROUP], stored_items["split"], strict=True))
    return [split_of.get(name, split) for name, split in zip(groups, splits, strict=True)]


def _new_labels(
    paths: Sequence[str], splits: Sequence[str], labels: Sequence[str], stored_items: pd.DataFrame
) -> list[str]:
    """Return the labels of new images, "" in splits without labels.

    Raises
    ------
    UserError
        An image has no label, but all known ones of its split have one.
    """
    has_label = {split: stored_items.loc[stored_items["split"] == split, "label"].notna() for split in {*splits}}
    unlabeled = [
        path
        for path, split, label in zip(paths, splits, labels, strict=True)
        if not label and has_label[split].all() and (GROUP not in stored_items or split == "train")
    ]
    if unlabeled:
        raise UserError(
            f"{counted_are(unlabeled, 'new image')} without a label: {named(unlabeled)}.",
            "Label them, or move them away.",
            named(unlabeled),
        )
    return [label if has_label[split].any() else "" for split, label in zip(splits, labels, strict=True)]


def _in_classes(
    names: list[str], stored_items: pd.DataFrame, assignment: Assignment, root: Root
) -> tuple[list[str], tuple[str, ...]]:
    """Return the labels of new images by the classes of a run, and its classes with those that are new."""
    if assignment.multilabel:
        # Its classes are fixed by the run.
        return names, assignment.classes
    classes = assignment.classes or class_names_of(stored_items)
    means = meanings(
        Counter(name for name in names if name),
        KnownClasses(classes, fixed=False, origin="a class of this run"),
        what=f"The new images of {root}",
        remedy="Write the class as in this run, or start another run with --run DIR.",
    ).of
    names = [means[name] or "" if name else "" for name in names]
    return names, classes + in_order({name for name in names if name} - set(classes))


def _behind(stored_items: pd.DataFrame, new_items: pd.DataFrame) -> pd.DataFrame:
    """Return the items of both, those of each split together and the new ones last."""
    import pandas as pd

    parts = []
    for split in SPLITS:
        old, new = stored_items[stored_items["split"] == split], new_items[new_items["split"] == split]
        parts += [old, new.assign(index=new["index"] + len(old))]
    items = in_column_order(pd.concat([part for part in parts if len(part)], ignore_index=True))
    return items.assign(**{CONVERSION: items[CONVERSION].fillna("")}) if CONVERSION in items else items


def _blocks(
    arrays: Mapping[str, np.ndarray], decoded_files: DecodedFiles, members: Mapping[str, np.ndarray]
) -> dict[str, Iterator[np.ndarray]]:
    """Yield the known pixels of each split and then the new ones, in blocks."""
    return {
        split: itertools.chain(
            in_blocks(arrays[split], np.arange(len(arrays[split]))), in_blocks(decoded_files.pixels, indices)
        )
        for split, indices in members.items()
    }
