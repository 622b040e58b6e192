"""The registry of exports: one function a file, which returns the files of a folder or writes one file to a stream.

A kind that writes a folder is a function ``(data: ExportData) -> dict[str, Entry]``; a kind with an `ending` writes one
file: ``(data: ExportData, stream: BinaryIO) -> None``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from initpools_cli.core.registry import Method, Registry
from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class ExportTraits(Traits):
    """What an export may state.

    Attributes
    ----------
    images : {"none", "content", "files", "optional"}
        What it has of the images: only their paths; their content; their content, if there are images; or a pointer to
        their files.
    ending : str
        Ending of its file; empty if it is a folder.
    classes : bool
        Whether it needs a label for every image, which can be the name of a folder.
    split : bool
        Whether it says which images are for validation.
    """

    images: Literal["none", "content", "files", "optional"]
    ending: str = ""
    classes: bool = False
    split: bool = True


exports = Registry("export", "initpools_cli.reporting.exports", "initpools list exports", ExportTraits)


def place_of(method: Method[ExportTraits]) -> str:
    """Return what kind of path it writes, for help texts: ``FILE.csv`` or ``DIR``."""
    return f"FILE{method.traits.ending}" if method.traits.ending else "DIR"
