"""Trained encoders of a run: find a pretrain by name, build its network, load its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.pretext.base import Pretext

#: The file that holds each train image's nearest others.
NEIGHBORS = "neighbors.npy"
#: The input of such a task: each image's nearest others, (n, k).
NEAREST = "nearest"
#: Sources that need no training and no weights.
UNTRAINED = ("pixels", "pca")


def build(table: dict[str, Any], channels: int, size: int, **arrays: np.ndarray) -> Pretext:
    """The untrained pretext task of a resolved table; `arrays` are those in its signature."""
    from initpools_cli.networks.build import build_encoder
    from initpools_cli.pretext.registry import pretexts

    encoder = build_encoder(table["network"], channels=channels, size=size, width=table["width"], seed=table["seed"])
    task: Pretext = pretexts.get(table["method"]).build(
        encoder, table["augment"], table["seed"], **arrays, **table["params"]
    )
    return task


def load(context: Context, step: FinishedStep) -> Pretext:
    """The trained pretext task of a finished pretrain."""
    from initpools_cli.networks.weights import load_weights

    images = context.data.splits["train"].images
    arrays = {NEAREST: step.array(NEIGHBORS)} if step.table.get("source") else {}
    pretext = build(step.table, images.shape[3], min(images.shape[1:3]), **arrays)
    load_weights(pretext, step.verified_path("encoder.safetensors"))
    return pretext


def pretrain_of(context: Context, source: str = "") -> FinishedStep:
    """The pretrain of that name, else the newest.

    Raises
    ------
    UserError
        The run has none.
    """
    context.require_images("A pretrained encoder")
    pretrains = context.run.steps("pretrain")
    if not source:
        if pretrains:
            return pretrains[-1]
        raise UserError(
            f"The run {context.run.path} has no pretrained encoder to embed with.",
            f"Train one with `{context.command_for('pretrain', 'simclr')}`, or use principal components: "
            f"`{context.command_for('embed', 'pca')}`.",
            context.run.path,
        )
    step = context.run.find_step(f"pretrain/{source}")
    if step is not None:
        return step
    from initpools_cli.networks.backbones import require_backbone, unknown_source
    from initpools_cli.pretext.registry import pretexts

    if source in pretexts:
        raise UserError(
            f"The run {context.run.path} has no pretrain '{source}'.",
            f"Make it with `{context.command_for('pretrain', source)}`.",
            source,
        )
    if "/" in source or "." in source:
        require_backbone(source)
    raise unknown_source(source, [*(each.name for each in pretrains), *UNTRAINED])
