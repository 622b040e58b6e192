"""Data of the critical difference diagram: the newest sweep, or sweeps of several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.reporting.plot_data.sources import SWEEP_COMMAND, PlotData, PlotRequest, select_steps

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the rounds of each sweep; a name may be the path of a sweep in another run."""
    from initpools_cli.sweeps.results import rounds_of

    context = request.context
    if request.names:
        sweeps = {name: _find_sweep(context, name) for name in request.names}
    else:
        steps = select_steps(context, "al", [], SWEEP_COMMAND)
        sweeps = {steps[-1].name: steps[-1]}
    by_data: dict[str, str] = {}
    for name, step in sweeps.items():
        same = by_data.setdefault(str(sorted(step.run.facts()["dataset"].items())), name)
        if same != name:
            raise UserError(
                f"Sweeps {same} and {name} use the same data set; this test needs one sweep per data set.",
                "Name a single sweep, to compare over its seeds, or sweeps of other runs by path: --name RUN/al/NAME.",
                f"{same} and {name}",
            )
    return PlotData({"sweeps": {name: rounds_of(step) for name, step in sweeps.items()}}, list(sweeps.values()))


def _find_sweep(context: Context, name: str) -> FinishedStep:
    from initpools_cli.sweeps.verdicts import sweep_of

    step = sweep_of(context.run, name)
    if step is None:
        names = ", ".join(step.name for step in context.run.steps("al"))
        raise UserError(
            f"There is no sweep '{name}'.",
            f"Use --name with a sweep of the run ({names or 'it has none'}), or with a path such as RUN/al/NAME.",
            name,
        )
    return step
