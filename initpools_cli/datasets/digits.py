"""The handwritten digits of scikit-learn, which need no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.sources import Arrays, DatasetFacts, Entry


def entries() -> list[Entry]:
    """Return the entry of `digits`."""
    facts = DatasetFacts(
        name="digits",
        title="Handwritten digits, 8×8, embedded in scikit-learn",
        classes=10,
        channels=1,
        source="https://doi.org/10.24432/C50P49",
        license="CC BY 4.0",
        download=False,
    )
    return [Entry(facts, _load)]


def _load(home: Path, size: int, scratch: Path, report: Reporter) -> Arrays:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The pixels are counts of 0 to 16 dots.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return Arrays(
        {"train": images}, {"train": digits.target.astype(np.int64)}, tuple(str(name) for name in digits.target_names)
    )
