"""Draw what the run has: a file of ``plot_data/`` collects a kind's data, a file of ``figures/plots/`` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.run_location import run_name
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.core.version import version
from initpools_cli.figures.registry import PlotTraits
from initpools_cli.reporting.plot_data.sources import PlotRequest, gatherer, refuse_ignored
from initpools_cli.steps.context import Context
from initpools_cli.steps.user_files import UserFiles

#: Endings of what a figure is written as.
FORMATS = (".html", ".png", ".svg")


def plot(context: Context, kind: str, names: list[str], brought: UserFiles, source: str, output: Path | None) -> Path:
    """Write the figure and return where.

    Parameters
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; default: the newest sweep, all of the others.
    source : str
        The embeddings, for kinds that need them.
    output : Path, optional
        .html, .png or .svg; default: ``plot/<kind>.html`` in the run.

    Raises
    ------
    UserError
        An unknown kind, or nothing to draw yet, with the command that makes it.
    """
    from initpools_cli.figures.registry import plots

    method = plots.get(kind)
    knobs = method.validate(context.settings.plot.params)
    module, asked = gatherer(method.name), PlotRequest(names, brought, source, knobs)
    refuse_ignored(method.name, asked, module.TAKES)
    gathered = module.gather(context, asked)
    target = output or context.run.path / "plot" / f"{method.name}.html"
    _write_table(method, gathered.data, target)
    drawn = method.build(**gathered.data, **knobs)
    facts = context.run.facts()
    provenance = {
        "run": str(context.run.path),
        "data set": facts["dataset"]["name"],
        "command": context.command,
        "initpools": version(),
        **{_place(step, context.run): step.facts["command"] for step in gathered.steps},
    }
    # A path is long, and tells whoever the page is sent to where things lie here: the table of origins has it.
    title = f"{method.name} — {run_name(facts['dataset']['name'])}"
    return write_drawn(drawn, target, title, provenance, context.settings.plot.theme)


def _place(step: FinishedStep, run: Run) -> str:
    """Where a step is, for somebody who has the run before them."""
    return step.id if step.run == run else str(step.folder)


def plot_from_files(
    kind: str,
    params: Mapping[str, Any],
    names: list[str],
    brought: UserFiles,
    seed: int,
    theme: Any,
    output: Path,
    command: str,
) -> Path:
    """The same from files alone, for kinds that can do without a run.

    Raises
    ------
    UserError
        A kind that can't, or other files than it needs.
    """
    from initpools_cli.figures.registry import plots

    method = plots.get(kind)
    knobs = method.validate(params)
    module = gatherer(method.name)
    asked = PlotRequest(names, brought, "", knobs)
    gathered = None
    if hasattr(module, "gather_files"):
        refuse_ignored(method.name, asked, module.TAKES_ALONE, " without a run")
        gathered = module.gather_files(asked, seed)
    if gathered is None:
        raise UserError(
            f"`plot {kind}` can't be drawn from the given files alone.",
            "Name a run with --run DIR; scatter and cost take --embeddings, and scores takes --scores.",
        )
    _write_table(method, gathered, output)
    return write_drawn(
        method.build(**gathered, **knobs), output, kind, {"command": command, "initpools": version()}, theme
    )


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
