"""Find the files of embeddings that a path, a folder or a pattern names."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.core.system_errors import no_permission
from initpools_cli.datasets.embedding_formats.registry import READERS

#: ``FILE.npz:NAME``: an array or column of a file.
MEMBER = re.compile(rf"(?P<path>.+(?:{'|'.join(map(re.escape, READERS))})):(?P<member>[^\\]+)", re.IGNORECASE)
PATTERN = re.compile(r"[*?\[]")
#: ``train-00002-of-00004``: the number of a shard, and of all of them.
OF_ALL = re.compile(r"(?P<name>.*?)(?P<number>\d+)-?_?of-?_?(?P<all>\d+)", re.IGNORECASE)
#: ``part-2``: the number of a shard.
NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>\d{1,6})")
WHAT = "embeddings"


@dataclass(frozen=True)
class Location:
    """A parsed path of embeddings.

    Attributes
    ----------
    path : Path
        The file, folder or pattern, without the name of an array.
    member : str
        The name of an array or column; empty for the usual one.
    several : bool
        Whether it is a folder or a pattern.
    """

    path: Path
    member: str = ""
    several: bool = False

    @property
    def suffix(self) -> str:
        """The ending, lower case."""
        return self.path.suffix.lower()

    @property
    def name(self) -> str:
        """A name without ending: of the file, or of the folder."""
        if not self.several:
            return self.path.stem
        return (self.path if self.path.is_dir() else self.path.parent).resolve().name


def locate(reference: Path | str) -> Location:
    """Parse a path of embeddings; nothing need exist."""
    path = Path(reference)
    try:
        if path.is_dir():
            return Location(path, several=True)
        if path.exists():
            return Location(path)
    except (OSError, ValueError):
        return Location(path)
    member = ""
    if match := MEMBER.fullmatch(str(reference)):
        path, member = Path(match["path"]), match["member"]
    return Location(path, member, not path.exists() and bool(PATTERN.search(str(path))))


def files_at(location: Location) -> tuple[Path, ...]:
    """Return the files at a location, in the order of the numbers in their names.

    Raises
    ------
    UserError
        There is none, they are of several formats, or one is missing.
    """
    if not location.several:
        return (require_file(location.path, WHAT),)
    path = location.path
    try:
        # Path.glob refuses absolute patterns.
        entries = [*path.iterdir()] if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
    except PermissionError:
        raise no_permission(path) from None
    files = [
        each for each in entries if each.suffix.lower() in READERS and not each.name.startswith(".") and each.is_file()
    ]
    if not files:
        raise UserError(
            f"{path} is a folder without files of embeddings."
            if path.is_dir()
            else f"No file of embeddings matches {path}.",
            f"Check the path; files that are read end in {', '.join(READERS)}.",
            path,
        )
    endings = sorted({each.suffix.lower() for each in files})
    if len(endings) > 1:
        folder = path if path.is_dir() else path.parent
        raise UserError(
            f"{path} has files of several formats: {', '.join(endings)}.",
            f"Name those of one format: '{folder}/*{endings[0]}'.",
            path,
        )
    _refuse_gaps(path, files)
    return tuple(sorted(files, key=_by_number))


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(each), "") if each.isdigit() else (-1, each) for each in re.split(r"([0-9]+)", str(path))]


def _refuse_gaps(path: Path, files: Sequence[Path]) -> None:
    """Raise an error if the numbers in the names of shards show that one is missing."""
    for pattern in (OF_ALL, NUMBERED):
        matches = [(file.parent, pattern.fullmatch(file.stem)) for file in files]
        shards: dict[tuple[Path, str, str], dict[int, re.Match[str]]] = defaultdict(dict)
        for folder, match in matches:
            if match is not None:
                shards[folder, match["name"], match.groupdict().get("all", "")][int(match["number"])] = match
        if all(match for _, match in matches):
            for numbers in shards.values():
                _refuse_missing(path, numbers)
            return


def _refuse_missing(path: Path, shards: Mapping[int, re.Match[str]]) -> None:
    """Raise an error if a number of the shards of one array is missing."""
    one = next(iter(shards.values()))
    if total := int(one.groupdict().get("all") or 0):
        first = 1 if 0 not in shards and total in shards else 0
        numbers = range(first, first + total)
    # Numbers that begin elsewhere may be dates or ids.
    elif min(shards) in (0, 1):
        numbers = range(min(shards), max(shards) + 1)
    else:
        return
    count = len(numbers) - sum(number in numbers for number in shards)
    if not count:
        return
    missing = islice((number for number in numbers if number not in shards), 5)
    start, end = one.span("number")
    names = [f"{one.string[:start]}{str(number).zfill(end - start)}{one.string[end:]}" for number in missing]
    names_text = ", ".join(names) + (f" and {count - 5} more" if count > 5 else "")
    raise UserError(
        f"{path} lacks {count} of the shards that its other files are numbered for: {names_text}.",
        "Copy them there, or rename the files if their numbers are not those of shards.",
        names_text,
    )
