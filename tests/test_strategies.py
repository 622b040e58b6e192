"""The contract that every strategy keeps, walked over the registry."""

from __future__ import annotations

import numpy as np
import pytest
from plain import QUICK

from initpools_cli import testing
from initpools_cli.core.errors import UserError
from initpools_cli.strategies import runtime as estimate
from initpools_cli.strategies import select as door
from initpools_cli.strategies.arrays import INPUTS, MODEL_OUTPUTS
from initpools_cli.strategies.registry import strategies
from initpools_cli.testing import cloud, inputs_for


def choose(name, *arguments, **settings):
    """What a strategy chooses, with knobs that keep it quick."""
    return door.choose(name, *arguments, knobs=QUICK.get(name), **settings)


METHODS = [pytest.param(method, id=method.name) for method in strategies]


#: Embeddings that are converted before anything reads them; a balance sees them as it sees those of other cases.
CONVERTED = ("float64", "whole numbers", "not contiguous")
BALANCED = [
    pytest.param(case, balance, marks=pytest.mark.slow if case in CONVERTED and balance != "none" else ())
    for case in testing.HARD_CASES
    for balance in ("none", "kmeans", "clusters")
]


@pytest.mark.parametrize(("case", "balance"), BALANCED)
@pytest.mark.parametrize("method", METHODS)
def test_exactly_budget_distinct_unlabeled_images(method, case, balance):
    testing.check_budget(method, case, balance, QUICK.get(method.name, {}))


@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("case", testing.EQUAL)
@pytest.mark.parametrize("method", METHODS)
def test_embeddings_that_are_all_equal_are_refused_by_what_reads_them(method, case, balance):
    testing.check_equal_embeddings(method, case, balance, QUICK.get(method.name, {}))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("method", [m for m in METHODS if testing.reads_embeddings(m.values[0])])
def test_copies_and_then_zero_rows_come_after_all_other_images(method, balance, normalize):
    testing.check_copies(method, balance, normalize, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", [m for m in METHODS if not testing.reads_embeddings(m.values[0])])
def test_copies_and_zero_rows_change_nothing_for_what_reads_no_embeddings(method):
    inputs = inputs_for(testing.COPIED)
    plain = choose(method.name, {**inputs, "embeddings": cloud(34)}, 9, labeled=[4])
    np.testing.assert_array_equal(choose(method.name, inputs, 9, labeled=[4]).indices, plain.indices)


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_threads_choose_the_same(method):
    testing.check_threads(method, QUICK.get(method.name, {}))


@pytest.mark.parametrize("balance", ["none", "kmeans", "clusters"])
@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0].traits.nested])
def test_a_nested_pool_begins_with_the_smaller_one(method, balance):
    testing.check_nested(method, balance, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", METHODS)
def test_excluded_images_are_as_good_as_absent(method):
    testing.check_excluded(method, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", METHODS)
def test_an_alias_chooses_the_same(method):
    inputs = inputs_for(cloud())
    for alias in method.aliases:
        np.testing.assert_array_equal(
            choose(alias, inputs, 5).indices, choose(method.name, inputs, 5).indices, err_msg=alias
        )


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinity_are_refused_with_their_rows(method):
    testing.check_not_finite(method, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", [m for m in METHODS if "head" in m.values[0].inputs])
def test_a_last_layer_that_diverged_is_refused(method):
    inputs = inputs_for(cloud())
    inputs["head"][2, 1] = np.nan
    with pytest.raises(UserError, match=r"last layer of the classifier has NaN or infinity"):
        choose(method.name, inputs, 5)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_input_is_named_with_the_way_to_bring_it(method):
    testing.check_missing(method, QUICK.get(method.name, {}))


@pytest.mark.parametrize("case", testing.HARD_CASES)
@pytest.mark.parametrize("method", [m for m in METHODS if m.values[0].optional])
def test_what_is_optional_may_be_left_out(method, case):
    testing.check_optional(method, case, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", METHODS)
def test_what_a_strategy_is_said_to_be(method):
    assert method.summary.endswith(".")
    assert method.traits.cost
    assert method.traits.needs_model == bool(MODEL_OUTPUTS & set(method.inputs))
    assert {*method.inputs, *method.optional} <= set(INPUTS)
    assert method.traits.oracle == ("labels" in method.inputs)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_left_as_they_were(method):
    testing.check_inputs_kept(method, QUICK.get(method.name, {}))


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_is_all_that_there_is_but_for_what_is_labeled(method):
    testing.check_sample(method, QUICK.get(method.name, {}))
    with pytest.raises(UserError, match="sample=9 is less than budget=12"):
        choose(method.name, inputs_for(cloud(80)), 12, sample=9)


def test_what_takes_long_is_said_with_a_sample_that_does_not(monkeypatch):
    monkeypatch.setattr(estimate, "speed", lambda: 1e11)
    maxherding = strategies.get("maxherding")
    knobs = maxherding.validate({})
    assert estimate.expectation("maxherding", maxherding, 20_000, 512, 100, knobs, 0) is None
    assert estimate.expectation("maxherding", maxherding, 10**6, 512, 100, knobs, 10_000) is None
    message = estimate.expectation("maxherding", maxherding, 10**6, 512, 100, knobs, 0)
    # 8 · 10¹² · 512 multiply-adds at 10¹¹ a second, and 20,000² in place of 10¹².
    assert "maxherding will take about 11.4 h for 1,000,000 images" in message
    assert "With --set select.sample=20000 it selects from 20,000 random images" in message


def test_a_long_choice_offers_the_approximate_one_that_there_is(monkeypatch):
    monkeypatch.setattr(estimate, "speed", lambda: 1e11)
    usl = strategies.get("usl")
    message = estimate.expectation("usl", usl, 10**6, 512, 1000, usl.validate({}), 0)
    # 44 · 10³ in place of 10⁶ for the neighbors; ten times 1,000 picks are measured in any case.
    assert "usl will take about 4.3 h for 1,000,000 images" in message
    assert "With --set probes=16 it uses approximate neighbors and takes about 14 min." in message
    assert "probes" not in str(estimate.expectation("usl", usl, 10**6, 512, 1000, usl.validate({"probes": 16}), 0))
    facility = strategies.get("facility-location")
    message = estimate.expectation("facility-location", facility, 10**6, 512, 1000, facility.validate({}), 0)
    assert "With --set probes=16 --set neighbors=50 it uses approximate neighbors" in message


@pytest.mark.parametrize("method", METHODS)
def test_every_cost_is_in_symbols_that_the_estimate_knows(method):
    knobs = method.validate({})
    small, large = (estimate.operations(method, n, 8, 5, knobs) for n in (10**4, 10**6))
    if "embeddings" in method.inputs:
        # A cost in s is that of a sample, which does not grow with a large data set.
        assert 0 < small == large if {*method.traits.cost.split()} >= {"s"} else 0 < 50 * small < large
