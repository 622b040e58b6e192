"""Data of the report: all results of a run; no step is made for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import PendingStep
from initpools_cli.figures.html import bullets
from initpools_cli.figures.section import Section
from initpools_cli.reporting import findings, sections
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, plot_module
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.core.types import Figure

#: Options that have an effect.
OPTIONS = frozenset({"--from", "--embeddings", "--labeled", "--labels"})
#: The kinds of plot of each section, in order; all other kinds go to the section "More".
KINDS = {
    "pretraining": ("losses",),
    "scores": ("scores", "datamap"),
    "pools": ("gallery", "scatter", "histogram", "overlap"),
    "sweeps": ("strategies", "correlation", "critical-difference"),
}
#: Kinds that are not part of a report, and why.
EXCLUDED = {"cost": "It measures run times on this machine, which takes a while."}
#: Knobs that reduce the number of images compared with a separate page.
KNOBS: dict[str, dict[str, Any]] = {"gallery": {"most": 40}, "scatter": {"thumbnails": 1000}}


class _ReadOnlyContext(Context):
    """Context in which no step is made."""

    report: _WarningCollector

    def writing(self, step: PendingStep, **_: Any) -> NoReturn:
        """Raise an error with the command that makes the missing step."""
        raise UserError(f"It needs {step.id}, which does not exist.", f"Run `{self.command}` first.", step.id)

    def made_on_the_way(self, *words: str) -> Context:
        """Make a read-only context for a step that another one needs."""
        return _read_only(super().made_on_the_way(*words))


def _read_only(context: Context) -> _ReadOnlyContext:
    other = _ReadOnlyContext(**{each.name: getattr(context, each.name) for each in fields(Context)})
    other.report = context.report if isinstance(context.report, _WarningCollector) else _WarningCollector()
    context.share(other)
    return other


@dataclass
class _WarningCollector(Reporter):
    """Reporter that collects warnings and prints nothing."""

    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print nothing for single figures."""

    def warn(self, text: str) -> None:
        """Collect the warning: several figures may have the same one."""
        self.warnings.append(text)


def gather(request: PlotRequest) -> PlotData:
    """Collect all sections for which the run has results."""
    from initpools_cli.figures.registry import plots

    context = request.context
    context.data  # noqa: B018 -- new images in the folder are reported and appended once
    read_only = _read_only(context)
    missing: list[str] = []
    figures = {section: list(_figures(read_only, kinds, request, missing)) for section, kinds in KINDS.items()}
    curves = _curves(read_only, request, missing)
    known = {kind for kinds in KINDS.values() for kind in kinds} | EXCLUDED.keys() | {"curves", "report"}
    others = list(_figures(read_only, [kind for kind in plots.names() if kind not in known], request, missing))
    missing += [
        f"{kind}: {why} Draw it with `{context.command_for('plot', kind)}`."
        for kind, why in EXCLUDED.items()
        if kind in plots
    ]
    verdicts = findings.sweep_verdicts(read_only)
    parts = [
        sections.data(read_only),
        sections.pretraining(read_only, figures["pretraining"]),
        sections.scores(figures["scores"]),
        sections.pools(read_only, figures["pools"]),
        findings.sweeps(verdicts, curves, figures["sweeps"]),
        sections.labeling(read_only),
        Section("More", "", "", [], parts=others, anchor="more") if others else None,
        Section("Not in this report", "", bullets(missing), [], anchor="missing") if missing else None,
        sections.provenance(read_only),
    ]
    for text in dict.fromkeys(read_only.report.warnings):
        context.report.warn(text)
    return PlotData(
        {"summary": findings.summary(read_only, verdicts), "sections": [part for part in parts if part is not None]}
    )


def _figures(
    context: _ReadOnlyContext, kinds: Iterable[str], request: PlotRequest, missing: list[str]
) -> Iterator[Figure | Section]:
    """Draw each kind that has data; add the reason to `missing` for the others."""
    from initpools_cli.figures.registry import plots

    for kind in kinds:
        if kind in plots:
            warnings = list(context.report.warnings)
            try:
                yield _draw(context, kind, [], request)
            except UserError as error:
                # Drop the warnings of a figure that is not drawn.
                context.report.warnings = warnings
                missing.append(f"{kind}: {error.fact} {error.remedy}")


def _draw(context: Context, kind: str, names: list[str], request: PlotRequest) -> Figure | Section:
    from initpools_cli.figures.registry import plots

    method = plots.get(kind)
    knobs = method.validate(KNOBS.get(kind, {}))
    data = plot_module(kind).gather(PlotRequest(names, request.in_context(context), knobs))
    return method.build(**data.data, **knobs)


def _curves(context: _ReadOnlyContext, request: PlotRequest, missing: list[str]) -> dict[str, Figure | Section]:
    """Draw the learning curves of every sweep, by name."""
    sweeps = sections.fresh_steps(context, "al")
    if not sweeps:
        # Adds the reason to `missing`.
        list(_figures(context, ["curves"], request, missing))
    curves: dict[str, Figure | Section] = {}
    for step in sweeps:
        try:
            curves[step.name] = _draw(context, "curves", [step.name], request)
        except UserError as error:
            missing.append(f"{step.id}: {error.fact} {error.remedy}")
    return curves
