"""`initpools pretrain`."""

from __future__ import annotations

from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import (
    Classes,
    Common,
    Groups,
)

EXAMPLE = "Example: initpools pretrain simclr --dataset pathmnist --set pretrain.epochs=20"


def command(
    common: Common,
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="Pretext task; `initpools list pretexts` lists all.",
            autocompletion=completion.pretexts,
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", help="Passes over the images; default: depends on the method."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", help="Images per training step; default: depends on the method."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NAME",
            help="Encoder; `initpools list networks` lists all.",
            autocompletion=completion.networks,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Pretrained encoder that scan starts from; default: the newest.",
        ),
    ] = None,
    classes: Classes = None,
    groups: Groups = None,
) -> None:
    """Train an encoder on the images, without labels; --dataset starts a new run."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.steps.pretrain import pretrain

    flags = {
        "pretrain.method": method,
        "pretrain.epochs": epochs,
        "pretrain.batch": batch,
        "pretrain.network": network,
        "pretrain.source": source,
        "dataset.groups": groups,
    }
    context = common.start("pretrain", flags, pretexts.get(method).knobs, may_create=True, classes=classes)
    step, fresh = pretrain(context)
    common.step_result(step, fresh, "encoder")
