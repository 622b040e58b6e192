"""Settings of [al]: budgets that are shares, and settings that only sweeps, or only rounds of labeling, use."""

from __future__ import annotations

from collections.abc import Iterable

from initpools_cli.core.budget import Share
from initpools_cli.core.errors import UserError
from initpools_cli.steps.context import Context

SWEEP_ONLY = ("init", "init_budget", "rounds", "seeds", "candidates", "strict", "backend")
ROUND_ONLY = ("annotators", "audit", "stop_at", "target")


def refuse_settings(context: Context, keys: Iterable[str], why: str, remedy: str) -> None:
    """Refuse settings of [al] that the user set and that have no effect.

    Parameters
    ----------
    context : Context
    keys : iterable of str
        Keys of [al].
    why, remedy : str
        Ends of the two sentences of the error.

    Raises
    ------
    UserError
        One of them is set.
    """
    for key in keys:
        if f"al.{key}" in context.origins:
            raise UserError(
                f"al.{key} ({context.origins[f'al.{key}']}) has no effect {why}.",
                f"Leave out al.{key}, or {remedy}.",
                f"al.{key}",
            )


def count_budgets(context: Context) -> None:
    """Replace shares in al.budget and al.init_budget by numbers of the train images, and print them."""
    table, images = context.settings.al, int(context.data.kept.sum())
    sizes = {}
    for key in ("budget", "init_budget"):
        share = getattr(table, key)
        if isinstance(share, Share):
            sizes[key] = share.of(images)
            context.report.say(f"al.{key} = {share.text}: {sizes[key]:,} of {images:,} train images")
    if sizes:
        context.settings = context.settings.model_copy(update={"al": table.model_copy(update=sizes)})
