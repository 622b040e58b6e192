"""Metrics of rounds.csv, of which higher is better."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from initpools_cli.core.errors import UserError, nearest

#: The first is the primary one.
METRICS = ("accuracy", "balanced_accuracy", "auc")
#: Those with several labels per image.
MULTILABEL_METRICS = ("auc", "mean_average_precision", "micro_f1", "macro_f1")
#: Those where the class counts differ more than tenfold; ``rare_recall`` is the recall of the rarest third.
LONG_TAIL = ("balanced_accuracy", "rare_recall", "accuracy", "auc")
#: The primary metric of a sweep: accuracy, on a long tail balanced accuracy, with several labels per image macro AUC.
PRIMARY = "primary"
Metric = Literal[
    "primary", "accuracy", "balanced_accuracy", "rare_recall", "auc", "mean_average_precision", "micro_f1", "macro_f1"
]
#: Names for titles, where it is not the name itself with spaces.
TITLES = {
    "rare_recall": "recall of the rarest third",
    "auc": "macro AUC",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
}


def metrics_of(columns: Collection[str]) -> tuple[str, ...]:
    """Return the metrics of a rounds.csv with these columns, the primary one first."""
    if "rare_recall" in columns:
        return LONG_TAIL
    return MULTILABEL_METRICS if "mean_average_precision" in columns else METRICS


def chosen_metric(metric: str, columns: Collection[str]) -> str:
    """Return the metric of that name, or the primary one.

    Raises
    ------
    UserError
        The rounds don't have that metric.
    """
    metrics = metrics_of(columns)
    if metric == PRIMARY:
        return metrics[0]
    if metric not in metrics and metric not in columns:
        guess = nearest(metric, metrics)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(
            f"The metric '{metric}' is not one of this sweep.", f"{hint}Use one of {', '.join(metrics)}.", metric
        )
    return metric
