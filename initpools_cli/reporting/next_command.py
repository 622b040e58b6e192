"""The suggested next command of a run, and its purpose."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.datasets.annotations.table import read
from initpools_cli.datasets.embeddings import is_embeddings
from initpools_cli.labeling.batch import LISTS
from initpools_cli.labeling.loop_embeddings import of_loop
from initpools_cli.labeling.page import FOLDER, round_words
from initpools_cli.labeling.shares import files_of
from initpools_cli.labeling.stored_rounds import label_files_of, number_of
from initpools_cli.strategies.defaults import FIRST_POOL, MULTILABEL_QUERY, QUERY

#: Number of images in the suggested first batch.
FIRST_BUDGET = 20
#: The file with the labels of a labeling round.
LABELS = "labels.csv"
#: A sweep with the default settings labels so many images; smaller data sets need a smaller budget.
SWEEP_LABELS, SWEEP_CANDIDATES = 60, 0.9

#: The words of a command after `initpools`, and its purpose.
Suggestion = tuple[list[str], str]


def tables_of(step: FinishedStep) -> list[str]:
    """List the files of a step that determine the next command."""
    kind = step.id.partition("/")[0]
    return [*([LISTS[kind]] if kind in LISTS else []), *([LABELS] if kind == LOOP else [])]


def next_command(run: Run, overview: dict[str, Any], *, labeled: bool, images: int) -> tuple[str, str]:
    """Suggest the labeling loop for images without labels, else a sweep and its report.

    Parameters
    ----------
    overview : dict
        The result of `status`; its steps, labels and plots are used.
    labeled : bool
        Whether the data set has labels.
    images : int
        Number of images to choose from.

    Returns
    -------
    tuple of str
        The command, and its purpose in words.
    """
    kinds = {row["step"].partition("/")[0] for row in overview["steps"]}
    if not kinds & {"pretrain", "embed", *LISTS, "al"}:
        words, why = (
            ["embed"],
            "compute embeddings of the images" if _has_images(run) else "copy the embeddings to the run",
        )
    elif (stale := _stale_embeddings(run, overview)) is not None:
        return stale["renew"], f"remake {stale['step']}: it is {stale['problem'].partition(':')[0]}"
    elif labeled and LOOP not in kinds and not overview["labels"]:
        words, why = _measure(run, overview, kinds, images)
    else:
        words, why = _label(run, overview, images)
    return command_in(run, words), why


def command_in(run: Run, words: list[str]) -> str:
    """Join the words to a command for that run, quoted for a shell."""
    return shlex.join(["initpools", *words, "--run", str(run.path)])


def _has_images(run: Run) -> bool:
    """Whether the data set is not a file of embeddings."""
    return not is_embeddings(str(run.facts()["dataset"].get("name", "")))


def _stale_embeddings(run: Run, overview: dict[str, Any]) -> dict[str, Any] | None:
    """Find the row of the embeddings of the labeling loop, else of the newest, if they must be remade first."""
    try:
        used = of_loop(run)
    except UserError:
        # `status` shows the damage in the line of the round or the pool.
        used = None
    rows = [row for row in overview["steps"] if row["step"].startswith("embed/")]
    row = next(
        (row for row in rows if used is not None and row["step"] == f"embed/{used.name}"), rows[-1] if rows else None
    )
    return row if row and row["problem"] and row["renew"] else None


def _measure(run: Run, overview: dict[str, Any], kinds: set[str], images: int) -> Suggestion:
    """Suggest a sweep, its report, or its verdicts."""
    if "al" not in kinds:
        query = MULTILABEL_QUERY if run.facts()["dataset"].get("multilabel") else QUERY
        words = ["al-run", "--init", f"random,{FIRST_POOL}", "--query", f"random,{query}"]
        candidates = int(SWEEP_CANDIDATES * images)
        if candidates < SWEEP_LABELS:
            words += ["--budget", str(max(1, candidates // 6))]
        return words, "measure whether a chosen first pool beats a random one"
    sweeps = [row["step"].partition("/")[2] for row in overview["steps"] if row["step"].startswith("al/")]
    return _report(overview) or (["compare", sweeps[-1]], "print the verdicts on first pools")


def _label(run: Run, overview: dict[str, Any], images: int) -> Suggestion:
    """Suggest the first batch, labeling, a training round, or the next batch."""
    batch = _newest_batch(run, overview)
    n_labeled = len(_labeled_images(run))
    if batch is None:
        budget = min(FIRST_BUDGET, images)
        return ["select-pool", "--budget", str(budget)], "choose the images to label first"
    name, images_in_batch = batch
    files = files_of(run.path / FOLDER, name)
    rows = [row for row in overview["labels"] if run.path / FOLDER / row["file"] in files]
    row = rows[0] if rows else None
    n_left = len(images_in_batch - _labeled_images(run)) if row is None else _count_left(files, images_in_batch)
    if row is None and not n_left:
        # The images were labeled elsewhere. A file that a round has trained on can be passed again without effect.
        again = (round_words(_last_files(run), len(images_in_batch)), "choose the next batch")
        return _report(overview) or (again if n_labeled < images else _suggest_verify())
    if n_left and row is None and not _has_images(run):
        words = round_words(["labels.csv"], len(images_in_batch))
        return words, f"train on labels of the {n_left} images of {name}, which `label` can't show without images"
    if row is None or n_left:
        why = f"label the {n_left} images of {name} that have no label"
        if row is None:
            why += "; if their labels are in a file outside the run: `initpools al-run --labels FILE --next next.csv`"
        return ["label", "--batch", name], why
    file = run.path / FOLDER / row["file"]
    new_files = {sha256_of(each) for each in files} - _used_label_files(run)
    if any(each["labeled"] for each in rows) and new_files:
        return round_words(files, len(images_in_batch)), "train on the labels and choose the next batch"
    budget = min(FIRST_BUDGET, images - max(n_labeled, row["labeled"]))
    more = ["select-pool", "--budget", str(budget), "--labeled", str(file)]
    return _report(overview) or ((more, "choose more images to label") if budget > 0 else _suggest_verify())


def _suggest_verify() -> Suggestion:
    return ["verify"], "every image has a label: check that all files are intact"


def _newest_batch(run: Run, overview: dict[str, Any]) -> tuple[str, set[str]] | None:
    """Find the name of the newest batch, and the indices of its images."""
    for row in reversed(overview["steps"]):
        kind, _, name = row["step"].partition("/")
        file = run.path / row["step"] / LISTS.get(kind, "")
        if kind in LISTS and file.is_file() and not row["problem"].startswith("damaged"):
            return name, _indices(file)
    return None


def _count_left(files: Sequence[Path], images: set[str]) -> int:
    """Count the images of a batch without a label; the files may have rows of other images after a repeated round."""
    try:
        rows = [row for file in files for row in read(file, "labels")[0]]
    except UserError:
        return 0
    by_index = any(row.index for row in rows)
    answers = [row for row in rows if row.label or row.skipped]
    return len(images - {row.index for row in answers}) if by_index else len(rows) - len(answers)


def _last_round(run: Run) -> FinishedStep | None:
    return max(run.folders(LOOP), key=lambda step: number_of(step.name), default=None)


def _labeled_images(run: Run) -> set[str]:
    """Read the indices of images that are labeled or skipped in the last round."""
    last = _last_round(run)
    try:
        return _indices(last.verified_path(LABELS)) if last else set()
    except UserError:
        # `status` shows the damage in the line of the round.
        return set()


def _last_files(run: Run) -> list[str]:
    """Return the label files of the last round."""
    last = _last_round(run)
    return label_files_of(last) if last else ["FILE"]


def _indices(file: Path) -> set[str]:
    """Read the column `index`."""
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        return {row["index"] for row in csv.DictReader(stream) if row.get("index")}


def _used_label_files(run: Run) -> set[str]:
    """Collect the checksums of the label files that rounds have trained on."""
    sums = [step.facts["outcome"].get("annotations_sha256", "") for step in run.folders(LOOP)]
    return {each for sha256 in sums for each in ([sha256] if isinstance(sha256, str) else sha256)}


def _report(overview: dict[str, Any]) -> Suggestion | None:
    """Suggest the report if it is missing or older than the newest step."""
    report_time = next((row["finished"] for row in overview["plots"] if row["file"] == "report.html"), "")
    newest = max((row["finished"] for row in overview["steps"]), default="")
    return (["plot", "report"], "put the results on one page") if report_time < newest else None
