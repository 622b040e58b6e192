"""`initpools score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Classes, Common, Embeddings, user_files

EXAMPLE = "Example: initpools score typicality --set neighbors=10 -o typicality.npy"


def command(
    common: Common,
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="Score; `initpools list scores` lists all.",
            autocompletion=completion.scores,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npy", help="Also write the scores to this file.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="Which pretrain or embeddings; default: the newest.")
    ] = "",
    embeddings: Embeddings = None,
    classes: Classes = None,
) -> None:
    """Compute a score for every train image, such as its typicality or its loss in a pretext task."""
    from initpools_cli.core.files import require_ending, write_array
    from initpools_cli.steps.context import at_work
    from initpools_cli.steps.score import score, score_from_files
    from initpools_cli.steps.score_name import knobs_of

    require_ending(output, ".npy")
    files = user_files(output, embeddings=embeddings)
    flags = {"score.method": method}
    if common.works_without_run(files, source=source):
        settings, _ = common.settings("score", flags, knobs_of(method))
        with at_work(settings.run):
            found = score_from_files(settings, files, common.report)
        if output is not None:
            write_array(output, found)
            common.report.say(f"wrote {output}")
        common.result([output] if output else found.tolist(), {"output": output, "scores": found.tolist()})
        return
    context = common.start("score", flags, knobs_of(method), classes=classes)
    done, fresh = score(context, method, source, files)
    outcome = done.facts["outcome"]
    common.report.say(
        f"{method}: lowest {outcome['lowest']:.4g}, median {outcome['median']:.4g}, highest {outcome['highest']:.4g}"
    )
    if output is not None:
        write_array(output, done.array("scores.npy"))
        common.report.say(f"wrote {output}")
    common.step_result(done, fresh, "scores")
