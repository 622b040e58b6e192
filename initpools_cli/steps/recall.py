"""Recall of approximate searches: printed, and stored with the step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import PendingStep


@contextmanager
def report_recall(report: Reporter, step: PendingStep | None = None) -> Iterator[None]:
    """Context manager that measures the recall of approximate searches and prints it.

    Parameters
    ----------
    report : Reporter
    step : PendingStep, optional
        Gets it as ``outcome.recall``, with ``index`` and ``recall_images``, the size of the sample.
    """
    from initpools_cli.geometry.recall import collect_recalls

    with collect_recalls() as recalls:
        yield
    if not recalls:
        return
    images, index = sum(each.rows for each in recalls), ", ".join(sorted({each.index for each in recalls}))
    share = sum(each.hits for each in recalls) / sum(each.neighbors for each in recalls)
    report.say(f"index {index}: {share:.1%} of the nearest neighbors of {images:,} random images were found")
    if step is not None:
        step.outcome |= {"index": index, "recall": share, "recall_images": images}
