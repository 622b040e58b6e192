"""Budgets: a number of images, or a share of them that becomes a number once the images are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Share(int):
    """A share of images, such as 1%; as a number it is 0, which stands for a missing budget.

    Attributes
    ----------
    text : str
        As it was written.
    """

    text: str

    def __new__(cls, text: str) -> Share:
        """Parse ``1%`` or ``0.5 %``; raises ValueError if it is not a share above 0 and at most 100 %."""
        share = super().__new__(cls, 0)
        share.text = text
        if not 0 < share.percent <= 100:
            raise ValueError(text)
        return share

    @property
    def percent(self) -> float:
        """The share in percent."""
        return float(self.text.removesuffix("%"))

    def of(self, images: int) -> int:
        """Return the share of a number of images, rounded, at least 1."""
        return max(1, round(self.percent * images / 100))


def budget_setting(value: Any, number: Callable[[Any], int]) -> int:
    """Validate a budget setting: a share, or what `number` accepts; raises ValueError with what it should be."""
    if not isinstance(value, str):
        return value if isinstance(value, Share) else number(value)
    text = value.strip()
    try:
        return Share(text) if text.endswith("%") else number(int(text))
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ValueError("should be a number of images, such as 20, or a share of them, such as 1%") from None
