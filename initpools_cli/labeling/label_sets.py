"""Labeling rounds with several labels per image: evaluation, and predicted label sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import derive, generator
from initpools_cli.datasets.multilabel import texts_of
from initpools_cli.labeling.evaluation import CrossValidation, fold_logits
from initpools_cli.labeling.folds import folds_of
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.round_inputs import RoundInputs
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.training.learners.registry import Classifier

#: Bootstrap samples of the interval of the macro AUC.
DRAWS = 200


def cross_validate_sets(inputs: RoundInputs) -> CrossValidation:
    """Predict every labeled image by a model of the others, in five folds; see `CrossValidation`.

    The metrics are those of `multilabel_metrics`, and ``low`` and ``high``: the 95 % percentile interval of the macro
    AUC over bootstrap samples of the images, or of the groups. Probabilities are not calibrated.
    """
    import pandas as pd

    from initpools_cli.stats.multilabel_metrics import (
        average_precisions,
        label_areas,
        label_recalls,
        multilabel_metrics,
    )

    context, labeled = inputs.context, inputs.labeled
    rows, codes, classes = labeled.rows, labeled.codes, labeled.classes
    counts = codes.sum(axis=0)
    by_class = pd.DataFrame({"class": classes, "labeled": counts, "recall": np.nan})
    folds = folds_of(context.data, rows, codes, derive(context.seed, "loop folds"))
    judged = labeled.judged
    if not ((counts > 0) & (counts < len(rows))).any() or folds.max() < 1 or not judged.any():
        return CrossValidation(by_class, {})
    probs = inputs.data.probabilities(fold_logits(inputs, folds))
    judged_probs, truth = probs[judged], codes[judged]
    by_class = by_class.assign(
        recall=label_recalls(judged_probs, truth),
        average_precision=average_precisions(judged_probs, truth),
        auc=label_areas(judged_probs, truth),
    )
    groups = None if context.data.groups is None else context.data.groups[rows][judged]
    low, high = _interval(judged_probs, truth, groups, derive(context.seed, "loop interval"))
    quality = {
        **multilabel_metrics(judged_probs, truth),
        "low": low,
        "high": high,
        **({} if groups is None else {"groups": len(np.unique(groups))}),
        "folds": int(folds.max()) + 1,
    }
    # TOML of older readers has no NaN: a metric without a value is left out.
    return CrossValidation(by_class, {key: value for key, value in quality.items() if value == value}, probs)


def _interval(probs: np.ndarray, truth: np.ndarray, groups: np.ndarray | None, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the macro AUC, over images or groups; NaN if it has no value."""
    from initpools_cli.stats.multilabel_metrics import label_areas

    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = [np.flatnonzero(units == unit) for unit in range(int(units.max()) + 1)]
    rng, values = generator(seed), []
    for _ in range(DRAWS):
        sample = np.concatenate([members[unit] for unit in rng.integers(0, len(members), len(members))])
        areas = label_areas(probs[sample], truth[sample])
        if not np.isnan(areas).all():
            values.append(float(np.nanmean(areas)))
    if not values:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def likely_sets(probs: np.ndarray) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return the most likely label set of each image, (n, c), and its probability, (n,), for independent labels."""
    return (probs >= 0.5).astype(np.int8), np.maximum(probs, 1 - probs).prod(axis=1)


def set_predictions(
    context: Context, rest: np.ndarray, probs: np.ndarray | None, labeled: LabelHistory
) -> pd.DataFrame:
    """Return the most likely label set of every unlabeled image, and the probability of each class, by index."""
    import pandas as pd

    if probs is None:
        probs = np.empty((0, len(labeled.classes)))
    sets, confidence = likely_sets(probs)
    columns = {
        "index": rest,
        "path": context.data.train_items["path"].to_numpy()[rest],
        "label": np.array(texts_of(sets, labeled.classes), dtype=object),
        "confidence": confidence.round(6),
    }
    by_class = {f"p({name})": probs[:, k].round(6) for k, name in enumerate(labeled.classes)}
    return pd.DataFrame({**columns, **by_class})


def out_of_fold_sets(context: Context, probs: np.ndarray, labeled: LabelHistory) -> pd.DataFrame:
    """Return the cross-validated label set of every labeled image, with the columns of `out_of_fold_table`."""
    import pandas as pd

    sets, confidence = likely_sets(probs)
    own = np.where(labeled.codes > 0, probs, 1 - probs).prod(axis=1)
    return pd.DataFrame(
        {
            "index": labeled.rows,
            "path": context.data.train_items["path"].to_numpy()[labeled.rows],
            "label": texts_of(labeled.codes, labeled.classes),
            "predicted": texts_of(sets, labeled.classes),
            "confidence": confidence.round(6),
            "label_confidence": own.round(6),
            "origin": labeled.origins,
        }
    )


def on_test_sets(inputs: RoundInputs, model: Classifier) -> dict[str, Any]:
    """Compute the macro AUC on the test split; empty if the data set has no labeled one with these classes."""
    from initpools_cli.stats.multilabel_metrics import multilabel_metrics

    data = inputs.context.data
    test = data.splits.get("test")
    if test is None or test.labels is None or inputs.labeled.classes != data.classes:
        return {}
    probs = inputs.data.probabilities(model.logits(inputs.images("test")))
    metrics = multilabel_metrics(probs, test.labels[test.labeled])
    names = ("auc", "mean_average_precision", "micro_f1", "macro_f1")
    return {f"test_{name}": metrics[name] for name in names if metrics[name] == metrics[name]}
