"""Finished rounds of the labeling loop: their order, outcomes, labels and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.datasets.annotations.annotators import Votes
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.datasets.classes import alike, in_order, says_nothing
from initpools_cli.datasets.label_sets import classes_in
from initpools_cli.labeling.annotators import VOTES
from initpools_cli.labeling.class_changes import changes_since, through

if TYPE_CHECKING:
    import pandas as pd

#: Prefix of the folders of rounds.
PREFIX = "round-"
#: Settings reported if they differ between rounds, and their keys in the table of a round.
SETTINGS = {"encoder": "encoders", "learner": "learner"}
#: Keys of outcomes of older versions, and what they are called now.
RENAMED = {"foretold": "previous_accuracy", "foretold_of": "previous_labels"}
#: Columns of a round's labels.csv; an empty label is a skipped image.
COLUMNS = ["index", "path", "label", "round"]
#: Further columns, if any image has a value in one of them.
DETAILS = list(Details._fields)


def rounds(run: Run) -> list[FinishedStep]:
    """Return the finished rounds of the labeling loop, oldest first."""
    return one_a_number(run.folders(LOOP))


def one_a_number(steps: Iterable[FinishedStep]) -> list[FinishedStep]:
    """Return the newest round of each number, in order; earlier versions kept every repetition of a round."""
    by_number: dict[int, list[FinishedStep]] = {}
    for step in steps:
        by_number.setdefault(number_of(step.name), []).append(step)
    # A single one is not read.
    return [
        each[0] if len(each) == 1 else max(each, key=lambda step: (step.facts["finished"], step.id))
        for _, each in sorted(by_number.items())
    ]


def outcome_of(step: FinishedStep) -> dict[str, Any]:
    """Return the outcome of a round, with its number as ``round``, its encoder and its learner."""
    facts = step.facts
    table, number = facts["table"], str(number_of(step.name))
    outcome = {RENAMED.get(key, key): value for key, value in facts["outcome"].items()}
    return {"round": number, **{key: ", ".join(table[of]) for key, of in SETTINGS.items()}, **outcome}


def history(run: Run) -> list[dict[str, Any]]:
    """Return the outcome of every round, oldest first, with its number as ``round``."""
    return [outcome_of(step) for step in rounds(run)]


def number_of(name: str) -> int:
    """Parse the number of a round from its folder name; 0 if it is not a round."""
    digits = name.removeprefix(PREFIX).partition("-")[0]
    return int(digits) if name.startswith(PREFIX) and digits.isdigit() else 0


def read_round_labels(step: FinishedStep) -> pd.DataFrame:
    """Read the labels.csv of a round, with the present names of classes that were renamed or merged since.

    Images of a class that was split since are left out: they have to be labeled again.

    Raises
    ------
    UserError
        If it is damaged. The command of the round cannot make the file again, because it reads that file first.
    """
    try:
        dtype = {"path": str, "label": str, **dict.fromkeys(DETAILS, str)}
        table = step.frame("labels.csv", dtype=dtype, keep_default_na=False)
    except UserError as error:
        annotations = " ".join(f"--labels {file}" for file in label_files_of(step))
        raise UserError(
            error.fact,
            f"Run `{step.run.repair}`, which moves the round aside and deletes nothing, and pass its labels again: "
            f"{annotations}.",
            error.value,
        ) from None
    is_skip = table["label"] == ""
    table = _with_present_classes(step, table, "label", "suggested")
    return table[is_skip | (table["label"] != "")].reset_index(drop=True)


def label_files_of(step: FinishedStep) -> list[str]:
    """Return the label files that a round was made from."""
    files = step.facts["outcome"].get("annotations", "FILE")
    return [files] if isinstance(files, str) else list(files)


def read_votes(step: FinishedStep) -> Votes:
    """Read the labels of single annotators after a round; empty if there are none.

    Raises
    ------
    UserError
        If they are damaged.
    """
    if VOTES not in step.facts["writes"]:
        return {}
    table = step.frame(VOTES, dtype={"path": str, "annotator": str, "label": str}, keep_default_na=False)
    table = _with_present_classes(step, table, "label")
    votes: Votes = {}
    for image, annotator, label in zip(table["index"].tolist(), table["annotator"], table["label"], strict=True):
        if label:
            votes.setdefault(image, {})[annotator] = label
    return votes


def read_predictions(step: FinishedStep) -> pd.DataFrame:
    """Read the predictions.csv of a round; see `read_round_labels` for classes that were changed since.

    Raises
    ------
    UserError
        If it is damaged.
    """
    table = step.frame("predictions.csv", dtype={"path": str, "label": str, "second": str}, keep_default_na=False)
    table = _with_present_classes(step, table, "label", "second")
    return table[table["label"] != ""].reset_index(drop=True)


def _with_present_classes(step: FinishedStep, table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    changes = changes_since(step)
    if not changes:
        return table
    columns_of = {
        name: [label and through(changes, label) for label in table[name]] for name in columns if name in table
    }
    return table.assign(**columns_of)


def classes_of_rounds(run: Run) -> tuple[str, ...]:
    """Return the classes of the last round, in order; equal numbers are one class, and ``nan`` is none."""
    steps = rounds(run)
    if not steps:
        return ()
    if run.facts()["dataset"].get("multilabel"):
        return classes_in(label for label in read_round_labels(steps[-1])["label"] if label)
    user_classes = named_before(steps)
    classes: list[str] = []
    for label in in_order(label for label in read_round_labels(steps[-1])["label"] if label):
        if label in user_classes or (not says_nothing(label) and alike(label, classes) is None):
            classes.append(label)
    return tuple(classes)


def named_before(earlier: Sequence[FinishedStep]) -> tuple[str, ...]:
    """Return classes that the user named last and whose names otherwise stand for no label, such as "None"."""
    last = next((step for step in reversed(earlier) if step.facts["outcome"].get("named")), None)
    if last is None:
        return ()
    changes = changes_since(last)
    return tuple(
        filter(says_nothing, filter(None, (through(changes, each) for each in last.facts["outcome"]["named"])))
    )
