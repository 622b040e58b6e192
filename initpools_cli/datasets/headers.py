"""Headers of image files, and the reasons why other files are skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from initpools_cli.core.errors import UserError
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.kept_files import Images
from initpools_cli.datasets.raster import NO_IMAGE, Header, Reason, header_of
from initpools_cli.datasets.stored.shards import Root


@dataclass(frozen=True)
class Headers:
    """Headers of images, and reasons of skipped files, by relative path."""

    images: dict[str, Header]
    skip_reasons: dict[str, Reason]

    def deep(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the kind of value of images that are not stored as 8 bits."""
        return {path: self.images[path].deep for path in paths if self.images[path].deep}


def read_headers(root: Images, paths: Sequence[str]) -> Headers:
    """Read the headers of files."""
    headers = Headers({}, {})
    for path in paths:
        header = header_of(root / path) if _fits_in_csv(path) else NO_IMAGE
        if isinstance(header, Reason):
            headers.skip_reasons[path] = header
        else:
            headers.images[path] = header
    return headers


def skipped_notes(skip_reasons: Mapping[str, Reason], order: Sequence[str]) -> list[str]:
    """Return one note per reason: the number of skipped files, and the first of them in the given order."""
    notes = []
    for reason in dict.fromkeys(sorted(skip_reasons.values(), key=lambda reason: reason != NO_IMAGE)):
        paths = [path for path in order if skip_reasons.get(path) == reason]
        names = [path.replace("\r", "\\r").encode(errors="backslashreplace").decode() for path in paths]
        verb = f"is {reason.one} and was" if len(paths) == 1 else f"are {reason.many} and were"
        remedy = f" ({reason.remedy})" if reason.remedy else ""
        notes.append(f"{counted(paths, 'file')} {verb} skipped{remedy}: {named(names)}")
    return notes


def no_images_error(
    fact: str, root: Root, skip_reasons: Mapping[str, Reason], order: Sequence[str], remedy: str
) -> UserError:
    """Return the error for a folder without readable images."""
    remedies = dict.fromkeys(reason.remedy for reason in skip_reasons.values() if reason.remedy)
    advice = "; ".join(text if text[0].isupper() else f"`{text}`" for text in remedies)
    return UserError(
        "; ".join([fact, *skipped_notes(skip_reasons, order)]) + ".", f"{advice}." if advice else remedy, root
    )


def _fits_in_csv(path: str) -> bool:
    """Whether a path can be stored in a CSV file: valid UTF-8 without a carriage return."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\r" not in path
