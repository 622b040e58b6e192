"""Exact copies among the images of a data set: images of the same checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.datasets.spec import Dataset

#: Entry of items.csv for an image without a checksum.
NO_CHECKSUM = "-"


def exact_groups(items: pd.DataFrame, mask: np.ndarray) -> NDArray[np.int64]:
    """Group images of equal checksum.

    Parameters
    ----------
    items : DataFrame
        The train rows of ``items.csv``, with ``sha256``.
    mask : (n,) bool

    Returns
    -------
    (n,) int64
    """
    checksums = items["sha256"].to_numpy(str)
    groups, rows = np.arange(len(mask)), np.flatnonzero(mask & (checksums != NO_CHECKSUM))
    _, lowest, member = np.unique(checksums[rows], return_index=True, return_inverse=True)
    groups[rows] = rows[lowest[member]]
    return groups


def copies_note(data: Dataset) -> str:
    """Return the sentence on exact copies among the images of a data set; empty if there are none."""
    train = data.train_items
    groups = exact_groups(train, data.kept)
    train_copies = int((groups != np.arange(len(groups))).sum())
    train_checksums = set(train["sha256"].to_numpy(str)[data.kept]) - {NO_CHECKSUM}
    tests = data.items[data.items["split"] == "test"]["sha256"].to_numpy(str)
    test_copies = sum(each in train_checksums for each in tests)
    parts = [f"{train_copies:,} of {int(data.kept.sum()):,} train images"] if train_copies else []
    parts += [f"{test_copies:,} of {len(tests):,} test images"] if test_copies else []
    if not parts:
        return ""
    verb = "are exact copies of other" if train_copies + test_copies > 1 else "is an exact copy of another"
    return (
        f"{' and '.join(parts)} {verb} train {'images' if train_copies + test_copies > 1 else 'image'} (same checksum)."
    )
