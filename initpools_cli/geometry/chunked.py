"""Run functions on blocks of rows in threads; results are the same for any number of threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.cpu import available_cores

T = TypeVar("T")


@functools.cache
def _libraries() -> Any:
    # Inspecting the loaded libraries takes milliseconds, so it is done once.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _blas_threads() -> list[int]:
    return [library.num_threads for library in _libraries().lib_controllers if library.user_api == "blas"]


def available_threads() -> int:
    """Return the default number of threads: the cores of this process, at most the thread limit of BLAS."""
    return max(1, min([available_cores(), *_blas_threads()]))


def _single_threaded() -> AbstractContextManager[object]:
    """Limit BLAS to one thread, unless it is already limited: setting a limit takes longer than a small block."""
    if all(threads == 1 for threads in _blas_threads()):
        return nullcontext()
    limiter: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limiter


def map_blocks(function: Callable[[slice], T], n: int, block: int, threads: int | None = None) -> list[T]:
    """Call `function` on the row ranges [0, block), [block, 2 block), … of n rows.

    The blocks depend on `n` and `block` alone, and a single thread computes each, BLAS included: sums and products
    round alike for any number of threads. The caller reduces the list in order.

    Parameters
    ----------
    function : callable
        Takes a slice of rows; must not write where another block reads.
    n, block : int
        Number of rows, and of rows per block.
    threads : int, optional
        Default: `available_threads`.

    Returns
    -------
    list
        Return values of `function`, in the order of the blocks.
    """
    spans = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    workers = 1 if len(spans) <= 1 else min(threads or available_threads(), len(spans))
    with _single_threaded():
        if workers <= 1:
            return [function(span) for span in spans]
        with ThreadPoolExecutor(workers) as pool:
            # Context variables of the caller, such as the device, are not inherited by threads.
            contexts = [copy_context() for _ in spans]
            return list(pool.map(lambda context, span: context.run(function, span), contexts, spans))


def reduce_pairs(
    function: Callable[[slice, slice], tuple[NDArray[Any], NDArray[Any]]],
    n: int,
    block: int,
    combine: np.ufunc = np.add,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Reduce a symmetric function over all pairs of n rows; each block of pairs is computed once.

    Parameters
    ----------
    function : callable
        Takes two ranges of rows, the second equal to the first or after it, and returns the values for the rows of
        each; for two equal ranges only the first value is used.
    n, block : int
        Number of rows, and of rows per range.
    combine : numpy.ufunc
        ``np.add`` or ``np.minimum``.
    threads : int, optional

    Returns
    -------
    (n,) float64
    """
    total = np.full(n, np.inf if combine is np.minimum else 0.0)
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))

        def part(span: slice, rows: slice = rows) -> NDArray[Any]:
            others = slice(rows.start + span.start, rows.start + span.stop)
            own, theirs = function(rows, others)
            if others != rows:
                combine(total[others], theirs, out=total[others])
            return own

        for own in map_blocks(part, n - start, block, threads):
            combine(total[rows], own, out=total[rows])
    return total
