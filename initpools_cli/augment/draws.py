"""Counter-based random numbers per image, independent of the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from initpools_cli.core.seeds import derive

# The constants of splitmix64 (Steele et al. 2014), as the signed integers that torch computes with.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _shift_right(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Shift right logically: torch shifts signed integers arithmetically, so the copied sign bits are masked."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: torch.Tensor) -> torch.Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of a batch of images, determined by (seed, epoch, image id, view, label, draw number).

    The same label gives the same numbers, so each use needs a label of its own.

    Attributes
    ----------
    seed : int
        The root seed.
    epoch : int
        The epoch.
    ids : torch.Tensor
        (b,) int64, the image ids; numbers are generated on its device.
    view : int
        The number of the view.
    """

    seed: int
    epoch: int
    ids: torch.Tensor
    view: int = 0

    def _bits(self, label: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return random bits (b, *shape) int64, from one splitmix64 stream per image."""
        key = derive(self.seed, "draws", self.epoch, self.view, label)
        state = _mix(self.ids * _GOLDEN + key)
        steps = torch.arange(1, math.prod(shape) + 1, device=self.ids.device) * _GOLDEN
        return _mix(state[:, None] + steps).view(len(self.ids), *shape)

    def uniform(self, label: str, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Draw uniform numbers.

        Returns
        -------
        torch.Tensor
            (b, *shape) float32 in [low, high), of 2**24 levels.
        """
        unit = _shift_right(self._bits(label, shape), 40).to(torch.float32) * 2.0**-24
        if (low, high) == (0.0, 1.0):
            return unit
        # Rounding to float32 may reach `high`, which the interval excludes.
        below = torch.nextafter(torch.tensor(float(high)), torch.tensor(float(low))).item()
        return (unit * (high - low) + low).clamp_(max=below)

    def normal(self, label: str, *shape: int) -> torch.Tensor:
        """Draw standard normal numbers with the transform of Box and Muller (1958).

        Returns
        -------
        torch.Tensor
            (b, *shape) float32, |x| < 6.7.
        """
        bits = self._bits(label, shape)
        # With double precision, the rounded result is the same on all devices; MPS does not support it.
        wide = torch.float32 if bits.device.type == "mps" else torch.float64
        radius = torch.sqrt(-2.0 * torch.log((_shift_right(bits, 32) + 1).to(wide) * 2.0**-32))
        angle = (bits & 0xFFFFFFFF).to(wide) * (2.0 * math.pi * 2.0**-32)
        return (radius * torch.cos(angle)).to(torch.float32)

    def integers(self, label: str, high: int, *shape: int) -> torch.Tensor:
        """Draw uniform integers; the probability of a value differs by less than 2**-32.

        Returns
        -------
        torch.Tensor
            (b, *shape) int64 in [0, high), high at most 2**31.
        """
        return (_shift_right(self._bits(label, shape), 32) * high) >> 32
