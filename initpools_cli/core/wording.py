"""Words of messages: counts with their nouns, and lists of names."""

from __future__ import annotations

from collections.abc import Sequence


def named(names: Sequence[str]) -> str:
    """Format up to five names, and the number of further ones."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def counted(things: Sequence[object], noun: str) -> str:
    """Format a count with its noun in singular or plural."""
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def counted_are(things: Sequence[object], noun: str) -> str:
    """Format a count with its noun and "is" or "are"."""
    return f"{counted(things, noun)} {'is' if len(things) == 1 else 'are'}"
