"""Matching of annotation rows to images by index, path or content."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd

#: Label Studio's name of an uploaded image: eight hexadecimal digits before its own name.
UPLOAD = re.compile(r"(^|/)upload/(\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)$")
#: The name of an exported copy: order, index, and the file name if there is one.
COPY = re.compile(r"\d+-(?P<index>\d{1,18})(\.png|-(?P<name>.+))")
#: Digits of the largest array index.
LONGEST_INDEX = 19


class Finder:
    """Index of the images of a data set, to find the image of an annotation row.

    Parameters
    ----------
    items : DataFrame
        Rows of items.csv. Only train images are matched; others are used in messages.
    root : Path or Shards, optional
        The folder of the data set.
    """

    def __init__(self, items: pd.DataFrame, root: Root | None = None) -> None:
        train = items["split"] == "train"
        self._index = dict(zip(items["path"][train], items["index"][train].tolist(), strict=True))
        self._path = dict(zip(items["index"][train].tolist(), items["path"][train], strict=True))
        self._others = dict(zip(items["path"][~train], items["split"][~train], strict=True))
        self._sums: dict[str, list[int]] = defaultdict(list)
        for index, checksum in zip(items["index"][train].tolist(), items["sha256"][train], strict=True):
            self._sums[checksum].append(index)
        # Arrays have no paths.
        for row_of in (self._index, self._others):
            row_of.pop("", None)
        self._root = None if root is None else root.resolve().as_posix() + "/"

    def row_of(self, row: Row) -> int | str:
        """Return the train row of an annotation, or the reason why there is none."""
        if row.sha256 in self._sums:
            return self._alike(row)
        if not row.path.strip():
            return self._at(row.index)
        image = self._image_of_path(row.path)
        if isinstance(image, str) and row.sha256:
            return "is not an image of the data set, neither by content nor by name"
        if isinstance(image, str) and not self._plain and row.index:
            # Annotation tools name the images of arrays themselves.
            return self._at(row.index)
        if isinstance(image, int) and row.index and self._at(row.index) != image:
            return f"has index {image}, but the row has index {row.index}"
        return image

    def _at(self, index: str) -> int | str:
        if not index:
            return "has neither a path nor an index"
        whole = index.removesuffix(".0")
        if not (whole.isascii() and whole.isdigit()):
            return f"has the index {index!r}, which is not an integer"
        # Python refuses to read very long numbers.
        if len(whole) > LONGEST_INDEX or int(whole) not in self._path:
            return f"has the index {whole}, but there are {len(self._path)} train images"
        return int(whole)

    def _alike(self, row: Row) -> int:
        """Return the file with the same content and name, else the first with the same content."""
        same = self._sums[row.sha256]
        image = self._image_of_path(row.path) if len(same) > 1 else ""
        return image if isinstance(image, int) and image in same else same[0]

    def _image_of_path(self, path: str) -> int | str:
        others = ""
        for name in self._spellings(path):
            if name in self._index:
                return self._index[name]
            others = others or self._others.get(name, "")
        if others:
            return f"is in the {others} split"
        local = _local_path(path)
        parts = local.split("/")
        # A path of another machine, or of a tool's storage, ends with that of the image.
        inside = next(
            (self._plain[end] for i in range(len(parts)) if (end := "/".join(parts[i:])) in self._plain), None
        )
        if inside is not None:
            return inside
        copy = COPY.fullmatch(parts[-1])
        if copy and self._is_copy(int(copy["index"]), copy["name"]):
            return int(copy["index"])
        # Annotators often type only the file name.
        ends = self._tails.get(local, ())
        if len(ends) > 1:
            return f"matches {len(ends)} images: {', '.join(self._path[index] for index in ends[:3])}"
        return ends[0] if ends else "is not an image of the data set"

    def _is_copy(self, index: int, name: str | None) -> bool:
        """Whether an exported copy can be of an image; copies from arrays are PNG files without a name."""
        path = self._path.get(index)
        return path is not None and unicodedata.normalize("NFC", path.rpartition("/")[2]) == (name or "")

    def _spellings(self, path: str) -> Iterator[str]:
        """Yield possible paths in the data set, from the literal path to relative ones."""
        posix = _posix_path(path)
        yield from (path, path.strip(), posix)
        if self._root is not None and posix.startswith(self._root):
            yield posix.removeprefix(self._root)

    @cached_property
    def _plain(self) -> dict[str, int]:
        """Images by path in Unicode form NFC; macOS stores NFD."""
        return {unicodedata.normalize("NFC", path): index for path, index in self._index.items()}

    @cached_property
    def _tails(self) -> dict[str, list[int]]:
        """Images by every suffix of their path components."""
        tails: dict[str, list[int]] = defaultdict(list)
        for path, index in self._plain.items():
            parts = path.split("/")
            for start in range(len(parts)):
                tails["/".join(parts[start:])].append(index)
        return tails


def find(rows: Sequence[Row], items: pd.DataFrame, root: Root | None = None) -> list[int | str]:
    """Return the train image of each row, or the reason why there is none."""
    finder = Finder(items, root)
    return [row.problem or finder.row_of(row) for row in rows]


def _posix_path(path: str) -> str:
    """Replace backslashes by slashes; tried second, since a backslash may be part of a POSIX name."""
    return path.strip().replace("\\", "/").removeprefix("./")


def _local_path(path: str) -> str:
    """Return the path inside an address of an annotation tool, without the tool's prefix."""
    posix = _posix_path(path)
    if "://" in posix or posix.startswith("/data/"):
        # A path that looks like an address may be invalid as one, such as "s3://[x".
        with contextlib.suppress(ValueError):
            address = urlsplit(posix)
            posix = unquote(parse_qs(address.query).get("d", [address.path])[0])
    upload = UPLOAD.search(posix)
    return unicodedata.normalize("NFC", upload["name"] if upload else posix.strip("/"))
