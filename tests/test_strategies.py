"""The contract that every strategy keeps, walked over the registry."""

from __future__ import annotations

import re

import numpy as np
import pytest
from plain import QUICK, cloud, inputs_for

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.strategies import runtime as estimate
from initpools_cli.strategies import select as door
from initpools_cli.strategies.arrays import INPUTS, MODEL_OUTPUTS, take
from initpools_cli.strategies.registry import strategies


def choose(name, *given, **settings):
    """What a strategy chooses, with knobs that keep it quick."""
    return door.choose(name, *given, knobs=QUICK.get(name), **settings)


METHODS = [pytest.param(method, id=method.name) for method in strategies]


def two_tight_clusters():
    points = 1e-4 * cloud(40, 3)
    points[:20] += [1, 0, 0]
    points[20:] += [0, 1, 0]
    return points


# name: (embeddings, labeled, budget, normalize)
HARD_CASES = {
    "one image": (cloud(1), [], 1, True),
    "two images": (cloud(2), [0], 1, True),
    "zero rows": (np.where(np.arange(30)[:, None] % 3, cloud(30), 0), [], 25, True),
    "zero rows that are labeled": (np.where(np.arange(30)[:, None] % 3, cloud(30), 0), [0, 1, 3], 20, False),
    "copies of what is labeled": (np.repeat(cloud(6), 5, axis=0), [0, 5, 10, 15, 20, 25], 20, True),
    "copies of one but for a few": (np.vstack([np.ones((26, 5), np.float32), cloud(4)]), [3], 20, True),
    "one constant feature": (np.hstack([cloud(30, 2), np.full((30, 1), 5.0)]), [], 9, False),
    "whole budget": (cloud(50), [], 50, True),
    "all labeled but the budget": (cloud(50), list(range(44)), 6, True),
    "two tight clusters": (two_tight_clusters(), [1], 7, True),
    "one dimension": (cloud(50, 1), [], 12, False),
    "one dimension, normalized to signs": (cloud(50, 1), [2], 12, True),
    "many duplicates": (np.repeat(cloud(6), 10, axis=0), [0], 30, True),
    "large offset": (cloud(40) + 1000, [], 10, False),
    "float64": (cloud(40).astype(np.float64), [], 10, True),
    "whole numbers": ((cloud(40) * 3).astype(np.int64), [], 10, True),
    "not contiguous": (cloud(80, 10)[::2, ::2], [4], 10, False),
}


def check(selection, n, labeled, budget):
    indices = selection.indices
    assert indices.dtype == np.int64
    assert indices.shape == (budget,)
    assert len(set(indices.tolist())) == budget
    assert not set(indices.tolist()) & set(labeled)
    assert 0 <= indices.min() <= indices.max() < n
    if selection.scores is not None:
        assert selection.scores.dtype == np.float64
        assert selection.scores.shape == (budget,)
        assert not np.isnan(selection.scores[~np.isin(indices, selection.fallback)]).any()
    if selection.clusters is not None:
        assert selection.clusters.dtype == np.int64
        assert selection.clusters.shape == (budget,)


@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("case", HARD_CASES)
@pytest.mark.parametrize("method", METHODS)
def test_exactly_budget_distinct_unlabeled_images(method, case, balance):
    embeddings, labeled, budget, normalize = HARD_CASES[case]
    given = {"labeled": labeled, "normalize": normalize, "balance": balance, "n_clusters": 3, "seed": 1}
    inputs = inputs_for(embeddings)
    selection = choose(method.name, inputs, budget, **given)
    check(selection, len(embeddings), labeled, budget)
    again = choose(method.name, inputs, budget, **given)
    np.testing.assert_array_equal(selection.indices, again.indices)


def reads_embeddings(method, balance="none"):
    return balance == "kmeans" or bool({"embeddings", "patches"} & {*method.inputs, *method.optional})


EQUAL = {
    "all equal": np.ones((30, 4), np.float32),
    "all zero": np.zeros((30, 4), np.float32),
    "all but the zero rows equal": np.where(np.arange(30)[:, None] < 5, 0, np.ones((30, 4), np.float32)),
    "one direction": np.arange(1, 31, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32),
    "equal within rounding": 1 + 1e-7 * np.random.default_rng(0).random((30, 4)).astype(np.float32),
}


@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("case", EQUAL)
@pytest.mark.parametrize("method", METHODS)
def test_embeddings_that_are_all_equal_are_refused_by_what_reads_them(method, case, balance):
    inputs = inputs_for(EQUAL[case]) | {"patches": np.repeat(EQUAL[case][:, None], 2, axis=1)}
    # Patches are compared as they are brought.
    only_scaled = (
        "patches" in method.inputs and balance != "kmeans" and case in ("one direction", "equal within rounding")
    )
    if reads_embeddings(method, balance) and not only_scaled:
        with pytest.raises(UserError, match=r"The embeddings of all 30 images are equal"):
            choose(method.name, inputs, 5, labeled=[3, 7], balance=balance)
    else:
        check(choose(method.name, inputs, 5, labeled=[3, 7], balance=balance), 30, [3, 7], 5)


# Rows 0 to 2 are the originals of three copies each, row 30 of one; 20 to 24 are zero, and so is 25 but for rounding.
COPIED = np.vstack([cloud(3), np.repeat(cloud(3), 3, axis=0), cloud(8, seed=1), np.zeros((6, 5)), cloud(8, seed=2)])
COPIED = np.vstack([COPIED[:33], COPIED[30]]).astype(np.float32)
COPIED[25] = 1e-9
ZERO, COPIES = [20, 21, 22, 23, 24, 25], [*range(3, 12), 33]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("method", [m for m in METHODS if reads_embeddings(m.values[0])])
def test_copies_and_then_zero_rows_come_after_all_other_images(method, balance, normalize):
    inputs = inputs_for(COPIED) | {"patches": np.repeat(COPIED[:, None], 2, axis=1)}
    given = {"normalize": normalize, "balance": balance, "n_clusters": 3}
    for labeled, copies in (([], COPIES), ([4, 12, 20], [0, *COPIES])):
        copies = np.setdiff1d(copies, labeled)
        zero = np.setdiff1d(ZERO, labeled)
        others = np.setdiff1d(np.arange(34), [*labeled, *copies, *zero])
        every = choose(method.name, inputs, 34 - len(labeled), labeled=labeled, **given)
        assert sorted(every.indices[: len(others)]) == others.tolist()
        assert sorted(every.indices[len(others) : -len(zero)]) == copies.tolist()
        assert every.indices[-len(zero) :].tolist() == zero.tolist()
        assert every.fallback.tolist() == every.indices[len(others) :].tolist()
        few = choose(method.name, inputs, 5, labeled=labeled, **given)
        assert np.isin(few.indices, others).all()
        seen = choose(method.name, inputs, 5, labeled=labeled, copies="any", **given)
        assert not np.isin(seen.indices, ZERO).any()


@pytest.mark.parametrize("method", [m for m in METHODS if not reads_embeddings(m.values[0])])
def test_copies_and_zero_rows_change_nothing_for_what_reads_no_embeddings(method):
    inputs = inputs_for(COPIED)
    plain = choose(method.name, {**inputs, "embeddings": cloud(34)}, 9, labeled=[4])
    np.testing.assert_array_equal(choose(method.name, inputs, 9, labeled=[4]).indices, plain.indices)


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_threads_choose_the_same(method):
    from threadpoolctl import threadpool_limits

    inputs = inputs_for(cloud(3000, 24))
    chosen = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            chosen.append(choose(method.name, inputs, 40, labeled=[5, 6]))
    one, two = chosen
    assert one.indices.tobytes() == two.indices.tobytes()
    if one.scores is not None:
        assert one.scores.tobytes() == two.scores.tobytes()


@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0].traits.nested])
def test_a_nested_pool_begins_with_the_smaller_one(method, balance):
    for embeddings in (cloud(90), np.repeat(cloud(30), 3, axis=0)):
        inputs = inputs_for(embeddings)
        small, large = (
            choose(method.name, inputs, budget, labeled=[4], balance=balance, n_clusters=4) for budget in (20, 50)
        )
        np.testing.assert_array_equal(small.indices, large.indices[:20])


@pytest.mark.parametrize("method", METHODS)
def test_excluded_images_are_as_good_as_absent(method):
    inputs = inputs_for(cloud(80))
    exclude = np.arange(10, 35)
    kept = np.setdiff1d(np.arange(80), exclude)
    selection = choose(method.name, inputs, 12, labeled=[0, 40], exclude=exclude, seed=3)
    without = {name: take(name, array, kept) for name, array in inputs.items() if name != "order"}
    order = inputs["order"]
    without["order"] = np.searchsorted(kept, order[np.isin(order, kept)])
    alone = choose(method.name, without, 12, labeled=np.searchsorted(kept, [0, 40]), seed=3)
    np.testing.assert_array_equal(selection.indices, kept[alone.indices])
    mask = np.isin(np.arange(80), exclude)
    masked = choose(method.name, inputs, 12, labeled=[0, 40], exclude=mask, seed=3)
    np.testing.assert_array_equal(selection.indices, masked.indices)


@pytest.mark.parametrize("method", METHODS)
def test_an_alias_chooses_the_same(method):
    inputs = inputs_for(cloud())
    for alias in method.aliases:
        np.testing.assert_array_equal(
            choose(alias, inputs, 5).indices, choose(method.name, inputs, 5).indices, err_msg=alias
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinity_are_refused_with_their_rows(method, bad):
    for name in (*method.inputs, *method.optional):
        inputs = inputs_for(cloud())
        if inputs[name].dtype.kind != "f":
            continue
        inputs[name] = inputs[name].copy()
        if not INPUTS[name].of_images:
            continue
        where = (0, [4, 9]) if INPUTS[name].axis else ([4, 9],)
        inputs[name][where] = bad
        with pytest.raises(UserError, match=rf"{name} has NaN or infinity in 2 of its rows: 4, 9\."):
            choose(method.name, inputs, 5)


@pytest.mark.parametrize("method", [m for m in METHODS if "head" in m.values[0].inputs])
def test_a_last_layer_that_diverged_is_refused(method):
    inputs = inputs_for(cloud())
    inputs["head"][2, 1] = np.nan
    with pytest.raises(UserError, match=r"last layer of the classifier has NaN or infinity"):
        choose(method.name, inputs, 5)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_input_is_named_with_the_way_to_bring_it(method):
    for name in method.inputs:
        inputs = {other: array for other, array in inputs_for(cloud()).items() if other != name}
        with pytest.raises(UserError, match=re.escape(f"'{method.name}' needs {name}")) as error:
            choose(method.name, inputs, 5)
        assert "--" in error.value.remedy or "al-run" in error.value.remedy


@pytest.mark.parametrize("case", HARD_CASES)
@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0].optional])
def test_what_is_optional_may_be_left_out(method, case):
    embeddings, labeled, budget, normalize = HARD_CASES[case]
    inputs = {name: a for name, a in inputs_for(embeddings).items() if name not in method.optional}
    given = {"labeled": labeled, "normalize": normalize, "seed": 1}
    without = choose(method.name, inputs, budget, **given)
    check(without, len(embeddings), labeled, budget)
    none = choose(method.name, inputs | dict.fromkeys(method.optional), budget, **given)
    np.testing.assert_array_equal(without.indices, none.indices)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_strategy_is_said_to_be(method):
    assert method.summary.endswith(".")
    assert method.traits.cost
    assert method.traits.needs_model == bool(MODEL_OUTPUTS & set(method.inputs))
    assert {*method.inputs, *method.optional} <= set(INPUTS)
    assert method.traits.oracle == ("labels" in method.inputs)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_left_as_they_were(method):
    inputs = inputs_for(cloud())
    copies = {name: array.copy() for name, array in inputs.items()}
    choose(method.name, inputs, 5, normalize=False)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_is_all_that_there_is_but_for_what_is_labeled(method):
    inputs, labeled = inputs_for(cloud(80)), [0, 40]
    sampled = choose(method.name, inputs, 12, labeled=labeled, sample=30, seed=3)
    check(sampled, 80, labeled, 12)
    free = np.setdiff1d(np.arange(80), labeled)
    drawn = generator(3, "sample").choice(free, 30, replace=False)
    alone = choose(method.name, inputs, 12, labeled=labeled, exclude=np.setdiff1d(free, drawn), seed=3)
    np.testing.assert_array_equal(sampled.indices, alone.indices)
    everything = choose(method.name, inputs, 12, labeled=labeled, sample=100, seed=3)
    np.testing.assert_array_equal(everything.indices, choose(method.name, inputs, 12, labeled=labeled, seed=3).indices)
    with pytest.raises(UserError, match="sample=9 is less than budget=12"):
        choose(method.name, inputs, 12, sample=9)


def test_what_takes_long_is_said_with_a_sample_that_does_not(monkeypatch):
    monkeypatch.setattr(estimate, "speed", lambda: 1e11)
    maxherding = strategies.get("maxherding")
    knobs = maxherding.validate({})
    assert estimate.expectation("maxherding", maxherding, 20_000, 512, 100, knobs, 0) is None
    assert estimate.expectation("maxherding", maxherding, 10**6, 512, 100, knobs, 10_000) is None
    said = estimate.expectation("maxherding", maxherding, 10**6, 512, 100, knobs, 0)
    # 8 · 10¹² · 512 multiply-adds at 10¹¹ a second, and 20,000² in place of 10¹².
    assert "maxherding will take about 11 h for 1,000,000 images" in said
    assert "Among a random 20,000 of them it chooses in about 16 s: --set select.sample=20000." in said


def test_a_long_choice_offers_the_approximate_one_that_there_is(monkeypatch):
    monkeypatch.setattr(estimate, "speed", lambda: 1e11)
    usl = strategies.get("usl")
    said = estimate.expectation("usl", usl, 10**6, 512, 1000, usl.validate({}), 0)
    # 20 · 10³ in place of 10⁶ for the neighbors; ten times 1,000 picks are measured in any case.
    assert "usl will take about 4 h for 1,000,000 images" in said
    assert "With --set probes=16 it uses approximate neighbors and takes about 8 min." in said
    assert "probes" not in str(estimate.expectation("usl", usl, 10**6, 512, 1000, usl.validate({"probes": 16}), 0))
    facility = strategies.get("facility-location")
    said = estimate.expectation("facility-location", facility, 10**6, 512, 1000, facility.validate({}), 0)
    assert "With --set probes=16 --set neighbors=50 it uses approximate neighbors" in said


@pytest.mark.parametrize("method", METHODS)
def test_every_cost_is_in_symbols_that_the_estimate_knows(method):
    knobs = method.validate({})
    small, large = (estimate.operations(method, n, 8, 5, knobs) for n in (10**4, 10**6))
    if "embeddings" in method.inputs:
        assert 0 < 50 * small < large
