"""Scaling of embeddings for learners: the value of `al.scale`, and its entry in a step's table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.geometry.standardize import Scale, scaling
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix
from initpools_cli.steps.encoder import UNTRAINED

if TYPE_CHECKING:
    from initpools_cli.training.experiment import ExperimentData


def learner_scaling(
    context: Context, embed_step: FinishedStep, mask: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """The scaling of a source's embeddings for learners, and its entry in a step's table.

    Parameters
    ----------
    mask : (n,) bool
        The train images for mean and deviations.

    Returns
    -------
    apply : callable
        Centers and scales rows (m, d), float32.
    entry : dict of str to str
        ``{source: scale}``; empty if it is "each", as in all steps of schema 1. If "auto" is not "each", the
        entry is there whatever the scale is, so that the table of an older step is never the same.
    """
    setting, usual = context.settings.al.scale, _usual(embed_step)
    scale = usual if setting == "auto" else setting
    if scale == "common":
        context.report.once(f"learners read {embed_step.id} with one scale for all dimensions (al.scale)")
    entry: dict[str, str] = {embed_step.name: scale} if "common" in (scale, usual) else {}
    return scaling(np.asarray(matrix(embed_step))[mask], scale), entry


def refuse_without_embeddings(context: Context, learners: Iterable[str]) -> None:
    """Refuse a scaling that no learner uses."""
    from initpools_cli.training.learners.registry import learners as registry

    if "al.scale" in context.origins:
        able = [each.name for each in registry if "embeddings" in each.inputs]
        raise UserError(
            f"al.scale ({context.origins['al.scale']}) has no effect: {', '.join(learners)} reads images.",
            f"Leave out al.scale, or name another learner with --learner: {', '.join(able)}.",
            context.origins["al.scale"],
        )


def _usual(embed_step: FinishedStep) -> Scale:
    """The scale that "auto" means.

    Directions in which pixels hardly vary are mostly noise, and their principal components are sorted by that. How much
    a feature of a network varies says little of what it is worth (benchmarks/scale.py).
    """
    return "common" if embed_step.table.get("source") in UNTRAINED else "each"


def scale_entry(experiments: Iterable[ExperimentData]) -> dict[str, dict[str, str]]:
    """``{"scale": …}`` of the experiments of a step for its table, or nothing."""
    scales = {encoder: scale for experiment in experiments for encoder, scale in experiment.scale.items()}
    return {"scale": scales} if scales else {}


def rescaled_since(step: FinishedStep) -> bool:
    """Whether a sweep or round of schema 1 scaled embeddings otherwise than "auto" does now."""
    scales = step.table.get("scale", {})
    sources = [step.run.find_step(f"embed/{name}") for name in step.table.get("encoders", []) if name not in scales]
    with contextlib.suppress(UserError):  # Embeddings that are damaged are reported for themselves.
        return any(each is not None and _usual(each) != "each" for each in sources)
    return False
