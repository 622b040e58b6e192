"""Results of data set loaders: arrays, or files with their splits and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.stored.shards import Root


@dataclass(frozen=True)
class Arrays:
    """Images as arrays.

    Attributes
    ----------
    images : dict of split to ndarray of shape (n, h, w, c), uint8
        Arrays or memory maps.
    labels : dict of split to ndarray of shape (n,), int64, or (n, c), int8, or None
        Class numbers, or 0 and 1 for each class; -1 for images without label.
    classes : tuple of str
        Class names by class number.
    notes : list of str
        Notes for the user.
    conversions : dict of split to str
        Conversions of images that were not uint8, for ``items.csv``.
    """

    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray | None]
    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    conversions: dict[str, str] = field(default_factory=dict)

    @property
    def multilabel(self) -> bool:
        """Whether images can have several labels."""
        return any(each is not None and each.ndim == 2 for each in self.labels.values())


@dataclass(frozen=True)
class Assignment:
    """The split and the class of every file of a folder.

    Attributes
    ----------
    splits : list of str
        "train", "val" or "test" for each path; "" leaves the file out.
    labels : list of str
        The class of each path; "" for no label. With several labels per image classes joined by ``|``, or ``none``.
    classes : tuple of str
        All classes in order; empty: the classes that occur, sorted.
    notes : list of str
        Notes for the user.
    multilabel : bool
        Whether images can have several labels.
    """

    splits: list[str]
    labels: list[str]
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    multilabel: bool = False


@dataclass(frozen=True)
class Files:
    """Images as files, or stored in shards.

    Attributes
    ----------
    root : Path or Shards
        The folder, or what reads the images of shards.
    assign : callable
        Maps the relative POSIX paths of all images to an `Assignment`.
    folders : tuple of str
        The sub-folders to read; empty: all.
    groups : tuple of (str, str), optional
        A table and its column of groups, used unless the user sets others.
    paths : tuple of str, optional
        The images in their order; default: all files of the folder.
    """

    root: Root
    assign: Callable[[Sequence[str]], Assignment]
    folders: tuple[str, ...] = ()
    groups: tuple[str, str] | None = None
    paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of a registered data set.

    Attributes
    ----------
    name, title : str
        The name, and a description.
    classes, channels : int
        Numbers of classes and channels.
    source : str
        Web address of its origin.
    license : str
        As stated by its authors.
    download : bool
        Whether it is downloaded at its first use.
    """

    name: str
    title: str
    classes: int
    channels: int
    source: str
    license: str
    download: bool


#: Loads a data set from: the data folder, the requested size (pixels, 0 is native), a scratch folder, the reporter.
Load = Callable[[Path, int, Path, Reporter], Arrays | Files]


@dataclass(frozen=True)
class Entry:
    """A registered data set with its loader; `refusal` is the reason why it can't be used, or empty."""

    facts: DatasetFacts
    load: Load
    refusal: str = ""
