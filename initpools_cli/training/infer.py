"""Inference with pretext models: features, scores and cluster probabilities in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch

from initpools_cli.augment.draws import Draws
from initpools_cli.core.seeds import derive, generator
from initpools_cli.pretext.base import Pretext
from initpools_cli.training.device import as_tensor

#: Epoch number of the random draws for scoring; training epochs start at 1.
SCORING = 0


def blocks(n: int, batch: int) -> Iterator[slice]:
    """Yield consecutive slices that cover 0..n."""
    for start in range(0, n, batch):
        yield slice(start, min(start + batch, n))


@torch.inference_mode()
def features(
    pretext: Pretext, images: np.ndarray, *, layer: Literal["backbone", "projector"], batch: int, device: torch.device
) -> Iterator[np.ndarray]:
    """Yield features of unaugmented images, blocks of (≤ batch, d) float32, in order, computed in float32."""
    pretext.eval().to(device).to(memory_format=torch.channels_last)
    compute = pretext.features if layer == "backbone" else pretext.projections
    for block in blocks(len(images), batch):
        yield compute(as_tensor(images[block], device)).float().cpu().numpy()


@torch.inference_mode()
def cluster_probs(pretext: Pretext, images: np.ndarray, *, batch: int, device: torch.device) -> Iterator[np.ndarray]:
    """Yield cluster probabilities of unaugmented images, blocks of (≤ batch, k) float64, in order."""
    pretext.eval().to(device).to(memory_format=torch.channels_last)
    for block in blocks(len(images), batch):
        yield pretext.assign(as_tensor(images[block], device)).cpu().numpy()


@torch.inference_mode()
def scores(
    pretext: Pretext,
    images: np.ndarray,
    *,
    views: int,
    reference: int,
    batch: int,
    seed: int,
    device: torch.device,
    candidates: np.ndarray | None = None,
    on_block: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Compute the loss of every image, averaged over views, in evaluation mode and float32.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8.
    views : int
        Number of random views per image.
    reference : int
        Images in the fixed reference batch of contrastive tasks; drawn from `candidates` by the seed.
    on_block : callable
        Called with the number of images after each view of a block.

    Returns
    -------
    ndarray
        (n,) float64.
    """
    pretext.eval().to(device).to(memory_format=torch.channels_last)
    pool = np.arange(len(images)) if candidates is None else candidates
    key = derive(seed, "score")
    against = np.sort(generator(seed, "reference batch").choice(pool, min(reference, len(pool)), replace=False))
    fixed = pretext.reference(
        as_tensor(images[against], device),
        Draws(derive(seed, "reference batch"), SCORING, as_tensor(against, device)),
    )
    total = np.zeros(len(images))
    for block in blocks(len(images), batch):
        ids = torch.arange(block.start, block.stop, device=device)
        for view in range(views):
            draws = Draws(key, SCORING, ids, view)
            inputs = pretext.inputs(as_tensor(images[pretext.rows(draws).cpu().numpy()], device), draws)
            total[block] += pretext.losses(inputs, pretext(*inputs), ids, fixed).cpu().numpy()
            on_block(len(ids))
    return total / views
