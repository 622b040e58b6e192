"""Metrics of an encoder and its features, for information only."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from initpools_cli.datasets.spec import Split
    from initpools_cli.pretext.base import Pretext

#: Images that the monitor reads of train, and of the split on which it measures.
MONITORED = (2_000, 500)
#: Advice on collapsed features of an encoder.
ENCODER = (
    "Look whether the images differ; if they do, pretrain longer, with a lower learning rate (--set lr=…), or by "
    "another task."
)


def quality(context: Context, step: str, folder: Path, advice: str = ENCODER) -> dict[str, Any]:
    """Measure the embeddings in `folder` and print the metrics; warn if they have collapsed.

    Parameters
    ----------
    step : str
        The id of the step, for messages.
    advice : str
        What to do if they have collapsed.

    Returns
    -------
    dict
        rank; with labels of train and of val or test, also knn_accuracy, linear_accuracy and measured_on.
    """
    from initpools_cli.training.feature_quality import (
        collapse_below,
        feature_rank,
        knn_accuracy,
        linear_accuracy,
        probe_rows,
    )

    report = context.report
    train = np.load(folder / "train.npy", mmap_mode="r")
    train_rows = np.flatnonzero(context.data.kept)
    rank, most = feature_rank(train, train_rows)
    facts: dict[str, Any] = {"rank": rank}
    words = f"effective dimensions (RankMe) {rank:.1f} of at most {most}"
    name, against = _probe_split(context)
    labels = None if context.data.multilabel else context.data.splits["train"].labels
    labeled_rows = _labeled_rows(context)
    # The user's embeddings may be of train only.
    there = (folder / f"{name}.npy").exists()
    if there and against is not None and labels is not None and against.labels is not None and len(labeled_rows):
        inside, outside = (probe_rows(rows, train.shape[1]) for rows in (labeled_rows, against.labeled))
        report.detail(f"measuring {step}: {len(inside)} train and {len(outside)} {name} images")
        probe_data = (
            np.asarray(train[inside]),
            labels[inside],
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")[outside]),
            against.labels[outside],
        )
        knn = knn_accuracy(*probe_data)
        linear, converged = linear_accuracy(*probe_data)
        facts |= {"knn_accuracy": knn, "linear_accuracy": linear, "measured_on": name}
        words += f", k-NN accuracy {knn:.1%}, linear probe {linear:.1%} on {name} (only reported)"
        if len(labeled_rows) < len(train_rows) or len(against.labeled) < len(against.labels):
            words += f", of the images with a label: {len(labeled_rows)} train, {len(against.labeled)} {name}"
        if not converged:
            report.warn(f"The linear probe on {step} has not converged: its accuracy is that of an unfinished fit.")
    report.say(f"{step}: {words}")
    if rank < collapse_below(most):
        report.warn(_collapse_warning(f"The features of {step}", rank, most, advice))
    return facts


def monitor(context: Context) -> Callable[[Pretext], dict[str, Any]]:
    """Return the callback of `fit`: rank of a sample's features and, with labels, their k-NN accuracy."""
    from initpools_cli.training.feature_quality import sample_rows
    from initpools_cli.training.monitor import measure

    train = context.data.splits["train"]
    inside = sample_rows(np.flatnonzero(context.data.kept), MONITORED[0])
    _, against = _probe_split(context)
    probe_data = None
    labeled_rows = _labeled_rows(context)
    one_class = not context.data.multilabel and train.labels is not None
    if one_class and against is not None and against.labels is not None and len(labeled_rows):
        # Where few images have a label, hardly one of them would be in the sample.
        inside = np.union1d(inside, sample_rows(labeled_rows, MONITORED[0]))
        outside = sample_rows(against.labeled, MONITORED[1])
        assert train.labels is not None
        probe_data = (train.labels[inside], against.images[outside], against.labels[outside])
    return partial(measure, images=train.images[inside], labeled=probe_data, device=context.machine.device)


def metric_words(row: dict[str, Any]) -> str:
    """The monitor's metrics of an epoch, printed after its loss; empty if it did not run."""
    knn = f", k-NN accuracy {row['knn_accuracy']:.1%}" if "knn_accuracy" in row else ""
    return f"{knn}, rank {row['rank']:.1f}" if "rank" in row else knn


def warn_of_collapse(context: Context, rows: list[dict[str, Any]], epochs: int, width: int) -> None:
    """Warn if the features have collapsed in the newest of the `rows`: once past halfway, and at the end.

    Before that, features of tasks that learn well may still lie along few directions.

    Parameters
    ----------
    rows : list of dict
        One per epoch so far.
    epochs : int
        In total.
    width : int
        Of the features.
    """
    from initpools_cli.training.feature_quality import collapse_below

    most = min(MONITORED[0], int(context.data.kept.sum()), width)
    late = [row for row in rows if "rank" in row and 2 * row["epoch"] > epochs]
    low = [row for row in late if row["rank"] < collapse_below(most)]
    last = rows[-1]
    if low and low[-1] is last and (len(low) == 1 or last["epoch"] == epochs):
        words = f"After epoch {last['epoch']} of {epochs} the features"
        context.report.warn(_collapse_warning(words, last["rank"], most))


def say_where_loss_stayed(context: Context, rows: list[dict[str, Any]]) -> None:
    """Print a note if the last epoch's loss is not below the first's."""
    first, last = rows[0], rows[-1]
    if len(rows) > 1 and last["loss"] >= first["loss"]:
        context.report.say(
            f"The loss did not fall: {first['loss']:.4f} in epoch 1, {last['loss']:.4f} in epoch {last['epoch']} "
            "(`initpools plot losses`). Where two networks play against or follow each other, that alone is no fault."
        )


def _collapse_warning(what: str, rank: float, most: int, advice: str = ENCODER) -> str:
    from initpools_cli.training.feature_quality import collapse_below

    return (
        f"{what} have collapsed to hardly more than one direction: RankMe {rank:.2f} of at most {most}, collapse being "
        f"below {collapse_below(most):.2f}. {advice}"
    )


def _labeled_rows(context: Context) -> np.ndarray:
    """The train images to choose from that have a label, (m,) int64, ascending."""
    labeled = context.data.splits["train"].labeled
    return np.asarray(labeled[context.data.kept[labeled]])


def _probe_split(context: Context) -> tuple[str, Split | None]:
    splits = context.data.splits
    name = "val" if "val" in splits and splits["val"].labels is not None else "test"
    return name, splits.get(name)
