"""Seeded test splits of images with several labels, stratified as far as possible."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.seeds import generator


def held_out_sets(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a test split: a seeded share of the images, with about that share of the images of each class.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, "On the stratification of multi-label data") into
    two parts: images of the class with the fewest images left are distributed first, each to the part that lacks most
    images of that class. Images without any class come last and fill the parts up to their sizes. Deviation: the parts
    have exactly the requested sizes.

    Parameters
    ----------
    labels : ndarray of shape (n, c), int8
        0 and 1.
    share : float
        In (0, 1).
    seed : int
        The root seed.

    Returns
    -------
    ndarray of shape (n,), bool
        True for test.
    """
    n = len(labels)
    test = np.zeros(n, dtype=bool)
    if n < 2:
        return test
    rng = generator(seed, "test-split")
    has = labels.astype(bool)
    room = np.array([n - max(round(share * n), 1), max(round(share * n), 1)])
    targets = np.stack([(1 - share) * has.sum(0), share * has.sum(0)])
    waiting = np.ones(n, dtype=bool)
    order = rng.permutation(n)
    while waiting.any():
        counts = has[waiting].sum(axis=0)
        if not counts.any():
            break
        rarest = int(np.where(counts > 0, counts, n + 1).argmin())
        for image in order[(waiting & has[:, rarest])[order]]:
            part = _part(targets[:, rarest], room)
            test[image], waiting[image] = part == 1, False
            room[part] -= 1
            targets[part, has[image]] -= 1
    rest = order[waiting[order]]
    test[rest[: room[1]]] = True
    return test


def _part(lacking: np.ndarray, room: np.ndarray) -> int:
    """Return the part (0 train, 1 test) that lacks most images of a class, and has room; train where both lack none."""
    if not room.all():
        return int(room.argmax())
    return int(lacking[1] > lacking[0])
