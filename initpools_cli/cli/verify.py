"""`initpools verify`."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli.options import Common
from initpools_cli.cli.rerun import rerun

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep, Run
    from initpools_cli.steps.replay import Replay, Rerun

EXAMPLE = "Example: initpools verify --run runs/digits"


def command(
    common: Common,
    context: typer.Context,
    step: Annotated[
        str, typer.Argument(metavar="[STEP]", help="Check only this step, such as pool/typiclust-b20-s0; default: all.")
    ] = "",
    again: Annotated[
        bool,
        typer.Option(
            "--replay",
            help="Also run finished steps again in a scratch folder, and compare the bytes of results.",
        ),
    ] = False,
) -> None:
    """Check every file of the run against its stored checksum; exits with 2 if one differs."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.leftovers import leftovers, names_of
    from initpools_cli.steps.verify import verify

    run = common.locate()
    count = len(run.folders())
    if not count and not (run.path / "run.toml").exists():
        raise UserError(f"There is no run in {run.path}.", "Name another one with --run DIR.", run.path)
    steps = [_find_step(run, step)] if step else run.folders()
    problems = [each for each in verify(run) if step in ("", each["file"]) or each["file"].startswith(f"{step}/")]
    replays = _replay(common, steps, partial(rerun, context.find_root().command)) if again else []
    if again and common.as_json:
        common.result([], {"problems": problems, "replays": [vars(each) for each in replays]})
    else:
        common.result(["\t".join(each.values()) for each in problems], problems)
    for name in names_of(run, leftovers(run)):
        common.report.say(f"left over from an interrupted command, and not part of any result: {name}")
    what = f"all files of {len(steps)} step{'' if len(steps) == 1 else 's'}"
    summary = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    common.report.say(summary if problems else f"{what} are intact")
    if again:
        _summarize(common, replays)
    if problems:
        if not common.as_json:
            common.report.say(f"next: {problems[0]['renew']}")
        raise typer.Exit(2)
    if any(each.outcome == "differs" or (step and each.outcome == "not replayed") for each in replays):
        raise typer.Exit(2)


def _find_step(run: Run, name: str) -> FinishedStep:
    """Find the step with an id."""
    from initpools_cli.core.errors import UserError, nearest

    step = run.find_step(name)
    ids = [each.id for each in run.folders()]
    if step is None or name not in ids:
        guess = nearest(name, ids)
        question = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"There is no step '{name}' in {run.path}.", f"{question}`initpools status` lists all.", name)
    return step


def _replay(common: Common, steps: list[FinishedStep], rerun: Rerun) -> list[Replay]:
    """Replay steps from the oldest to the newest."""
    from initpools_cli.core.durations import duration
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.replay import obstacle, replay, seconds_of

    def finish_time(step: FinishedStep) -> tuple[str, str]:
        try:
            return step.facts["finished"], step.id
        except UserError:
            return "", step.id

    replays = []
    for step in sorted(steps, key=finish_time):
        if not obstacle(step):
            common.report.say(f"replaying {step.id}, which took {duration(seconds_of(step))}")
        replays.append(replay(step, rerun))
        if not common.as_json:
            common.result([replays[-1].line], {})
    return replays


def _summarize(common: Common, replays: list[Replay]) -> None:
    from initpools_cli.steps.compare_results import EQUAL, RTOL, TOLERANCE

    count = Counter(each.outcome for each in replays)
    common.report.say(
        f"replayed {len(replays) - count['not replayed']} of {len(replays)} steps: {count['same']} with the same "
        f"bytes, {count['close']} within the tolerance, {count['differs']} with differences"
    )
    if count["close"] or any("(" in each.detail for each in replays if each.outcome == "differs"):
        common.report.say(
            f"tolerance, for results of another machine: {RTOL:g} of the largest value for arrays, {TOLERANCE:g} for "
            f"numbers in tables, and {EQUAL:.0%} equal indices"
        )
