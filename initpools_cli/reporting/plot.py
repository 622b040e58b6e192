"""Draw plots: modules in ``plot_data/`` collect the data, modules in ``figures/plots/`` draw it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from initpools_cli.core.command_line import command_line
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.run_location import run_name
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.core.settings import knob_origins
from initpools_cli.core.version import version
from initpools_cli.figures.registry import PlotTraits
from initpools_cli.reporting.plot_data.sources import PlotRequest, plot_module, refuse_ignored

if TYPE_CHECKING:
    from initpools_cli.steps.provider import Provider

#: File endings of the supported formats.
FORMATS = (".html", ".png", ".svg")


def plot(provider: Provider, kind: str, names: list[str], output: Path | None) -> Path:
    """Draw a plot, write it, and return its path.

    Parameters
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; default: the newest sweep, or all of the others.
    output : Path, optional
        .html, .png or .svg; default: ``plot/<kind>.html`` in the run, else ``<kind>.html`` here.

    Raises
    ------
    UserError
        An unknown kind, one that needs a run or other files, or missing results, with the command that makes them.
    """
    from initpools_cli.figures.registry import plots

    context, table = provider.context, provider.settings.plot
    method = plots.get(kind)
    knobs = method.validate(table.params, knob_origins(provider.origins, table.params, "plot.params"))
    module, request = plot_module(method.name), PlotRequest(names, provider, knobs)
    if context is None:
        _refuse_without_run(method.name, module, request)
    else:
        refuse_ignored(method.name, request, module.OPTIONS)
    plot_data = module.gather(request)
    folder = Path() if context is None else context.run.path / "plot"
    target = output or folder / f"{method.name}.html"
    _write_table(method, plot_data.data, target)
    picture = method.build(**plot_data.data, **knobs)
    title, provenance = method.name, {"command": command_line(), "initpools": version()}
    if context is not None:
        # The title has no path, which readers of the page may not need to see; the provenance table has it.
        name = context.run.facts()["dataset"]["name"]
        title = f"{method.name} — {run_name(name)}"
        provenance = {"run": str(context.run.path), "data set": name, **provenance, "command": context.command}
        provenance |= {_location(step, context.run): step.facts["command"] for step in plot_data.steps}
    return write_picture(picture, target, title, provenance, table.theme)


def _refuse_without_run(kind: str, module: ModuleType, request: PlotRequest) -> None:
    """Refuse a kind that can't be drawn from the given files."""
    options = getattr(module, "OPTIONS_WITHOUT_RUN", None)
    if options is not None:
        refuse_ignored(kind, request, options, " without a run")
    if options is None or module.NEEDS not in request.files.paths:
        raise UserError(
            f"`plot {kind}` can't be drawn from these files without a run.",
            "Pass --run DIR. Without a run, scatter and cost need --embeddings, and scores needs --scores.",
            kind,
        )


def _location(step: FinishedStep, run: Run) -> str:
    """Name a step by its id, or by its folder if it is in another run."""
    return step.id if step.run == run else str(step.folder)


def _write_table(method: Method[PlotTraits], data: Mapping[str, Any], target: Path) -> None:
    """Write the argument that a kind registers as ``table`` to a .csv file next to the page."""
    from initpools_cli.core.spreadsheet import write_table

    if method.traits.table:
        write_table(target.with_suffix(".csv"), data[method.traits.table])


def write_picture(picture: Any, target: Path, title: str, provenance: Mapping[str, str], theme: Any) -> Path:
    """Write a figure or section in one of `FORMATS`, chosen by the file ending."""
    from initpools_cli.core.files import atomic_file, write_text
    from initpools_cli.figures.image import image_bytes
    from initpools_cli.figures.page import page_html

    if target.suffix.lower() == ".html":
        write_text(target, page_html(picture, title, provenance, theme))
    else:
        image = image_bytes(picture, target.suffix, theme)
        with atomic_file(target) as stream:
            stream.write(image)
    return target
