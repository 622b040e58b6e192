"""The command that most people would type next in a run, and why."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.datasets.annotations.table import read
from initpools_cli.labeling.batch import LISTS
from initpools_cli.labeling.label_history import number_of
from initpools_cli.labeling.page import FOLDER, round_words

#: Labels of a first batch.
FIRST_BUDGET = "20"
#: What a round knows.
LABELS = "labels.csv"


def tables_of(step: FinishedStep) -> list[str]:
    """The files of a step that are read here."""
    kind = step.id.partition("/")[0]
    return [*([LISTS[kind]] if kind in LISTS else []), *([LABELS] if kind == LOOP else [])]


def next_command(run: Run, found: dict[str, Any], *, labeled: bool) -> tuple[str, str]:
    """What comes next: for images without labels the labeling loop, else a sweep and its report.

    Parameters
    ----------
    found : dict
        Of `status`: steps, labels and plots are looked at.
    labeled : bool
        Whether the data set came with labels.

    Returns
    -------
    tuple of str
        The command, and in words what it is for.
    """
    kinds = {row["step"].partition("/")[0] for row in found["steps"]}
    if not kinds & {"pretrain", "embed", *LISTS, "al"}:
        words, why = ["pretrain", "simclr"], "train an encoder on the images, without labels"
    elif labeled and LOOP not in kinds and not found["labels"]:
        words, why = _of_sweeps(found, kinds)
    else:
        words, why = _of_the_loop(run, found)
    return shlex.join(["initpools", *words, "--run", str(run.path)]), why


def _of_sweeps(found: dict[str, Any], kinds: set[str]) -> tuple[list[str], str]:
    if "al" not in kinds:
        asked = ["--init", "random,typiclust", "--query", "random,margin"]
        return ["al-run", *asked], "measure whether a chosen first pool beats a random one"
    return _report(found) or (
        ["compare", [row["step"] for row in found["steps"] if row["step"].startswith("al/")][-1].partition("/")[2]],
        "print the verdicts on first pools",
    )


def _of_the_loop(run: Run, found: dict[str, Any]) -> tuple[list[str], str]:
    batch = _newest_batch(run, found)
    if batch is None:
        return ["select-pool", "typiclust", "--budget", FIRST_BUDGET], "choose the images to label first"
    name, images = batch
    marks = next((row for row in found["labels"] if row["file"] == f"{name}.csv"), None)
    left = len(images - _known(run)) if marks is None else _left(run.path / FOLDER / marks["file"], images)
    if marks is None and not left:
        # They were labeled elsewhere. A file of labels that is learned already changes nothing.
        return _report(found) or (round_words(_last_file(run), len(images)), "choose the next batch")
    if marks is None or left:
        return ["label", "--batch", name], f"label the {left} images of {name} that have no label"
    file = run.path / FOLDER / marks["file"]
    if marks["labeled"] and sha256_of(file) not in _learned(run):
        return round_words(file, len(images)), "learn from the labels and choose the next batch"
    return _report(found) or (
        ["select-pool", "typiclust", "--budget", FIRST_BUDGET, "--labeled", str(file)],
        "choose further images to label",
    )


def _newest_batch(run: Run, found: dict[str, Any]) -> tuple[str, set[str]] | None:
    """The name of the batch that was chosen last, and the indices of its images."""
    for row in reversed(found["steps"]):
        kind, _, name = row["step"].partition("/")
        file = run.path / row["step"] / LISTS.get(kind, "")
        if kind in LISTS and file.is_file() and not row["problem"].startswith("damaged"):
            return name, _indices(file)
    return None


def _left(file: Path, images: set[str]) -> int:
    """How many images of a batch the file says nothing of; a repeated round may have left rows of other images."""
    try:
        rows, _ = read(file, "labels")
    except UserError:
        return 0
    named = any(row.index for row in rows)
    said = [row for row in rows if row.label or row.skipped]
    return len(images - {row.index for row in said}) if named else len(rows) - len(said)


def _last_round(run: Run) -> FinishedStep | None:
    return max(run.folders(LOOP), key=lambda step: number_of(step.name), default=None)


def _known(run: Run) -> set[str]:
    """The images that the rounds have a label of, or that were skipped."""
    last = _last_round(run)
    try:
        return _indices(last.verified_path(LABELS)) if last else set()
    except UserError:
        # `status` says so in the line of the round.
        return set()


def _last_file(run: Run) -> str:
    """The labels that the last round read."""
    last = _last_round(run)
    return str(last.facts["outcome"].get("annotations", "FILE")) if last else "FILE"


def _indices(file: Path) -> set[str]:
    """The column `index`."""
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        return {row["index"] for row in csv.DictReader(stream) if row.get("index")}


def _learned(run: Run) -> set[str]:
    """The checksums of the files of labels that rounds have read."""
    return {str(step.facts["outcome"].get("annotations_sha256", "")) for step in run.folders(LOOP)}


def _report(found: dict[str, Any]) -> tuple[list[str], str] | None:
    """The report, where there is none yet or steps are newer than it."""
    made = next((row["finished"] for row in found["plots"] if row["file"] == "report.html"), "")
    newest = max((row["finished"] for row in found["steps"]), default="")
    return (["plot", "report"], "put what was found on one page") if made < newest else None
