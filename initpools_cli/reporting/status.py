"""Status of a run: finished steps with size, time and staleness, unfinished steps, and the next command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.core.toml import parse_toml
from initpools_cli.reporting.overview import overview
from initpools_cli.steps.revisions import changed_methods
from initpools_cli.steps.run_data import read_identity
from initpools_cli.sweeps.jobs import PLAN


def status(run: Run) -> dict[str, Any]:
    """Collect everything that `initpools status` shows, in the form of --json.

    Returns
    -------
    dict
        run, dataset, seed, bytes (of all steps and plots), steps by time (step, bytes, finished, seconds, problem,
        renew, the command that fixes the problem, command, note), unfinished (ids), progress (finished and total
        blocks of unfinished sweeps), labels (file, images, labeled, skipped, left, problem), plots (file, bytes,
        finished), next (a command) and next_words (its purpose).
    """
    identity = read_identity(run)
    facts = overview(run)
    several_encoders = len(_encoders(run)) > 1
    for row in facts["steps"]:
        row["note"] = "; ".join(_notes(FinishedStep(run, run.path / row["step"]), several_encoders))
    unfinished = sorted(
        {str(file.parent.parent.relative_to(run.path / ".partial")) for file in run.path.glob(".partial/*/*/work/*")}
    )
    return {
        "run": str(run.path),
        "dataset": identity.table.name,
        "seed": identity.seed,
        "bytes": sum(row["bytes"] for row in [*facts["steps"], *facts["plots"]]),
        "steps": facts["steps"],
        "unfinished": unfinished,
        "progress": {step: blocks for step in unfinished if (blocks := _blocks(run.path / ".partial" / step / "work"))},
        "labels": facts["labels"],
        "plots": facts["plots"],
        "next": facts["next"],
        "next_words": facts["next_words"],
    }


def _encoders(run: Run) -> set[str]:
    """Collect the encoders of the labeling rounds."""
    encoders = set()
    for step in run.folders(LOOP):
        with suppress(UserError):
            encoders.update(step.table.get("encoders", ()))
    return encoders


def _notes(step: FinishedStep, several_encoders: bool) -> Iterator[str]:
    """Summarize a labeling round, with its encoder if there are several, and list methods that have changed since."""
    try:
        outcome = step.facts["outcome"]
        step.stale_input()
    except UserError:
        return
    labeled, accuracy = outcome.get("labeled"), outcome.get("accuracy")
    if step.id.startswith("loop/") and labeled is not None:
        metric = f", accuracy {accuracy:.1%}" if isinstance(accuracy, float) else ""
        if isinstance(area := outcome.get("auc"), float):
            metric = f", macro AUC {area:.3f}"
        encoder = ", ".join(step.table.get("encoders", ())) if several_encoders else ""
        alpha = outcome.get("agreement", {}).get("alpha")
        agreement = "" if alpha is None else f", agreement of annotators {alpha:.2f}"
        yield f"{labeled:,} labeled{metric}{f', on {encoder}' if encoder else ''}{agreement}"
    outdated = changed_methods(step)
    if outdated:
        yield f"made by an older version of {', '.join(outdated)}"


def _blocks(work: Path) -> list[int]:
    """Count the finished and all blocks of an unfinished sweep; empty for other steps."""
    try:
        total = parse_toml((work / PLAN).read_text(encoding="utf-8"))["blocks"]
    except (OSError, KeyError, ValueError):
        return []
    return [len(list(work.glob("block-*.npz"))), total] if isinstance(total, int) else []
