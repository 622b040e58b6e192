"""What users bring: their own embeddings, probabilities, scores, clusters, labelled indices, annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, sha256_of

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
        """SHA-256 of every file, by absolute path, for ``step.toml``."""
        for name, path in vars(self).items():
            if path is not None and not path.is_file():
                raise UserError(f"There is no file {path} (--{name}).", "Check the path.")
        return {str(path.resolve()): sha256_of(path) for path in vars(self).values() if path is not None}

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

    is_table = path.suffix.lower() == ".csv"
    found = rows_of(read_table(path, "--labeled"), path, items) if is_table else read_array(path, "--labeled")
    return found if items is None else as_rows("--labeled", found, len(items))


def read_labels(
    path: Path, items: pd.DataFrame, classes: tuple[str, ...], flag: str = "--labels"
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Annotations: rows, labels and classes.

    Parameters
    ----------
    path : Path
        A .csv with ``path`` or ``index``, and ``label`` (a class name or number); rows with an empty label are skipped.
        Or an .npy of a class number for every image, -1 where it is not known.
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
    table = read_table(path, flag)
    if "label" not in table:
        raise UserError(
            f"{path} ({flag}) has no column 'label', only {', '.join(table.columns)}.",
            "Name the column of classes 'label'.",
        )
    table = table[table["label"] != ""]
    if table.empty:
        raise UserError(f"{path} ({flag}) has no row with a label.", "Fill the column 'label' and run again.")
    rows = rows_of(table, path, items)
    known = classes or tuple(sorted(set(table["label"])))
    numbers = {name: code for code, name in enumerate(known)} | {
        str(code): code for code in range(len(known)) if str(code) not in known
    }
    unknown = sorted(set(table["label"]) - set(numbers))
    if unknown:
        raise UserError(
            f"{path} ({flag}) has the label {unknown[0]!r}, which is no class of the data set.",
            f"Its classes are: {', '.join(known[:20])}.",
        )
    labels = np.array([numbers[label] for label in table["label"]], dtype=np.int64)
    order = np.argsort(rows, kind="stable")
    rows, labels = rows[order], labels[order]
    again = rows[1:] == rows[:-1]
    conflict = again & (labels[1:] != labels[:-1])
    if conflict.any():
        row = int(rows[1:][conflict][0])
        raise UserError(f"{path} ({flag}) gives image {row} two different labels.", "Keep one of the rows.")
    first = np.r_[True, ~again]
    return rows[first], labels[first], known


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


def rows_of(table: pd.DataFrame, path: Path, items: pd.DataFrame | None) -> np.ndarray:
    """Train rows (m,) int64 from a table's ``index`` or ``path`` column."""
    if "index" in table and (table["index"] != "").all():
        try:
            rows = table["index"].astype(np.int64).to_numpy()
        except (ValueError, OverflowError) as error:
            raise UserError(f"{path} has an index that is no whole number: {error}.", "Mend that row.") from None
        outside = rows[(rows < 0) | (rows >= (np.inf if items is None else len(items)))]
        if len(outside):
            most = "" if items is None else f", and there are {len(items)} train images"
            raise UserError(f"{path} has the index {outside[0]}{most}.", "Indices count from 0; mend that row.")
        return rows
    if "path" not in table:
        raise UserError(
            f"{path} has neither a column 'index' nor 'path', only {', '.join(table.columns)}.", "Add one of them."
        )
    if items is None:
        raise UserError(
            f"{path} names images by path, and without a run no paths are known.",
            "Name the run with --run DIR, or give indices.",
        )
    index = dict(zip(items["path"], items["index"], strict=True))
    # A backslash stands between folders where a table comes from Windows, but may be part of a name here.
    slashed = table["path"].str.replace("\\", "/", regex=False).str.removeprefix("./")
    wanted = table["path"].where(table["path"].isin(index), slashed)
    missing = [name for name in wanted if name not in index]
    if missing:
        raise UserError(
            f"{path} names {len(missing)} images that the data set does not have, the first {missing[0]!r}.",
            "Give paths relative to the data set's folder, as in data/items.csv.",
        )
    return wanted.map(index).to_numpy(np.int64)


def read_table(path: Path, what: str) -> pd.DataFrame:
    """A .csv as strings."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no file {path} ({what}).", "Check the path.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} ({what}) can't be read as a .csv: {error}.", "Save it as UTF-8 with commas.") from None
