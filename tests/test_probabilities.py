"""Probabilities as people bring them: rounded, of one class of two, or none at all."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initpools_cli import select
from initpools_cli.core.errors import UserError
from initpools_cli.strategies.arrays import INPUTS
from initpools_cli.strategies.probabilities import allowed, distributions
from initpools_cli.strategies.select import choose


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


LOGITS = np.random.default_rng(0).normal(size=(300, 100)) * 3
PROBS = softmax(LOGITS)


def bfloat16(array):
    """Rounded to the nearest, half to even, as hardware does."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


ROUNDED = {
    "3 decimals": PROBS.round(3),
    "3 decimals, as float16": PROBS.round(3).astype(np.float16),
    "4 decimals": PROBS.round(4).astype(np.float32),
    "bfloat16": bfloat16(PROBS),
    "float16": PROBS.astype(np.float16),
    "1,000 classes": softmax(np.random.default_rng(1).normal(size=(50, 1000)) * 3).round(3),
}


@pytest.mark.parametrize("case", ROUNDED)
def test_rounded_probabilities_are_divided_by_their_sums_and_that_is_said(case):
    rounded = ROUNDED[case]
    probs, note = distributions("probs", rounded)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(probs, rounded / rounded.astype(np.float64).sum(axis=1, keepdims=True), atol=1e-12)
    assert "every row is divided by its sum" in note
    several = distributions("mc_probs", np.stack([rounded, rounded]))[0]
    np.testing.assert_array_equal(several, [probs, probs])


@given(
    st.integers(2, 400),
    st.integers(1, 9),
    st.sampled_from(["3 decimals", "4 decimals", "bfloat16", "float16"]),
    st.integers(0, 10**6),
)
def test_whatever_rounding_makes_of_probabilities_is_allowed(classes, sharpness, how, seed):
    probs = softmax(np.random.default_rng(seed).normal(size=(5, classes)) * sharpness)
    kinds = {"3 decimals": lambda p: p.round(3), "4 decimals": lambda p: p.round(4), "bfloat16": bfloat16}
    rounded = kinds.get(how, lambda p: p.astype(np.float16))(probs).astype(np.float64)
    off = np.abs(rounded.sum(axis=1) - 1)
    # Nothing may be left of a row: then it can't be told from others.
    assert ((off <= allowed(rounded)) | (rounded.sum(axis=1) == 0)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_probabilities_that_sum_to_1_keep_their_bytes(dtype):
    exact = PROBS.astype(dtype)
    probs, note = distributions("probs", exact)
    assert probs.tobytes() == exact.astype(np.float64).tobytes()
    assert note == ""


NONE = {
    "logits": (LOGITS, r"row 0 has the negative entry .* and sums to", "softmax"),
    "logits above 0": (np.abs(LOGITS), r"row 0 sums to .*, which is not 1 within rounding", "softmax"),
    "logarithms": (np.log(PROBS), "look like log-probabilities", "np.exp"),
    "percentages": (100 * PROBS, "look like percentages", "Divide them by 100"),
    "rounded percentages": ((100 * PROBS).round(1), "look like percentages", "Divide them by 100"),
    "a class left out": (PROBS[:, :50], r"row 0 sums to 0\.", "Pass all classes"),
    "sigmoids": (1 / (1 + np.exp(-LOGITS)), r"row 0 sums to ", "not a sigmoid per class"),
    "counts": (np.full((3, 2), 4), r"row 0 sums to 8", "divide each row by its sum"),
    "2 decimals": (PROBS.round(2), "which is not 1 within rounding", "Pass all classes"),
    "a row of zeros": (np.vstack([PROBS[:2], np.zeros(100)]), r"row 2 sums to 0,", "Pass all classes"),
    "two such rows": (
        np.vstack([PROBS[:2], np.zeros((1, 100)), PROBS[:1] / 4]),
        r"row 2 sums to 0,",
        "Pass all classes",
    ),
    "one column of logits": (LOGITS[:, :1], r"one column, but row \d+ is ", r"1 / \(1 \+ exp\(-x\)\)"),
}


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_probabilities_is_refused_with_what_it_looks_like(case):
    array, fact, remedy = NONE[case]
    with pytest.raises(UserError, match=fact) as error:
        choose("margin", {"probs": array}, 2)
    assert re.search(remedy, error.value.remedy)
    with pytest.raises(UserError, match=fact):
        choose("consistency", {"view_probs": np.stack([array, array])}, 2)


def test_probabilities_of_several_labels_are_each_from_0_to_1():
    check, check_passes = INPUTS["label_probs"].check, INPUTS["mc_label_probs"].check
    np.testing.assert_array_equal(check([[1 + 1e-9, 1.0], [-1e-9, 0.25]]), [[1, 1], [0, 0.25]])
    assert check_passes(np.full((2, 3, 4), 0.5)).shape == (2, 3, 4)
    for wrong in (1.01, -0.01):
        with pytest.raises(UserError, match=f"label_probs must be .* has the value {wrong}, which is not in") as error:
            check([[0.5, 0.5], [wrong, 9.0]])
        assert "apply the sigmoid" in error.value.remedy
    with pytest.raises(UserError, match="mc_label_probs has 1 pass, but at least 2"):
        check_passes(np.full((1, 3, 4), 0.5))


@pytest.mark.parametrize("shape", [(40,), (40, 1), (2, 40, 1)])
def test_a_single_column_is_the_positive_class_of_two(shape):
    positive = np.random.default_rng(0).random(shape)
    one = positive.squeeze()
    both = np.stack([1 - one, one], axis=-1)
    probs = INPUTS["probs"].check(positive)
    np.testing.assert_allclose(probs, both if both.ndim == 2 else both.mean(axis=0))
    expected = choose("margin", {"probs": both}, 9).indices
    np.testing.assert_array_equal(choose("margin", {"probs": positive}, 9).indices, expected)


def test_select_warns_of_rounded_probabilities_and_the_command_says_so_once(initpools, tmp_path):
    np.save(tmp_path / "probs.npy", ROUNDED["3 decimals"])
    with pytest.warns(UserWarning, match=r"probs: the sums of \d+ of 300 rows differ from 1 by up to"):
        picks = select(None, "margin", 20, probs=ROUNDED["3 decimals"])
    for command in (["select-pool", "margin", "--budget", "20"], ["rank", "margin"]):
        ended = initpools(*command, "--probs", tmp_path / "probs.npy")
        assert ended.code == 0
        assert ended.err.count("every row is divided by its sum") == 1
        assert [int(line) for line in ended.out.split()][:20] == picks.tolist()
    np.save(tmp_path / "logits.npy", LOGITS)
    ended = initpools("select-pool", "margin", "--budget", "20", "--probs", tmp_path / "logits.npy")
    assert ended.code == 2
    assert "negative entry" in ended.err
