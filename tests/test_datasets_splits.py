"""Held-out tests and long tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.imbalance import long_tail, tail_counts
from initpools_cli.datasets.splits import held_out

labelings = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(lambda values: np.array(values, dtype=np.int64))


@given(labels=labelings, share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_no_class_loses_its_last_image_to_the_test_split(labels, share, seed):
    test = held_out(labels, share, seed)
    assert set(labels[~test]) == set(labels)
    assert np.array_equal(test, held_out(labels, share, seed))


@given(labels=labelings, share=st.floats(0.01, 0.99))
def test_the_share_is_met_as_closely_as_whole_images_allow(labels, share):
    counts = np.bincount(labels)
    most = np.minimum(np.floor(share * counts) + 1, np.maximum(counts - 1, 0)).sum()
    assert held_out(labels, share, 0).sum() == min(max(round(share * len(labels)), 1), most)


@given(labels=labelings, share=st.floats(0.01, 0.99))
def test_classes_are_held_out_in_proportion(labels, share):
    test = held_out(labels, share, 0)
    for c, count in enumerate(np.bincount(labels)):
        # Within one image of its share, unless the others had none to spare.
        assert (labels[test] == c).sum() <= share * count + 1


def test_the_held_out_images_depend_on_the_seed_alone():
    labels = np.tile(np.arange(10), 50)
    first = held_out(labels, 0.2, 0)
    np.random.default_rng(3).random(100)
    assert np.array_equal(first, held_out(labels, 0.2, 0))
    assert not np.array_equal(first, held_out(labels, 0.2, 1))
    assert np.array_equal(np.bincount(labels[first]), [10] * 10)


def test_long_tails_have_the_counts_of_the_reference():
    assert tail_counts(50_000, 10, "exp", 0.01) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert tail_counts(50_000, 10, "exp", 0.02) == [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]
    assert sum(tail_counts(50_000, 10, "exp", 0.01)) == 12_406
    assert sum(tail_counts(50_000, 10, "exp", 0.02)) == 13_996
    assert sum(tail_counts(50_000, 100, "exp", 0.02)) == 12_608
    assert sum(tail_counts(50_000, 100, "exp", 0.01)) == 10_847
    assert tail_counts(50_000, 10, "step", 0.01) == [5000] * 5 + [50] * 5
    assert tail_counts(700, 7, "step", 0.1) == [100] * 3 + [10] * 4


def test_tiny_and_single_classes_keep_an_image():
    assert tail_counts(30, 3, "exp", 0.01) == [10, 1, 1]
    assert tail_counts(5, 1, "exp", 0.5) == [5]
    assert tail_counts(2, 3, "step", 0.5) == [1, 1, 1]


@pytest.mark.parametrize("kind", ["exp", "step"])
def test_a_long_tail_is_a_mask_with_those_counts(kind):
    labels = np.tile(np.arange(10), 100)
    mask = long_tail(labels, 10, kind, 0.02, 0)
    assert mask.shape == labels.shape and mask.dtype == bool
    assert np.bincount(labels[mask]).tolist() == tail_counts(1000, 10, kind, 0.02)
    assert np.array_equal(mask, long_tail(labels, 10, kind, 0.02, 0))
    assert not np.array_equal(mask, long_tail(labels, 10, kind, 0.02, 1))


def test_a_class_gives_no_more_than_it_has():
    labels = np.array([0] * 2 + [1] * 98)
    assert np.bincount(labels[long_tail(labels, 2, "exp", 0.5, 0)]).tolist() == [2, 25]


def test_what_a_class_keeps_does_not_depend_on_the_other_classes():
    labels = np.tile(np.arange(4), 25)
    swapped = np.where(labels == 2, 3, np.where(labels == 3, 2, labels))
    mask, other = (long_tail(of, 4, "exp", 0.1, 0) for of in (labels, swapped))
    assert np.array_equal(mask[labels == 0], other[labels == 0])


def test_a_long_tail_needs_labels():
    with pytest.raises(UserError, match="photos has none"):
        long_tail(np.full(3, -1), 0, "exp", 0.1, 0, "photos")
