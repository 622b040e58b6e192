"""Gaussian blur with one standard deviation per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from initpools_cli.augment.draws import Draws


def blur(images: torch.Tensor, sigmas: torch.Tensor, radius: int) -> torch.Tensor:
    """Blur rows, then columns of each image, with reflection at the edge pixel.

    Computed as a sum of shifted images, since the algorithm of a convolution may change with the batch size.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w) float.
    sigmas : torch.Tensor
        (b,) float, pixels; 0 leaves an image as it is.
    radius : int
        The kernel has 2 * radius + 1 taps; radius must be smaller than both sides.

    Returns
    -------
    torch.Tensor
        (b, c, h, w) float.
    """
    steps = torch.arange(radius + 1, device=images.device)
    # The lower bound makes sigma = 0 the identity instead of 0 / 0.
    weights = torch.exp(-0.5 * (steps / sigmas.clamp(min=1e-3)[:, None]) ** 2)
    weights = weights / (weights[:, 0] + 2.0 * weights[:, 1:].sum(dim=1))[:, None]
    weights = weights[:, :, None, None, None]
    for dim, pad in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = F.pad(images, pad, mode="reflect")
        length = images.shape[dim]
        images = padded.narrow(dim, radius, length) * weights[:, 0]
        for step in range(1, radius + 1):
            pair = padded.narrow(dim, radius - step, length) + padded.narrow(dim, radius + step, length)
            images.add_(pair.mul_(weights[:, step]))
    return images


def draw_sigmas(draws: Draws, low: float = 0.1, high: float = 2.0, probability: float = 0.5) -> torch.Tensor:
    """Draw standard deviations (b,) float32, uniform in [low, high) pixels, 0 for images without blur."""
    u = draws.uniform("blur", 2)
    return torch.where(u[:, 1] < probability, low + (high - low) * u[:, 0], 0.0)
