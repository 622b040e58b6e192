"""Products of blocks of rows: NumPy's, or those of an accelerator for as long as one is set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

# With fewer rows or columns than these, moving the numbers takes longer than multiplying them here.
FEWEST = 64

_device: ContextVar[str | None] = ContextVar("device", default=None)


@contextmanager
def on_device(device: str | None) -> Iterator[None]:
    """Multiply blocks on a device, in float32 proper.

    What is chosen stays the same: products only bound what is then measured in float64. Where they decide themselves,
    as in the iterations of k-means, values that float32 hardly tells apart may fall the other way.

    Parameters
    ----------
    device : str or None
        As torch names it; None for NumPy.
    """
    if device is None:
        yield
        return
    import torch

    precision, before = torch.get_float32_matmul_precision(), _device.set(device)
    # TensorFloat-32 keeps 10 bits of each factor, and the bounds on rounding would not hold.
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        _device.reset(before)


def product(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """``a @ b``, where both are float32 on the device that is set.

    Parameters
    ----------
    a : (m, d)
    b : (d, k)

    Returns
    -------
    (m, k) ndarray
        Writable.
    """
    device = _device.get()
    if device is None or not a.dtype == b.dtype == np.float32 or min(len(a), b.shape[1]) < FEWEST:
        return a @ b
    import torch

    # Copies, also of arrays that are memory-mapped read-only.
    left, right = torch.tensor(a, device=device), torch.tensor(b, device=device)
    return (left @ right).numpy(force=True)
