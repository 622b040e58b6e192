"""Pretrained encoder for learners that start from one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.checksums import checksum
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.training.learners.finetune import PretrainedEncoder

WEIGHTS = "encoder.safetensors"


def pretrained_encoder(context: Context, step: FinishedStep) -> tuple[PretrainedEncoder, dict[str, str]]:
    """The encoder of a finished pretrain, and the checksum of its weights.

    Raises
    ------
    UserError
        It is stale or damaged.
    """
    from initpools_cli.training.learners.finetune import PretrainedEncoder

    images, weights = context.data.splits["train"].images, step.require_fresh().verified_path(WEIGHTS)
    encoder = PretrainedEncoder(
        weights=str(weights.absolute()),
        sha256=checksum(weights),
        network=step.table["network"],
        width=step.table["width"],
        channels=images.shape[3],
        size=min(images.shape[1:3]),
    )
    return encoder, step.checksums(WEIGHTS)
