"""`initpools verify`."""

from __future__ import annotations

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools verify --run runs/digits"


def command(common: Common) -> None:
    """Check every file of the run against the checksum written when it was made; exit 2 where one differs."""
    from initpools_cli.steps.status import verify

    run = common.locate()
    run.facts()
    problems = verify(run)
    common.result([f"{each['file']}\t{each['problem']}" for each in problems], problems)
    common.report.say(
        f"{len(problems)} problems" if problems else f"all files of {len(run.steps())} steps are as they were made"
    )
    if problems:
        raise typer.Exit(2)
