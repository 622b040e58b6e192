"""Training dynamics: per-image statistics of a classifier in every epoch, from the training forward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from initpools_cli.core.seeds import derive
from initpools_cli.networks.build import build_encoder
from initpools_cli.training.checkpoint import load_checkpoint, save_checkpoint
from initpools_cli.training.network import Network
from initpools_cli.training.trainer import TrainConfig, Trainer, augmented

#: Statistics recorded for every image and epoch, with their dtypes.
KEPT = {"true_probs": torch.float32, "correct": torch.bool, "el2n": torch.float32, "grand": torch.float32}


def record_dynamics(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    knobs: Mapping[str, Any],
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> dict[str, np.ndarray]:
    """Train a network on labeled images and record per-image statistics in every epoch.

    They are computed on the training batches: augmented, with batch norm over the batch, before the optimizer step.

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    epochs : int
        Number of passes over the images.
    seed : int
        Determines initialization, order and augmentation.
    device : torch.device
        Device of the network.
    checkpoint : Path
        Written after every epoch; if it exists, training resumes from it.
    knobs : mapping
        Knobs of the learner `scratch`, without `epochs` and `steps`.
    on_epoch : callable
        Called with the number of each finished epoch, from 1, and its training accuracy.

    Returns
    -------
    dict
        Arrays (epochs, m), where p are the predicted probabilities and y is the one-hot label. true_probs, float32:
        the label's entry of p. correct, bool: whether no entry is higher. el2n, float32: ‖p − y‖. grand, float32: norm
        of the gradient of the cross-entropy with respect to weights and bias of the last layer,
        ‖p − y‖ · √(‖features‖² + 1).
    """
    root = derive(seed, "dynamics")
    shape = {"channels": images.shape[3], "size": min(images.shape[1:3])}
    encoder = build_encoder(knobs["network"], **shape, width=knobs["width"], seed=root)
    config_keys = ("batch", "optimizer", "lr", "weight_decay", "schedule")
    trainer = Trainer(
        Network(encoder, classes, root, knobs["dropout"]),
        augmented(images, knobs["recipe"], seed, device),
        labels,
        TrainConfig(epochs, 0, **{key: knobs[key] for key in config_keys}),
        seed,
        device,
    )
    stats = {name: torch.zeros(epochs, len(images), dtype=kind) for name, kind in KEPT.items()}
    if checkpoint.exists():
        state = load_checkpoint(checkpoint, device)
        trainer.resume(state["course"])
        stats = {name: array.cpu() for name, array in state["seen"].items()}

    def watch(rows: np.ndarray, features: torch.Tensor, logits: torch.Tensor) -> None:
        for name, values in per_image(features, logits, trainer.targets[rows]).items():
            stats[name][trainer.done, rows] = values.to(KEPT[name]).cpu()

    while trainer.done < epochs:
        trainer.epoch(watch)
        save_checkpoint(checkpoint, {"course": trainer.state(), "seen": stats})
        on_epoch(trainer.done, float(stats["correct"][trainer.done - 1].double().mean()))
    return {name: array.numpy() for name, array in stats.items()}


def per_image(features: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute the four statistics, (b,) each, from features (b, d), logits (b, c) and targets (b,) int64."""
    probs = logits.double().softmax(1)
    true_probs = probs.gather(1, targets[:, None])[:, 0]
    label = torch.nn.functional.one_hot(targets, logits.shape[1])
    el2n = (probs - label).norm(dim=1)
    return {
        "true_probs": true_probs,
        "correct": true_probs == probs.amax(1),
        "el2n": el2n,
        "grand": el2n * (features.double().square().sum(1) + 1).sqrt(),
    }
