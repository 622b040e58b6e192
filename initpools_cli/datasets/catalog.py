"""The registered data sets."""

from __future__ import annotations

from functools import cache

from initpools_cli.datasets import digits, ham10000, medmnist_sets, tiny_imagenet, vision
from initpools_cli.datasets.sources import DatasetFacts, Entry

#: Each module states the data sets of one origin.
ORIGINS = (digits, medmnist_sets, vision, tiny_imagenet, ham10000)


@cache
def entries() -> dict[str, Entry]:
    """Every registered data set by name, those that can't be used here among them."""
    return {entry.facts.name: entry for origin in ORIGINS for entry in origin.entries()}


def catalog() -> list[DatasetFacts]:
    """What can be used, sorted by name."""
    return sorted((entry.facts for entry in entries().values() if not entry.refusal), key=lambda facts: facts.name)
