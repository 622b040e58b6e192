"""The report is drawn from everything a run has; nothing is made for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import PendingStep
from initpools_cli.figures.html import bullets
from initpools_cli.figures.section import Section
from initpools_cli.reporting import findings as found
from initpools_cli.reporting import sections
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, gatherer
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.core.types import Figure

#: Options that it goes by.
TAKES = frozenset({"--from", "--embeddings", "--labeled", "--labels"})
#: The kinds of plot of each section, in order; kinds that are in none of them come in a section of their own.
KINDS = {
    "pretraining": ("losses",),
    "scores": ("scores", "datamap"),
    "pools": ("gallery", "scatter", "histogram", "overlap"),
    "sweeps": ("strategies", "correlation", "critical-difference"),
}
#: Kinds that are no part of a report, and why.
APART = {"cost": "It measures this machine, which takes a while."}
#: Of many images a report shows fewer than a page of their own does.
KNOBS: dict[str, dict[str, Any]] = {"gallery": {"most": 40}, "scatter": {"thumbnails": 1000}}


class _Looking(Context):
    """A context in which nothing is made."""

    report: _Held

    def writing(self, step: PendingStep, **_: Any) -> NoReturn:
        """Say what would have to be made, and with which command."""
        raise UserError(f"It needs {step.id}, which is not made yet.", f"Make it with `{self.command}`.")

    def made_on_the_way(self, *words: str) -> Context:
        """The same for a step that another one needs."""
        return _looking(super().made_on_the_way(*words))


def _looking(context: Context) -> _Looking:
    other = _Looking(**{each.name: getattr(context, each.name) for each in fields(Context)})
    other.report = context.report if isinstance(context.report, _Held) else _Held()
    context.share(other)
    return other


@dataclass
class _Held(Reporter):
    """A report that keeps its warnings, and says nothing of each figure."""

    held: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Figures of a report are not announced one by one."""

    def warn(self, text: str) -> None:
        """Keep it until all figures are drawn: many run into the same."""
        self.held.append(text)


def gather(asked: PlotRequest) -> PlotData:
    """The sections that the run has something for."""
    from initpools_cli.figures.registry import plots

    context = asked.context
    context.data  # noqa: B018 -- images that are new in the folder are told and appended once
    looking = _looking(context)
    missing: list[str] = []
    drawn = {section: list(_drawn(looking, kinds, asked, missing)) for section, kinds in KINDS.items()}
    curves = _curves(looking, asked, missing)
    known = {kind for kinds in KINDS.values() for kind in kinds} | APART.keys() | {"curves", "report"}
    others = list(_drawn(looking, [kind for kind in plots.names() if kind not in known], asked, missing))
    missing += [
        f"{kind}: {why} Draw it with `{context.command_for('plot', kind)}`."
        for kind, why in APART.items()
        if kind in plots
    ]
    judged = found.sweep_verdicts(looking)
    parts = [
        sections.data(looking),
        sections.pretraining(looking, drawn["pretraining"]),
        sections.scores(drawn["scores"]),
        sections.pools(looking, drawn["pools"]),
        found.sweeps(judged, curves, drawn["sweeps"]),
        sections.labeling(looking),
        Section("More", "", "", [], parts=others, anchor="more") if others else None,
        Section("Not in this report", "", bullets(missing), [], anchor="missing") if missing else None,
        sections.provenance(looking),
    ]
    for text in dict.fromkeys(looking.report.held):
        context.report.warn(text)
    return PlotData(
        {"summary": found.summary(looking, judged), "sections": [part for part in parts if part is not None]}
    )


def _drawn(
    context: _Looking, kinds: Iterable[str], asked: PlotRequest, missing: list[str]
) -> Iterator[Figure | Section]:
    """Every kind that there is something to draw for; the others are told in `missing`."""
    from initpools_cli.figures.registry import plots

    for kind in kinds:
        if kind in plots:
            held = list(context.report.held)
            try:
                yield _one(context, kind, [], asked)
            except UserError as error:
                # Warnings about what is not drawn would be about nothing.
                context.report.held = held
                missing.append(f"{kind}: {error.fact} {error.remedy}")


def _one(context: Context, kind: str, names: list[str], asked: PlotRequest) -> Figure | Section:
    from initpools_cli.figures.registry import plots

    method = plots.get(kind)
    knobs = method.validate(KNOBS.get(kind, {}))
    gathered = gatherer(kind).gather(PlotRequest(names, asked.in_context(context), knobs))
    return method.build(**gathered.data, **knobs)


def _curves(context: _Looking, asked: PlotRequest, missing: list[str]) -> dict[str, Figure | Section]:
    """The learning curves of every sweep, by its name."""
    sweeps = sections.fresh_steps(context, "al")
    if not sweeps:
        # Says what is missing, or why what is there can't be drawn.
        list(_drawn(context, ["curves"], asked, missing))
    drawn: dict[str, Figure | Section] = {}
    for step in sweeps:
        try:
            drawn[step.name] = _one(context, "curves", [step.name], asked)
        except UserError as error:
            missing.append(f"{step.id}: {error.fact} {error.remedy}")
    return drawn
