"""`initpools plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.file_options import Embeddings, Labeled, Labels, Scores, user_files
from initpools_cli.cli.options import Classes, Common, Download, Groups, Source

EXAMPLE = "Example: initpools plot curves -o curves.html"


def command(
    common: Common,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="Plot; `initpools list plots` lists all.",
            autocompletion=completion.plots,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help=".html, .png or .svg; default: plot/KIND.html in the run."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="Sweep, pool, score, pretrained encoder or strategy to draw; repeatable."
        ),
    ] = None,
    source: Source = "",
    download: Download = None,
    embeddings: Embeddings = None,
    scores: Scores = None,
    labeled: Labeled = None,
    labels: Labels = None,
    classes: Classes = None,
    groups: Groups = None,
) -> None:
    """Draw results of the run as an HTML page, which works offline, or as .png or .svg."""
    from initpools_cli.core.files import require_ending
    from initpools_cli.figures.registry import plots
    from initpools_cli.reporting.plot import FORMATS, plot

    require_ending(output, *FORMATS)
    files = user_files(output, embeddings=embeddings, scores=scores, labeled=labeled, labels=labels, classes=classes)
    flags, knobs = {"plot.kind": kind, "embed.download": download, "dataset.groups": groups}, plots.get(kind).knobs
    provider = common.provider(
        "plot", flags, knobs, files, source=source, classes=classes, of_labels=labels is not None
    )
    with provider.at_work():
        path = plot(provider, kind, name or [], output)
    common.result([path], {"plot": path})
