"""Every random number comes from a root seed and the labels of what it is for."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *labels: object) -> int:
    """A 63-bit seed that depends on the root seed and on every label, in order.

    Two uses with different labels are independent; the same labels give the same numbers on any machine.
    """
    text = "\x1f".join([str(int(seed)), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *labels: object) -> np.random.Generator:
    """A NumPy generator for `labels` under the root `seed`, for example ``generator(0, "kmeans", 3)``."""
    return np.random.Generator(np.random.PCG64(derive(seed, *labels)))
