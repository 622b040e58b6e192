"""Augmentation recipes by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch

from initpools_cli.augment.blur import blur, draw_sigmas
from initpools_cli.augment.color import draw_jitter, jitter
from initpools_cli.augment.crop import crop_resize, draw_boxes, draw_shifts, shift
from initpools_cli.augment.draws import Draws
from initpools_cli.augment.flip import draw_flips, flip
from initpools_cli.augment.randaugment import draw_randaugment, randaugment
from initpools_cli.core.errors import UserError, nearest

Recipe = Callable[[torch.Tensor, Draws], torch.Tensor]

# SimCLR blurs ImageNet but not CIFAR: on small images a blur removes the content.
_SMALLEST_BLURRED = 48
# Numbers per chunk of a batch on the CPU.
_PIECE = 2**19


def _simclr(images: torch.Tensor, draws: Draws, *, strength: float) -> torch.Tensor:
    """Apply the recipe of Chen et al. 2020, arXiv:2002.05709, app. A; strengths are (.8, .8, .8, .2) * strength."""
    images = crop_resize(images, draw_boxes(draws), draw_flips(draws))
    s = 0.8 * strength
    by = draw_jitter(draws, brightness=s, contrast=s, saturation=s, hue=s / 4.0, probability=0.8, gray=0.2)
    images = jitter(images, by)
    size = min(images.shape[-2:])
    if size < _SMALLEST_BLURRED:
        return images
    sigmas = draw_sigmas(draws)
    rows = sigmas.nonzero().squeeze(1)
    images[rows] = blur(images[rows], sigmas[rows], radius=int(0.1 * size) // 2)
    return images


def _shift(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    # The usual 4 pixels at 32, and the same share at other sizes: 4 pixels would be half of an 8-pixel digit.
    return shift(images, draw_shifts(draws, reach=max(1, round(min(images.shape[-2:]) / 8))))


def _weak(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    return flip(_shift(images, draws), draw_flips(draws))


def _views(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    by = draw_jitter(draws, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02)
    return jitter(_weak(images, draws), by)


def _randaug(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    return randaugment(_weak(images, draws), *draw_randaugment(draws))


def _flip(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    return flip(images, draw_flips(draws))


def _none(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    return images


RECIPES: Mapping[str, Recipe] = {
    "simclr": partial(_simclr, strength=0.5),
    "simclr-strong": partial(_simclr, strength=1.0),
    "weak": _weak,
    "shift": _shift,
    "views": _views,
    "randaug": _randaug,
    "flip": _flip,
    "none": _none,
}


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 (b, h, w, c) to float32 (b, c, h, w) in [0, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    UserError
        The name is unknown.
    """
    if name not in RECIPES:
        guess = nearest(name, RECIPES)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"There is no augmentation '{name}'.", f"{hint}Use one of {', '.join(RECIPES)}.", name)
    return RECIPES[name]


def augment(images: torch.Tensor, draws: Draws, recipe: str) -> torch.Tensor:
    """Return one random view of each image, independent of the batch.

    Parameters
    ----------
    images : torch.Tensor
        (b, h, w, c) uint8, or (b, c, h, w) float in [0, 1]; 1 or 3 channels, sides of at least 8 pixels.
    draws : Draws
        The random numbers of the same images, in the same order.
    recipe : str
        A name in `RECIPES`.

    Returns
    -------
    torch.Tensor
        (b, c, h, w) float32 in [0, 1].

    Raises
    ------
    UserError
        The recipe is unknown.
    """
    change = recipe_named(recipe)
    if images.is_cuda:
        return change(_as_floats(images), draws)
    # Chunks that fit in the cache avoid page faults, which cost more than the arithmetic for a whole batch.
    step = max(1, _PIECE // max(1, images[:1].numel()))
    pieces = zip(images.split(step), draws.ids.split(step), strict=True)
    return torch.cat([change(_as_floats(piece), replace(draws, ids=ids)) for piece, ids in pieces])


def _as_floats(images: torch.Tensor) -> torch.Tensor:
    return to_float(images) if images.dtype == torch.uint8 else images.to(torch.float32).contiguous()
