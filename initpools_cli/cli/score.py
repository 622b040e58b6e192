"""`initpools score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools score simclr -o losses.npy"


def command(
    common: Common,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="`initpools list scores` names them.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npy", help="Also write the scores here.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="Which pretrain of that task; default: the newest.")
    ] = "",
) -> None:
    """Give every train image a number: how hard the pretext task finds it, averaged over random views."""
    from initpools_cli.core.files import require_ending, write_array
    from initpools_cli.steps.score import score

    require_ending(output, ".npy")
    context = common.start("score", {"score.method": method})
    done, fresh = score(context, method, source)
    outcome = done.facts["outcome"]
    common.report.say(
        f"{method}: lowest {outcome['lowest']:.4g}, median {outcome['median']:.4g}, highest {outcome['highest']:.4g}"
    )
    if output is not None:
        write_array(output, done.array("scores.npy"))
        common.report.say(f"wrote {output}")
    common.step_result(done, fresh, "scores")
