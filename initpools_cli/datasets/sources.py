"""What the loader of a data set hands over: arrays, or a folder of files with their splits and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from initpools_cli.core.reporter import Reporter


@dataclass(frozen=True)
class Arrays:
    """Images that come as arrays.

    Attributes
    ----------
    images : dict of split to ndarray of shape (n, h, w, c), uint8
        Perhaps memory-mapped.
    labels : dict of split to ndarray of shape (n,), int64, or None
        Class numbers; -1 where an image has no label.
    classes : tuple of str
        Class names by class number.
    notes : list of str
        What the user should be told.
    conversions : dict of split to str
        What ``items.csv`` says of images that were not uint8.
    """

    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray | None]
    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    conversions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """The split and the class of every file of a folder.

    Attributes
    ----------
    splits : list of str
        For every path "train", "val" or "test"; "" leaves the file out.
    labels : list of str
        For every path its class; "" where it has none.
    classes : tuple of str
        All classes in order; empty: those that occur, sorted.
    notes : list of str
        What the user should be told.
    """

    splits: list[str]
    labels: list[str]
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Files:
    """Images that come as files.

    Attributes
    ----------
    root : Path
        The folder.
    assign : callable
        From the POSIX relative paths of all its images to their splits and classes.
    folders : tuple of str
        The folders in it that are read; empty: all of it.
    """

    root: Path
    assign: Callable[[Sequence[str]], Assignment]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetFacts:
    """A registered data set.

    Attributes
    ----------
    name, title : str
        The name to ask for it by, and what it shows.
    classes, channels : int
        How many.
    source : str
        Where it comes from.
    license : str
        As its makers state it.
    download : bool
        Whether the first use fetches it.
    """

    name: str
    title: str
    classes: int
    channels: int
    source: str
    license: str
    download: bool


#: Bring the data set: ``$INITPOOLS_DATA``, the size asked for (pixels, 0 is native), a folder for unfinished work.
Load = Callable[[Path, int, Path, Reporter], Arrays | Files]


@dataclass(frozen=True)
class Entry:
    """A registered data set with its loader; `refusal` says why one that exists can't be used here."""

    facts: DatasetFacts
    load: Load
    refusal: str = ""
