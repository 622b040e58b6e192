"""What a run has: every finished step with its size, time and staleness, what is unfinished, and the next command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import tomli

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Done, Run
from initpools_cli.steps.context import read_identity
from initpools_cli.steps.sweep import PLAN


def status(run: Run) -> dict[str, Any]:
    """Everything `initpools status` shows, ready for --json.

    Returns
    -------
    dict
        run, dataset, seed, steps (step, bytes, finished, seconds, problem, command), unfinished (ids), progress (of
        those that are sweeps: blocks done and blocks in all), next.
    """
    identity = read_identity(run)
    steps = sorted((_row(step) for step in run.folders()), key=lambda row: (row["finished"], row["step"]))
    unfinished = sorted(
        {str(file.parent.parent.relative_to(run.path / ".partial")) for file in run.path.glob(".partial/*/*/work/*")}
    )
    return {
        "run": str(run.path),
        "dataset": identity.table.name,
        "seed": identity.seed,
        "steps": steps,
        "unfinished": unfinished,
        "progress": {step: blocks for step in unfinished if (blocks := _blocks(run.path / ".partial" / step / "work"))},
        "next": _next(run, {str(step["step"]).split("/")[0] for step in steps}),
    }


def _row(step: Done) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in step.folder.rglob("*") if file.is_file())
    row: dict[str, Any] = {"step": step.id, "bytes": size, "finished": "", "seconds": 0.0, "problem": "", "command": ""}
    try:
        facts, stale = step.facts, step.stale_input()
    except UserError as error:
        return row | {"problem": f"damaged: {error.fact}"}
    problem = f"{step.lost} is lost" if step.lost else f"stale: made from an earlier {stale}" if stale else ""
    return row | {
        "finished": facts["finished"],
        "seconds": round(_seconds(facts["started"], facts["finished"]), 1),
        "problem": problem,
        "command": facts["command"],
    }


def _blocks(work: Path) -> list[int]:
    """How many blocks of an unfinished sweep are done, and how many there are; empty where it is none."""
    try:
        total = tomli.loads((work / PLAN).read_text(encoding="utf-8"))["blocks"]
    except (OSError, KeyError, ValueError):
        return []
    return [len(list(work.glob("block-*.npz"))), total]


def _next(run: Run, kinds: set[str]) -> str:
    """The command that most people would type next."""
    chain = {
        "pretrain": "initpools pretrain simclr",
        "embed": "initpools embed",
        "pool": "initpools select-pool typiclust --budget 20",
        "al": "initpools al-run --init random,typiclust --query random,margin",
    }
    command = next((command for kind, command in chain.items() if kind not in kinds), "initpools plot curves")
    return f"{command} --run {shlex.quote(str(run.path))}"


def _seconds(started: str, finished: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def verify(run: Run) -> list[dict[str, str]]:
    """Check every file of every finished step against the checksum written when it was made.

    Returns
    -------
    list of dict
        file and problem ("missing", "changed", "stale"); empty where all is as it was.
    """
    from initpools_cli.core.files import sha256_of

    found = []
    read_identity(run)
    for step in run.folders():
        try:
            stale = step.stale_input()
        except UserError as error:
            found.append({"file": f"{step.id}/step.toml", "problem": error.fact})
            continue
        for name, checksum in step.facts["writes"].items():
            file: Path = step.folder / name
            if not file.exists():
                found.append({"file": f"{step.id}/{name}", "problem": "missing"})
            elif sha256_of(file) != checksum:
                found.append({"file": f"{step.id}/{name}", "problem": "changed since it was made"})
        if stale:
            found.append({"file": step.id, "problem": f"made from an earlier {stale}"})
    return found
