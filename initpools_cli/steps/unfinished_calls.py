"""Results of calls on a cluster that interrupted commands leave in the cache, for the same commands to continue."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from initpools_cli.core.call_log import CallLog
from initpools_cli.core.cluster import DaskExecutor
from initpools_cli.core.cpu import provenance
from initpools_cli.core.errors import UserError
from initpools_cli.core.locks import LocksUnsupported, locked
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.version import git_commit, version
from initpools_cli.datasets.cache import data_home
from initpools_cli.geometry.resumable import ResumableExecutor
from initpools_cli.geometry.rows import Executor
from initpools_cli.steps.provider import Provider

#: The most bytes that are stored for one command, and the most of the free disk space.
LIMIT, SHARE = 32 << 30, 0.5
#: Seconds after which the results of an interrupted command are removed.
MAX_AGE = 14 * 24 * 3600


def folder_of(caches: Path) -> Path:
    """Return the folder of the results in the caches."""
    return caches / "unfinished"


def command_digest(provider: Provider, name: str, partitions: int) -> str:
    """Return a digest of a command. It need not be unique, as calls have digests too."""
    run = None if provider.context is None else provider.context.run.path.resolve()
    command = [Path.cwd(), run, name, partitions, provider.files, provider.source, provider.settings.model_dump_json()]
    # Another processor or library may round differently.
    return hashlib.sha256(repr([*command, version(), git_commit(), provenance()]).encode()).hexdigest()[:32]


@contextmanager
def resumable_calls(executor: DaskExecutor, digest: str, report: Reporter) -> Iterator[Executor]:
    """Context manager with an executor that stores results until the block succeeds.

    Results of an interrupted run of the same command are used. If they can't be stored, the executor itself is used,
    with a warning.

    Raises
    ------
    UserError
        Another process is running the same command.
    """
    path = folder_of(data_home()) / f"{digest}.calls"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(calls_lock(path))
            remove_old(path.parent)
            log = CallLog(path, min(LIMIT, int(SHARE * shutil.disk_usage(path.parent).free)), report.warn)
        except (LocksUnsupported, OSError) as error:
            report.warn(f"Unfinished work is not kept: {error}")
            log = None
        if log is None:
            yield executor
            return
        finished = False
        try:
            if len(log):
                report.say(f"resuming: {len(log):,} calls of an interrupted command are not repeated")
            yield ResumableExecutor(executor, log)
            finished = True
        finally:
            log.close()
            if finished or not len(log):
                path.unlink()


def calls_lock(path: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the results of a command; a UserError if another process does."""
    return locked(
        path.with_suffix(".lock"),
        lambda holder: UserError(
            f"Another initpools process{holder} is running the same command ({path}).",
            "Wait until it has finished, or stop it.",
            path,
        ),
    )


def remove_old(folder: Path) -> None:
    """Remove the results that interrupted commands left `MAX_AGE` ago."""
    for path in folder.glob("*.calls"):
        if time.time() - path.stat().st_mtime > MAX_AGE:
            with contextlib.suppress(UserError), calls_lock(path):
                path.unlink()
