"""Data sets from shards: splits by the names of shards, labels from a column or from files beside the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.label_arrays import encode_labels
from initpools_cli.datasets.labels import assigner
from initpools_cli.datasets.sources import Assignment, Files
from initpools_cli.datasets.spec import DatasetSpec
from initpools_cli.datasets.splits import require_train
from initpools_cli.datasets.stored import parquet, tar
from initpools_cli.datasets.stored.find import folder_of, split_of
from initpools_cli.datasets.stored.index import indexed
from initpools_cli.datasets.stored.shards import Shards


def open_shards(path: Path, files: Sequence[Path], spec: DatasetSpec, cache: Path, report: Reporter) -> Files:
    """Index shards and return their images.

    Parameters
    ----------
    path : Path
        What the user named: a file, a folder or a pattern.
    files : sequence of Path
        The shards, from `find_shards`.
    spec : DatasetSpec
        ``labels`` is "auto" for the labels in the shards, "none", or a CSV file.
    cache : Path
        Folder of downloads and arrays.

    Raises
    ------
    UserError
        A shard is damaged, has no images, or has other columns than the first.
    """
    folder, own = folder_of(path, files), spec.labels == "auto"
    columns = None
    if files[0].suffix.lower() == ".parquet":
        columns = parquet.columns_of(files, spec.label_column, labeled=own)
    shards = []
    with report.progress("indexing shards", len(files), "shards") as bar:
        for file in files:
            name = file.relative_to(folder).as_posix()
            if columns is None:
                shards.append(indexed(file, name, ("tar",), cache, partial(tar.index_of, file)))
            else:
                settings = ("parquet", columns.content, columns.label)
                shards.append(indexed(file, name, settings, cache, partial(parquet.index_of, file, columns)))
            bar.advance()
    read_image = tar.read_image if columns is None else partial(parquet.read_image, column=columns.content)
    root = Shards(str(path), folder, shards, read_image)
    classes = spec.classes or (columns.classes if columns else ())
    assign: Callable[[Sequence[str]], Assignment]
    if own:
        assign = partial(_labels, root, classes, multilabel=spec.multilabel)
    else:
        assign = assigner(spec.labels, spec.classes, multilabel=spec.multilabel)
    return Files(root, partial(_with_splits, root, assign), paths=root.paths)


def _with_splits(root: Shards, assign: Callable[[Sequence[str]], Assignment], paths: Sequence[str]) -> Assignment:
    splits, notes = _splits(root)
    assignment = assign(paths)
    # An image of a run may have left the shards.
    return replace(assignment, splits=[splits.get(path, "train") for path in paths], notes=[*assignment.notes, *notes])


def _splits(root: Shards) -> tuple[dict[str, str], list[str]]:
    """Return the split of each image by the name of its shard, and notes."""
    of_shard = [split_of(shard.name) for shard in root.shards]
    if len(of_shard) == 1 or not any(of_shard):
        # A user who names one file wants all its images, whatever its name.
        return dict.fromkeys(root.paths, "train"), []
    require_train([split for split in of_shard if split], str(root))
    outside = [shard.name for shard, split in zip(root.shards, of_shard, strict=True) if not split]
    notes = [f"Left out {counted(outside, 'shard')} outside train, val and test: {named(outside)}"] if outside else []
    splits = {path: split for shard, split in zip(root.shards, of_shard, strict=True) for path in shard.paths}
    return splits, notes


def _labels(root: Shards, classes: tuple[str, ...], paths: Sequence[str], *, multilabel: bool) -> Assignment:
    """Return the labels in the shards, by the rules for arrays."""
    arrays = _same_type({shard.name: shard.labels for shard in root.shards if len(shard.labels)})
    if not arrays:
        return Assignment([], [""] * len(paths), classes, multilabel=multilabel)
    if multilabel:
        raise UserError(
            f"dataset.multilabel = true, but {root} has one class per image.",
            "Pass a table of labels: --set dataset.labels=FILE.csv, or leave out dataset.multilabel.",
            "dataset.multilabel = true",
        )
    encoded_labels = encode_labels(arrays, str(root), classes)
    labels = {
        path: encoded_labels.classes[code] if code >= 0 else ""
        for shard in root.shards
        if shard.name in arrays
        for path, code in zip(shard.paths, encoded_labels.codes[shard.name].tolist(), strict=True)
    }
    return Assignment([], [labels.get(path, "") for path in paths], encoded_labels.classes, encoded_labels.notes)


def _same_type(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert texts to numbers if all of them are integers, as in ``.cls`` files."""
    texts = {name: labels for name, labels in arrays.items() if labels.dtype.kind == "U"}
    if len(texts) != len(arrays) or not all(_is_integer(text) for each in texts.values() for text in np.unique(each)):
        return arrays
    return {
        name: np.array([float(text) if text else np.nan for text in labels.tolist()]) for name, labels in texts.items()
    }


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return text == "" or (digits.isdecimal() and len(digits) < 16 and str(int(text)) == text)
