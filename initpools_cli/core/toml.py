"""TOML as text, with every way in which it can be invalid as one kind of error."""

from __future__ import annotations

from typing import Any

import tomli


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document.

    Raises
    ------
    ValueError
        It is not valid, is nested too deep, or holds a number of thousands of digits.
    """
    try:
        return tomli.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
