"""RandAugment with one operation per image (Cubuk et al. 2020, arXiv:1909.13719), at the middle of its ten strengths.

The fifteen operations and their magnitudes are those of the experiments of arXiv:2011.14696. Deviations: rotation has
both directions instead of counter-clockwise only; geometry is bilinear with black outside; autocontrast, color and
sharpness are not rounded to 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from initpools_cli.augment.affine import warp
from initpools_cli.augment.color import Jitter, jitter
from initpools_cli.augment.draws import Draws
from initpools_cli.augment.rotate import rotate

_DEGREES = 16.67
_SHEAR = 0.1667
_TRANSLATE = 0.2518  # of the side
_ENHANCE = 0.5
_POSTERIZE_BITS = 6
_SOLARIZE = 113.8 / 255.0
_CUTOUT = 0.444  # of the side


def randaugment(
    images: torch.Tensor, operations: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor
) -> torch.Tensor:
    """Apply one operation to each image.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, s, s) float in [0, 1], 1 or 3 channels.
    operations : torch.Tensor
        (b,) int64, positions in `OPERATIONS`.
    signs : torch.Tensor
        (b,) float, -1 or 1: the direction, for operations that have one.
    spots : torch.Tensor
        (b, 2) float in [0, 1): row and column of the center of the cut-out square, as fractions of the image.

    Returns
    -------
    torch.Tensor
        (b, c, s, s) float in [0, 1].
    """
    result = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = (operations == number).nonzero().squeeze(1)
        if len(rows):
            result[rows] = operation(images[rows], signs[rows], spots[rows])
    return result


def draw_randaugment(draws: Draws) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw operations (b,), signs (b,) and spots (b, 2), each uniform."""
    u = draws.uniform("randaugment", 3)
    signs = torch.where(u[:, 0] < 0.5, -1.0, 1.0)
    return draws.integers("randaugment-operation", len(OPERATIONS)), signs, u[:, 1:]


def _invert(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    return 1.0 - images


def _solarize(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    return torch.where(images < _SOLARIZE, images, 1.0 - images)


def _posterize(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    step = 1 << (8 - _POSTERIZE_BITS)
    return torch.floor(torch.round(images * 255.0) / step) * step / 255.0


def _autocontrast(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    width = high - low
    output = (images - low) / width.clamp(min=1e-6)
    return torch.where(width > 0.0, output, images)


def _equalize(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    """Equalize the histogram of each channel, with the integer table of PIL."""
    levels = torch.round(images * 255.0).to(torch.int64).flatten(2)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    table = ((counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)).clamp_(max=255)
    output = table.gather(2, levels).to(images.dtype) / 255.0
    return torch.where(step > 0, output, images.flatten(2)).view_as(images)


def _enhance(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor, *, what: str) -> torch.Tensor:
    one = torch.ones_like(signs)
    factors = {"brightness": one, "contrast": one, "saturation": one, what: 1.0 + _ENHANCE * signs}
    return jitter(images, Jitter(hue=torch.zeros_like(signs), **factors))


def _sharpness(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    """Sharpen or smooth with PIL's 3 x 3 kernel, whose center weighs 5; the border is unchanged."""
    height, width = images.shape[-2:]
    inner = images[:, :, 1:-1, 1:-1]
    smooth = inner * 4.0
    for row in range(3):
        for column in range(3):
            smooth = smooth + images[:, :, row : height - 2 + row, column : width - 2 + column]
    smooth = smooth / 13.0
    result = images.clone()
    result[:, :, 1:-1, 1:-1] = smooth + (inner - smooth) * (1.0 + _ENHANCE * signs)[:, None, None, None]
    return result.clamp_(0.0, 1.0)


def _rotate(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    return rotate(images, _DEGREES * signs)


def _move(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor, *, row: int, by: int) -> torch.Tensor:
    """Translate or shear: add `signs` times a magnitude to one entry of the identity map (column 2 translates)."""
    matrices = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    # Positions of the map range over [-1, 1], so a side has length 2.
    matrices[:, row, by] += signs * (2.0 * _TRANSLATE if by == 2 else _SHEAR)
    return warp(images, matrices)


def _cutout(images: torch.Tensor, signs: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) + 0.5) / height
    columns = (torch.arange(width, device=images.device) + 0.5) / width
    near_rows = (rows - spots[:, :1]).abs() < _CUTOUT / 2.0
    near_columns = (columns - spots[:, 1:]).abs() < _CUTOUT / 2.0
    return images.masked_fill((near_rows[:, :, None] & near_columns[:, None, :])[:, None], 0.0)


OPERATIONS: Mapping[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": partial(_enhance, what="saturation"),
    "posterize": _posterize,
    "contrast": partial(_enhance, what="contrast"),
    "brightness": partial(_enhance, what="brightness"),
    "sharpness": _sharpness,
    "shear-x": partial(_move, row=0, by=1),
    "shear-y": partial(_move, row=1, by=0),
    "translate-x": partial(_move, row=0, by=2),
    "translate-y": partial(_move, row=1, by=2),
    "cutout": _cutout,
}
