"""The files that users pass: embeddings, probabilities, scores, clusters, labels, indices of images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.checksums import changed_error, checksum, signature
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, require_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.embeddings import Embeddings, embedding_files, read_embeddings
from initpools_cli.datasets.groups import is_file, read_groups
from initpools_cli.datasets.row_ids import Ids
from initpools_cli.datasets.stored.shards import Root
from initpools_cli.datasets.user_labels import Labels, read_labels

if TYPE_CHECKING:
    import pandas as pd


#: The flags that are not called like their input.
FLAGS = {"order": "--ranking", "query_set": "--query-set"}
#: Inputs that determine the images.
OF_IMAGES = ("embeddings", "patches", "probs", "scores", "ranking")
#: Inputs that determine them only for a method that reads nothing else.
OF_IMAGES_ALONE = ("clusters", "labels")
#: Inputs that may be too large for memory.
MAPPED = ("embeddings", "patches", "probs")


@dataclass(frozen=True)
class UserFiles:
    """Paths on the command line; None without the option.

    `classes` are those that `labels` can have. `groups`, which only matters for picks, is a path or a regular
    expression; "" for none.
    """

    embeddings: Path | None = None
    patches: Path | None = None
    probs: Path | None = None
    scores: Path | None = None
    clusters: Path | None = None
    ranking: Path | None = None
    labeled: Path | None = None
    labels: Path | None = None
    classes: tuple[str, ...] = ()
    exclude: Path | None = None
    query_set: Path | None = None
    ids: Path | None = None
    id_column: str = ""
    groups: str = ""
    _signatures: dict[Path, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Store size and time of every file before any of them is read."""
        signatures: dict[Path, tuple[int, ...]] = {}
        for name in self.paths:
            with contextlib.suppress(UserError):
                signatures |= {path: signature(path) for path in self.files_of(name)}
        object.__setattr__(self, "_signatures", signatures)

    @property
    def paths(self) -> dict[str, Path]:
        """The paths by option, without the missing ones."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        values |= {"groups": Path(self.groups)} if self.groups and is_file(self.groups) else {}
        return {name: path for name, path in values.items() if isinstance(path, Path)}

    def files_of(self, name: str) -> tuple[Path, ...]:
        """The files of an option: of embeddings all those in a folder, or that match a pattern.

        Raises
        ------
        UserError
            No such file.
        """
        path = self.paths[name]
        if name == "embeddings":
            return embedding_files(path)
        return (require_file(path, FLAGS.get(name, f"--{name}")),)

    @property
    def inputs(self) -> set[str]:
        """The inputs of strategies that the files hold, by name; a table of labels takes a run to be read."""
        names = {"order" if name == "ranking" else name for name in self.paths} - {"labeled", "exclude", "ids"}
        if self.labels is not None and self.labels.suffix.lower() != ".npy":
            names -= {"labels"}
        return names

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by absolute path, for ``step.toml``; see `checksums_of`."""
        checksums: dict[str, str] = {}
        for name in self.paths:
            checksums |= self.checksums_of(name)
        return checksums

    def checksums_of(self, name: str) -> dict[str, str]:
        """SHA-256 of the files of one option, by absolute path.

        Raises
        ------
        UserError
            No such file, or one that has changed since the command began.
        """
        checksums = {}
        for path in self.files_of(name):
            checksums[str(path.resolve())] = checksum(path)
            if self._signatures.get(path) != signature(path):
                raise changed_error(path)
        return checksums

    def classes_in(self, dataset: tuple[str, ...]) -> tuple[str, ...]:
        """The classes that `labels` can have, in a data set with these classes.

        Raises
        ------
        UserError
            The data set's classes differ from `classes`.
        """
        if dataset and self.classes and set(dataset) != set(self.classes):
            names = ",".join(self.classes[:20])
            raise UserError(
                f"--classes {names} differs from the classes of the data set, {', '.join(dataset[:20])}.",
                "Leave out --classes, or start another run with it (--run DIR).",
                names,
            )
        return dataset or self.classes

    @property
    def identity(self) -> dict[str, Any]:
        """Classes, groups by an expression, and the column of ids, for a step's table."""
        entries: dict[str, Any] = {"classes": list(self.classes)} if self.classes and self.labels is not None else {}
        entries |= {"id_column": self.id_column} if self.id_column else {}
        return entries | ({"groups": self.groups} if self.groups and not is_file(self.groups) else {})

    def enough_for(self, inputs: Collection[str]) -> bool:
        """Whether the files alone determine the images, for a method that reads `inputs`."""
        if {"embeddings", "scores"} <= {*inputs} and "embeddings" not in self.paths:
            return False
        alone = [name for name in OF_IMAGES_ALONE if name in inputs]
        return any(name in self.paths for name in (*OF_IMAGES, *alone))


@dataclass(frozen=True)
class UserArrays:
    """Arrays of the user's files. Each file is read once, at its first use.

    Attributes
    ----------
    files : UserFiles
    items : DataFrame, optional
        The train rows of items.csv; None without a run.
    classes : tuple of str
        Those of the data set.
    report : Reporter, optional
        Prints notes on the labels.
    multilabel : bool or None
        Whether images can have several labels; None: the file of labels decides.
    order : callable, optional
        Returns the row of each image from the ids that are stored with embeddings; None: rows are in order.
    """

    files: UserFiles = UserFiles()
    items: pd.DataFrame | None = None
    classes: tuple[str, ...] = ()
    report: Reporter | None = None
    multilabel: bool | None = False
    order: Callable[[Ids], np.ndarray] | None = None
    _arrays: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    _labels: dict[Path, Labels] = field(default_factory=dict, init=False, repr=False, compare=False)

    def get(self, name: str) -> np.ndarray | None:
        """An input of strategies by its name in `strategies.arrays.INPUTS`; None without a file.

        Raises
        ------
        UserError
            A file that can't be read as an array, or one of a shape that the input can't have.
        """
        from initpools_cli.strategies.arrays import image_axis

        if name == "labels":
            return None if self.labels is None else self.labels.by_image
        path = getattr(self.files, "ranking" if name == "order" else name)
        if path is None:
            return None
        if name == "embeddings":
            return self._embeddings
        if name not in self._arrays:
            self._arrays[name] = read_array(path, FLAGS.get(name, f"--{name}"), mapped=name in MAPPED)
            image_axis(name, self._arrays[name].shape)
        return self._arrays[name]

    @cached_property
    def embeddings_file(self) -> Embeddings | None:
        """The embeddings of ``--embeddings``, with their ids."""
        path = self.files.embeddings
        if path is None:
            return None
        embeddings = read_embeddings(path, self.files.id_column, self.report)
        if embeddings.ids is not None and self.report is not None:
            self.report.once(f"ids: {embeddings.ids.where}")
        return embeddings

    @cached_property
    def _embeddings(self) -> np.ndarray | None:
        file = self.embeddings_file
        if file is None or file.ids is None or self.order is None:
            return None if file is None else file.array
        rows = self.order(file.ids)
        in_order = len(rows) == len(file.array) and bool((rows[1:] > rows[:-1]).all())
        return file.array if in_order else file.array[rows]

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All inputs of strategies, by name; large ones memory-mapped."""
        names = ("embeddings", "patches", "probs", "scores", "clusters", "order", "labels")
        arrays = {name: array for name in names if (array := self.get(name)) is not None}
        if self.query_set is not None:
            arrays["query_set"] = self.query_set
        if self.multilabel and "probs" in arrays:
            probs = arrays.pop("probs")
            several = {"label_probs": probs.mean(axis=0), "mc_label_probs": probs}
            arrays |= several if probs.ndim == 3 else {"label_probs": probs}
        if "probs" in arrays and arrays["probs"].ndim == 3:
            arrays |= dict.fromkeys(("view_probs", "mc_probs", "member_probs"), arrays["probs"])
        return arrays

    def groups(self, images: pd.DataFrame, root: Root | None = None) -> np.ndarray | None:
        """The group of each image, (n,) int64; None without ``--groups``.

        Parameters
        ----------
        images : DataFrame
            The train images: index, path and split.
        root : Path or Shards, optional
            Their folder, for absolute paths.
        """
        import pandas as pd

        if not self.files.groups:
            return None
        groups = read_groups(self.files.groups, images, root)
        for note in groups.notes:
            if self.report is not None:
                self.report.once(note)
        return pd.factorize(np.array(groups.names, dtype=object))[0].astype(np.int64)

    @cached_property
    def labels(self) -> Labels | None:
        """The labels of ``--labels``."""
        path = self.files.labels
        return None if path is None else self.labels_in(path, "--labels")

    def labels_in(self, path: Path, flag: str) -> Labels:
        """The labels in a file; see `read_labels`."""
        if path not in self._labels:
            classes = self.files.classes_in(self.classes)
            self._labels[path] = read_labels(path, self.items, classes, flag, self.report, self.multilabel)
        return self._labels[path]

    @cached_property
    def labeled(self) -> np.ndarray | None:
        """The images of ``--labeled``; without a run as in the file."""
        path = self.files.labeled
        return None if path is None else read_rows(path, "--labeled", self.items)

    @cached_property
    def query_set(self) -> np.ndarray | None:
        """The images of ``--query-set``, without a run as in the file, or embeddings (q, d) of other images."""
        path = self.files.query_set
        if path is None:
            return None
        if path.suffix.lower() not in (".csv", ".tsv"):
            array = read_array(path, "--query-set")
            if array.ndim == 2:
                return array
        return read_rows(path, "--query-set", self.items)

    @cached_property
    def excluded(self) -> np.ndarray | None:
        """The images of ``--exclude``; without a run as in the file."""
        path = self.files.exclude
        return None if path is None else read_rows(path, "--exclude", self.items)

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by absolute path; see `UserFiles.checksums`."""
        return self.files.checksums()


def read_rows(path: Path, flag: str, items: pd.DataFrame | None) -> np.ndarray:
    """Read indices of images, or a mask, such as those that are labeled already.

    Parameters
    ----------
    path : Path
        .npy of indices or of booleans, or a .csv with a column ``index`` or ``path``.
    flag : str
        The option, for messages.
    items : DataFrame, optional
        The train rows of items.csv. Without them paths can't be resolved, and the caller checks the indices.

    Returns
    -------
    ndarray
        With `items`: (m,) int64, ascending. Without: as in the file.

    Raises
    ------
    UserError
        Unreadable, neither column, paths that the data set does not have, indices out of range or repeated.
    """
    from initpools_cli.strategies.candidates import as_rows

    is_table = path.suffix.lower() in (".csv", ".tsv")
    rows = images_of_table(path, flag, items) if is_table else read_array(path, flag)
    return rows if items is None else as_rows(flag, rows, len(items))


#: Digits of the largest index: Python refuses to read very long numbers, and arrays of indices have 64 bits.
_LONGEST_INDEX = 18


def _index_of(row: Row) -> int | str:
    """Return the index of a row, or why it has none."""
    if not (row.index.isascii() and row.index.isdigit()):
        return "has no index"
    too_long = len(row.index) > _LONGEST_INDEX
    return f"has the index {row.index:.30}, which no image can have" if too_long else int(row.index)


def images_of_table(path: Path, flag: str, items: pd.DataFrame | None, root: Root | None = None) -> np.ndarray:
    """The images that a table names by ``index`` or ``path``, in its order.

    Parameters
    ----------
    flag : str
        The option, for messages.
    items : DataFrame, optional
        The train rows of items.csv; without them only indices are read.
    root : Path or Shards, optional
        The folder of the data set, for absolute paths.

    Returns
    -------
    (m,) int64

    Raises
    ------
    UserError
        No table, or rows that name no image of the data set.
    """
    from initpools_cli.datasets.annotations.check import Problem
    from initpools_cli.datasets.annotations.match import find
    from initpools_cli.datasets.annotations.table import read

    rows, _ = read(path, flag, with_labels=False)
    matches = find(rows, items, root) if items is not None else [_index_of(row) for row in rows]
    wrong = [
        str(Problem(row.place, row.path.strip(), "", each))
        for row, each in zip(rows, matches, strict=True)
        if isinstance(each, str)
    ]
    if wrong and items is None:
        raise UserError(
            f"{path} ({flag}), {wrong[0]}, and without a run no paths are known.",
            "Name the run with --run DIR, or give indices.",
            path,
        )
    if wrong:
        more = f", and so for {len(wrong) - 1} more rows" if wrong[1:] else ""
        raise UserError(f"{path} ({flag}), {wrong[0]}{more}.", "Correct or leave out these rows, and run again.", path)
    return np.array(matches, dtype=np.int64)
