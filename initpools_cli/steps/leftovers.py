"""Leftovers of interrupted commands in a run and in the caches, and their removal."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import is_being_written
from initpools_cli.core.rundir import Run
from initpools_cli.core.step_folder import StepFolder
from initpools_cli.core.system_errors import disk_errors

#: Names of files that are about to be renamed to ``FILE``: ``.FILE.tmp``, or eight characters for the second writer of
#: the same file, and for all in older versions.
TEMPORARY = re.compile(r"\..+\.(?P<ending>tmp|[a-z0-9_]{8})")
#: Seconds after which a temporary file without a lock counts as left.
MIN_AGE = 24 * 3600
UNFINISHED, COMPLETE, PREVIOUS, LOCK, FILE, CACHE, CALLS = (
    "unfinished step; the same command would continue it",
    "complete step that is given its name",
    "earlier version of a step that was replaced",
    "lock of a process that has ended",
    "unfinished file",
    "unfinished work in the cache",
    "results of calls on a cluster; the same command would continue with them",
)


@dataclass(frozen=True)
class Leftover:
    """A file or folder that no result needs.

    Attributes
    ----------
    path : Path
    kind : str
        What it is.
    bytes : int
        Its size.
    """

    path: Path
    kind: str
    bytes: int


def leftovers(run: Run) -> list[Leftover]:
    """List the leftovers of interrupted commands in a run, and the files of running ones."""
    steps = [path for path in sorted(run.path.glob(".partial/*/*")) if path.suffix != ".lock"]
    entries = [_leftover(path, _kind(path)) for path in steps]
    entries += [_leftover(path, LOCK) for path in sorted(run.path.glob(".partial/*/*.lock"))]
    # Not in labels/: labels can't be computed again.
    folders = (run.path, run.path / "data", run.path / "plot")
    names = [path for folder in folders for path in sorted(folder.glob(".*")) if TEMPORARY.fullmatch(path.name)]
    return entries + [_leftover(path, FILE) for path in names if path.is_file() and not path.is_symlink()]


def clean(run: Run, caches: Path, *, dry_run: bool, unfinished: bool) -> list[Leftover]:
    """Remove the leftovers of interrupted commands; finish the renaming of complete steps.

    Files of running processes and all labels are kept.

    Parameters
    ----------
    caches : Path
        The folder of downloads and caches.
    dry_run : bool
        Only list them.
    unfinished : bool
        Also remove unfinished steps, which may be hours of training that the same command would continue, and the
        results of interrupted calls on a cluster, of any run.
    """
    from initpools_cli.datasets.cache import SCRATCH, scratch_lock
    from initpools_cli.steps.unfinished_calls import calls_lock, folder_of

    entries = []
    with disk_errors(fallback=run.path):
        for each in leftovers(run):
            if each.kind == UNFINISHED and not unfinished:
                continue
            with contextlib.suppress(UserError):
                if _remove_from_run(run, each, dry_run=dry_run):
                    entries.append(each)
    with disk_errors(fallback=caches):
        for path in sorted(caches.glob(f"{SCRATCH}*")):
            if path.suffix == ".lock" or not path.is_dir():
                continue
            with contextlib.suppress(UserError), scratch_lock(path):
                entries.append(_leftover(path, CACHE))
                if not dry_run:
                    shutil.rmtree(path)
        for path in sorted(folder_of(caches).glob("*.calls")) if unfinished else ():
            with contextlib.suppress(UserError), calls_lock(path):
                entries.append(_leftover(path, CALLS))
                if not dry_run:
                    path.unlink()
    return entries


def _leftover(path: Path, kind: str) -> Leftover:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return Leftover(path, kind, sum(file.lstat().st_size for file in files if file.is_file()))


def _remove_from_run(run: Run, each: Leftover, *, dry_run: bool) -> bool:
    """Remove one leftover unless a process holds it; return whether it was removed, or would be."""
    if each.kind == FILE:
        ending = TEMPORARY.fullmatch(each.path.name)
        locks = ending is not None and ending["ending"] == "tmp"
        old = time.time() - each.path.stat().st_mtime > MIN_AGE
        if is_being_written(each.path) or not (locks or old):
            return False
        if not dry_run:
            each.path.unlink()
        return True
    step = _step_of(run, each)
    if each.kind == PREVIOUS and not step.folder.exists():
        # The new version is not there: the earlier one is the result.
        if not dry_run:
            step.recover()
        return False
    if not dry_run:
        step.recover()
    with step.locked():
        if not dry_run and each.path.is_dir():
            shutil.rmtree(each.path)
    return True


def _kind(scratch: Path) -> str:
    has_digest, complete = ((scratch / name).exists() for name in ("digest", "step.toml"))
    return UNFINISHED if not complete else COMPLETE if has_digest else PREVIOUS


def _step_of(run: Run, each: Leftover) -> StepFolder:
    """The step that a folder or a lock belongs to."""
    suffix = {LOCK: ".lock", PREVIOUS: ".old"}.get(each.kind, "")
    scratch = each.path.with_name(each.path.name.removesuffix(suffix))
    return StepFolder(run.path / scratch.parent.name / scratch.name, scratch, _text(scratch / "digest"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def names_of(run: Run, entries: list[Leftover]) -> Iterator[str]:
    """Return the paths of leftovers in the run, apart from locks."""
    return (each.path.relative_to(run.path).as_posix() for each in entries if each.kind != LOCK)
