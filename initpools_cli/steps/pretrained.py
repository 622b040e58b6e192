"""Pretrained encoder for learners that start from one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.checksums import checksum
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.training.learners.finetune import Pretrained

WEIGHTS = "encoder.safetensors"


def pretrained(context: Context, done: FinishedStep) -> tuple[Pretrained, dict[str, str]]:
    """The encoder of a finished pretrain, and the checksum of what is read.

    Raises
    ------
    UserError
        It is stale or damaged.
    """
    from initpools_cli.training.learners.finetune import Pretrained

    images, weights = context.data.splits["train"].images, done.require_fresh().verified_path(WEIGHTS)
    found = Pretrained(
        weights=str(weights.absolute()),
        sha256=checksum(weights),
        network=done.table["network"],
        width=done.table["width"],
        channels=images.shape[3],
        size=min(images.shape[1:3]),
    )
    return found, done.checksums(WEIGHTS)
