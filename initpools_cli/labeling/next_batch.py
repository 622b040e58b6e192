"""What the model of the labeling loop says of the images without a label, and which of them a query asks for next."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.labeling.evaluation import cell_of
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.steps.context import Context
from initpools_cli.steps.rows import tell_short
from initpools_cli.sweeps.setup import ExperimentSpec

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.strategies.selection import Selection
    from initpools_cli.training.experiment import ExperimentData, ExperimentSettings
    from initpools_cli.training.learners.registry import Classifier


def predictions(context: Context, rest: np.ndarray, probs: np.ndarray | None, labeled: LabelHistory) -> pd.DataFrame:
    """What the model takes every image without a label for, by index."""
    import pandas as pd

    paths, names = context.data.train_items["path"].to_numpy(), np.array(labeled.classes, dtype=object)
    if probs is None:
        probs = np.empty((0, len(names)))
    order = np.argsort(-probs, axis=1, kind="stable")
    found = {
        "index": rest,
        "path": paths[rest],
        "label": names[order[:, 0]],
        "confidence": np.take_along_axis(probs, order[:, :1], 1)[:, 0].round(6),
    }
    if len(names) > 1:
        found["second"] = names[order[:, 1]]
        found["second_confidence"] = np.take_along_axis(probs, order[:, 1:2], 1)[:, 0].round(6)
    return pd.DataFrame(found)


def next_batch(
    context: Context,
    cast: ExperimentSpec,
    experiment: ExperimentData,
    settings: ExperimentSettings,
    model: Classifier,
    labeled: LabelHistory,
) -> pd.DataFrame | None:
    """The next batch, of images that are there and were not skipped, as rows of a pool; None where none is left."""
    from initpools_cli.steps.report_card import ground_of, nearness
    from initpools_cli.steps.select_pool import pool_rows
    from initpools_cli.training.active_learning import run_query

    candidates = _there(context, np.setdiff1d(np.flatnonzero(experiment.kept), labeled.skipped), labeled)
    left = len(candidates) - len(labeled.rows)
    if not left:
        return None
    if left < settings.budget:
        context.report.warn(f"{left} images are left to label, of {settings.budget} asked for: they are the last.")
    learner = next(iter(cast.learners))
    selection: Selection = run_query(
        cast.queries[0].name,
        learner,
        cell_of(context, experiment, labeled.rows, candidates),
        model,
        labeled.number,
        experiment,
        replace(settings, budget=min(left, settings.budget)),
        context.machine.device,
    )
    tell_short(context.report, len(selection.indices), min(left, settings.budget), context.settings.select)
    embeddings = experiment.arrays[cast.queries[0].name].get("embeddings")
    near = None
    if embeddings is not None:
        ground = ground_of(embeddings, False, candidates, labeled.rows)
        near = nearness(ground, selection.indices)
    return pool_rows(selection, near, context.data.train_items)


def _there(context: Context, candidates: np.ndarray, labeled: LabelHistory) -> np.ndarray:
    """Those whose files can still be shown to an annotator, and those labeled already."""
    root = context.data.root
    if root is None:
        return candidates
    paths = context.data.train_items["path"].to_numpy()
    known = np.isin(candidates, labeled.rows)
    there = known | np.array([os.access(root / path, os.R_OK) for path in paths[candidates]], dtype=bool)
    if not there.all():
        gone = paths[candidates[~there]]
        context.report.warn(f"{len(gone)} images are gone from {root} and are not chosen, the first {gone[0]}.")
    kept: np.ndarray = candidates[there]
    return kept
