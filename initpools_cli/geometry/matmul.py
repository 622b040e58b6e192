"""Matrix products in NumPy, or on an accelerator while one is set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

# With fewer rows or columns the transfer takes longer than the product in NumPy.
FEWEST = 64

_device: ContextVar[str | None] = ContextVar("device", default=None)


@contextmanager
def on_device(device: str | None) -> Iterator[None]:
    """Context manager that runs `product` on a device, in full float32.

    Picks stay the same where products only bound distances that are then computed in float64. Where products decide,
    as in the iterations of k-means, near ties in float32 may be resolved differently.

    Parameters
    ----------
    device : str or None
        A torch device name; None for NumPy.
    """
    if device is None:
        yield
        return
    import torch

    precision, before = torch.get_float32_matmul_precision(), _device.set(device)
    # TensorFloat-32 keeps 10 bits of each factor, so the rounding bounds would not hold.
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        _device.reset(before)


def product(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """Compute ``a @ b``, float32 on the device set by `on_device`.

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
        # OpenBLAS sometimes reports an invalid value where all are finite (numpy/numpy#24067). Real ones come from an
        # overflow, which is still reported.
        with np.errstate(invalid="ignore"):
            return a @ b
    import torch

    # Copies, because memory-mapped arrays may be read-only.
    left, right = torch.tensor(a, device=device), torch.tensor(b, device=device)
    return (left @ right).numpy(force=True)
