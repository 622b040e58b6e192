"""Generated parts about what a selection on a cluster keeps until it is finished, from `benchmarks/calls.py`."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import table


def resumable_calls() -> str:
    """Tabulate the kept bytes for each image, and for ten million images in proportion."""
    body = [
        [f"`{row.strategy}`, {row.budget:,} of {row.n:,}", f"{row.bytes / row.n:.0f}", f"{row.bytes / row.n / 100:.1f}"]
        for row in pd.read_csv(RESULTS / "calls.csv").itertuples()
    ]
    return table(["picks", "bytes for each image", "GB for ten million images, in proportion"], body)


PARTS = {"kept-calls": resumable_calls}
