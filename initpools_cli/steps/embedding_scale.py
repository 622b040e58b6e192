"""How embeddings are scaled for learners: what `al.scale` resolves to, and what a step's table says of it."""

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
    context: Context, embedded: FinishedStep, kept: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """How learners read a source's embeddings, and what a step's table says of it.

    Parameters
    ----------
    kept : (n,) bool
        The train images whose mean and deviations count.

    Returns
    -------
    apply : callable
        Of rows (m, d), gives them centered and scaled, float32.
    noted : dict of str to str
        ``{source: scale}``; nothing where it is "each", as in all steps of schema 1. Where "auto" is not "each", the
        entry is there whatever the scale is, so that the table of an older step is never the same.
    """
    wanted, usual = context.settings.al.scale, _usual(embedded)
    scale = usual if wanted == "auto" else wanted
    if scale == "common":
        context.report.once(f"learners read {embedded.id} with one scale for all dimensions (al.scale)")
    noted: dict[str, str] = {embedded.name: scale} if "common" in (scale, usual) else {}
    return scaling(np.asarray(matrix(embedded))[kept], scale), noted


def refuse_without_embeddings(context: Context, learners: Iterable[str]) -> None:
    """Refuse a scaling that no learner uses."""
    from initpools_cli.training.learners.registry import learners as registry

    if "al.scale" in context.given:
        able = [each.name for each in registry if "embeddings" in each.inputs]
        raise UserError(
            f"al.scale ({context.given['al.scale']}) has no effect: {', '.join(learners)} reads images.",
            f"Leave out al.scale, or name another learner with --learner: {', '.join(able)}.",
            context.given["al.scale"],
        )


def _usual(embedded: FinishedStep) -> Scale:
    """What "auto" stands for.

    Directions in which pixels hardly vary are mostly noise, and their principal components are sorted by that. How much
    a feature of a network varies says little of what it is worth (benchmarks/scale.py).
    """
    return "common" if embedded.table.get("source") in UNTRAINED else "each"


def scale_entry(experiments: Iterable[ExperimentData]) -> dict[str, dict[str, str]]:
    """``{"scale": …}`` of the experiments of a step for its table, or nothing."""
    noted = {encoder: scale for experiment in experiments for encoder, scale in experiment.scale.items()}
    return {"scale": noted} if noted else {}


def rescaled_since(done: FinishedStep) -> bool:
    """Whether a sweep or round of schema 1 scaled embeddings otherwise than "auto" does now."""
    noted = done.table.get("scale", {})
    sources = [done.run.find_step(f"embed/{name}") for name in done.table.get("encoders", []) if name not in noted]
    with contextlib.suppress(UserError):  # Embeddings that are damaged are reported for themselves.
        return any(each is not None and _usual(each) != "each" for each in sources)
    return False
