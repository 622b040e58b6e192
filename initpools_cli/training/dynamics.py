"""Watch a classifier learn: what it made of every image in every epoch, at no forward pass of its own."""

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

#: What is kept of every image and epoch, and as what.
KEPT = {"true_probs": torch.float32, "correct": torch.bool, "el2n": torch.float32, "grand": torch.float32}


def watch_learning(
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
    """Train a network on labeled images, and write down what it made of each when it was trained on.

    That is as the batches come: augmented, with batch norm over the batch, and before the step that the batch makes.

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    epochs : int
        How often every image is trained on.
    seed : int
        Decides initialization, order and augmentation.
    device : torch.device
        Where the network lives.
    checkpoint : Path
        Written after every epoch; where it exists, training goes on from it.
    knobs : mapping
        Of the learner `scratch`; `epochs` and `steps` are not read.
    on_epoch : callable
        Told every epoch that ended, from 1, and the share of images whose label it predicted.

    Returns
    -------
    dict
        Of shape (epochs, m), with p the predicted probabilities and y the label as a one-hot vector. true_probs,
        float32: the label's entry of p. correct, bool: whether no entry is higher. el2n, float32: ‖p − y‖. grand,
        float32: the norm of the gradient of the cross-entropy in the last layer's weights and bias,
        ‖p − y‖ · √(‖features‖² + 1).
    """
    root = derive(seed, "dynamics")
    shape = {"channels": images.shape[3], "size": min(images.shape[1:3])}
    encoder = build_encoder(knobs["network"], **shape, width=knobs["width"], seed=root)
    kept = ("batch", "optimizer", "lr", "weight_decay", "schedule")
    course = Trainer(
        Network(encoder, classes, root, knobs["dropout"]),
        augmented(images, knobs["recipe"], seed, device),
        labels,
        TrainConfig(epochs, 0, **{key: knobs[key] for key in kept}),
        seed,
        device,
    )
    seen = {name: torch.zeros(epochs, len(images), dtype=kind) for name, kind in KEPT.items()}
    if checkpoint.exists():
        state = load_checkpoint(checkpoint, device)
        course.resume(state["course"])
        seen = {name: array.cpu() for name, array in state["seen"].items()}

    def watch(chosen: np.ndarray, features: torch.Tensor, logits: torch.Tensor) -> None:
        for name, values in per_image(features, logits, course.targets[chosen]).items():
            seen[name][course.done, chosen] = values.to(KEPT[name]).cpu()

    while course.done < epochs:
        course.epoch(watch)
        save_checkpoint(checkpoint, {"course": course.state(), "seen": seen})
        on_epoch(course.done, float(seen["correct"][course.done - 1].double().mean()))
    return {name: array.numpy() for name, array in seen.items()}


def per_image(features: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """The four numbers of `watch_learning`, (b,) each, from features (b, d), logits (b, c) and targets (b,) int64."""
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
