"""Data of the overlap plot: pools of a run, and the heads of its rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest
from initpools_cli.steps.find_ranking import ranked_images

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the indices of pools and the first images of rankings: all of them, or the named ones."""
    context = request.context
    available = {step.id: step for kind in ("pool", "rank") for step in context.run.steps(kind)}
    steps = [_find(available, name) for name in request.names]
    steps = steps or [step for step in available.values() if _fresh(context, step)]
    if len(steps) < 2:
        names = ", ".join(step.id for step in steps) or "none"
        raise UserError(
            f"An overlap needs two pools or rankings; available in {context.run.path}: {names}.",
            "Make another one: `initpools select-pool random --budget 20`.",
            names,
        )
    top = request.knobs["top"]
    pools = {
        step.name if step.id.startswith("pool/") else f"top {top} of {step.name}": step.array("indices.npy")
        if step.id.startswith("pool/")
        else ranked_images(step)[:top]
        for step in steps
    }
    return PlotData({"pools": pools, "n": int(context.data.kept.sum())}, steps)


def _find(available: dict[str, FinishedStep], name: str) -> FinishedStep:
    step = available.get(name) or available.get(f"pool/{name}") or available.get(f"rank/{name}")
    if step is None:
        raise UserError(
            f"There is no pool or ranking '{name}' in the run.",
            f"Use --name with one of: {', '.join(available) or 'none yet'}.",
            name,
        )
    return step.require_fresh()


def _fresh(context: Context, step: FinishedStep) -> bool:
    fresh = not step.missing_file and not step.stale_input()
    if not fresh:
        context.report.warn(f"{step.id} is not drawn: it is stale or incomplete. Remake it with `{step.renewal()}`")
    return fresh
