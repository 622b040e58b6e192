"""Draw what the run has: a file of ``plot_data/`` collects a kind's data, a file of ``figures/plots/`` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from initpools_cli.core.command_line import command_line
from initpools_cli.core.config import knob_origins
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.run_location import run_name
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.core.version import version
from initpools_cli.figures.registry import PlotTraits
from initpools_cli.reporting.plot_data.sources import PlotRequest, gatherer, refuse_ignored

if TYPE_CHECKING:
    from initpools_cli.steps.providers import Provider

#: Endings of what a figure is written as.
FORMATS = (".html", ".png", ".svg")


def plot(provider: Provider, kind: str, names: list[str], output: Path | None) -> Path:
    """Write the figure and return where.

    Parameters
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; default: the newest sweep, all of the others.
    output : Path, optional
        .html, .png or .svg; default: ``plot/<kind>.html`` in the run, else ``<kind>.html`` here.

    Raises
    ------
    UserError
        An unknown kind, one that needs a run or other files, or nothing to draw yet, with the command that makes it.
    """
    from initpools_cli.figures.registry import plots

    context, table = provider.context, provider.settings.plot
    method = plots.get(kind)
    knobs = method.validate(table.params, knob_origins(provider.places, table.params, "plot.params"))
    module, asked = gatherer(method.name), PlotRequest(names, provider, knobs)
    if context is None:
        _refuse_without_run(method.name, module, asked)
    else:
        refuse_ignored(method.name, asked, module.TAKES)
    gathered = module.gather(asked)
    folder = Path() if context is None else context.run.path / "plot"
    target = output or folder / f"{method.name}.html"
    _write_table(method, gathered.data, target)
    drawn = method.build(**gathered.data, **knobs)
    title, provenance = method.name, {"command": command_line(), "initpools": version()}
    if context is not None:
        # A path is long, and tells whoever the page is sent to where things lie here: the table of origins has it.
        name = context.run.facts()["dataset"]["name"]
        title = f"{method.name} — {run_name(name)}"
        provenance = {"run": str(context.run.path), "data set": name, **provenance, "command": context.command}
        provenance |= {_place(step, context.run): step.facts["command"] for step in gathered.steps}
    return write_drawn(drawn, target, title, provenance, table.theme)


def _refuse_without_run(kind: str, module: ModuleType, asked: PlotRequest) -> None:
    """Refuse a kind that can't be drawn from the given files."""
    alone = getattr(module, "TAKES_ALONE", None)
    if alone is not None:
        refuse_ignored(kind, asked, alone, " without a run")
    if alone is None or module.NEEDS not in asked.files.paths:
        raise UserError(
            f"`plot {kind}` can't be drawn from the given files alone.",
            "Name a run with --run DIR; scatter and cost take --embeddings, and scores takes --scores.",
            kind,
        )


def _place(step: FinishedStep, run: Run) -> str:
    """Where a step is, to a reader who has the run."""
    return step.id if step.run == run else str(step.folder)


def _write_table(method: Method[PlotTraits], data: Mapping[str, Any], target: Path) -> None:
    """Beside the page, as .csv, what a kind measured for it: its registration names that argument as ``table``."""
    from initpools_cli.core.files import write_text

    if method.traits.table:
        write_text(target.with_suffix(".csv"), data[method.traits.table].to_csv(index=False))


def write_drawn(drawn: Any, target: Path, title: str, provenance: Mapping[str, str], theme: Any) -> Path:
    """A figure or fragment as one of `FORMATS`, by the file's ending."""
    from initpools_cli.core.files import atomic_file, write_text
    from initpools_cli.figures.image import image_bytes
    from initpools_cli.figures.page import page_html

    if target.suffix.lower() == ".html":
        write_text(target, page_html(drawn, title, provenance, theme))
    else:
        image = image_bytes(drawn, target.suffix, theme)
        with atomic_file(target) as stream:
            stream.write(image)
    return target
