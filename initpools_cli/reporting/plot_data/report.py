"""Data of the report: all results of a run; no step is made for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import PendingStep
from initpools_cli.figures.html import bullets, folded
from initpools_cli.figures.section import Section
from initpools_cli.reporting import findings, loop_sections, sections
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
    "labeling": ("rounds", "classes", "confusion"),
    "pools": ("scatter", "histogram", "overlap"),
    "sweeps": ("strategies", "correlation", "critical-difference"),
}
#: Kinds that are not part of a report, and why.
EXCLUDED = {"cost": "It measures run times on this machine, which takes a while."}
#: Pools whose images are shown, the newest ones.
MOST_POOLS = 5
#: Knobs that reduce the number of images compared with a separate page.
KNOBS: dict[str, dict[str, Any]] = {"gallery": {"most": 12}, "scatter": {"thumbnails": 1000}}


class _ReadOnlyContext(Context):
    """Context in which no step is made."""

    report: _WarningCollector

    def writing(self, step: PendingStep, **_: Any) -> NoReturn:
        """Raise an error with the command that makes the missing step."""
        raise UserError(f"It needs {step.id}, which does not exist.", f"Run `{self.command}` first.", step.id)

    def for_needed_step(self, *words: str) -> Context:
        """Make a read-only context for a step that another one needs."""
        return _read_only(super().for_needed_step(*words))


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
    named_kinds = (
        {kind for kinds in KINDS.values() for kind in kinds} | EXCLUDED.keys() | {"curves", "gallery", "report"}
    )
    others = list(_figures(read_only, [kind for kind in plots.names() if kind not in named_kinds], request, missing))
    missing += [
        f"{kind}: {why} Draw it with `{context.command_for('plot', kind)}`."
        for kind, why in EXCLUDED.items()
        if kind in plots
    ]
    missing += _unread_steps(read_only)
    verdicts = findings.sweep_verdicts(read_only)
    scatters = _scatters_of_labels(read_only, request, missing)
    galleries = _galleries(read_only, request, missing)
    loop = [
        loop_sections.accuracy(read_only, [*figures["labeling"], *scatters]),
        loop_sections.labeled_images(read_only, missing),
        loop_sections.doubtful(read_only),
        loop_sections.near_duplicates(read_only, missing),
    ]
    parts = [
        *loop,
        sections.data(read_only),
        sections.pretraining(read_only, figures["pretraining"]),
        sections.scores(figures["scores"]),
        sections.pools(read_only, [*galleries, *figures["pools"]]),
        findings.sweeps(verdicts, curves, figures["sweeps"]),
        Section("More", "", "", [], parts=others, anchor="more") if others else None,
        Section("Not in this report", "", bullets(by_reason(missing)), [], anchor="missing") if missing else None,
        sections.provenance(read_only),
    ]
    for text in dict.fromkeys(read_only.report.warnings):
        context.report.warn(text)
    return PlotData(
        {
            "summary": findings.summary(read_only, verdicts),
            "sections": [part for part in parts if part is not None],
            "state": loop_sections.state(read_only),
        }
    )


def _unread_steps(context: Context) -> list[str]:
    """Name the steps that all sections leave out, as they are damaged or stale."""
    lines = []
    for step in context.run.folders():
        try:
            step.require_fresh()
        except UserError as error:
            lines.append(f"{step.id}: {error.fact} {error.remedy}")
    return lines


def by_reason(missing: Iterable[str]) -> list[str]:
    """Join lines such as ``curves: This needs labels.`` that have the same reason."""
    kinds: dict[str, list[str]] = {}
    for line in missing:
        kind, _, why = line.partition(": ")
        kinds.setdefault(why, []).append(kind)
    return [f"{', '.join(names)}: {why}" for why, names in kinds.items()]


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


def _draw(
    context: Context, kind: str, names: list[str], request: PlotRequest, more: Mapping[str, Any] | None = None
) -> Figure | Section:
    from initpools_cli.figures.registry import plots

    method = plots.get(kind)
    knobs = method.validate({**KNOBS.get(kind, {}), **(more or {})})
    data = plot_module(kind).gather(PlotRequest(names, request.in_context(context), knobs))
    return method.build(**data.data, **knobs)


def _scatters_of_labels(context: _ReadOnlyContext, request: PlotRequest, missing: list[str]) -> list[Figure | Section]:
    """Draw the embeddings colored by the labels of the loop, and by the confidence of the predictions."""
    figures: list[Figure | Section] = []
    if not sections.rounds_of(context):
        return figures
    for color in ("label", "confidence"):
        try:
            figure = _draw(context, "scatter", [], request, {"color": color})
        except UserError as error:
            missing.append(f"scatter by {color}: {error.fact} {error.remedy}")
            continue
        assert not isinstance(figure, Section), "a scatter is a figure of Plotly"
        figure.layout.title.text = f"Images in the embedding, colored by {color}"
        figures.append(figure)
    for color in ("prediction", "round"):
        command = context.command_for("plot", "scatter", "--set", f"color={color}")
        missing.append(f"scatter by {color}: draw it with `{command}`.")
    return figures


def _galleries(context: _ReadOnlyContext, request: PlotRequest, missing: list[str]) -> list[Figure | Section]:
    """Draw the images of the newest pools; those of all but the newest are folded."""
    from markupsafe import Markup

    pools = sections.fresh_steps(context, "pool")[::-1]
    if not pools:
        # Adds the reason to `missing`.
        return list(_figures(context, ["gallery"], request, missing))
    galleries: list[Figure | Section] = []
    for step in pools[:MOST_POOLS]:
        try:
            gallery = _draw(context, "gallery", [step.name], request)
        except UserError as error:
            missing.append(f"{step.id}: {error.fact} {error.remedy}")
            continue
        assert isinstance(gallery, Section), "a gallery is no figure of Plotly"
        # The body was rendered by a template, which escapes.
        body = folded("Show the images", Markup(gallery.body)) if galleries else gallery.body  # nosec B704
        galleries.append(replace(gallery, heading=sections.pool_title(step), body=body, words=[]))
    for step in pools[MOST_POOLS:]:
        command = context.command_for("plot", "gallery", "--name", step.name)
        missing.append(f"{sections.pool_title(step)}: draw it with `{command}`.")
    return galleries


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
