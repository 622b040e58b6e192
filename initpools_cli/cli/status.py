"""`initpools status`."""

from __future__ import annotations

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools status --run runs/digits"


def command(common: Common) -> None:
    """Show what a run has: its steps with size and time, what is stale or unfinished, and the next command."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.status import status

    run = common.locate()
    if not run.exists:
        raise UserError(f"There is no run in {run.path}.", "Start it with `initpools pretrain simclr --dataset NAME`.")
    found = status(run)
    if common.as_json:
        common.result([], found)
        return
    typer.echo(f"{found['run']}\tdata set {found['dataset']}\tseed {found['seed']}")
    for step in found["steps"]:
        problem = f"\t{step['problem']}" if step["problem"] else ""
        typer.echo(f"{step['step']}\t{_size(step['bytes'])}\t{step['seconds']:.0f} s\t{step['finished'][:16]}{problem}")
    for step in found["unfinished"]:
        blocks = found["progress"].get(step)
        far = f" after {blocks[0]} of {blocks[1]} blocks" if blocks else ""
        typer.echo(f"{step}\tunfinished{far}: the same command goes on with it")
    typer.echo(f"next: {found['next']}")


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
