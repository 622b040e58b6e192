"""Second look: labels that cross-validated models or near-duplicates contradict, most doubtful first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import derive
from initpools_cli.labeling.batch import Batch
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.stored_rounds import read_round_labels, rounds
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.training.experiment import ExperimentData

#: File of a round. ``doubt`` is log(p_other / p_label), see `label_doubt`; ``conflict`` is a labeled image of the same
#: group of near-duplicates with another label, -1 for none.
DOUBTFUL = "doubtful.csv"
COLUMNS = ("order", "index", "path", "label", "predicted", "doubt", "conflict")
#: Largest ratio of two probabilities that is shown.
MOST_TIMES = 1000
#: Repetitions of cross-validation. One is noisy: with five, the first ones are wrong labels more often.
REPETITIONS = 5


def doubtful_labels(
    context: Context, experiment: ExperimentData, labeled: LabelHistory, probs: NDArray[np.float64] | None
) -> pd.DataFrame:
    """List images with a doubtful label, for the file `DOUBTFUL`.

    First near-duplicates with different labels, of which at least one is wrong; then images for which another class is
    more likely than their label. Each part begins with the most doubtful label.

    Parameters
    ----------
    context : Context
    experiment : ExperimentData
    labeled : LabelHistory
    probs : (m, c) float64, optional
        Cross-validated probabilities of the round; None if there are too few labels.

    Returns
    -------
    DataFrame
        With `COLUMNS`.
    """
    import pandas as pd

    from initpools_cli.stats.label_doubt import label_doubt
    from initpools_cli.steps.find_embeddings import find_embeddings
    from initpools_cli.steps.near_duplicates import duplicate_groups

    rows, codes = labeled.rows, labeled.codes
    names = np.array(labeled.classes, dtype=object)
    groups = duplicate_groups(context, find_embeddings(context, experiment.encoder)).near
    conflict = _conflicts(groups[rows], codes)
    doubt, predictions = np.zeros(len(rows)), codes
    if probs is not None:
        probs = _mean_probabilities(context, experiment, labeled, probs)
        doubt, predictions = label_doubt(probs, codes), probs.argmax(axis=1)
    doubtful = np.flatnonzero((doubt > 0) | (conflict >= 0))
    order = doubtful[np.lexsort((doubtful, -doubt[doubtful], conflict[doubtful] < 0))]
    table = {
        "order": np.arange(len(order)),
        "index": rows[order],
        "path": context.data.train_items["path"].to_numpy()[rows[order]],
        "label": names[codes[order]],
        "predicted": names[predictions[order]],
        "doubt": doubt[order].round(4),
        "conflict": np.where(conflict[order] < 0, -1, rows[conflict[order]]),
    }
    return pd.DataFrame(table, columns=list(COLUMNS))


def _conflicts(groups: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first image of the same group with another label, for each image, (m,); -1 for none."""
    conflicts = np.full(len(codes), -1)
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    for group in np.flatnonzero(size > 1):
        images = np.flatnonzero(member == group)
        for image in images:
            others = images[codes[images] != codes[image]]
            conflicts[image] = others[0] if len(others) else -1
    return conflicts


def _mean_probabilities(
    context: Context, experiment: ExperimentData, labeled: LabelHistory, probs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average calibrated probabilities of the learner `linear` over repetitions of cross-validation.

    A learner that reads images would take too long to train `REPETITIONS` times: then `probs` are returned unchanged.
    """
    from initpools_cli.labeling.folds import folds_of
    from initpools_cli.stats.temperature import fit_temperature
    from initpools_cli.training.crossvalidation import out_of_fold
    from initpools_cli.training.learners.linear import linear
    from initpools_cli.training.learners.registry import softmax

    if "embeddings" not in experiment.inputs:
        return probs
    rows, codes, count = labeled.rows, labeled.codes, len(labeled.classes)
    inputs = np.asarray(experiment.inputs["embeddings"]["train"][rows])

    def fit(train: NDArray[np.int64], fold: int) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        model = linear(inputs[train], codes[train], count, fold, None)
        return lambda held_out: model.logits(inputs[held_out])

    total = np.zeros((len(rows), count))
    for repetition in range(REPETITIONS):
        folds = folds_of(context.data, rows, codes, derive(context.seed, "review", repetition))
        logits = out_of_fold(fit, np.arange(len(rows)), folds, count)
        total += softmax(logits / fit_temperature(logits, codes))
    return total / REPETITIONS


def read_doubtful(step: FinishedStep) -> pd.DataFrame:
    """Read the doubtful labels of a round.

    Raises
    ------
    UserError
        If an older version made the round, without this file, or the file is damaged.
    """
    if DOUBTFUL not in step.facts["writes"]:
        raise UserError(
            f"{step.id} has no {DOUBTFUL}: an earlier version made it.", f"Renew it with `{step.renewal()}`.", step.id
        )
    return step.frame(DOUBTFUL, dtype={"path": str, "label": str, "predicted": str}, keep_default_na=False)


def review_batch(context: Context) -> Batch:
    """Return the doubtful images of the newest round with their labels, most doubtful first.

    Raises
    ------
    UserError
        If there is no round, or no doubtful label.
    """
    steps = rounds(context.run)
    if not steps:
        raise UserError(
            f"The run {context.run.path} has no labels to review yet.",
            "Train on some first: `initpools al-run --labels FILE.csv`.",
            context.run.path,
        )
    step = steps[-1]
    # Classes may have been renamed since.
    labels = read_round_labels(step).set_index("index")["label"]
    table = read_doubtful(step)
    images = [image for image in table["index"].tolist() if image in labels.index]
    if not images:
        raise UserError(
            f"{step.id} has no doubtful label: models and near-duplicates agree with all {len(labels)}.",
            "Label more images: `initpools label`.",
            step.id,
        )
    doubts = _doubts(context, table, labels.to_dict())
    return Batch(f"review-{step.name}", images, [str(labels[image]) for image in images], doubts=doubts)


def _doubts(context: Context, table: pd.DataFrame, label_of: Mapping[Any, str]) -> dict[int, str]:
    """Say why each label is doubtful: another class is likelier, or a near-duplicate has another label."""
    paths = context.data.train_items["path"].to_numpy()
    reasons = {}
    columns = (table[name].tolist() for name in ("index", "predicted", "doubt", "conflict"))
    for image, prediction, doubt, other in zip(*columns, strict=True):
        label, parts = label_of.get(image), []
        if doubt > 0:
            times = f"{min(np.exp(doubt), MOST_TIMES):.3g}"
            parts.append(f"The model finds {prediction} {times} times as likely as {label}.")
        if label_of.get(other, label) != label:
            parts.append(f"A near-duplicate, {paths[other]}, has the label {label_of[other]}.")
        reasons[image] = " ".join(parts)
    return reasons


def doubtful_note(context: Context, step: FinishedStep) -> str:
    """Return the sentence on the doubtful labels of a round; empty if there are none or it is not known."""
    if DOUBTFUL not in step.facts["writes"]:
        return ""
    count = len(read_doubtful(step))
    if not count:
        return ""
    are = "is" if count == 1 else "are"
    return (
        f"{count:,} of the {step.facts['outcome']['labeled']:,} labels {are} doubtful, but may be right: "
        f"`{context.command_for('label', '--review')}` shows them, most doubtful first."
    )
