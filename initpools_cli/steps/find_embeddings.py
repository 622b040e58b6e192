"""Find the embeddings that are read where none are named."""

from __future__ import annotations

from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context


def name_in_loop(context: Context) -> str:
    """Return the name of the embeddings of the labeling loop; empty without a loop, or if the run has lost them."""
    used = context.loop_embeddings(context.run)
    if used is None or not any(context.run.find_step(f"{kind}/{used.name}") for kind in ("embed", "pretrain")):
        return ""
    return used.name


def find_embeddings(context: Context, name: str = "") -> FinishedStep | None:
    """Return embeddings of all present images; None if the run has none. Nothing is computed.

    Parameters
    ----------
    context : Context
    name : str
        Those of this step of ``embed/``, if there is one; default: those of the labeling loop, else the newest.
    """
    steps = [step for step in context.run.steps("embed") if step.stale_input() is None]
    name = name or name_in_loop(context)
    return next((step for step in reversed(steps) if name in ("", step.name)), steps[-1] if steps else None)
