"""`initpools verify`."""

from __future__ import annotations

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools verify --run runs/digits"


def command(common: Common) -> None:
    """Check every file of the run against its stored checksum; exits with 2 if one differs."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.verify import leftovers, verify

    run = common.locate()
    count = len(run.folders())
    if not count and not (run.path / "run.toml").exists():
        raise UserError(f"There is no run in {run.path}.", "Name another one with --run DIR.", run.path)
    problems = verify(run)
    common.result(["\t".join(each.values()) for each in problems], problems)
    for name in leftovers(run):
        common.report.say(f"left over from an interrupted command, and not part of any result: {name}")
    summary = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    common.report.say(summary if problems else f"all files of {count} steps are intact")
    if problems:
        if not common.as_json:
            common.report.say(f"next: {problems[0]['renew']}")
        raise typer.Exit(2)
