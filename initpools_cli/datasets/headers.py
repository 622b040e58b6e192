"""Which files of a folder are images, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.labels import counted, named
from initpools_cli.datasets.raster import NO_IMAGE, Header, Reason, header_of


@dataclass(frozen=True)
class Headers:
    """The images among some files, and the reasons why the others are none, by relative path."""

    images: dict[str, Header]
    skipped: dict[str, Reason]

    def deep(self, paths: Sequence[str]) -> dict[str, str]:
        """The kind of value of those that are not stored as 8 bits."""
        return {path: self.images[path].deep for path in paths if self.images[path].deep}


def read_headers(root: Path, paths: Sequence[str]) -> Headers:
    """What the files say of themselves."""
    found = Headers({}, {})
    for path in paths:
        header = header_of(root / path) if _survives_a_table(path) else NO_IMAGE
        if isinstance(header, Reason):
            found.skipped[path] = header
        else:
            found.images[path] = header
    return found


def skipped_notes(skipped: Mapping[str, Reason], order: Sequence[str]) -> list[str]:
    """One line for each reason: how many files, and the first of them, as `order` has them."""
    notes = []
    for reason in dict.fromkeys(sorted(skipped.values(), key=lambda reason: reason != NO_IMAGE)):
        paths = [path for path in order if skipped.get(path) == reason]
        shown = [path.replace("\r", "\\r").encode(errors="backslashreplace").decode() for path in paths]
        said = f"is {reason.one} and was" if len(paths) == 1 else f"are {reason.many} and were"
        helps = f" ({reason.remedy})" if reason.remedy else ""
        notes.append(f"{counted(paths, 'file')} {said} skipped{helps}: {named(shown)}")
    return notes


def refused(fact: str, skipped: Mapping[str, Reason], order: Sequence[str], remedy: str) -> UserError:
    """The error for a folder without an image that can be read."""
    helps = dict.fromkeys(reason.remedy for reason in skipped.values() if reason.remedy)
    advice = "; ".join(text if text[0].isupper() else f"`{text}`" for text in helps)
    return UserError("; ".join([fact, *skipped_notes(skipped, order)]) + ".", f"{advice}." if advice else remedy)


def _survives_a_table(path: str) -> bool:
    """Whether a CSV file gives the name back: not without valid UTF-8, nor with a lone carriage return."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\r" not in path
