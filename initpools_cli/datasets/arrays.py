"""Data sets from arrays: items, test split and cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.cache import cache_folder, in_blocks, read_cache, write_cache
from initpools_cli.datasets.decode import square
from initpools_cli.datasets.item_labels import label_columns, labels_of_rows, typed
from initpools_cli.datasets.sources import Arrays
from initpools_cli.datasets.spec import COLUMNS, CONVERSION, GROUP, SPLITS
from initpools_cli.datasets.splits import draw_test_rows

if TYPE_CHECKING:
    import pandas as pd


def items_of_arrays(
    source: Arrays,
    test: float,
    seed: int,
    report: Reporter,
    what: str = "images",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> tuple[pd.DataFrame, dict[str, tuple[str, np.ndarray]]]:
    """Return one row per image, and the source rows of each split.

    Images held out as a test split are in both splits; `held_out_rows` returns their train rows.

    Parameters
    ----------
    source : Arrays
    test : float
        Share of the labeled images held out if there is no test split.
    seed : int
        The root seed.
    what : str
        What is read, for the progress bar.
    groups : mapping of str to sequence of str, optional
        The group of each image by split of the source.

    Returns
    -------
    items : DataFrame
    origin : dict of split to (split of the source, ndarray of rows)
    """
    origin = {split: (split, np.arange(len(images))) for split, images in source.images.items()}
    labels = source.labels.get("train")
    if "test" not in origin and labels is not None:
        test_rows = draw_test_rows(labels, test, seed, groups["train"] if groups else None)
        if len(test_rows):
            # Train keeps these rows, so that an index is a row of the user's array; the mask excludes them.
            origin["test"] = ("train", test_rows)
    columns: dict[str, list[object]] = {name: [] for name in (*COLUMNS, CONVERSION, *([GROUP] if groups else []))}
    with report.progress(f"reading {what}", sum(len(rows) for _, rows in origin.values()), what) as bar:
        for split in SPLITS:
            if split not in origin:
                continue
            name, rows = origin[split]
            of_split = source.labels.get(name)
            columns["index"] += range(len(rows))
            columns["path"] += [""] * len(rows)
            columns["split"] += [split] * len(rows)
            codes = np.full(len(rows), -1) if of_split is None else of_split[rows]
            numbers, names = label_columns(codes, source.classes)
            columns["label"] += numbers
            columns["class"] += names
            if groups:
                columns[GROUP] += [groups[name][row] for row in rows.tolist()]
            columns[CONVERSION] += [source.conversions.get(name, "")] * len(rows)
            for block in in_blocks(source.images[name], rows):
                columns["bytes"] += [block[0].nbytes] * len(block)
                columns["sha256"] += [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in block]
                bar.advance(len(block))
    return table_of(columns), {split: origin[split] for split in SPLITS if split in origin}


def held_out_rows(origin: dict[str, tuple[str, np.ndarray]]) -> np.ndarray:
    """Return the train rows held out as test split, (m,) int64; empty if the source has a test split."""
    name, rows = origin.get("test", ("test", np.empty(0, dtype=np.int64)))
    return rows if name == "train" else np.empty(0, dtype=np.int64)


def train_rows_of_test(items: pd.DataFrame, test: float, seed: int, classes: int = 0) -> np.ndarray | None:
    """Return the train rows that are the test split of stored items; None if it has images of its own.

    Parameters
    ----------
    items : DataFrame
        From `items_of_arrays`, or of a folder.
    test, seed
        With which they were made.
    classes : int
        Number of classes with several labels per image; 0: one class per image.
    """
    train, own = (items[items["split"] == split] for split in ("train", "test"))
    labels = labels_of_rows(train, classes)
    rows = draw_test_rows(labels, test, seed, train[GROUP].tolist() if GROUP in train else None)
    same = len(rows) == len(own) and (train["sha256"].to_numpy()[rows] == own["sha256"].to_numpy()).all()
    return rows if len(own) and same else None


def cache_arrays(
    cache: Path, source: Arrays, items: pd.DataFrame, origin: dict[str, tuple[str, np.ndarray]], size: int
) -> dict[str, np.ndarray]:
    """Return the memory-mapped arrays of each split, resized to `size` pixels if it is not 0."""
    folder = cache_folder(cache, items, size)
    counts = {split: len(rows) for split, (_, rows) in origin.items()}
    arrays = read_cache(folder, counts)
    if arrays is None:
        _require_room(cache, source, counts, size)
        blocks = {split: _resized(source.images[name], rows, size) for split, (name, rows) in origin.items()}
        arrays = write_cache(folder, blocks, counts)
    return arrays


def _require_room(cache: Path, source: Arrays, counts: dict[str, int], size: int) -> None:
    height, width, channels = source.images["train"].shape[1:]
    height, width = size or height, size or width
    require_disk(
        cache,
        sum(counts.values()) * height * width * channels,
        f"{sum(counts.values())} images of {width} x {height} pixels take",
        "Set a smaller dataset.size, free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )


def table_of(columns: dict[str, list[object]]) -> pd.DataFrame:
    """Return ``items.csv`` as a data frame with column types; the column of conversions only if it is not empty."""
    import pandas as pd

    if not any(columns[CONVERSION]):
        columns = {name: values for name, values in columns.items() if name != CONVERSION}
    table = pd.DataFrame(columns).astype({"index": "int64", "bytes": "int64"})
    return table.assign(label=typed(table["label"]))


def in_column_order(items: pd.DataFrame) -> pd.DataFrame:
    """Return ``items.csv`` with its additional columns last, in their order."""
    return items[[name for name in (*COLUMNS, CONVERSION, GROUP) if name in items]]


def _resized(images: np.ndarray, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for block in in_blocks(images, rows):
        if size in (0, block.shape[1]) and size in (0, block.shape[2]):
            yield block
        else:
            yield np.stack([square(image, size) for image in block])
