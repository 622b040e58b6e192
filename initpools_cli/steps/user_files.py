"""What users bring: their own embeddings, probabilities, scores, clusters, labeled indices, annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.checksums import changed_error, checksum, signature
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, require_file
from initpools_cli.core.reporter import Reporter

if TYPE_CHECKING:
    import pandas as pd


#: An array of labels as numbers, without class names, may go up to this.
MOST_CLASSES = 1_000_000
#: The flags that are not called as the input they bring.
FLAGS = {"order": "--ranking"}


@dataclass(frozen=True)
class UserFiles:
    """Files named on the command line; None where there is none. `classes` are those that `labels` can have."""

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
    _begun: dict[Path, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note what the files are before any of them is read."""
        object.__setattr__(self, "_begun", {path: signature(path) for path in self.files.values() if path.is_file()})

    @property
    def files(self) -> dict[str, Path]:
        """Those that were named, by input."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return {name: path for name, path in named.items() if isinstance(path, Path)}

    def arrays(self, report: Reporter | None = None, classes: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """The inputs of strategies among them, by the strategies' own names; large ones memory-mapped.

        Parameters
        ----------
        report : Reporter, optional
            Where it is said which images have no label.
        classes : tuple of str
            Those of the data set, which labels go by.

        Raises
        ------
        UserError
            A file that can't be read as an array, or one of a shape that the input can't have.
        """
        from initpools_cli.strategies.arrays import image_axis

        files = {
            "embeddings": self.embeddings,
            "patches": self.patches,
            "probs": self.probs,
            "scores": self.scores,
            "clusters": self.clusters,
            "order": self.ranking,
            # A table of annotations takes a run to be read; an array speaks for itself.
            "labels": self.labels if self.labels is not None and self.labels.suffix.lower() == ".npy" else None,
        }
        found = {
            name: read_array(path, FLAGS.get(name, f"--{name}"), mapped=name in ("embeddings", "patches", "probs"))
            for name, path in files.items()
            if path
        }
        if "labels" in found:
            found["labels"] = _one_axis(found["labels"])
        for name, array in found.items():
            image_axis(name, array.shape)
        if "labels" in found:
            known = self.classes_in(classes)
            found["labels"] = label_numbers(found["labels"], f"{self.labels} (--labels)", known, report)[0]
        if "probs" in found and found["probs"].ndim == 3:
            found |= dict.fromkeys(("view_probs", "mc_probs", "member_probs"), found["probs"])
        return found

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file, by absolute path, for ``step.toml``.

        Raises
        ------
        UserError
            No such file, or one that was written to since the command began: what was read of it isn't known.
        """
        found = {}
        for name, path in self.files.items():
            require_file(path, FLAGS.get(name, f"--{name}"))
            found[str(path.resolve())] = checksum(path)
            if self._begun.get(path) != signature(path):
                raise changed_error(path)
        return found

    def classes_in(self, dataset: tuple[str, ...]) -> tuple[str, ...]:
        """The classes that `labels` can have, in a data set with these classes.

        Raises
        ------
        UserError
            The data set's classes are others than those that were named.
        """
        if dataset and self.classes and set(dataset) != set(self.classes):
            raise UserError(
                f"The classes of the data set are {', '.join(dataset[:20])}, and --classes names others.",
                "Leave --classes out, or begin another run with it (--run DIR).",
            )
        return dataset or self.classes

    @property
    def identity(self) -> dict[str, list[str]]:
        """What else the labels depend on, for a step's table: the classes that were named for them."""
        return {"classes": list(self.classes)} if self.classes and self.labels is not None else {}

    @property
    def without_run(self) -> bool:
        """Whether the files alone say which images there are."""
        files = (self.embeddings, self.patches, self.probs, self.scores, self.ranking)
        return any(path is not None for path in files)


def read_rows(path: Path, flag: str, items: pd.DataFrame | None) -> np.ndarray:
    """Indices of images, or the mask of them, such as those that are labeled already.

    Parameters
    ----------
    path : Path
        .npy of indices or of booleans, or a .csv with a column ``index`` or ``path``.
    flag : str
        What the user gave it as, for messages.
    items : DataFrame, optional
        The train rows of items.csv. Without them paths mean nothing, and whoever knows the number of images checks.

    Returns
    -------
    ndarray
        With `items`: (m,) int64, ascending. Without: as it came.

    Raises
    ------
    UserError
        Unreadable, neither column, paths that the data set does not have, indices out of range or repeated.
    """
    from initpools_cli.strategies.select import as_rows

    is_table = path.suffix.lower() in (".csv", ".tsv")
    found = images_named(path, flag, items) if is_table else read_array(path, flag)
    return found if items is None else as_rows(flag, found, len(items))


def read_labels(
    path: Path,
    items: pd.DataFrame,
    classes: tuple[str, ...],
    flag: str = "--labels",
    report: Reporter | None = None,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Annotations: rows, labels and classes.

    Parameters
    ----------
    path : Path
        What `datasets.annotations` reads: a .csv with ``path`` or ``index``, and ``label`` (a class name or number),
        an export of Label Studio or CVAT, a folder per class; rows with an empty label are skipped. Or an .npy of a
        class for every image.
    items : DataFrame
        The train rows of items.csv.
    classes : tuple of str
        The only classes there can be; empty: the annotations' own in sorted order.
    report : Reporter, optional
        Where it is said which rows have no label.

    Returns
    -------
    rows, labels : ndarray
        (m,) int64 each.
    classes : tuple of str

    Raises
    ------
    UserError
        No such columns, an unknown path or class, or one image with two labels.
    """
    if path.suffix.lower() == ".npy":
        return _labels_of_all(path, len(items), classes, flag, report)
    from initpools_cli.datasets.annotations.check import read_annotations
    from initpools_cli.datasets.classes import KnownClasses

    read = read_annotations(path, items, KnownClasses(classes), None, flag)
    _say(report, read.notes)
    if read.problems:
        more = f", and {len(read.problems) - 1} more rows are wrong" if read.problems[1:] else ""
        raise UserError(f"{path} ({flag}), {read.problems[0]}{more}.", "Mend or remove what is wrong and run again.")
    if not len(read.rows):
        raise UserError(f"{path} ({flag}) has no row with a label.", "Fill the column 'label' and run again.")
    known = classes or read.classes
    numbers = {name: code for code, name in enumerate(known)}
    return read.rows, np.array([numbers[name] for name in read.labels], dtype=np.int64), known


def label_numbers(
    labels: np.ndarray, what: str, classes: tuple[str, ...], report: Reporter | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class number of every image, (n,) int64, -1 for none; and the classes.

    Without classes, numbers are class numbers as they stand: columns of ``--probs`` go by them.
    """
    from initpools_cli.datasets.label_arrays import coded

    found = coded({"the array": labels}, what, classes)
    _say(report, found.notes)
    codes = found.codes["the array"]
    if classes or not all(name.removeprefix("-").isdigit() for name in found.classes):
        return codes, found.classes
    values = np.array([int(name) for name in found.classes] or [-1], dtype=object)
    if len(found.classes) and not 0 <= min(values) <= max(values) < MOST_CLASSES:
        wrong = min(values) if min(values) < 0 else max(values)
        raise UserError(f"{what} has the label {wrong}.", "Number the classes from 0; -1 means that it is not known.")
    known = tuple(map(str, range(int(max(values)) + 1)))
    return np.where(codes < 0, -1, values[codes].astype(np.int64)), known


def _labels_of_all(
    path: Path, count: int, classes: tuple[str, ...], flag: str, report: Reporter | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    array = _one_axis(read_array(path, flag))
    if array.ndim != 1:
        raise UserError(f"{path} ({flag}) has the shape {array.shape}, not (n,).", "Save one class per image.")
    if len(array) != count:
        raise UserError(
            f"{path} ({flag}) has {len(array)} labels for {count} train images.", "Bring one per image, -1 for none."
        )
    labels, known = label_numbers(array, f"{path} ({flag})", classes, report)
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UserError(f"{path} ({flag}) has no label.", "Fill some in: -1 means that it is not known.")
    return rows, labels[rows], known


def _one_axis(labels: np.ndarray) -> np.ndarray:
    """Labels as (n,) where they are (n, 1), as MedMNIST has them."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _say(report: Reporter | None, notes: Sequence[str]) -> None:
    for note in notes:
        if report is not None:
            report.once(note)


def images_named(path: Path, flag: str, items: pd.DataFrame | None, root: Path | None = None) -> np.ndarray:
    """The images that a table names by ``index`` or ``path``, in its order.

    Parameters
    ----------
    flag : str
        What the user gave it as, for messages.
    items : DataFrame, optional
        The train rows of items.csv; without them paths mean nothing, and only indices count.
    root : Path, optional
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
    if items is not None:
        found = find(rows, items, root)
    else:
        found = [int(row.index) if row.index.isascii() and row.index.isdigit() else "has no index" for row in rows]
    wrong = [
        str(Problem(row.place, row.path.strip(), "", each))
        for row, each in zip(rows, found, strict=True)
        if isinstance(each, str)
    ]
    if wrong and items is None:
        raise UserError(
            f"{path} ({flag}), {wrong[0]}, and without a run no paths are known.",
            "Name the run with --run DIR, or give indices.",
        )
    if wrong:
        more = f", and so for {len(wrong) - 1} more rows" if wrong[1:] else ""
        raise UserError(f"{path} ({flag}), {wrong[0]}{more}.", "Mend or remove what is wrong and run again.")
    return np.array(found, dtype=np.int64)
