"""Images with their labels, as every export gets them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.output_folders import Entry, copy_of, file_of
from initpools_cli.core.spreadsheet import safe_table
from initpools_cli.datasets.label_sets import parts_of
from initpools_cli.datasets.spec import Dataset
from initpools_cli.datasets.stored.shards import OriginalFile

if TYPE_CHECKING:
    import pandas as pd

#: Maximum length of a file name, bytes.
MAX_NAME_BYTES = 255
#: Longer endings are treated as part of the stem, characters.
MAX_ENDING = 16
#: Endings by which libraries recognize image files.
IMAGE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".avif", ".dcm")
)
#: Table in a folder of images.
TABLE = "labels.csv"


@dataclass(frozen=True)
class ExportData:
    """Images with labels.

    Attributes
    ----------
    name : str
        Name of the pool or the round.
    rows : DataFrame
        A row for each image: index, path, label and more. With a column `source` ("label" or "prediction"), the labels
        are answers of annotators or predictions of the model; without, the rows are a pool.
    dataset : Dataset
    copies : Path or None
        Folder to which the same command writes copies of the images.
    url : str
        Prefix of the image paths for Label Studio; empty: that of its server of local files.
    """

    name: str
    rows: pd.DataFrame
    dataset: Dataset
    copies: Path | None = None
    url: str = ""

    @cached_property
    def indices(self) -> list[int]:
        """Train rows."""
        return [int(index) for index in self.rows["index"]]

    @cached_property
    def labels(self) -> list[str]:
        """The label of each image; empty for none."""
        return [str(label) for label in self.rows["label"]]

    @cached_property
    def label_lists(self) -> list[list[str]]:
        """The labels of each image as a list: one class, or several; empty for none."""
        return [self.list_of(label) for label in self.labels]

    def list_of(self, label: str) -> list[str]:
        """Return the classes in a text."""
        return (parts_of(label) if self.dataset.multilabel else [label]) if label else []

    @cached_property
    def sources(self) -> list[str]:
        """Where each label is from; empty in a pool."""
        return [str(each) for each in self.rows["source"]] if "source" in self.rows else [""] * len(self.rows)

    @cached_property
    def splits(self) -> list[str]:
        """The split of each image, "train" or "val"."""
        return self.rows["split"].tolist() if "split" in self.rows else ["train"] * len(self.rows)

    @cached_property
    def names(self) -> list[str]:
        """A unique file name ``order-index-name`` for each image; sorted, they are in the order of the rows."""
        return file_names(self.rows, len(self.dataset.kept))

    @cached_property
    def image_names(self) -> list[str]:
        """A unique file name ``index-name`` for each image, with an ending by which libraries recognize images."""
        width = len(str(len(self.dataset.kept) - 1))
        paths = self.rows["path"].tolist()
        return [
            self._with_ending(f"{index:0{width}}-{path.rpartition('/')[2]}" if path else f"{index:0{width}}.png", path)
            for index, path in zip(self.indices, paths, strict=True)
        ]

    def _with_ending(self, name: str, path: str) -> str:
        """Append the ending of the format if a file name has none."""
        if name.lower().endswith(tuple(IMAGE_ENDINGS)) or self.dataset.root is None:
            return shortened(name)
        return shortened(name, _ending_of(self.dataset.root / path))

    @cached_property
    def images(self) -> list[Entry]:
        """Each image as a file to write: a copy of its file, or a PNG of its array."""
        return [self._image(index, path) for index, path in zip(self.indices, self.rows["path"], strict=True)]

    def _image(self, index: int, path: str) -> Entry:
        if self.dataset.root is not None:
            return copy_of_image(self.dataset.root / path)
        return file_of(partial(encoded_png, self.dataset.splits["train"].images[index]))

    def table(self, names: Sequence[str]) -> dict[str, Entry]:
        """Return a table of the files of a folder, which says which labels are predictions; none for a pool."""
        if "source" not in self.rows:
            return {}
        rows = self.rows.copy()
        rows.insert(0, "file", list(names))
        return {TABLE: file_of(lambda: safe_table(rows).to_csv(index=False).encode())}

    def content(self, position: int) -> bytes:
        """Return the bytes of an image file, by position in `rows`; of an array, those of a PNG."""
        index, path = self.indices[position], self.rows["path"].iloc[position]
        if self.dataset.root is None:
            return encoded_png(self.dataset.splits["train"].images[index])
        return (self.dataset.root / path).read_bytes()

    @property
    def base(self) -> Path:
        """Folder of the image files that exports point to."""
        base = self.copies or self.dataset.root
        assert isinstance(base, Path), "arrays and shards have files only where copies are written"
        return base

    @cached_property
    def relative_paths(self) -> list[str]:
        """Path of each image file relative to `base`, with ``/``."""
        return self.names if self.copies is not None else self.rows["path"].tolist()


def copy_of_image(file: OriginalFile) -> Entry:
    """Return the entry for a copy of an original image."""
    return copy_of(file) if isinstance(file, Path) else file_of(file.read_bytes)


def encoded_png(pixels: np.ndarray) -> bytes:
    """Encode an array as a PNG file."""
    from initpools_cli.figures.thumbnails import picture, png

    return png(picture(pixels))


def file_names(rows: pd.DataFrame, n: int) -> list[str]:
    """Make a unique file name ``order-index-name`` for each row of `n` images; sorted, they are in order."""
    orders: Sequence[int] = rows["order"].tolist() if "order" in rows else range(len(rows))
    widths = len(str(max(len(rows) - 1, 0))), len(str(n - 1))
    names = []
    for order, index, path in zip(orders, rows["index"], rows["path"], strict=True):
        prefix = f"{order:0{widths[0]}}-{index:0{widths[1]}}"
        names.append(shortened(f"{prefix}-{path.rpartition('/')[2]}") if path else f"{prefix}.png")
    return names


def shortened(name: str, ending: str = "") -> str:
    """Shorten the stem of a name that is too long for a file name; `ending` is appended to it."""
    if not ending:
        name, ending = os.path.splitext(name)  # noqa: PTH122 -- a name, not a path
        # An ending that long is not a file type.
        if len(ending) > MAX_ENDING:
            name, ending = name + ending, ""
    return name.encode()[: MAX_NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending


def _ending_of(file: OriginalFile) -> str:
    """Return the usual ending of the format of an image file; empty if Pillow does not read it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with file.open("rb") as stream, Image.open(stream) as image:
            return {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "PPM": ".ppm"}.get(
                str(image.format), f".{str(image.format).lower()}"
            )
    except (UnidentifiedImageError, OSError):
        return ""
