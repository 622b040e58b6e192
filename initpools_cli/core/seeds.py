"""Seeds and random generators derived from a root seed and labels."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *labels: object) -> int:
    """Derive a 63-bit seed from the root seed and the labels, in order.

    Different labels give independent numbers; the same labels give the same numbers on any machine.
    """
    text = "\x1f".join([str(int(seed)), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *labels: object) -> np.random.Generator:
    """Create a NumPy generator for the root seed and labels, for example ``generator(0, "kmeans", 3)``."""
    return np.random.Generator(np.random.PCG64(derive(seed, *labels)))
