"""Parsing of TOML with one exception type for all kinds of invalid input."""

from __future__ import annotations

import sys
from typing import Any

import tomli


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document; equal strings of all documents are one object.

    A process keeps the facts of every round of labeling, which differ in little.

    Raises
    ------
    ValueError
        It is not valid TOML, is nested too deeply, or has a number with thousands of digits.
    """
    try:
        tables: dict[str, Any] = _interned(tomli.loads(text))
        return tables
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _interned(value: Any) -> Any:
    match value:
        case str():
            return sys.intern(value)
        case list():
            return [_interned(each) for each in value]
        case dict():
            return {sys.intern(key): _interned(each) for key, each in value.items()}
    return value
