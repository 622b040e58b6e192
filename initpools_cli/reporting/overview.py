"""What the next command depends on: finished steps, label files and plots of a run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import ITEMS, FinishedStep, Run
from initpools_cli.datasets.annotations.table import read
from initpools_cli.datasets.classes import says_nothing
from initpools_cli.labeling.page import FOLDER
from initpools_cli.reporting.next_command import next_command, tables_of
from initpools_cli.steps.run_data import read_mask

#: How the problem of a step begins whose inputs have changed.
STALE = "stale"


def overview(run: Run) -> dict[str, Any]:
    """Collect the steps, label files and plots of a run, and the next command, without importing its methods.

    Returns
    -------
    dict
        steps, labels, plots, next and next_words, as in `status`; the notes of the steps are empty.
    """
    rows = [_row(step) for step in run.folders()]
    _accept_labeled_pools(rows)
    facts: dict[str, Any] = {
        "steps": sorted(rows, key=lambda row: (row["finished"], row["step"])),
        "labels": [_labels(file) for file in sorted((run.path / FOLDER).glob("*.csv"))],
        "plots": [_plot(file) for file in sorted(run.path.glob("plot/*")) if file.is_file()],
    }
    command, why = next_command(run, facts, labeled=_has_labels(run), images=int(read_mask(run).sum()))
    return facts | {"next": command, "next_words": why}


def _accept_labeled_pools(rows: list[dict[str, Any]]) -> None:
    """Take it as no problem that a pool is stale if there was a round after it.

    Its images are labeled, and its indices stay valid when images are added: to select it again would replace it by
    one without labels.
    """
    last_round = max((row["finished"] for row in rows if row["step"].startswith("loop/")), default="")
    for row in rows:
        if row["step"].startswith("pool/") and row["problem"].startswith(STALE) and row["finished"] < last_round:
            row |= {"problem": "", "renew": ""}


def _row(step: FinishedStep) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in step.folder.rglob("*") if file.is_file())
    row: dict[str, Any] = {"step": step.id, "bytes": size, "finished": "", "seconds": 0.0, "problem": "", "command": ""}
    row |= {"renew": "", "note": ""}
    try:
        facts, stale = step.facts, step.stale_input()
    except UserError as error:
        return row | {"problem": f"damaged: {error.fact}", "renew": step.run.repair}
    lost, older = step.missing_file, f"{STALE}: made from an earlier {stale}" if stale else ""
    problem = f"{lost} is lost" if lost else older
    problem = problem or _damaged(step)
    return row | {
        "finished": facts["finished"],
        "seconds": round(_seconds(facts["started"], facts["finished"]), 1),
        "problem": problem,
        "renew": step.renewal() if problem else "",
        "command": facts["command"],
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


def _plot(file: Path) -> dict[str, Any]:
    facts = file.stat()
    finished = datetime.fromtimestamp(facts.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"file": file.name, "bytes": facts.st_size, "finished": finished}


def _labels(file: Path) -> dict[str, Any]:
    """Count the labels in a file; its rows are checked by the commands that train on them."""
    row: dict[str, Any] = {"file": file.name, "images": 0, "labeled": 0, "skipped": 0, "left": 0, "problem": ""}
    try:
        rows, _ = read(file, "labels")
    except UserError as error:
        return row | {"problem": error.fact}
    labeled = sum(not says_nothing(each.label) for each in rows)
    skips = sum(each.skipped and says_nothing(each.label) for each in rows)
    return row | {
        "images": len(rows),
        "labeled": labeled,
        "skipped": skips,
        "left": len(rows) - labeled - skips,
    }


def _has_labels(run: Run) -> bool:
    """Whether the data set has labels; reads items.csv up to the first one."""
    rows = csv.DictReader(io.StringIO(run.read(ITEMS).decode(errors="replace"), newline=""))
    return any(row.get("label") and row.get("split") == "train" for row in rows)


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
