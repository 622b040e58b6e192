"""`initpools status`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import typer

from initpools_cli.cli.options import Common
from initpools_cli.core.durations import duration

if TYPE_CHECKING:
    from rich.tree import Tree

EXAMPLE = "Example: initpools status --run runs/digits"


class Line(NamedTuple):
    """A step or a file: its id, facts, a problem, and the command that solves it."""

    id: str
    cells: tuple[str, ...]
    problem: str = ""
    renew: str = ""


def command(common: Common) -> str:
    """Show the steps of a run with size and time, what is stale or unfinished, and the next command."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.reporting.status import status

    run = common.locate()
    if not run.exists:
        raise UserError(
            f"There is no run in {run.path}.",
            "Start it with `initpools select-pool --dataset FOLDER --budget 20`.",
            run.path,
        )
    state = status(run)
    if common.as_json:
        common.result([], state)
    elif sys.stdout.isatty():
        _show(state)
    else:
        _print(state)
    # The next command is part of the result.
    return ""


def _lines(state: Mapping[str, Any]) -> list[Line]:
    """Return a line for each step, label file and plot, in the order of the work."""
    from initpools_cli.core.rundir import KINDS

    steps = [
        Line(
            row["step"],
            (size_words(row["bytes"]), duration(row["seconds"]), row["finished"][:16].replace("T", " "), row["note"]),
            row["problem"],
            row["renew"],
        )
        for row in state["steps"]
    ]
    for step in state["unfinished"]:
        blocks = state["progress"].get(step)
        far = f" after {blocks[0]} of {blocks[1]} blocks" if blocks else ""
        steps.append(Line(step, (), f"unfinished{far}: type the same command again to continue"))
    order = {kind: i for i, kind in enumerate(KINDS)}
    steps.sort(key=lambda line: (order.get(_kind(line), len(order)), _kind(line)))
    labels = [Line(f"labels/{row['file']}", (_progress(row),), row["problem"]) for row in state["labels"]]
    plots = [
        Line(f"plot/{row['file']}", (size_words(row["bytes"]), "", row["finished"][:16].replace("T", " ")))
        for row in state["plots"]
    ]
    return [*steps, *labels, *plots]


def _progress(row: Mapping[str, Any]) -> str:
    ending = f", {row['skipped']} skipped" if row["skipped"] else ""
    return f"{row['labeled']} of {row['images']} labeled{ending}"


def _kind(line: Line) -> str:
    return line.id.partition("/")[0]


def _print(state: Mapping[str, Any]) -> None:
    """Print plain lines with tabs between the cells."""
    typer.echo(f"{state['run']}\tdata set {state['dataset']}\tseed {state['seed']}\t{size_words(state['bytes'])}")
    for line in _lines(state):
        renew = f"renew: {line.renew}" if line.renew else ""
        typer.echo("\t".join(cell for cell in (line.id, *line.cells, line.problem, renew) if cell))
    typer.echo(f"next: {state['next']}\t{state['next_words']}")


def _show(state: Mapping[str, Any], width: int | None = None, file: IO[str] | None = None) -> None:
    """Print a tree, and below it the commands, unwrapped so that they can be copied."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, width=width)
    console.print(_tree(state))
    for line in _lines(state):
        if line.renew:
            console.print(Text.assemble(f"{line.id}: ", (line.renew, "bold")), soft_wrap=True)
    console.print(Text.assemble("next: ", state["next_words"], "\n  ", (state["next"], "bold green")), soft_wrap=True)


def _tree(state: Mapping[str, Any]) -> Tree:
    """Return a tree with a branch for each kind of step."""
    from rich.text import Text
    from rich.tree import Tree

    from initpools_cli.core.run_location import run_name

    lines = _lines(state)
    title = Text.assemble(
        (state["run"], "bold"),
        f"  data set {run_name(state['dataset'])}, seed {state['seed']}, {size_words(state['bytes'])}",
    )
    tree = Tree(title, guide_style="dim")
    # Columns are aligned across all kinds.
    name = max((len(line.id.partition("/")[2]) for line in lines if len(line.cells) > 1), default=0)
    widths = [max((len(line.cells[i]) for line in lines if len(line.cells) > 1), default=0) for i in (0, 1)]
    for kind in dict.fromkeys(map(_kind, lines)):
        branch = tree.add(Text(kind, style="bold cyan"))
        for line in (line for line in lines if _kind(line) == kind):
            columns = widths if len(line.cells) > 1 else []
            cells = [cell.rjust(width) for cell, width in zip(line.cells, [*columns, 0, 0], strict=False)]
            leaf = branch.add(Text("  ".join([line.id.partition("/")[2].ljust(name), *cells]).rstrip()))
            if line.problem:
                leaf.add(Text(line.problem, style="yellow"))
    return tree


def size_words(count: int) -> str:
    """Format a number of bytes with a suitable unit."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
