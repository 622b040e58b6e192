"""VAAL's discriminator: which images look labeled to it, by codes of an autoencoder that tries to hide it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import derive, generator
from initpools_cli.networks.build import seeded
from initpools_cli.networks.vae import VAE as Autoencoder
from initpools_cli.pretext.vae import VAE
from initpools_cli.training.device import as_tensor
from initpools_cli.training.infer import blocks

INFERENCE_BATCH = 512
HIDDEN = 512


def vaal_scores(
    images: np.ndarray,
    labeled: np.ndarray,
    seed: int,
    device: torch.device,
    *,
    steps: int = 300,
    batch: int = 64,
    latent: int = 32,
    width: float = 0.5,
    size: int = 16,
    lr: float = 5e-4,
    critic_lr: float = 2e-3,
    adversary: float = 0.003,
) -> np.ndarray:
    """How likely a discriminator thinks it that each image is labeled (Sinha et al. 2019, arXiv:1904.00370).

    An autoencoder learns to rebuild labeled and unlabeled images, and to make their codes look labeled; a
    discriminator learns from the codes which of them are. Deviations: a step shows both kinds in one batch, so that
    batch norm does not tell them apart; the divergence of the codes is weighed as in the pretext `vae`; and the
    autoencoder's wish to hide counts little beside a mean error of pixels, since at the paper's weight of 1 the
    discriminator learns next to nothing within so few steps. On the digits, with 100 labeled images of five classes,
    the area under the curve for those classes was 0.53 to 0.57 at 1 and 0.85, 0.77 and 0.47 here, over three seeds: it
    stays a game that either side may win.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8.
    labeled : ndarray
        (m,) int64, some of them.
    seed : int
        Decides weights, order, noise.
    device : torch.device
    steps, batch : int
        How many, and how many images of each kind in one.
    latent : int
        Dimensions of the code.
    width : float
        Factor on the widths of the autoencoder.
    size : int
        The largest side that the autoencoder sees; larger images are averaged down.
    lr, critic_lr : float
        Of Adam, for the autoencoder and the discriminator.
    adversary : float
        Weight of the discriminator's log-loss in the autoencoder's.

    Returns
    -------
    ndarray
        (n,) float64 in [0, 1].

    Raises
    ------
    UserError
        No image is labeled, or all are.
    """
    is_labeled = np.zeros(len(images), bool)
    is_labeled[labeled] = True
    if is_labeled.all() or not is_labeled.any():
        raise UserError(
            f"VAAL tells labeled images from others, and {is_labeled.sum()} of {len(images)} are labeled.",
            "Label some images, not all.",
        )
    side = min(size, *images.shape[1:3])
    with seeded(seed, "vaal"):
        task = VAE(Autoencoder(images.shape[3], side, width, latent), "flip", seed, lr=lr)
        critic = nn.Sequential(
            nn.Linear(latent, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )
    task, critic = task.to(device), critic.to(device)
    _train(
        task,
        critic,
        images,
        is_labeled,
        side,
        seed,
        device,
        steps=steps,
        batch=batch,
        critic_lr=critic_lr,
        adversary=adversary,
    )
    return _judged(task, critic, images, side, device)


def _train(
    task: VAE,
    critic: nn.Module,
    images: np.ndarray,
    is_labeled: np.ndarray,
    side: int,
    seed: int,
    device: torch.device,
    *,
    steps: int,
    batch: int,
    critic_lr: float,
    adversary: float,
) -> None:
    task.train()
    hiding, seeking = task.optimizer(2 * batch), torch.optim.Adam(critic.parameters(), lr=critic_lr)
    ours = _endless(np.flatnonzero(is_labeled), batch, generator(seed, "vaal", "labeled"))
    others = _endless(np.flatnonzero(~is_labeled), batch, generator(seed, "vaal", "unlabeled"))
    key = derive(seed, "vaal", "draws")
    for step in range(steps):
        rows = np.concatenate([next(ours), next(others)])
        ids = as_tensor(rows, device)
        inputs = task.inputs(_shrunk(images[rows], side, device), Draws(key, step, ids))
        outputs = task(*inputs)
        truth = as_tensor(is_labeled[rows], device).float()
        hidden = F.binary_cross_entropy_with_logits(critic(outputs[1]).squeeze(1), torch.ones_like(truth))
        _step(hiding, task.losses(inputs, outputs, ids).mean() + adversary * hidden)
        seen = critic(outputs[1].detach()).squeeze(1)
        _step(seeking, F.binary_cross_entropy_with_logits(seen, truth))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.inference_mode()
def _judged(task: VAE, critic: nn.Module, images: np.ndarray, side: int, device: torch.device) -> np.ndarray:
    task.eval()
    found = [
        torch.sigmoid(critic(task.features(_shrunk(images[block], side, device))).squeeze(1).double()).cpu().numpy()
        for block in blocks(len(images), INFERENCE_BATCH)
    ]
    return np.concatenate(found)


def _shrunk(images: np.ndarray, side: int, device: torch.device) -> Tensor:
    """uint8 images (b, h, w, c) with sides of `side` pixels, each the mean of those it stands for."""
    shown = as_tensor(images, device)
    if shown.shape[1] == shown.shape[2] == side:
        return shown
    small = F.adaptive_avg_pool2d(shown.permute(0, 3, 1, 2).float(), side)
    return small.permute(0, 2, 3, 1).round().to(torch.uint8)


def _endless(rows: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of rows, all of them in random order, then again."""
    waiting = rows[:0]
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        yield waiting[:batch]
        waiting = waiting[batch:]
