"""Inference with pretext models: features, scores and cluster probabilities in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch

from initpools_cli.augment.draws import Draws
from initpools_cli.core.seeds import derive, generator
from initpools_cli.pretext.base import Pretext
from initpools_cli.training.device import DeviceConfig, as_tensor
from initpools_cli.training.parallel import forward_workers, in_order

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
    threads: int = 1,
    candidates: np.ndarray | None = None,
    on_block: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Compute the loss of every image, averaged over views, in evaluation mode and float32.

    On a CPU several blocks of small images are augmented and passed forward at the same time.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8.
    views : int
        Number of random views per image.
    reference : int
        Images in the fixed reference batch of contrastive tasks; drawn from `candidates` by the seed.
    threads : int
        CPU threads in all.
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
    reference_outputs = pretext.reference(
        as_tensor(images[against], device),
        Draws(derive(seed, "reference batch"), SCORING, as_tensor(against, device)),
    )
    total = np.zeros(len(images))

    @torch.inference_mode()
    def losses(part: tuple[slice, int]) -> np.ndarray:
        block, view = part
        ids = torch.arange(block.start, block.stop, device=device)
        draws = Draws(key, SCORING, ids, view)
        inputs = pretext.inputs(as_tensor(images[pretext.rows(draws).cpu().numpy()], device), draws)
        return pretext.losses(inputs, pretext(*inputs), ids, reference_outputs).cpu().numpy()

    parts = [(block, view) for block in blocks(len(images), batch) for view in range(views)]
    # Floats of two views of each image.
    nbytes = 8 * batch * int(np.prod(images.shape[1:]))
    results = in_order(losses, parts, *forward_workers(DeviceConfig(device, threads), nbytes))
    for (block, _), part in zip(parts, results, strict=True):
        total[block] += part
        on_block(len(part))
    return total / views
