"""`initpools clean`."""

from __future__ import annotations

from typing import Annotated

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools clean --dry-run"


def command(
    common: Common,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is left.")] = False,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also clean unfinished steps; their commands then start again instead of continuing."
        ),
    ] = False,
) -> None:
    """Remove what interrupted commands left in the run and in the caches; results and labels are kept."""
    from initpools_cli.cli.status import size_words
    from initpools_cli.core.errors import UserError
    from initpools_cli.datasets.cache import data_home
    from initpools_cli.steps.leftovers import UNFINISHED, clean, leftovers

    run = common.locate()
    if not run.exists:
        raise UserError(f"There is no run in {run.path}.", "Name another one with --run DIR.", run.path)
    entries = clean(run, data_home(), dry_run=dry_run, unfinished=unfinished)
    common.result(
        [f"{each.path}\t{each.kind}\t{size_words(each.bytes)}" for each in entries],
        [{"path": str(each.path), "kind": each.kind, "bytes": each.bytes} for each in entries],
    )
    n_unfinished = 0 if unfinished else sum(each.kind == UNFINISHED for each in leftovers(run))
    if n_unfinished:
        common.report.say(f"unfinished steps that are kept: {n_unfinished:,}. The same commands continue them.")
    if not entries:
        common.report.say("nothing else is left over" if n_unfinished else "nothing is left over")
    elif dry_run:
        common.report.say("nothing was removed; run the command without --dry-run")
