"""Seeded, stratified splits of images, or of groups of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.datasets.multilabel_split import held_out_sets

#: Split by the name that people give it in a column or in the name of a file.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
#: Random orders of groups that a split is chosen from, and the number of groups above which one is enough.
DRAWS = 8
MANY = 2_000
HELD_OUT_REMEDY = (
    "Bring test images of your own (a folder test/, or test_images in an .npz file), name smaller groups, or leave out "
    "--groups."
)


def require_train(splits: Iterable[str], what: str) -> None:
    """Raise an error if no image is in the train split.

    Raises
    ------
    UserError
        None is.
    """
    names = sorted(set(splits))
    if "train" not in names:
        raise UserError(
            f"{what} has no train images, only {' and '.join(names)}.",
            "Name the images to choose from 'train', or leave out the names of splits.",
            " and ".join(names),
        )


def draw_test_rows(labels: np.ndarray, share: float, seed: int, groups: Sequence[str] | None = None) -> np.ndarray:
    """Draw a test split of the labeled images, or of whole groups, with their images without a label.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64, or (n, c), int8
        Class numbers, or 0 and 1 for each class; -1 for none.
    share, seed
        See `held_out`.
    groups : sequence of str, optional
        The group of each image.

    Returns
    -------
    ndarray of shape (m,), int64
        Ascending; empty if no image has a label.

    Raises
    ------
    UserError
        One group has more than half of the labeled images, or every group has all images of some class.
    """
    labeled = labeled_rows(labels)
    if groups is None:
        return labeled[held_out(labels[labeled], share, seed)]
    if not len(labeled):
        return labeled
    names, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    counts = class_counts(labels, group)
    sizes = np.bincount(group[labeled], minlength=len(names))
    largest = int(sizes.argmax())
    name = str(names[largest])
    if 2 * sizes[largest] > sizes.sum():
        raise UserError(
            f"No test split can be drawn: the group {name!r} has {sizes[largest]:,} of the {sizes.sum():,} "
            f"labeled images. {_sizes_sentence(sizes)}",
            HELD_OUT_REMEDY,
            repr(name),
        )
    is_test = held_out_groups(counts, share, seed)
    if not is_test.any():
        raise UserError(
            f"No test split can be drawn: every group has all images of some class. {_sizes_sentence(sizes)}",
            HELD_OUT_REMEDY,
            "every group",
        )
    return np.flatnonzero(is_test[group])


def class_counts(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Count the labeled images of each group and class, (g, c) float64.

    With several labels per image, images without any class are counted like one more class.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64, or (n, c), int8
        Class numbers, or 0 and 1 for each class; -1 for none.
    groups : ndarray of shape (n,), int64
        Group numbers from 0.
    """
    labeled = labeled_rows(labels)
    if labels.ndim == 2:
        has = np.column_stack([labels[labeled], ~labels[labeled].any(axis=1)])
        several = np.zeros((int(groups.max(initial=-1)) + 1, has.shape[1]))
        np.add.at(several, groups[labeled], has)
        return several
    counts = np.zeros((int(groups.max(initial=-1)) + 1, int(labels.max(initial=-1)) + 1))
    np.add.at(counts, (groups[labeled], labels[labeled]), 1)
    return counts


def held_out_groups(counts: np.ndarray, share: float, seed: int, *, label: str = "test-split groups") -> np.ndarray:
    """Draw whole groups whose images are about a share of each class.

    Goes through the groups in random order, and holds out each that brings the numbers of held-out images closer to the
    share of every class (by the chi-squared distance). Uses the best of `DRAWS` orders. No class gives its last group.

    Parameters
    ----------
    counts : ndarray of shape (g, c)
        Images of each group and class.
    share : float
        In (0, 1).
    seed : int
    label : str
        What is drawn, for the random numbers.

    Returns
    -------
    ndarray of shape (g,), bool
        True for held out; nowhere if every group has all images of some class.
    """
    counts = counts[:, counts.any(axis=0)]
    target = share * counts.sum(axis=0)
    present = counts > 0
    own = (counts * (counts / target - 2)).sum(axis=1)
    best, lowest = np.zeros(len(counts), dtype=bool), np.inf
    for draw in range(DRAWS if len(counts) <= MANY else 1):
        mask, distance = np.zeros(len(counts), dtype=bool), 0.0
        test_counts, groups_left = 0 * target, present.sum(axis=0)
        for group in generator(seed, label, draw).permutation(len(counts)):
            change = own[group] + 2 * (test_counts / target) @ counts[group]
            if change < 0 and (groups_left[present[group]] > 1).all():
                mask[group] = True
                test_counts, groups_left = test_counts + counts[group], groups_left - present[group]
                distance += change
        if distance < lowest and mask.any():
            best, lowest = mask, distance
    if not best.any():
        # Every group is larger than what is to be held out.
        possible = np.flatnonzero(present.any(axis=1) & (~present | (present.sum(axis=0) > 1)).all(axis=1))
        best[possible[np.argsort(own[possible], kind="stable")[:1]]] = True
    return best


def _sizes_sentence(sizes: np.ndarray) -> str:
    """Return the sentence on the number and sizes of groups, the largest first."""
    text = ", ".join(f"{size:,}" for size in np.sort(sizes)[::-1][:10])
    more = f" and {len(sizes) - 10:,} more" if len(sizes) > 10 else ""
    return f"The {len(sizes):,} groups have {text}{more} labeled images." if len(sizes) > 1 else "It is the only group."


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a test split: a seeded share of the images, stratified by class.

    The share of each class is rounded down or up so that the total is as close as possible (largest remainders), and no
    class gives its last image.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64, or (n, c), int8
        Class numbers from 0; or 0 and 1 for each class, see `held_out_sets`.
    share : float
        In (0, 1).
    seed : int
        The root seed.

    Returns
    -------
    ndarray of shape (n,), bool
        True for test.
    """
    if labels.ndim == 2:
        return held_out_sets(labels, share, seed)
    if not len(labels):
        return np.zeros(0, dtype=bool)
    counts = np.bincount(labels)
    spare = np.maximum(counts - 1, 0)
    quota = np.minimum(np.floor(share * counts).astype(np.int64), spare)
    missing = max(round(share * len(labels)), 1) - quota.sum()
    remainders = share * counts - quota
    for c in np.argsort(-remainders, kind="stable"):
        if missing > 0 and quota[c] < spare[c]:
            quota[c] += 1
            missing -= 1
    order = generator(seed, "test-split").permutation(len(labels))
    test = np.zeros(len(labels), dtype=bool)
    for c, count in enumerate(quota):
        test[order[labels[order] == c][:count]] = True
    return test
