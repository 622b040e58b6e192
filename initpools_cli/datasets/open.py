"""Opening of data sets by name or path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.arrays import cache_arrays, held_out_rows, items_of_arrays
from initpools_cli.datasets.cache import cache_folder, has_stamp, read_cache, scratch_folder, stamp
from initpools_cli.datasets.catalog import entries
from initpools_cli.datasets.classes import says_nothing
from initpools_cli.datasets.embedding_items import items_of_embeddings
from initpools_cli.datasets.embeddings import embedding_files, is_embeddings
from initpools_cli.datasets.file_items import Storage
from initpools_cli.datasets.files import open_files, reopen_files
from initpools_cli.datasets.groups import NONE, groups_of_arrays, split_notes
from initpools_cli.datasets.imbalance import long_tail
from initpools_cli.datasets.item_labels import class_names_of, labels_of_rows
from initpools_cli.datasets.labels import assigner
from initpools_cli.datasets.multilabel import one_class_error
from initpools_cli.datasets.npz import read_npz
from initpools_cli.datasets.path_table import TABLE, is_table, read_path_table
from initpools_cli.datasets.scale import Scale, scale_of
from initpools_cli.datasets.sources import Arrays, Files
from initpools_cli.datasets.spec import CONVERSION, GROUP, SPLITS, Dataset, DatasetSpec, Split
from initpools_cli.datasets.stored.find import SUFFIXES, find_shards
from initpools_cli.datasets.stored.open import open_shards
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd


def path_of(name: str) -> Path | None:
    """Return the file or folder of a data set's name; None for a registered name, which takes precedence.

    Raises
    ------
    UserError
        The name is neither registered nor a path.
    """
    if name in entries():
        return None
    path = Path(name).expanduser()
    if path.is_dir() or ((path.is_file() and (path.suffix == ".npz" or is_table(path))) and not is_embeddings(name)):
        return path
    if is_embeddings(name):
        embedding_files(path)
        return path
    if find_shards(path):
        return path
    if path.exists():
        raise UserError(
            f"{path} is neither a folder of images, a .parquet, .tar, .csv or .npz file, nor a file of embeddings.",
            "Name one of those, or a data set from `initpools list datasets`.",
            path,
        )
    if path.suffix.lower() in (".npz", *SUFFIXES, TABLE) or len(path.parts) > 1:
        raise UserError(
            f"There is no file or folder {path}.",
            "Check the path, or name a data set from `initpools list datasets`.",
            path,
        )
    names = [key for key, entry in entries().items() if not entry.refusal]
    error = unknown_name("data set", name, [*names, *_folders()], "initpools list datasets")
    raise UserError(error.fact, f"{error.remedy} Or name the path of an .npz file or a folder of images.", error.value)


def open_dataset(
    spec: DatasetSpec,
    *,
    seed: int,
    cache: Path,
    report: Reporter,
    stored_items: pd.DataFrame | None = None,
    mask: np.ndarray | None = None,
) -> Dataset:
    """Open a data set; download and cache it if necessary.

    Parameters
    ----------
    spec : DatasetSpec
        The settings.
    seed : int
        The root seed; it draws the test split and the long tail.
    cache : Path
        Folder of downloads and arrays; see `data_home`.
    report : Reporter
        Reports progress.
    stored_items : DataFrame, optional
        The items stored in a run. They are returned unchanged, followed by new images of a folder.
    mask : ndarray of shape (n_train,), bool, optional
        The mask stored with them.

    Returns
    -------
    Dataset

    Raises
    ------
    UserError
        An unknown name, invalid data, a failed download, no space, or data that differ from the stored items.
    """
    if is_embeddings(spec.name):
        _refuse_pixel_settings(spec)
        return _open_embeddings(spec, seed, report, stored_items, mask)
    path = path_of(spec.name)
    _refuse_settings(spec, path)
    if (
        stored_items is not None
        and (path is None or path.suffix == ".npz")
        and (arrays := _from_cache(spec, path, cache, stored_items))
    ):
        return _dataset(
            spec, stored_items, class_names_of(stored_items), arrays, None, _false_classes(spec, stored_items), mask
        )
    conversions = stored_items[CONVERSION] if stored_items is not None and CONVERSION in stored_items else ()
    scale = scale_of(spec.scale, conversions)
    with scratch_folder(cache) as scratch:
        work = Storage(cache, scratch, report)
        source = _source(spec, path, scale, seed, work)
        if isinstance(source, Files):
            return _open_files(spec, source, scale, seed, work, stored_items, mask)
        data = _open_arrays(spec, source, seed, work, stored_items, mask)
        if path is not None:
            stamp(cache_folder(cache, data.items, spec.size), path)
        return data


def _open_files(
    spec: DatasetSpec,
    source: Files,
    scale: Scale,
    seed: int,
    work: Storage,
    stored_items: pd.DataFrame | None,
    mask: np.ndarray | None,
) -> Dataset:
    """Open images as files or in shards; known items stay, and new images are appended."""
    if stored_items is None:
        files = open_files(source, spec, scale, seed, work)
    else:
        files = reopen_files(source, spec, scale, seed, stored_items, work)
    if mask is None:
        mask = _mask(spec, seed, files.items, files.classes, np.empty(0, dtype=np.int64))
    notes = [*files.notes, *_false_classes(spec, files.items), *_left_out(spec, files.items)]
    spec = replace(spec, multilabel=spec.multilabel or files.multilabel)
    notes += _split_notes(spec, files.items, stored_items, mask)
    data = _dataset(spec, files.items, files.classes, files.arrays, source.root, notes, mask)
    return replace(data, scale=files.scale)


def _open_arrays(
    spec: DatasetSpec,
    source: Arrays,
    seed: int,
    work: Storage,
    stored_items: pd.DataFrame | None,
    mask: np.ndarray | None,
) -> Dataset:
    """Open images as arrays, and cache them; refuse others than the known items."""
    _refuse_one_class(spec, source)
    groups, notes = _groups_of(spec, source, stored_items)
    items, origin = items_of_arrays(source, spec.test, seed, work.report, groups=groups)
    if stored_items is not None:
        _refuse_other(spec.name, stored_items, items)
        items = stored_items
    arrays = cache_arrays(work.cache, source, items, origin, spec.size)
    if mask is None:
        mask = _mask(spec, seed, items, source.classes, held_out_rows(origin))
    spec = replace(spec, multilabel=spec.multilabel or source.multilabel)
    notes += _split_notes(spec, items, stored_items, mask)
    return _dataset(spec, items, source.classes, arrays, None, [*source.notes, *notes, *_left_out(spec, items)], mask)


def _groups_of(
    spec: DatasetSpec, source: Arrays, stored_items: pd.DataFrame | None
) -> tuple[dict[str, list[str]] | None, list[str]]:
    """Return the groups of arrays by split, from known items or as set, and notes."""
    if stored_items is not None:
        if GROUP not in stored_items:
            return None, []
        return {split: stored_items.loc[stored_items["split"] == split, GROUP].tolist() for split in source.images}, []
    if spec.groups in ("", NONE):
        return None, []
    return groups_of_arrays(spec.groups, source)


def _split_notes(
    spec: DatasetSpec, items: pd.DataFrame, stored_items: pd.DataFrame | None, stored_mask: np.ndarray
) -> list[str]:
    """Return notes on the groups of splits that are new, or have new images; refuse shared groups."""
    if items is stored_items or GROUP not in items:
        return []
    mask = np.ones(int((items["split"] == "train").sum()), dtype=bool)
    mask[: len(stored_mask)] = stored_mask
    return split_notes(items, mask, spec.shared_groups, multilabel=spec.multilabel)


def _open_embeddings(
    spec: DatasetSpec, seed: int, report: Reporter, stored_items: pd.DataFrame | None, mask: np.ndarray | None
) -> Dataset:
    """Open a file of embeddings as a data set without images; known items are not read again."""
    if stored_items is not None:
        return _dataset(spec, stored_items, class_names_of(stored_items), {}, None, [], mask)
    embeddings = items_of_embeddings(spec, seed, report)
    mask = _mask(spec, seed, embeddings.items, embeddings.classes, embeddings.held_out)
    notes = [
        *embeddings.notes,
        *_left_out(spec, embeddings.items),
        *_split_notes(spec, embeddings.items, stored_items, mask),
    ]
    spec = replace(spec, multilabel=spec.multilabel or embeddings.multilabel)
    return _dataset(spec, embeddings.items, embeddings.classes, {}, None, notes, mask)


def _folders() -> list[str]:
    """Return the folders of the working directory, one of which a misspelled name may mean."""
    try:
        return sorted(each.name for each in Path().iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []


def _source(spec: DatasetSpec, path: Path | None, scale: Scale, seed: int, work: Storage) -> Arrays | Files:
    """Find the images: those of a registered data set, or of a path."""
    if path is None:
        entry = entries()[spec.name]
        if entry.refusal:
            raise UserError(entry.refusal, "Choose another: `initpools list datasets` lists them.", spec.name)
        return entry.load(work.cache, spec.size, work.scratch, work.report)
    if shards := find_shards(path):
        return open_shards(path, shards, spec, work.cache, work.report)
    if path.is_dir():
        return Files(path, assigner(spec.labels, spec.classes, multilabel=spec.multilabel))
    if is_table(path):
        return read_path_table(path, spec)
    return read_npz(path, work.scratch, spec.classes, scale=scale, seed=seed)


def _from_cache(
    spec: DatasetSpec, path: Path | None, cache: Path, stored_items: pd.DataFrame
) -> dict[str, np.ndarray] | None:
    """Return the cached arrays of known items, or None if the data set must be read again."""
    folder = cache_folder(cache, stored_items, spec.size)
    if path is not None and not has_stamp(folder, path):
        return None
    sizes = stored_items["split"].value_counts()
    return read_cache(folder, {split: int(sizes[split]) for split in SPLITS if split in sizes})


def _mask(
    spec: DatasetSpec, seed: int, items: pd.DataFrame, classes: tuple[str, ...], held_out: np.ndarray
) -> np.ndarray:
    """Return the mask of train images to choose from, without held-out images and those outside a long tail."""
    train = items[items["split"] == "train"]
    mask = np.ones(len(train), dtype=bool)
    mask[held_out] = False
    if spec.imbalance != "none":
        if train["label"].dtype != "Int64":
            raise one_class_error("A long tail (dataset.imbalance)", "Leave out dataset.imbalance.")
        labels = labels_of_rows(train)
        mask[mask] = long_tail(labels[mask], len(classes), spec.imbalance, spec.ratio, seed, spec.name)
    return mask


def _dataset(
    spec: DatasetSpec,
    items: pd.DataFrame,
    classes: tuple[str, ...],
    arrays: dict[str, np.ndarray],
    root: Root | None,
    notes: list[str],
    stored_mask: np.ndarray | None,
) -> Dataset:
    # Not all of the classes in the settings need have images.
    splits, names = {}, spec.classes or classes
    for split in SPLITS:
        rows = items[items["split"] == split]
        if len(rows):
            several = len(names) if spec.multilabel else 0
            labels = labels_of_rows(rows, several) if rows["label"].notna().any() else None
            splits[split] = Split(arrays.get(split), labels, [str(path) for path in rows["path"]], spec.name)
    mask = np.ones(len(splits["train"]), dtype=bool)
    if stored_mask is not None:
        # Images appended to a folder later can be chosen.
        mask[: len(stored_mask)] = stored_mask
    if spec.multilabel:
        # A run stores them: not every class needs to be in its items.
        spec = replace(spec, classes=names)
    return Dataset(spec, names, splits, items, mask, root, notes, multilabel=spec.multilabel)


def _refuse_settings(spec: DatasetSpec, path: Path | None) -> None:
    if spec.ids:
        raise UserError(
            f"dataset.ids = {spec.ids!r} has no effect: {spec.name} is not a file of embeddings.",
            "Leave out dataset.ids.",
            repr(spec.ids),
        )
    if spec.classes and path is None and not spec.multilabel:
        raise UserError(
            f"dataset.classes has no effect: {spec.name} has classes of its own.",
            "Leave out --classes, which is for .npz files and folders.",
            "dataset.classes",
        )
    shards = find_shards(path) if path else []
    files = path is not None and (path.is_dir() or is_table(path) or bool(shards))
    folder = path is not None and path.is_dir() and not shards
    if spec.labels != "auto" and not (folder or (files and spec.labels != "folders")):
        raise UserError(
            f"dataset.labels = {spec.labels!r} has no effect: {spec.name} is not a folder of images.",
            "Leave out dataset.labels; this data set has labels of its own.",
            repr(spec.labels),
        )
    if spec.label_column and not (shards and shards[0].suffix.lower() == ".parquet"):
        raise UserError(
            f"dataset.label_column = {spec.label_column!r} has no effect: {spec.name} is not stored in parquet.",
            "Leave out dataset.label_column.",
            repr(spec.label_column),
        )


def _refuse_one_class(spec: DatasetSpec, source: Arrays) -> None:
    if spec.multilabel and not source.multilabel and any(each is not None for each in source.labels.values()):
        raise UserError(
            f"dataset.multilabel = true, but {spec.name} has one class per image.",
            "Save a column of 0 and 1 for each class, or leave out dataset.multilabel.",
            "dataset.multilabel = true",
        )


def _refuse_pixel_settings(spec: DatasetSpec) -> None:
    for key, value, default in (("size", spec.size, 0), ("scale", spec.scale, "auto")):
        if value != default:
            raise UserError(
                f"dataset.{key} = {value} has no effect: {spec.name} has no images.", f"Leave out dataset.{key}.", value
            )


def _false_classes(spec: DatasetSpec, stored_items: pd.DataFrame) -> list[str]:
    """Return notes on classes of a run of an older version that stand for a missing label."""
    names = (
        []
        if spec.classes or spec.name in entries()
        else [name for name in class_names_of(stored_items) if says_nothing(name)]
    )
    counts = stored_items["class"].value_counts()
    return [
        f"An older version, which started this run, used {name!r} as a class of {counts[name]} images: in a new run "
        "they have no label."
        for name in names
        if name in counts
    ]


def _left_out(spec: DatasetSpec, items: pd.DataFrame) -> list[str]:
    """Return a note on the images without label that a long tail leaves out."""
    unknown = int(items.loc[items["split"] == "train", "label"].isna().sum())
    if spec.imbalance == "none" or not unknown:
        return []
    return [f"The long tail leaves out {unknown} train images without a label."]


def _refuse_other(name: str, stored_items: pd.DataFrame, items: pd.DataFrame) -> None:
    same = len(stored_items) == len(items) and all(
        (stored_items[column].to_numpy() == items[column].to_numpy()).all() for column in ("split", "sha256")
    )
    if same and (older := _false_classes(DatasetSpec(name), stored_items)):
        raise UserError(older[0], "Start another run with --run DIR.", older[0])
    if not same or not stored_items["label"].equals(items["label"]):
        raise UserError(
            f"{name} has changed since this run was started: it has other images or labels.",
            "Restore the file, or start another run with --run DIR.",
            name,
        )
