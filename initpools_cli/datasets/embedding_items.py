"""Data sets that are a file of embeddings, and the rows of such a file for the images of another data set."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.arrays import held_out_rows, items_of_arrays, train_rows_of_test
from initpools_cli.datasets.embeddings import Embeddings, read_embeddings
from initpools_cli.datasets.groups import NONE, groups_of_arrays
from initpools_cli.datasets.row_ids import Ids, order_and_paths, read_ids, rows_by_split
from initpools_cli.datasets.sources import Arrays
from initpools_cli.datasets.spec import Dataset, DatasetSpec
from initpools_cli.datasets.user_labels import read_labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EmbeddingItems:
    """The items of a file of embeddings.

    Attributes
    ----------
    items : DataFrame
        Images held out as test split are in both splits.
    classes : tuple of str
    held_out : ndarray of shape (m,), int64
        The train rows of the test split.
    notes : list of str
        Notes for the user.
    multilabel : bool
        Whether images can have several labels.
    """

    items: pd.DataFrame
    classes: tuple[str, ...]
    held_out: np.ndarray
    notes: list[str] = field(default_factory=list)
    multilabel: bool = False


def items_of_embeddings(spec: DatasetSpec, seed: int, report: Reporter) -> EmbeddingItems:
    """Return one row per image of a file of embeddings, with labels if `spec.labels` names a file of them.

    Parameters
    ----------
    spec : DatasetSpec
    seed : int
        The root seed; it draws the test split of the labeled images.

    Raises
    ------
    UserError
        The embeddings, ids or labels can't be read, or don't match.
    """
    embeddings = read_embeddings(Path(spec.name), spec.id_column, report)
    array, ids = embeddings.array, ids_of(embeddings, Path(spec.ids) if spec.ids else None)
    paths = [""] * len(array)
    if ids is not None:
        order, paths = order_and_paths(ids)
        if (order[1:] < order[:-1]).any():
            array = array[order]
    labels, classes, notes = _labels(spec, array, paths, report)
    source = Arrays({"train": array}, {"train": labels}, classes)
    groups, more = groups_of_arrays(spec.groups, source, paths) if spec.groups not in ("", NONE) else (None, [])
    items, origin = items_of_arrays(source, spec.test, seed, report, "embeddings", groups)
    items["path"] = [paths[row] for _, rows in origin.values() for row in rows]
    return EmbeddingItems(items, classes, held_out_rows(origin), [*notes, *more], source.multilabel)


def _labels(
    spec: DatasetSpec, array: np.ndarray, paths: list[str], report: Reporter
) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    import pandas as pd

    if spec.labels in ("auto", "none"):
        return None, spec.classes, []
    if spec.labels == "folders":
        raise UserError(
            f"dataset.labels = 'folders' has no effect: {spec.name} is not a folder of images.",
            "Name a file of labels: --set dataset.labels=FILE.csv (columns index or id, and label).",
            "'folders'",
        )
    items = pd.DataFrame({"index": np.arange(len(array)), "path": paths, "split": "train", "sha256": "-"})
    multilabel = True if spec.multilabel else None
    labels = read_labels(Path(spec.labels), items, spec.classes, "dataset.labels", report, multilabel)
    missing = len(array) - len(labels.rows)
    notes = [f"{spec.labels}: {missing} of {len(array)} images have no label."] if missing else []
    return labels.by_image, labels.classes, notes


def ids_of(embeddings: Embeddings, file: Path | None) -> Ids | None:
    """Return the ids that are stored with embeddings, else those of the file of ``--ids``.

    Raises
    ------
    UserError
        There are both.
    """
    if file is None or embeddings.ids is None:
        return embeddings.ids if file is None else read_ids(file, len(embeddings.array))
    raise UserError(
        f"--ids {file} has no effect: the embeddings have ids of their own, {embeddings.ids.where}.",
        "Leave out --ids, or ignore the other ones with --id-column none.",
        file,
    )


def rows_of(array: np.ndarray, path: Path, ids: Ids | None, data: Dataset, seed: int) -> dict[str, np.ndarray]:
    """Return the row of every image of a data set, by split, in a file of embeddings.

    Without ids, rows are those of train, or of all splits, in the order of items.csv, which must be that of the paths.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        From `read_embeddings`.
    path : Path
        Its file, for messages.
    ids : Ids, optional
        The ids of the rows.
    data : Dataset
    seed : int
        The root seed of its test split.

    Returns
    -------
    dict of str to ndarray of shape (n,), int64
        Train, and the other splits that have rows.

    Raises
    ------
    UserError
        The rows don't match the images.
    """
    test, derived_names = _drawn_test(data, seed), derived_splits(data, seed)
    if ids is not None:
        rows = rows_by_split(ids, data.items, derived_names, data.root)
    else:
        rows = _in_order(array, path, data, derived_names)
    if test is not None and "test" not in rows:
        rows["test"] = rows["train"][test]
    return rows


def derived_splits(data: Dataset, seed: int) -> tuple[str, ...]:
    """Return the splits whose images are also in train: a test split that was drawn from it."""
    return () if _drawn_test(data, seed) is None else ("test",)


def _drawn_test(data: Dataset, seed: int) -> np.ndarray | None:
    """Return the train rows of a test split that was drawn from train; None if there is no such split."""
    classes = len(data.classes) if data.multilabel else 0
    return train_rows_of_test(data.items, data.spec.test, seed, classes) if data.root is None else None


def _in_order(array: np.ndarray, path: Path, data: Dataset, derived_names: tuple[str, ...]) -> dict[str, np.ndarray]:
    sizes = {split: len(part) for split, part in data.splits.items()}
    alone = {split: size for split, size in sizes.items() if split not in derived_names}
    possible = ({"train": sizes["train"]}, alone, sizes)
    row_counts = next((each for each in possible if len(array) == sum(each.values())), None)
    if row_counts is None:
        several = f" ({sum(alone.values())} in all splits)" if len(alone) > 1 else ""
        raise UserError(
            f"{path} has {len(array)} rows, but {data.spec.name} has {sizes['train']} train images{several}.",
            "Save one row per image, in the order of data/items.csv in the run; or start another run from this file: "
            f"`initpools embed {path} --run DIR`.",
            len(array),
        )
    paths = [name for split in row_counts for name in data.splits[split].paths if name]
    if paths != sorted(paths, key=os.fsencode):
        # Features of a folder are usually computed in the order of its files.
        raise UserError(
            f"The order of the {len(array)} rows of {path} is not known: the images of {data.spec.name} are not stored "
            "in the order of their names.",
            "Name the image of each row with --ids FILE; if they are in the order of data/items.csv in the run, pass "
            "that file.",
            len(array),
        )
    ends = np.cumsum(list(row_counts.values()))
    return {
        split: np.arange(end - row_counts[split], end) for split, end in zip(row_counts, ends.tolist(), strict=True)
    }
