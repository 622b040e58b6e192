"""`initpools embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Classes, Common

EXAMPLE = "Example: initpools embed simclr"


def command(
    common: Common,
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="Pretrained encoder of the run, pixels, pca, or a backbone (`initpools list backbones`); default: "
            "the newest pretrained encoder, else efficientnet-lite0.",
            autocompletion=completion.source,
        ),
    ] = "",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights of the backbone, .pth or .safetensors; default: the file in the cache of its library.",
        ),
    ] = None,
    classes: Classes = None,
) -> None:
    """Compute the embeddings of every image."""
    from initpools_cli.steps.embed import embed
    from initpools_cli.steps.encoder import UNTRAINED

    flags = {"embed.source": source or None}
    context = common.start(
        "embed", flags, may_create=source in UNTRAINED and common.dataset is not None, classes=classes
    )
    done, fresh = embed(context, context.settings.embed.source, weights)
    common.step_result(done, fresh, "embeddings")
