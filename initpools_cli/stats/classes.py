"""Display names of classes."""

from __future__ import annotations

from typing import Any

from initpools_cli.core.types import DataFrame


def class_names(items: DataFrame) -> list[str]:
    """Return the class of every row: its name, else its label, else "".

    Parameters
    ----------
    items : DataFrame
        With the columns `class` and `label`, either or both.
    """
    unknown: list[object] = [None] * len(items)
    names, labels = items.get("class", unknown), items.get("label", unknown)
    return [_shown(name) or _shown(label) for name, label in zip(names, labels, strict=True)]


def ordered_classes(items: DataFrame) -> list[str]:
    """Return the distinct known classes, sorted by label if labels are numbers, else in order of appearance."""
    names = class_names(items)
    labels = list(items["label"]) if "label" in items else names
    first: dict[str, object] = {}
    for name, label in zip(names, labels, strict=True):
        if name:
            first.setdefault(name, label)
    numeric = all(_shown(label).lstrip("-").isdigit() for label in first.values())
    return sorted(first, key=lambda name: int(_shown(first[name]))) if numeric else list(first)


def _shown(value: Any) -> str:
    import pandas as pd

    # A column of integers with gaps is read as floats with NaN in the gaps, or as Int64 with NA.
    if pd.isna(value) or value == "":
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
