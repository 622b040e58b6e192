"""The overlap is drawn from the pools of a run and the tops of its rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """The indices of all pools, or of those named, and the first of every ranking."""
    context = asked.context
    made = {step.id: step for kind in ("pool", "rank") for step in context.run.steps(kind)}
    steps = [_named(made, name) for name in asked.names] or [step for step in made.values() if _fresh(context, step)]
    if len(steps) < 2:
        has = ", ".join(step.id for step in steps) or "nothing"
        raise UserError(
            f"The run {context.run.path} has {has} in pool/ and rank/, and it takes two to compare.",
            "Choose another with `initpools select-pool random --budget 20`.",
        )
    top = asked.knobs["top"]
    pools = {
        step.name if step.id.startswith("pool/") else f"top {top} of {step.name}": step.array("indices.npy")
        if step.id.startswith("pool/")
        else step.array("sorted_idx.npy")[:top]
        for step in steps
    }
    return PlotData({"pools": pools, "n": int(context.data.kept.sum())}, steps)


def _named(made: dict[str, FinishedStep], name: str) -> FinishedStep:
    found = made.get(name) or made.get(f"pool/{name}") or made.get(f"rank/{name}")
    if found is None:
        raise UserError(f"There is no pool or ranking '{name}' in the run.", f"It has: {', '.join(made) or 'none'}.")
    return found.require_fresh()


def _fresh(context: Context, step: FinishedStep) -> bool:
    fresh = not step.missing_file and not step.stale_input()
    if not fresh:
        context.report.warn(f"{step.id} is not drawn: renew it with `{step.renewal()}`")
    return fresh
