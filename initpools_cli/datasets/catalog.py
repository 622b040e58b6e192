"""The registered data sets."""

from __future__ import annotations

from functools import cache

from initpools_cli.datasets import digits, ham10000, medmnist_sets, tiny_imagenet, vision
from initpools_cli.datasets.sources import DatasetFacts, Entry

#: One module per source of data sets.
ORIGINS = (digits, medmnist_sets, vision, tiny_imagenet, ham10000)


@cache
def entries() -> dict[str, Entry]:
    """Return all registered data sets by name, including those that can't be used."""
    return {entry.facts.name: entry for origin in ORIGINS for entry in origin.entries()}


def catalog() -> list[DatasetFacts]:
    """Return the usable data sets, sorted by name."""
    return sorted((entry.facts for entry in entries().values() if not entry.refusal), key=lambda facts: facts.name)
