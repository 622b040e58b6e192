"""Labels and predictions of a run, as the rows of an export."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.datasets.annotations.check import Annotations, read_annotations
from initpools_cli.datasets.annotations.rows import LABEL, PREDICTION, Details
from initpools_cli.datasets.classes import KnownClasses, alike
from initpools_cli.labeling.page import FOLDER
from initpools_cli.labeling.stored_rounds import classes_of_rounds, number_of, read_round_labels, rounds
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: Columns of text that labels have and predictions do not.
TEXTS = ("origin", "suggested")


@dataclass(frozen=True)
class RunLabels:
    """Labels of a run.

    Attributes
    ----------
    name : str
        Source of the labels: a round, "labels", or the data set.
    rows : DataFrame
        index, path, label, source, confidence, round; and if the run has them: origin, suggested,
        suggested_confidence, seconds. The confidence is that of a prediction, and missing for labels.
    skipped : frozenset of int
        Train rows that annotators skipped.
    round : FinishedStep or None
        The newest round.
    """

    name: str
    rows: pd.DataFrame
    skipped: frozenset[int]
    round: FinishedStep | None = None


def labels_of_run(context: Context) -> RunLabels:
    """Return the labels of the newest round; before the first, those of the label files in the run.

    Raises
    ------
    UserError
        There are no labels.
    """
    steps = rounds(context.run)
    labels = _of_round(context, steps[-1]) if steps else _of_files(context)
    if labels.rows.empty:
        own = " Add --dataset-labels to export the labels of the data set." if context.data.classes else ""
        raise UserError(
            f"The run {context.run.path} has no labels yet.",
            f"Label images with `initpools label`, or pass labels to a round: `initpools al-run --labels FILE`.{own}",
            context.run.path,
        )
    return labels


def labels_of_dataset(context: Context) -> RunLabels:
    """Return the labels that the data set has itself.

    Raises
    ------
    UserError
        The data set has no labels.
    """
    context.require_labels("--dataset-labels")
    items = context.data.train_items
    rows = items[items["label"].notna() & context.data.kept]
    return RunLabels("dataset", _frame(rows["index"], rows["path"], rows["class"]), frozenset())


def with_predictions(context: Context, labels: RunLabels, above: float) -> RunLabels:
    """Append the images without a label, with the class that the model of the newest round predicts.

    Parameters
    ----------
    above : float
        The least calibrated confidence. Skipped images are left out.

    Raises
    ------
    UserError
        There is no round yet.
    """
    import pandas as pd

    if labels.round is None:
        raise UserError(
            f"The run {context.run.path} has no predictions yet.",
            "Run a round first: `initpools al-run --labels FILE`; or leave out --with predictions.",
            context.run.path,
        )
    if above and "temperature" not in labels.round.facts["outcome"]:
        context.report.warn(f"the confidences of {labels.round.name} are not calibrated.")
    table = labels.round.frame("predictions.csv", dtype={"path": str, "label": str}, keep_default_na=False)
    unlabeled = ~table["index"].isin([*labels.rows["index"], *labels.skipped])
    predictions = table[unlabeled & (table["confidence"] >= above)]
    number = number_of(labels.round.name)
    rows = _frame(
        predictions["index"], predictions["path"], predictions["label"], PREDICTION, predictions["confidence"], number
    )
    if above:
        below = unlabeled.sum() - len(rows)
        context.report.say(f"{below:,} predictions with a confidence below {above:g} are left out")
    unknown = {name: "" for name in TEXTS if name in labels.rows}
    return replace(labels, rows=pd.concat([labels.rows, rows.assign(**unknown)], ignore_index=True))


def with_validation(context: Context, labels: RunLabels, share: float) -> RunLabels:
    """Add a column `split`: `val` for a random share of the labels of each class, else `train`.

    Predictions are always `train`, and copies of one file are in one split.

    Raises
    ------
    UserError
        The data set has a split for validation.
    """
    if "val" in context.data.splits:
        raise UserError("--val has no effect: the data set has a val split of its own.", "Leave out --val.", "--val")
    rows = labels.rows
    copies = context.data.train_items["sha256"].to_numpy()[rows["index"].to_numpy(np.int64)]
    split = np.full(len(rows), "train", dtype=object)
    rng = generator(context.seed, "export validation")
    is_label = (rows["source"] == LABEL).to_numpy()
    for name in sorted(set(rows["label"][is_label])):
        members = np.flatnonzero(is_label & (rows["label"] == name).to_numpy())
        groups = np.unique(copies[members])
        # Every class keeps at least one image for training.
        count = min(max(1, round(share * len(groups))), len(groups) - 1)
        split[members[np.isin(copies[members], rng.permutation(groups)[:count])]] = "val"
    return replace(labels, rows=rows.assign(split=split))


def _of_round(context: Context, step: FinishedStep) -> RunLabels:
    """Return the labels of a round; the current rules also apply to labels of older versions."""
    table = read_round_labels(step)
    classes = classes_of_rounds(context.run)
    multilabel = context.data.multilabel
    means = {label: label if multilabel else alike(label, classes) or "" for label in set(table["label"]) if label}
    answers = table["label"].map({"": "", **means}) if len(table) else table["label"]
    answered = table.assign(label=answers)[answers != ""]
    rows = _frame(answered["index"], answered["path"], answered["label"], number=answered["round"])
    if {*Details._fields} <= {*answered.columns}:
        rows = rows.assign(
            origin=answered["origin"].to_numpy(),
            suggested=answered["suggested"].to_numpy(),
            suggested_confidence=_numbers(answered["confidence"]),
            seconds=_numbers(answered["seconds"]),
        )
    return RunLabels(step.name, rows, frozenset(table["index"][table["label"] == ""].tolist()), step)


def _of_files(context: Context) -> RunLabels:
    """Return the labels of the page; where files disagree, those of the newest file."""
    files = sorted((context.run.path / FOLDER).glob("*.csv"), key=lambda file: file.stat().st_mtime_ns)
    labels: dict[int, str] = {}
    skips: set[int] = set()
    for file in files:
        annotations = _read(context, file)
        labels |= dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
        skips |= set(annotations.skipped.tolist())
        for problem in annotations.problems:
            context.report.warn(f"{file}, {problem}; the row is ignored.")
    images = sorted(labels)
    paths = context.data.train_items["path"].to_numpy()[images]
    rows = _frame(images, paths, [labels[image] for image in images])
    return RunLabels("labels", rows, frozenset(skips - {*labels}))


def _frame(
    index: Iterable[int],
    path: Iterable[str],
    label: Iterable[str],
    source: str = LABEL,
    confidence: Any = np.nan,
    number: Any = None,
) -> pd.DataFrame:
    """Return the rows of labels or predictions."""
    import pandas as pd

    images = np.array(list(index), dtype=np.int64)
    rows = pd.DataFrame({"index": images, "path": list(path), "label": list(label), "source": source})
    rows["confidence"] = np.broadcast_to(np.asarray(confidence, dtype=np.float64), len(rows))
    rows["round"] = pd.array([pd.NA] * len(rows) if number is None else np.broadcast_to(number, len(rows)), "Int64")
    return rows


def _numbers(texts: pd.Series) -> np.ndarray:
    """Return cells as numbers; empty ones and text are NaN."""
    import pandas as pd

    return pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)


def _read(context: Context, file: Path) -> Annotations:
    data = context.data
    known_classes = KnownClasses(data.classes, multilabel=data.multilabel)
    return read_annotations(file, data.items, known_classes, data.root, "labels", mask=data.kept)


def unread_files(context: Context, labels: RunLabels) -> list[tuple[Path, int]]:
    """Return label files of the run with labels that the newest round does not have, and their number."""
    labeled = set(labels.rows["index"].tolist())
    files = []
    for file in sorted((context.run.path / FOLDER).glob("*.csv")):
        try:
            annotations = _read(context, file)
        except UserError:
            continue
        new = sum(image not in labeled for image in annotations.rows.tolist())
        if new:
            files.append((file, new))
    return files
