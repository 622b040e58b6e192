"""Parsing of TOML with one exception type for all kinds of invalid input."""

from __future__ import annotations

from typing import Any

import tomli


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document.

    Raises
    ------
    ValueError
        It is not valid TOML, is nested too deeply, or has a number with thousands of digits.
    """
    try:
        return tomli.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
