"""Check that no file of a run has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.rundir import ITEMS, KEPT, FinishedStep, Run, digest_of
from initpools_cli.steps.run_data import read_identity, read_items, read_items_and_mask, read_mask

Problem = dict[str, str]


def verify(run: Run) -> list[Problem]:
    """Read every file of the run again, and compare it with the checksum written when it was made.

    Returns
    -------
    list of dict
        file, problem, and renew: the command that repairs it. Empty if nothing has changed.
    """
    return [*_of_run(run), *(problem for step in run.folders() for problem in _of_step(step))]


def _problem(run: Run, file: Path | str, problem: str, renew: str = "") -> Problem:
    return {"file": str(file), "problem": problem, "renew": renew or run.repair}


def _of_run(run: Run) -> Iterator[Problem]:
    """The problems of the files that all steps share."""
    try:
        read_identity(run)
    except UserError as error:
        yield _problem(run, "run.toml", error.fact)
        return
    whole = True
    for file, reader in ((ITEMS, read_items), (KEPT, read_mask)):
        try:
            reader(run)
        except UserError as error:
            whole = False
            yield _problem(run, file, error.fact)
    if whole:
        try:
            read_items_and_mask(run)
        except UserError as error:
            yield _problem(run, KEPT, error.fact)


def _of_step(step: FinishedStep) -> Iterator[Problem]:
    run = step.run
    try:
        facts = step.facts
    except UserError as error:
        yield _problem(run, f"{step.id}/step.toml", error.fact)
        return
    if facts.get("schema", 1) < 2 and digest_of(facts["table"], facts["reads"]) != facts["digest"]:
        yield _problem(run, f"{step.id}/step.toml", "its table or inputs are not those that its digest is of")
    renew, there = step.renewal(), _files(step)
    for name, checksum in facts["writes"].items():
        file = step.folder / name
        if not file.is_file():
            yield _problem(run, f"{step.id}/{name}", "missing", renew)
        elif sha256_of(file) != checksum:
            yield _problem(run, f"{step.id}/{name}", "changed since it was made", renew)
    for name in sorted(there - facts["writes"].keys()):
        yield _problem(run, f"{step.id}/{name}", "is none of the files that the step wrote", renew)
    try:
        stale = step.stale_input()
    except UserError:
        # The damaged input has a line of its own.
        return
    if stale:
        yield _problem(run, step.id, f"made from an earlier {stale}", renew)


def _files(step: FinishedStep) -> set[str]:
    """The files in its folder, without those that an interrupted command may leave."""
    names = {file.relative_to(step.folder).as_posix() for file in step.folder.rglob("*") if file.is_file()}
    return {name for name in names if name not in ("step.toml", "digest") and not name.startswith("work/")}
