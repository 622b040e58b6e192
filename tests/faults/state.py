"""What is in a folder before, during and after a command, without what differs between two equal commands."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

#: Lines of run.toml and step.toml that differ: stamps, and the command line, which may have --force.
_DIFFERS = re.compile(rb"^(checksum|started|finished|git_commit|command) = .*\n", re.MULTILINE)
#: A table of step.toml that differs: how long parts of a sweep took.
_SECONDS = re.compile(rb"^\[outcome\.seconds\]\n(?:[^\[].*\n)*", re.MULTILINE)
#: The checksums in run.toml of files that are about to be replaced: both versions of them are whole.
_REPLACING = re.compile(rb"\n\[replacing\]\n(?:[^\[].*\n)*")
#: A column of log.csv that differs.
_SPEED = "images_per_second"
Snapshot = Mapping[str, bytes]


def snapshot(root: Path) -> dict[str, bytes]:
    """The content of every file below a folder by path."""
    return {file.relative_to(root).as_posix(): _content(file) for file in _files(root)}


def _files(root: Path) -> Iterator[Path]:
    for file in sorted(root.rglob("*")):
        # The address of the labeling page is another one each time.
        if (file.is_file() or file.is_symlink()) and file.parent.name != "labeling":
            yield file


def unsaved(root: Path, saved: Sequence[str]) -> list[str]:
    """The labels that were said to be saved, and are in no file of labels; and the files that are not whole."""
    rows = [
        line for file in sorted(root.glob("work/runs/*/labels/*.csv")) for line in file.read_text().splitlines(True)
    ]
    cells = [line.rstrip("\n").split(",") for line in rows]
    there = {f"{index},{label}" for _, index, _, label, *_ in cells if len(cells[0]) > 4}
    return [label for label in saved if label not in there] + [line for line in rows if not line.endswith("\n")]


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    if file.name in ("run.toml", "step.toml"):
        return _SECONDS.sub(b"", _DIFFERS.sub(b"", re.sub(rb'^("log.csv" = ).*$', rb"\1", content, flags=re.MULTILINE)))
    if file.name == "log.csv" and _SPEED.encode() in content:
        rows = [{**row, _SPEED: ""} for row in csv.DictReader(io.StringIO(content.decode()))]
        return repr(rows).encode()
    return content


def unfinished(path: str) -> bool:
    """Whether a file is in nobody's way: unfinished work, a file that is about to be renamed, or a lock."""
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") and part != ".last" for part in parts) or path.endswith(".lock")


def torn(now: Snapshot, *whole: Snapshot) -> list[str]:
    """The files under their final names that are in none of the whole snapshots, as they are; `unsaved` has labels."""
    return [
        path
        for path, content in now.items()
        if not unfinished(path)
        and not _cleaning(path)
        and "/labels/" not in path
        and all(_REPLACING.sub(b"", content) != each.get(path) for each in whole)
    ]


def missing(now: Snapshot, before: Snapshot) -> list[str]:
    """The files that were there before, and are no longer, also not aside until the step's new version is there."""
    kept = {path.replace(".partial/", "").replace(".old/", "/") for path in now if ".old/" in path}
    return [path for path in before if path not in now and not unfinished(path) and path not in kept]


def different(now: Snapshot, want: Snapshot) -> list[str]:
    """The files that lack or differ."""
    return [path for path, content in want.items() if now.get(path) != content]


def extra(now: Snapshot, want: Snapshot) -> list[str]:
    """The files that should not be there."""
    return [path for path in now if path not in want]


def _cleaning(path: str) -> bool:
    """Whether a finished step may have it for a moment after it was given its name."""
    parts = PurePosixPath(path).parts
    return "runs" in parts and (parts[-1] == "digest" or "work" in parts[parts.index("runs") :])
