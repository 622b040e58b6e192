"""`initpools score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.file_options import Embeddings, IdColumn, user_files
from initpools_cli.cli.options import Backend, Classes, Common, Download, Groups, Scheduler

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
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Also write the scores to this .npy file; for `duplicate`, .csv writes the groups of near-duplicates.",
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Pretrained encoder or embeddings; default: the newest, or the embeddings of the last labeling round.",
        ),
    ] = "",
    download: Download = None,
    embeddings: Embeddings = None,
    id_column: IdColumn = None,
    classes: Classes = None,
    groups: Groups = None,
    backend: Backend = "",
    scheduler: Scheduler = "",
) -> None:
    """Compute a score for every train image, such as its typicality or its loss in a pretext task."""
    from initpools_cli.core.files import require_ending, write_array
    from initpools_cli.core.spreadsheet import write_table
    from initpools_cli.scores.registry import scores
    from initpools_cli.steps.backend import on_backend
    from initpools_cli.steps.score_name import knobs_of

    require_ending(output, ".npy", *([".csv"] if method == "duplicate" else []))
    files = user_files(output, embeddings=embeddings, id_column=id_column)
    flags = {"score.method": method, "embed.download": download, "dataset.groups": groups}
    provider = common.provider("score", flags, knobs_of(method), files, source=source, classes=classes)
    with provider.at_work(), on_backend(provider, backend, scheduler, method, scores):
        result = provider.score(method)
    ends = result.outcome
    common.report.say(
        f"{method}: lowest {ends['lowest']:.4g}, median {ends['median']:.4g}, highest {ends['highest']:.4g}"
    )
    if output is not None and output.suffix.lower() == ".csv":
        table = provider.duplicates()
        write_table(output, table)
        common.report.say(f"{len(table):,} images in {table['group'].nunique():,} groups of near-duplicates")
        common.say_written(output)
    elif output is not None:
        write_array(output, result.values)
        common.say_written(output)
    if result.step is not None:
        return common.step_result(result.step, result.fresh, "scores")
    values = result.values.tolist()
    common.result([output] if output else values, {"output": output, "scores": values})
