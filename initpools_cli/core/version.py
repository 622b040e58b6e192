"""The version and the commit of this package, for the provenance of results."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path


@cache
def version() -> str:
    """Return the installed version."""
    try:
        return importlib.metadata.version("initpools")
    except importlib.metadata.PackageNotFoundError:
        # Imported from a source tree that is not installed.
        return "0+unknown"


@cache
def git_commit() -> str | None:
    """Return the commit of a source checkout, or None for an installed package."""
    git = Path(__file__).parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        loose = git / reference
        if loose.exists():
            return loose.read_text().strip()
        lines = (git / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in lines if line.endswith(" " + reference)), None)
    except OSError:
        return None
