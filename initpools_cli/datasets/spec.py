"""Settings of a data set, and an opened data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd

#: In the order of ``items.csv``.
SPLITS = ("train", "val", "test")
#: The columns of ``items.csv``.
COLUMNS = ("index", "path", "split", "label", "class", "bytes", "sha256")
#: An additional column if some image was converted: the type of its values and the range that becomes 0 to 255
#: ("uint16 98,612"), "window" (that of a DICOM file), or "white" (the background of transparent pixels).
CONVERSION = "conversion"
#: An additional column of data sets with groups: the name of the group of each image, never empty.
GROUP = "group"


@dataclass(frozen=True)
class DatasetSpec:
    """The ``[dataset]`` table.

    Attributes
    ----------
    name : str
        A registered name, an .npz file, a folder, shards, a table of paths, or a file of embeddings; a registered name
        takes precedence, ``./digits`` is a path.
    size : int
        Side of the images in pixels; 0 is native for arrays and 64 for folders. The shorter side is resized, then the
        center is cropped.
    test : float
        Share held out (seeded and stratified) if a labeled data set has no test split.
    imbalance : {"none", "exp", "step"}
        The kind of long tail.
    ratio : float
        Size of the smallest class over that of the largest, for long tails.
    labels : str
        For folders: "auto", "none", "folders", or the path of a CSV file. For shards and tables of paths: the same but
        "folders". For embeddings: "auto" or "none", or the path of a file of labels.
    label_column : str
        For parquet files: the column of labels; empty: the only one there is.
    scale : str
        Values that become 0 and 255 if pixels are not stored as 8 bits: "auto", "full" or "lo,hi".
    classes : tuple of str
        All classes in the order of their numbers; empty: the classes that occur.
    ids : str
        For embeddings: the path of the file that names the image of each row; empty: rows have no names.
    id_column : str
        For embeddings: the column or array of ids in the file; empty: the one with a usual name; "none": no ids.
    groups : str
        Images that belong together: a file, or a regular expression on paths; "none": no groups; empty: those that the
        data set has of its own. See `groups.read_groups`.
    shared_groups : {"refuse", "allow"}
        Whether given splits may share groups.
    multilabel : bool
        Whether images can have several labels; arrays and tables can also say so themselves.
    """

    name: str
    size: int = 0
    test: float = 0.2
    imbalance: str = "none"
    ratio: float = 0.01
    labels: str = "auto"
    label_column: str = ""
    scale: str = "auto"
    classes: tuple[str, ...] = ()
    ids: str = ""
    id_column: str = ""
    groups: str = ""
    shared_groups: str = "refuse"
    multilabel: bool = False


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes
    ----------
    pixels : ndarray of shape (n, h, w, c), uint8, or None
        Memory-mapped, read-only, c in {1, 3}; None if the data set is a file of embeddings.
    labels : ndarray of shape (n,), int64, or (n, c), int8, or None
        Class numbers, -1 for images without label; with several labels per image 0 and 1 for each class, rows of -1
        for images without label. None if no image has a label.
    paths : list of str
        POSIX paths relative to the folder, or paths in shards, or ids of embeddings; empty strings for arrays.
    source : str
        The name of the data set, for messages.
    """

    pixels: np.ndarray | None
    labels: np.ndarray | None
    paths: list[str]
    source: str = ""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    @property
    def images(self) -> np.ndarray:
        """The pixels.

        Raises
        ------
        UserError
            The data set is a file of embeddings.
        """
        if self.pixels is None:
            raise no_pixels_error("This command", self.source)
        return self.pixels

    @property
    def labeled(self) -> np.ndarray:
        """The rows that have a label, (m,) int64, ascending."""
        return np.empty(0, np.int64) if self.labels is None else labeled_rows(self.labels)


@dataclass(frozen=True)
class Dataset:
    """An opened data set.

    Attributes
    ----------
    spec : DatasetSpec
    classes : tuple of str
        Class names by class number; empty without labels.
    splits : dict of str to Split
        Keys among "train", "val" and "test".
    items : DataFrame
        One row per image: index, path, split, label (Int64, NA for none), class, bytes, sha256, and maybe conversion.
        With several labels per image, label and class are text: ``0|3`` and ``cat|dog``, both ``none`` for no class.
    kept : ndarray of shape (n_train,), bool
        The train images to choose from: without those outside a long tail, and without those held out as test split of
        an array, which keep their rows.
    root : Path or Shards or None
        The folder of the original files, or what reads them from shards.
    notes : list of str
        Notes for the user.
    scale : Scale
        The conversion of original files to 8 bits.
    multilabel : bool
        Whether images can have several labels.
    """

    spec: DatasetSpec
    classes: tuple[str, ...]
    splits: dict[str, Split]
    items: pd.DataFrame
    kept: np.ndarray
    root: Root | None
    notes: list[str] = field(default_factory=list)
    scale: Scale = field(default_factory=Scale)
    multilabel: bool = False

    @property
    def has_images(self) -> bool:
        """Whether there are pixels, which a file of embeddings does not have."""
        return self.splits["train"].pixels is not None

    @cached_property
    def train_items(self) -> pd.DataFrame:
        """The train rows of `items`; row i is train image i."""
        return self.items[self.items["split"] == "train"].reset_index(drop=True)

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """The names of all groups by code; empty without groups."""
        return tuple(dict.fromkeys(self.items[GROUP])) if GROUP in self.items else ()

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each train image, (n_train,) int64 codes of `group_names`; None without groups."""
        return self.groups_of("train")

    def groups_of(self, split: str) -> np.ndarray | None:
        """Return the group of each image of a split, (n,) int64 codes of `group_names`; None without groups."""
        return self._group_codes.get(split)

    @cached_property
    def _group_codes(self) -> dict[str, np.ndarray]:
        codes = {name: code for code, name in enumerate(self.group_names)}
        return {
            split: self.items.loc[self.items["split"] == split, GROUP].map(codes).to_numpy(np.int64)
            for split in self.splits
            if codes
        }


def no_pixels_error(what: str, source: str, instead: str = "") -> UserError:
    """Return the error for something that needs images in a data set of embeddings.

    Parameters
    ----------
    instead : str
        The remedy; default: another run.
    """
    return UserError(
        f"{what} needs images, and {source} has only embeddings.",
        instead or "Use a run that was started with the images: --run DIR, and --dataset FOLDER if it is new.",
        source,
    )
