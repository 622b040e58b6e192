"""Predictions for unlabeled images, and the next batch to label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.audit_size import audit_size
from initpools_cli.core.seeds import derive
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.round_inputs import RoundInputs
from initpools_cli.steps.audit_sample import draw, mix, readable
from initpools_cli.steps.context import Context
from initpools_cli.steps.rows import tell_short

if TYPE_CHECKING:
    import pandas as pd

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


def next_batch(inputs: RoundInputs, model: Classifier) -> pd.DataFrame | None:
    """Select the next batch from readable images that were not skipped, as rows of a pool; None if none is left."""
    from initpools_cli.steps.report_card import CardData, nearness
    from initpools_cli.steps.select_pool import pool_rows
    from initpools_cli.strategies.selection import Selection
    from initpools_cli.training.active_learning import run_query

    context, labeled = inputs.context, inputs.labeled
    settings = inputs.settings
    candidates = _readable(context, np.setdiff1d(np.flatnonzero(inputs.data.kept), labeled.skipped), labeled)
    free = np.setdiff1d(candidates, labeled.rows)
    if not len(free):
        return None
    size = audit_size(context.settings.al.audit, settings.budget)
    _warn_few_left(context, len(free), settings.budget, size)
    seed = derive(context.seed, "audit", labeled.number)
    audit = draw(free, size, seed)
    budget = min(len(free) - len(audit), settings.budget)
    if budget:
        selection = run_query(
            inputs.query.name,
            inputs.learner.name,
            inputs.cell(labeled.rows, np.setdiff1d(candidates, audit)),
            model,
            labeled.number,
            replace(inputs.experiment, settings=replace(settings, budget=budget)),
        )
    else:
        selection = Selection(np.empty(0, np.int64))
    tell_short(context.report, len(selection.indices), budget, context.settings.select)
    origins = None
    if size:
        selection, origins = mix(selection, audit, seed)
        context.report.say(f"{len(audit)} audit images, drawn at random, are mixed into the next batch.")
    embeddings = inputs.data.arrays[inputs.query.name].get("embeddings")
    near = None
    if embeddings is not None:
        data = CardData.of(embeddings, False, candidates, labeled.rows)
        near = nearness(data, selection.indices)
    return pool_rows(selection, near, context.data.train_items, origins)


def _warn_few_left(context: Context, count: int, budget: int, audit: int) -> None:
    if count < budget + audit:
        options = f"--budget {budget}" + (f" and --audit {context.settings.al.audit}" if audit else "")
        context.report.warn(f"only {count} images are left to label, fewer than {options}.")


def _readable(context: Context, candidates: np.ndarray, labeled: LabelHistory) -> np.ndarray:
    """Return the candidates that are labeled or whose files are readable."""
    is_readable = np.isin(candidates, labeled.rows)
    is_readable[~is_readable] = readable(context, candidates[~is_readable])
    if not is_readable.all():
        missing = context.data.train_items["path"].to_numpy()[candidates[~is_readable]]
        context.report.warn(
            f"{len(missing)} images are missing from {context.data.root} and cannot be selected, the first is "
            f"{missing[0]}."
        )
    rows: np.ndarray = candidates[is_readable]
    return rows
