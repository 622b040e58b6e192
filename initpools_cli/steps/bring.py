"""What users bring: their own embeddings, probabilities, scores, clusters, labelled indices, annotations."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.checksums import changed, checksum, signature
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array

if TYPE_CHECKING:
    import pandas as pd


#: The flags that are not called as the input they bring.
FLAGS = {"order": "--ranking"}


@dataclass(frozen=True)
class Brought:
    """Files named on the command line; None where there is none."""

    embeddings: Path | None = None
    patches: Path | None = None
    probs: Path | None = None
    scores: Path | None = None
    clusters: Path | None = None
    ranking: Path | None = None
    labeled: Path | None = None
    labels: Path | None = None
    _begun: dict[Path, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note what the files are before any of them is read."""
        object.__setattr__(self, "_begun", {path: signature(path) for path in self.files.values() if path.is_file()})

    @property
    def files(self) -> dict[str, Path]:
        """Those that were named, by input."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return {name: path for name, path in named.items() if path is not None}

    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs of strategies among them, by the strategies' own names; large ones memory-mapped.

        Raises
        ------
        UserError
            A file that can't be read as an array, or one of a shape that the input can't have.
        """
        from initpools_cli.strategies.inputs import image_axis

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
        for name, array in found.items():
            image_axis(name, array.shape)
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
            if not path.is_file():
                raise UserError(f"There is no file {path} (--{name}).", "Check the path.")
            found[str(path.resolve())] = checksum(path)
            if self._begun.get(path) != signature(path):
                raise changed(path)
        return found

    @property
    def without_run(self) -> bool:
        """Whether the files alone say which images there are."""
        files = (self.embeddings, self.patches, self.probs, self.scores, self.ranking)
        return any(path is not None for path in files)


def read_labeled(path: Path, items: pd.DataFrame | None) -> np.ndarray:
    """Indices already labelled, or the mask of them.

    Parameters
    ----------
    path : Path
        .npy of indices or of booleans, or a .csv with a column ``index`` or ``path``.
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
    from initpools_cli.strategies.choose import as_rows

    is_table = path.suffix.lower() in (".csv", ".tsv")
    found = images_named(path, "--labeled", items) if is_table else read_array(path, "--labeled")
    return found if items is None else as_rows("--labeled", found, len(items))


def read_labels(
    path: Path, items: pd.DataFrame, classes: tuple[str, ...], flag: str = "--labels"
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Annotations: rows, labels and classes.

    Parameters
    ----------
    path : Path
        What `datasets.annotations` reads: a .csv with ``path`` or ``index``, and ``label`` (a class name or number),
        an export of Label Studio or CVAT, a folder per class; rows with an empty label are skipped. Or an .npy of a
        class number for every image, -1 where it is not known.
    items : DataFrame
        The train rows of items.csv.
    classes : tuple of str
        The data set's classes; empty where it has none, and then the annotations' own in sorted order.

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
        return _labels_of_all(path, len(items), classes, flag)
    from initpools_cli.datasets.annotations.check import read_annotations

    read = read_annotations(path, items, classes, None, flag)
    if read.problems:
        more = f", and {len(read.problems) - 1} more rows are wrong" if read.problems[1:] else ""
        raise UserError(f"{path} ({flag}), {read.problems[0]}{more}.", "Mend or remove what is wrong and run again.")
    if not len(read.rows):
        raise UserError(f"{path} ({flag}) has no row with a label.", "Fill the column 'label' and run again.")
    known = classes or read.classes
    numbers = {name: code for code, name in enumerate(known)}
    return read.rows, np.array([numbers[name] for name in read.labels], dtype=np.int64), known


def _labels_of_all(
    path: Path, count: int, classes: tuple[str, ...], flag: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from initpools_cli.strategies.inputs import INPUTS

    labels = INPUTS["labels"].check(read_array(path, flag))
    if len(labels) != count:
        raise UserError(
            f"{path} ({flag}) has {len(labels)} labels for {count} train images.", "Bring one per image, -1 for none."
        )
    known = classes or tuple(map(str, range(int(labels.max()) + 1)))
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UserError(f"{path} ({flag}) has no label.", "Fill some in: -1 means that it is not known.")
    if labels.max() >= len(known):
        raise UserError(
            f"{path} ({flag}) has the label {labels.max()}, and the data set has {len(known)} classes.",
            f"Number them from 0: {', '.join(known[:20])}.",
        )
    return rows, labels[rows], known


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
