"""Evaluation of a labeling round: cross-validation, test split, and predictions of the previous model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.seeds import derive, generator
from initpools_cli.labeling.folds import folds_of
from initpools_cli.labeling.forecast import cannot_forecast, confused_pairs
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.round_inputs import RoundInputs
from initpools_cli.labeling.stored_rounds import number_of, read_predictions, rounds
from initpools_cli.steps.context import Context

#: Models fitted on random halves of the labels, for the forecast.
HALVES = 5

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.training.learners.registry import Classifier


@dataclass(frozen=True)
class CrossValidation:
    """Cross-validated predictions of the labeled images, and metrics.

    Attributes
    ----------
    by_class : DataFrame
        Columns class, labeled, recall.
    quality : dict
        Metrics of the learner's own probabilities, and ``temperature``, which its logits are to be divided by. Empty
        if there are too few labels. Images that annotators chose themselves train the models, but are not counted.
    probs : (m, c) float64 or None
        Calibrated probabilities of each labeled image, by a model that was not trained on it.
    """

    by_class: pd.DataFrame
    quality: dict[str, Any]
    probs: np.ndarray | None = None


def cross_validate(inputs: RoundInputs) -> CrossValidation:
    """Predict every labeled image by a model of the others, in five folds."""
    import pandas as pd

    from initpools_cli.stats.group_interval import grouped_interval
    from initpools_cli.stats.metrics import classification_metrics, recalls
    from initpools_cli.stats.proportions import EFFECTIVE, cross_validated_interval
    from initpools_cli.stats.temperature import fit_temperature
    from initpools_cli.training.learners.registry import softmax

    context, labeled = inputs.context, inputs.labeled
    rows, codes, classes = labeled.rows, labeled.codes, labeled.classes
    counts = np.bincount(codes, minlength=len(classes))
    by_class = pd.DataFrame({"class": classes, "labeled": counts, "recall": np.nan})
    groups = None if context.data.groups is None else context.data.groups[rows]
    folds = folds_of(context.data, rows, codes, derive(context.seed, "loop folds"))
    judged = labeled.judged
    if (counts > 0).sum() < 2 or folds.max() < 1 or not judged.any():
        single = groups is not None and len(np.unique(groups)) == 1
        return CrossValidation(by_class, {"groups": 1} if single else {})
    logits = fold_logits(inputs, folds)
    probs, truth = softmax(logits[judged]), codes[judged]
    metrics = classification_metrics(probs, truth)
    right = probs.argmax(1) == truth
    if groups is None:
        low, high = cross_validated_interval(int(right.sum()), len(truth))
    else:
        low, high = grouped_interval(right, groups[judged], worth=EFFECTIVE)
    temperature = fit_temperature(logits[judged], truth)
    halves = []
    if not cannot_forecast(inputs.learner.name, int(judged.sum()), 2):
        halves = _right_by_halves(inputs, groups)
    quality = {
        **{name: metrics[name] for name in ("accuracy", "balanced_accuracy", "nll", "ece")},
        "low": low,
        "high": high,
        **({} if groups is None else {"groups": len(np.unique(groups[judged]))}),
        "folds": int(folds.max()) + 1,
        "majority": float(np.bincount(truth).max() / len(truth)),
        "alone": int((counts == 1).sum()),
        "temperature": temperature,
        "confused": confused_pairs(probs.argmax(1), truth, classes),
        **({"half_accuracy": float(np.concatenate(halves).mean())} if halves else {}),
    }
    by_class["recall"] = recalls(probs, truth, len(classes))
    return CrossValidation(by_class, quality, softmax(logits / temperature))


def fold_logits(inputs: RoundInputs, folds: np.ndarray) -> np.ndarray:
    """Return the logits of every labeled image by a model of the other folds, (m, c) float64.

    Parameters
    ----------
    folds : (m,) int64
        The fold of each labeled image.
    """
    from initpools_cli.training.crossvalidation import out_of_fold

    context, labeled, images = inputs.context, inputs.labeled, inputs.images("train")
    with context.report.progress("cross-validation", int(folds.max()) + 1, "folds") as bar:

        def fit_fold(train: np.ndarray, fold: int) -> Callable[[np.ndarray], np.ndarray]:
            model = inputs.fit(train, derive(context.seed, "loop part", fold))
            bar.advance()
            return lambda held_out: model.logits(images[held_out])

        return out_of_fold(fit_fold, labeled.rows, folds, len(labeled.classes))


def _right_by_halves(inputs: RoundInputs, groups: np.ndarray | None) -> list[np.ndarray]:
    """Fit on random halves of the labels, and return which of the other predictions are right, for each half."""
    seed, labeled, images = inputs.context.seed, inputs.labeled, inputs.images("train")
    right = []
    for number in range(HALVES):
        inside = _half(generator(seed, "loop half", number), len(labeled.rows), groups)
        model = inputs.fit(labeled.rows[inside], derive(seed, "loop half", number))
        others = ~inside & labeled.judged
        right.append(model.logits(images[labeled.rows[others]]).argmax(1) == labeled.codes[others])
    return [each for each in right if len(each)]


def _half(rng: np.random.Generator, n: int, groups: np.ndarray | None) -> np.ndarray:
    """Draw about half of n images, (n,) bool; images of one group stay together."""
    if groups is None:
        return rng.permutation(n) < round(n / 2)
    _, group = np.unique(groups, return_inverse=True)
    order = rng.permutation(int(group.max()) + 1)
    size = np.bincount(group)[order].cumsum()
    return np.isin(group, order[: 1 + int(np.abs(size[:-1] - n / 2).argmin())])


def out_of_fold_table(context: Context, probs: np.ndarray, labeled: LabelHistory) -> pd.DataFrame:
    """Return the cross-validated prediction of every labeled image, by index.

    Parameters
    ----------
    probs : (m, c) float64
        Of `CrossValidation`.
    """
    import pandas as pd

    names = np.array(labeled.classes, dtype=object)
    return pd.DataFrame(
        {
            "index": labeled.rows,
            "path": context.data.train_items["path"].to_numpy()[labeled.rows],
            "label": names[labeled.codes],
            "predicted": names[probs.argmax(axis=1)],
            "confidence": probs.max(axis=1).round(6),
            "label_confidence": probs[np.arange(len(probs)), labeled.codes].round(6),
            "origin": labeled.origins,
        }
    )


def on_test(inputs: RoundInputs, model: Classifier) -> dict[str, Any]:
    """Compute the accuracy on the test split; empty if the data set has no labeled test split with these classes."""
    from initpools_cli.stats.group_interval import grouped_interval
    from initpools_cli.stats.proportions import share_interval

    data = inputs.context.data
    test = data.splits.get("test")
    if test is None or test.labels is None or inputs.labeled.classes != data.classes:
        return {}
    labels = test.labels[test.labeled]
    right = model.logits(inputs.images("test")).argmax(1) == labels
    groups = data.groups_of("test")
    if groups is None:
        low, high = share_interval(int(right.sum()), len(labels))
    else:
        groups = groups[test.labeled]
        low, high = grouped_interval(right, groups)
    metrics = {"test_accuracy": int(right.sum()) / len(labels), "test_low": low, "test_high": high}
    return metrics if groups is None else {**metrics, "test_groups": len(np.unique(groups))}


def previous_model(context: Context, labeled: LabelHistory) -> dict[str, Any]:
    """Compute the share of this round's new labels that the model of the previous round predicted correctly."""
    earlier = [step for step in rounds(context.run) if number_of(step.name) < labeled.number]
    if not earlier or not len(labeled.fresh):
        return {}
    table = read_predictions(earlier[-1])
    prediction_of = dict(zip(table["index"].tolist(), map(labeled.class_of, table["label"]), strict=True))
    truth = dict(zip(labeled.table["index"].tolist(), labeled.table["label"], strict=True))
    both = [image for image in labeled.fresh.tolist() if image in prediction_of]
    if not both:
        return {}
    right = sum(prediction_of[image] == truth[image] for image in both)
    return {"previous_accuracy": right / len(both), "previous_labels": len(both)}
