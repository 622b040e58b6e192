"""Predictions for unlabeled images, and the next batch to label."""

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
    """Return the two most likely classes of every unlabeled image, by index."""
    import pandas as pd

    paths, names = context.data.train_items["path"].to_numpy(), np.array(labeled.classes, dtype=object)
    if probs is None:
        probs = np.empty((0, len(names)))
    order = np.argsort(-probs, axis=1, kind="stable")
    columns = {
        "index": rest,
        "path": paths[rest],
        "label": names[order[:, 0]],
        "confidence": np.take_along_axis(probs, order[:, :1], 1)[:, 0].round(6),
    }
    if len(names) > 1:
        columns["second"] = names[order[:, 1]]
        columns["second_confidence"] = np.take_along_axis(probs, order[:, 1:2], 1)[:, 0].round(6)
    return pd.DataFrame(columns)


def next_batch(
    context: Context,
    spec: ExperimentSpec,
    experiment: ExperimentData,
    settings: ExperimentSettings,
    model: Classifier,
    labeled: LabelHistory,
) -> pd.DataFrame | None:
    """Select the next batch from readable images that were not skipped, as rows of a pool; None if none is left."""
    from initpools_cli.steps.report_card import CardData, nearness
    from initpools_cli.steps.select_pool import pool_rows
    from initpools_cli.training.active_learning import run_query

    candidates = _readable(context, np.setdiff1d(np.flatnonzero(experiment.kept), labeled.skipped), labeled)
    left = len(candidates) - len(labeled.rows)
    if not left:
        return None
    if left < settings.budget:
        context.report.warn(f"only {left} images are left to label, fewer than --budget {settings.budget}.")
    learner = next(iter(spec.learners))
    selection: Selection = run_query(
        spec.queries[0].name,
        learner,
        cell_of(context, experiment, labeled.rows, candidates),
        model,
        labeled.number,
        experiment,
        replace(settings, budget=min(left, settings.budget)),
        context.machine.device,
    )
    tell_short(context.report, len(selection.indices), min(left, settings.budget), context.settings.select)
    embeddings = experiment.arrays[spec.queries[0].name].get("embeddings")
    near = None
    if embeddings is not None:
        data = CardData.of(embeddings, False, candidates, labeled.rows)
        near = nearness(data, selection.indices)
    return pool_rows(selection, near, context.data.train_items)


def _readable(context: Context, candidates: np.ndarray, labeled: LabelHistory) -> np.ndarray:
    """Return the candidates whose files are readable or that are already labeled."""
    root = context.data.root
    if root is None:
        return candidates
    paths = context.data.train_items["path"].to_numpy()
    known = np.isin(candidates, labeled.rows)
    readable = known | np.array([os.access(root / path, os.R_OK) for path in paths[candidates]], dtype=bool)
    if not readable.all():
        missing = paths[candidates[~readable]]
        context.report.warn(
            f"{len(missing)} images are missing from {root} and cannot be selected, the first is {missing[0]}."
        )
    kept: np.ndarray = candidates[readable]
    return kept
