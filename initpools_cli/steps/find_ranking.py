"""Find a ranking of a run, for a strategy that follows it."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context


def ranked_images(step: FinishedStep) -> np.ndarray:
    """Read the ranked images of a finished step, (m,) int64, best first, without rows that were appended."""
    order = step.array("sorted_idx.npy")
    return order[: step.facts["outcome"].get("ranked", len(order))]


def find_ranking(context: Context, name: str) -> FinishedStep:
    """Find the ranking ``rank/<name>`` of a run; warn if it was made with the labels of the test split.

    Raises
    ------
    UserError
        If the run has none of that name.
    """
    names = [each.name for each in context.run.steps("rank")]
    step = context.run.find_step(f"rank/{name}")
    if step is None or name not in names:
        has = f"Use one of rank/{', rank/'.join(names)}, or" if names else "First"
        raise UserError(
            f"The run {context.run.path} has no ranking '{name}'.",
            f"{has} make it: `{context.command_for('rank', name)}`.",
            name,
        )
    if leaks_test(step):
        context.report.once(
            f"rank/{name} was made by a classifier that was trained on the test labels: accuracy on the test split "
            "is biased.",
            warn=True,
        )
    return step.require_fresh()


def leaks_test(step: FinishedStep) -> bool:
    """Return whether a ranking was made by a classifier that was trained on the test split."""
    return str(step.table.get("source", "")).startswith("reference/test")
