"""Work on fixed blocks of rows, spread over threads, with the same numbers however many threads there are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.cpu import available_cores

T = TypeVar("T")


@functools.cache
def _libraries() -> Any:
    # Looking through the loaded libraries takes milliseconds, so it is done once: NumPy's BLAS is the one that counts.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def available_threads() -> int:
    """How many threads to use where nobody says: the cores of this process, or fewer where BLAS is held to fewer."""
    blas: list[int] = [library.num_threads for library in _libraries().lib_controllers if library.user_api == "blas"]
    return max(1, min([available_cores(), *blas]))


def map_blocks(function: Callable[[slice], T], n: int, block: int, threads: int | None = None) -> list[T]:
    """Call `function` on the row ranges [0, block), [block, 2 block), … of n rows.

    Where a block begins depends on `n` and `block` alone and each one is computed by a single thread, BLAS included,
    so that sums and products round alike for any number of threads. The caller reduces the list in its order.

    Parameters
    ----------
    function : callable
        Takes a slice of rows; must not write where another block reads.
    n, block : int
        Rows in all, and in one block.
    threads : int, optional
        Default: as many as there are (`available_threads`).

    Returns
    -------
    list
        What `function` gave, in the order of the blocks.
    """
    spans = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    workers = min(threads or available_threads(), len(spans))
    with _libraries().limit(limits=1, user_api="blas"):
        if workers <= 1:
            return [function(span) for span in spans]
        with ThreadPoolExecutor(workers) as pool:
            # A thread of its own would not know what is set for the caller, such as the device.
            contexts = [copy_context() for _ in spans]
            return list(pool.map(lambda context, span: context.run(function, span), contexts, spans))


def over_pairs(
    function: Callable[[slice, slice], tuple[NDArray[Any], NDArray[Any]]],
    n: int,
    block: int,
    combine: np.ufunc = np.add,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Sums, or minima, over all pairs of n rows, of which each block is looked at once and counts for both its sides.

    Parameters
    ----------
    function : callable
        Takes two ranges of rows, of which the second is the first or comes after it, and gives what the pairs make for
        the rows of each; for one and the same range only the first counts.
    n, block : int
        Rows in all, and in one range.
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
