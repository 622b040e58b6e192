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

#: How many images are chosen first, where there are as many.
FIRST_BUDGET = 20
#: The labels a round of labeling has trained on.
LABELS = "labels.csv"
#: A sweep with the default settings labels so many images; smaller data sets need a smaller budget.
SWEEP_LABELS, SWEEP_CANDIDATES = 60, 0.9

#: The words of a command after `initpools`, and its purpose.
Suggestion = tuple[list[str], str]


def tables_of(step: FinishedStep) -> list[str]:
    """The files of a step that are read here."""
    kind = step.id.partition("/")[0]
    return [*([LISTS[kind]] if kind in LISTS else []), *([LABELS] if kind == LOOP else [])]


def next_command(run: Run, found: dict[str, Any], *, labeled: bool, images: int) -> tuple[str, str]:
    """What comes next: the labeling loop for images without labels, else a sweep and its report.

    Parameters
    ----------
    found : dict
        Of `status`: steps, labels and plots are used.
    labeled : bool
        Whether the data set came with labels.
    images : int
        How many images there are to choose from.

    Returns
    -------
    tuple of str
        The command, and its purpose in words.
    """
    kinds = {row["step"].partition("/")[0] for row in found["steps"]}
    if not kinds & {"pretrain", "embed", *LISTS, "al"}:
        words, why = ["pretrain", "simclr"], "train an encoder on the images, without labels"
    elif (stale := _stale_embeddings(found)) is not None:
        return stale["renew"], f"make {stale['step']} again: it is {stale['problem'].partition(':')[0]}"
    elif labeled and LOOP not in kinds and not found["labels"]:
        words, why = _measure(found, kinds, images)
    else:
        words, why = _label(run, found, images)
    return command_in(run, words), why


def command_in(run: Run, words: list[str]) -> str:
    """The words as a command on that run, quoted for a shell."""
    return shlex.join(["initpools", *words, "--run", str(run.path)])


def _stale_embeddings(found: dict[str, Any]) -> dict[str, Any] | None:
    """The newest embeddings if they must be made again before anything reads them."""
    embeddings = [row for row in found["steps"] if row["step"].startswith("embed/")]
    return embeddings[-1] if embeddings and embeddings[-1]["problem"] and embeddings[-1]["renew"] else None


def _measure(found: dict[str, Any], kinds: set[str], images: int) -> Suggestion:
    """A sweep, its report, its verdicts."""
    if "al" not in kinds:
        words = ["al-run", "--init", "random,typiclust", "--query", "random,margin"]
        candidates = int(SWEEP_CANDIDATES * images)
        if candidates < SWEEP_LABELS:
            words += ["--budget", str(max(1, candidates // 6))]
        return words, "measure whether a chosen first pool beats a random one"
    sweeps = [row["step"].partition("/")[2] for row in found["steps"] if row["step"].startswith("al/")]
    return _report(found) or (["compare", sweeps[-1]], "print the verdicts on first pools")


def _label(run: Run, found: dict[str, Any], images: int) -> Suggestion:
    """The first batch, its labels, a round of training, the next batch."""
    batch = _newest_batch(run, found)
    known = len(_known(run))
    if batch is None:
        budget = min(FIRST_BUDGET, images)
        return ["select-pool", "typiclust", "--budget", str(budget)], "choose the images to label first"
    name, chosen = batch
    row = next((row for row in found["labels"] if row["file"] == f"{name}.csv"), None)
    left = len(chosen - _known(run)) if row is None else _left(run.path / FOLDER / row["file"], chosen)
    if row is None and not left:
        # They were labeled elsewhere. A file that a round has trained on already would change nothing.
        again = (round_words(_last_file(run), len(chosen)), "choose the next batch")
        return _report(found) or (again if known < images else _finished())
    if row is None or left:
        return ["label", "--batch", name], f"label the {left} images of {name} that have no label"
    file = run.path / FOLDER / row["file"]
    if row["labeled"] and sha256_of(file) not in _learned(run):
        return round_words(file, len(chosen)), "train on the labels and choose the next batch"
    budget = min(FIRST_BUDGET, images - max(known, row["labeled"]))
    more = ["select-pool", "typiclust", "--budget", str(budget), "--labeled", str(file)]
    return _report(found) or ((more, "choose more images to label") if budget > 0 else _finished())


def _finished() -> Suggestion:
    return ["verify"], "every image has a label: check that all files are intact"


def _newest_batch(run: Run, found: dict[str, Any]) -> tuple[str, set[str]] | None:
    """The name of the batch that was chosen last, and the indices of its images."""
    for row in reversed(found["steps"]):
        kind, _, name = row["step"].partition("/")
        file = run.path / row["step"] / LISTS.get(kind, "")
        if kind in LISTS and file.is_file() and not row["problem"].startswith("damaged"):
            return name, _indices(file)
    return None


def _left(file: Path, images: set[str]) -> int:
    """How many images of a batch have no row with a label; a repeated round may have left rows of other images."""
    try:
        rows, _ = read(file, "labels")
    except UserError:
        return 0
    by_index = any(row.index for row in rows)
    done = [row for row in rows if row.label or row.skipped]
    return len(images - {row.index for row in done}) if by_index else len(rows) - len(done)


def _last_round(run: Run) -> FinishedStep | None:
    return max(run.folders(LOOP), key=lambda step: number_of(step.name), default=None)


def _known(run: Run) -> set[str]:
    """The indices of images that have a label in the last round, or were skipped."""
    last = _last_round(run)
    try:
        return _indices(last.verified_path(LABELS)) if last else set()
    except UserError:
        # `status` shows the damage in the line of the round.
        return set()


def _last_file(run: Run) -> str:
    """The label file of the last round."""
    last = _last_round(run)
    return str(last.facts["outcome"].get("annotations", "FILE")) if last else "FILE"


def _indices(file: Path) -> set[str]:
    """The column `index`."""
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        return {row["index"] for row in csv.DictReader(stream) if row.get("index")}


def _learned(run: Run) -> set[str]:
    """The checksums of the label files that rounds have trained on."""
    return {str(step.facts["outcome"].get("annotations_sha256", "")) for step in run.folders(LOOP)}


def _report(found: dict[str, Any]) -> Suggestion | None:
    """The report, where there is none or it is older than the newest step."""
    made = next((row["finished"] for row in found["plots"] if row["file"] == "report.html"), "")
    newest = max((row["finished"] for row in found["steps"]), default="")
    return (["plot", "report"], "put the results on one page") if made < newest else None
