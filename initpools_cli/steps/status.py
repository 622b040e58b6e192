"""What a run has: every finished step with its size, time and staleness, what is unfinished, and the next command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from initpools_cli.core.rundir import Run


def status(run: Run) -> dict[str, Any]:
    """Everything `initpools status` shows, ready for --json.

    Returns
    -------
    dict
        run, dataset, seed, steps (id, bytes, finished, seconds, stale, command), unfinished (ids), next (a command).
    """
    facts = run.facts()
    steps = [
        {
            "step": step.id,
            "bytes": sum(file.stat().st_size for file in step.folder.rglob("*") if file.is_file()),
            "finished": step.facts["finished"],
            "seconds": round(_seconds(step.facts["started"], step.facts["finished"]), 1),
            "stale": step.stale_input() or "",
            "command": step.facts["command"],
        }
        for step in run.steps()
    ]
    unfinished = sorted(
        str(file.parent.relative_to(run.path / ".partial")) for file in (run.path / ".partial").glob("*/*/digest")
    )
    return {
        "run": str(run.path),
        "dataset": facts["dataset"]["name"],
        "seed": facts["run"]["seed"],
        "steps": steps,
        "unfinished": unfinished,
        "next": _next(run, {str(step["step"]).split("/")[0] for step in steps}),
    }


def _next(run: Run, kinds: set[str]) -> str:
    """The command that most people would type next."""
    chain = {
        "pretrain": "initpools pretrain simclr",
        "embed": "initpools embed",
        "pool": "initpools select-pool typiclust --budget 20",
        "al": "initpools al-run --init random,typiclust --query random,margin",
    }
    command = next((command for kind, command in chain.items() if kind not in kinds), "initpools plot curves")
    return f"{command} --run {run.path}"


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
    for step in run.steps():
        for name, checksum in step.facts["writes"].items():
            file: Path = step.folder / name
            if not file.exists():
                found.append({"file": f"{step.id}/{name}", "problem": "missing"})
            elif sha256_of(file) != checksum:
                found.append({"file": f"{step.id}/{name}", "problem": "changed since it was made"})
        stale = step.stale_input()
        if stale:
            found.append({"file": step.id, "problem": f"made from an earlier {stale}"})
    return found
