"""Status of a run: finished steps with size, time and staleness, unfinished steps, and the next command."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import ITEMS, LOOP, FinishedStep, Run
from initpools_cli.core.toml import parse_toml
from initpools_cli.datasets.annotations.table import read
from initpools_cli.datasets.classes import says_nothing
from initpools_cli.labeling.page import FOLDER
from initpools_cli.reporting.next_command import next_command, tables_of
from initpools_cli.steps.context import read_identity, read_kept
from initpools_cli.steps.revisions import revised_since
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
    several_encoders = len(_encoders(run)) > 1
    rows = [_row(step, several_encoders) for step in run.folders()]
    steps = sorted(rows, key=lambda row: (row["finished"], row["step"]))
    unfinished = sorted(
        {str(file.parent.parent.relative_to(run.path / ".partial")) for file in run.path.glob(".partial/*/*/work/*")}
    )
    plots = [_plot(file) for file in sorted(run.path.glob("plot/*")) if file.is_file()]
    overview: dict[str, Any] = {
        "run": str(run.path),
        "dataset": identity.table.name,
        "seed": identity.seed,
        "bytes": sum(row["bytes"] for row in [*steps, *plots]),
        "steps": steps,
        "unfinished": unfinished,
        "progress": {step: blocks for step in unfinished if (blocks := _blocks(run.path / ".partial" / step / "work"))},
        "labels": [_labels(file) for file in sorted((run.path / FOLDER).glob("*.csv"))],
        "plots": plots,
    }
    words, why = next_command(run, overview, labeled=_has_labels(run), images=int(read_kept(run).sum()))
    return overview | {"next": words, "next_words": why}


def _encoders(run: Run) -> set[str]:
    """Collect the encoders of the labeling rounds."""
    encoders = set()
    for step in run.folders(LOOP):
        with suppress(UserError):
            encoders.update(step.table.get("encoders", ()))
    return encoders


def _row(step: FinishedStep, several_encoders: bool) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in step.folder.rglob("*") if file.is_file())
    row: dict[str, Any] = {"step": step.id, "bytes": size, "finished": "", "seconds": 0.0, "problem": "", "command": ""}
    row |= {"renew": "", "note": ""}
    try:
        facts, stale = step.facts, step.stale_input()
    except UserError as error:
        return row | {"problem": f"damaged: {error.fact}", "renew": step.run.repair}
    problem = (
        f"{step.missing_file} is lost" if step.missing_file else f"stale: made from an earlier {stale}" if stale else ""
    )
    problem = problem or _damaged(step)
    return row | {
        "finished": facts["finished"],
        "seconds": round(_seconds(facts["started"], facts["finished"]), 1),
        "problem": problem,
        "renew": step.renewal() if problem else "",
        "command": facts["command"],
        "note": "; ".join(_notes(step, facts["outcome"], several_encoders)),
    }


def _damaged(step: FinishedStep) -> str:
    """Check the tables that determine the next command; `verify` checks the other files."""
    try:
        for name in tables_of(step):
            if name in step.facts["writes"]:
                step.verified_path(name)
    except UserError as error:
        return f"damaged: {error.fact}"
    return ""


def _notes(step: FinishedStep, outcome: dict[str, Any], several_encoders: bool) -> Iterator[str]:
    """Summarize a labeling round, with its encoder if there are several, and list methods that have changed since."""
    labeled, accuracy = outcome.get("labeled"), outcome.get("accuracy")
    if step.id.startswith("loop/") and labeled is not None:
        measured = f", accuracy {accuracy:.1%}" if isinstance(accuracy, float) else ""
        encoder = ", ".join(step.table.get("encoders", ())) if several_encoders else ""
        yield f"{labeled:,} labeled{measured}{f', on {encoder}' if encoder else ''}"
    changed = revised_since(step)
    if changed:
        yield f"made by an older version of {', '.join(changed)}"


def _plot(file: Path) -> dict[str, Any]:
    facts = file.stat()
    finished = datetime.fromtimestamp(facts.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"file": file.name, "bytes": facts.st_size, "finished": finished}


def _labels(file: Path) -> dict[str, Any]:
    """Count the labels in a file; the commands that train on it check its rows."""
    row: dict[str, Any] = {"file": file.name, "images": 0, "labeled": 0, "skipped": 0, "left": 0, "problem": ""}
    try:
        rows, _ = read(file, "labels")
    except UserError as error:
        return row | {"problem": error.fact}
    labeled = sum(not says_nothing(each.label) for each in rows)
    skipped = sum(each.skipped and says_nothing(each.label) for each in rows)
    return row | {
        "images": len(rows),
        "labeled": labeled,
        "skipped": skipped,
        "left": len(rows) - labeled - skipped,
    }


def _has_labels(run: Run) -> bool:
    """Whether the data set has labels; reads items.csv up to the first one."""
    rows = csv.DictReader(io.StringIO(run.read(ITEMS).decode(errors="replace"), newline=""))
    return any(row.get("label") and row.get("split") == "train" for row in rows)


def _blocks(work: Path) -> list[int]:
    """Count the finished and all blocks of an unfinished sweep; empty for other steps."""
    try:
        total = parse_toml((work / PLAN).read_text(encoding="utf-8"))["blocks"]
    except (OSError, KeyError, ValueError):
        return []
    return [len(list(work.glob("block-*.npz"))), total] if isinstance(total, int) else []


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
