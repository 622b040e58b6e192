"""The command that most people would type next in a run, and why."""

from __future__ import annotations

import shlex
from typing import Any

from initpools_cli.core.files import sha256_of
from initpools_cli.core.rundir import Run
from initpools_cli.steps.labelling.batches import LISTS
from initpools_cli.steps.labelling.label import FOLDER

#: Labels of a first batch.
FIRST_BUDGET = "20"


def next_command(run: Run, found: dict[str, Any], *, labeled: bool) -> tuple[str, str]:
    """What comes next: for images without labels the labelling loop, else a sweep and its report.

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
    elif labeled and "loop" not in kinds and not found["labels"]:
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
    name, count = batch
    marks = next((row for row in found["labels"] if row["file"] == f"{name}.csv"), None)
    if marks is None or marks["left"]:
        left = count if marks is None else marks["left"]
        return ["label", "--batch", name], f"label the {left} images of {name} that have no label"
    file = run.path / FOLDER / marks["file"]
    if marks["labeled"] and sha256_of(file) not in _learnt(run):
        again = ["--query", "margin", "--budget", str(count), "--next", "next.csv"]
        return ["al-run", "--labels", str(file), *again], "learn from the labels and choose the next batch"
    return _report(found) or (
        ["select-pool", "typiclust", "--budget", FIRST_BUDGET, "--labeled", str(file)],
        "choose further images to label",
    )


def _newest_batch(run: Run, found: dict[str, Any]) -> tuple[str, int] | None:
    """The name of the batch that was chosen last, and how many images it has."""
    for row in reversed(found["steps"]):
        kind, _, name = row["step"].partition("/")
        file = run.path / row["step"] / LISTS.get(kind, "")
        if kind in LISTS and file.is_file():
            with file.open("rb") as stream:
                return name, sum(1 for _ in stream) - 1
    return None


def _learnt(run: Run) -> set[str]:
    """The checksums of the files of labels that rounds have read."""
    return {str(step.facts["outcome"].get("annotations_sha256", "")) for step in run.folders("loop")}


def _report(found: dict[str, Any]) -> tuple[list[str], str] | None:
    """The report, where there is none yet or steps are newer than it."""
    made = next((row["finished"] for row in found["plots"] if row["file"] == "report.html"), "")
    newest = max((row["finished"] for row in found["steps"]), default="")
    return (["plot", "report"], "put what was found on one page") if made < newest else None
