"""Choosing from Python: what the keywords of `initpools_cli.select` mean."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest
from plain import QUICK

import initpools_cli
from initpools_cli import selector
from initpools_cli.core.errors import UserError
from initpools_cli.scores.registry import scores
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.testing import cloud, inputs_for

NAMED = [*(method.name for method in strategies), *(method.name for method in scores)]
ARGUMENTS = inspect.signature(initpools_cli.select).parameters


@pytest.mark.parametrize(
    ("setting", "fact", "remedy"),
    [
        ({"balance": "kmean"}, "balance = 'kmean' is not valid", "Did you mean 'kmeans'"),
        ({"sample": -1}, "sample=-1 is negative", "≥ 1, or 0"),
        ({"n_clusters": -1}, "n_clusters=-1 is negative", "≥ 1, or 0"),
        ({"copies": "first"}, "copies = 'first' is not valid", "Use one of"),
        ({"min_distance": -0.1}, "min_distance=-0.1 is not valid", "finite number ≥ 0"),
        ({"min_distance": float("inf")}, "min_distance=inf is not valid", "finite number ≥ 0"),
        ({"semdedup": 1.01}, "semdedup=1.01 is not valid", "from 0 to 1"),
        ({"semdedup": -0.01}, "semdedup=-0.01 is not valid", "from 0 to 1"),
        ({"per_group": -1}, "per_group=-1 is negative", "≥ 1, or 0"),
    ],
)
def test_settings_out_of_range_are_named_with_what_is_valid(setting, fact, remedy):
    with pytest.raises(UserError, match=fact) as error:
        choose("kcenter", {"embeddings": cloud()}, 3, **setting)
    assert remedy in error.value.remedy


@pytest.mark.parametrize("name", NAMED)
def test_every_knob_at_its_default_can_be_given_to_select_in_both_ways(name):
    strategy = parse_strategy(name)
    inputs = inputs_for(cloud())
    points = inputs.pop("embeddings")
    if strategy.scoring is not None and strategy.scoring.inputs == ("embeddings",):
        del inputs["scores"]
    quick = QUICK.get(name, {})
    knobs = strategy.method.validate(quick) | (strategy.scoring.validate({}) if strategy.scoring else {})
    assert not set(knobs) & set(ARGUMENTS)
    expected = initpools_cli.select(points, name, 6, **inputs, **quick)
    mapped = initpools_cli.select(points, name, 6, knobs=knobs, **inputs)
    np.testing.assert_array_equal(mapped, expected)
    # Keywords can't be repeated: what the strategy does not read makes way for a knob of that name.
    others = {key: value for key, value in inputs.items() if key not in knobs}
    np.testing.assert_array_equal(initpools_cli.select(points, name, 6, **others, **knobs), expected)
    np.testing.assert_array_equal(initpools_cli.select(points.tolist(), name, 6, knobs=knobs, **others), expected)


@pytest.mark.parametrize("name", NAMED)
def test_every_strategy_can_be_balanced_over_given_clusters_from_python(name):
    strategy = parse_strategy(name)
    inputs = inputs_for(cloud())
    points, clusters = inputs.pop("embeddings"), inputs["clusters"]
    if strategy.scoring is not None and strategy.scoring.inputs == ("embeddings",):
        del inputs["scores"]
    knobs = strategy.method.validate(QUICK.get(name, {})) | (strategy.scoring.validate({}) if strategy.scoring else {})
    for mapping in (QUICK.get(name), knobs):
        picks = initpools_cli.select(points, name, 6, balance="clusters", knobs=mapping, **inputs)
        assert np.bincount(clusters[picks], minlength=3).tolist() == [2, 2, 2]


def test_a_name_that_is_a_knob_and_something_else_means_what_its_value_is():
    points, clusters = cloud(), np.arange(60) % 3
    both = initpools_cli.select(points, "activeft", 6, knobs={"balance": 3.0}, balance="clusters", clusters=clusters)
    inputs = {"embeddings": points, "clusters": clusters}
    expected = choose("activeft", inputs, 6, balance="clusters", knobs={"balance": 3.0})
    np.testing.assert_array_equal(both, expected.indices)
    weighed = choose("activeft", inputs, 6, knobs={"balance": 3.0}).indices
    np.testing.assert_array_equal(initpools_cli.select(points, "activeft", 6, balance=np.float32(3)), weighed)
    near = initpools_cli.select(points, "prototypicality", 6, clusters=np.int64(4))
    np.testing.assert_array_equal(near, initpools_cli.select(points, "prototypicality", 6, knobs={"clusters": 4}))
    spread = initpools_cli.select(points, "prototypicality", 6, clusters=clusters.tolist(), balance="clusters")
    assert (clusters[spread] == [0, 1, 2] * 2).all()
    settled = initpools_cli.select(points, "probcover", 6, balance="kmeans", n_clusters=2, knobs={"n_clusters": 5})
    expected = choose("probcover", inputs, 6, balance="kmeans", n_clusters=2, knobs={"n_clusters": 5})
    np.testing.assert_array_equal(settled, expected.indices)


@pytest.mark.parametrize(
    ("keywords", "fact", "remedy"),
    [
        ({"n_clusters": 5, "balance": "kmeans"}, "n_clusters=5 may be the knob", "knobs={'n_clusters': …}"),
        ({"alpha": 0.9, "knobs": {"alpha": 0.9}}, "The knob 'alpha' is given twice", "Leave alpha out"),
        ({"knobs": ["alpha"]}, "knobs is of type list", "knobs={'name': value}"),
        ({"knobs": {"alhpa": 0.9}}, "'probcover' has no knob 'alhpa'", "Did you mean 'alpha'"),
        ({"balance": "kmean"}, "balance = 'kmean' is not valid", "Did you mean 'kmeans'"),
        ({"sample": 2.5}, "sample = 2.5 is not valid", "Set sample"),
        ({"clusters": [[1], [2, 3]]}, "clusters is not an array", "the same length"),
    ],
)
def test_keywords_that_cannot_be_meant_are_refused(keywords, fact, remedy):
    with pytest.raises(UserError) as error:
        initpools_cli.select(cloud(), "probcover", 6, **keywords)
    assert error.value.fact.startswith(fact)
    assert remedy in error.value.remedy


def test_an_unknown_knob_of_a_score_is_named_with_those_that_it_has():
    with pytest.raises(UserError) as error:
        initpools_cli.select(cloud(), "prototypicality", 6, cluster=5)
    assert error.value.fact == "'prototypicality' has no knob 'cluster'."
    assert error.value.remedy == "Did you mean 'clusters'? Choose one of: clusters, order."


@pytest.mark.parametrize("module", [initpools_cli, selector])
def test_the_examples_of_select_hold(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed
