"""Format tables and values as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Format a Markdown table; vertical bars in cells are escaped."""
    lines = [
        list(header),
        ["---"] * len(list(header)),
        *([str(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def toml(value: Any) -> str:
    """Format a value as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def number(value: float) -> str:
    """Format a measured quantity with one decimal, from ten on with none."""
    return "< 0.1" if 0 < value < 0.05 else f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def percent(share: float, digits: int = 0) -> str:
    """Format a share in [0, 1] as a percentage."""
    return f"{100 * share:.{digits}f} %"


def span(values: Iterable[float], form: str = "{:.0f}") -> str:
    """Format the smallest and the largest value, or one if both look the same."""
    numbers = [*values]
    low, high = form.format(min(numbers)), form.format(max(numbers))
    return low if low == high else f"{low} to {high}"
