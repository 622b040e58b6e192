"""The diagram of critical differences is drawn from the newest sweep, or from sweeps of several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """The rows of each sweep; a name may be the path of another run's."""
    from initpools_cli.sweeps.results import rounds_of

    context = asked.context
    if asked.names:
        sweeps = {name: _named(context, name) for name in asked.names}
    else:
        made = chosen(context, "al", [], "initpools al-run --init random,typiclust --query random,margin")
        sweeps = {made[-1].name: made[-1]}
    by_data: dict[str, str] = {}
    for name, step in sweeps.items():
        same = by_data.setdefault(str(sorted(step.run.facts()["dataset"].items())), name)
        if same != name:
            raise UserError(
                f"The sweeps {same} and {name} are of one data set, and data sets are the blocks.",
                "Name one sweep alone, whose seeds are the blocks, or sweeps of other data sets by path: RUN/al/NAME.",
            )
    return PlotData({"sweeps": {name: rounds_of(step) for name, step in sweeps.items()}}, list(sweeps.values()))


def _named(context: Context, name: str) -> FinishedStep:
    from initpools_cli.sweeps.verdicts import sweep_of

    found = sweep_of(context.run, name)
    if found is None:
        has = ", ".join(step.name for step in context.run.steps("al"))
        raise UserError(f"There is no sweep '{name}'.", f"The run has: {has or 'none'}; others by path: RUN/al/NAME.")
    return found
