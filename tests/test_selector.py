"""`PoolSelector`: scikit-learn's checks of estimators, and the same picks as `initpools_cli.select`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid
from sklearn.utils.estimator_checks import parametrize_with_checks

import initpools_cli
from initpools_cli import PoolSelector
from initpools_cli.core.errors import UserError

#: Each has a test of its own below.
DOES_NOT_APPLY = {
    "check_fit2d_1sample": "a budget above the number of images is a UserError, and the check expects a ValueError",
    "check_fit2d_1feature": "scaled to length 1, embeddings of one positive dimension are equal, and refused",
}


def cloud(n: int = 40, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


@parametrize_with_checks([PoolSelector(budget=3)], expected_failed_checks=lambda _: DOES_NOT_APPLY)
def test_checks_of_scikit_learn(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("points", "fact"),
    [(np.ones((1, 10)), "budget=3 is more than the 1 unlabeled"), (np.arange(1.0, 11)[:, None], "are equal")],
)
def test_checks_that_do_not_apply_end_in_an_error_of_the_user(points: np.ndarray, fact: str) -> None:
    with pytest.raises(UserError, match=fact):
        PoolSelector(budget=3).fit(points)


@pytest.mark.parametrize(
    ("strategy", "params"),
    [
        ("kcenter", {"normalize": False}),
        ("typiclust", {"neighbors": 5}),
        ("random@clusters", {"clusters": np.arange(40) % 4}),
        ("typicality", None),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, lambda points: points.astype(np.float16)])
def test_picks_are_those_of_select(strategy: str, params: dict | None, kind: Callable) -> None:
    points = kind(cloud())
    labeled, excluded = [3, 5], np.arange(40) > 34
    selector = PoolSelector(strategy, 6, seed=2, params=params).fit(points, labeled=labeled, exclude=excluded)
    expected = initpools_cli.select(
        np.asarray(points), strategy, 6, seed=2, labeled=labeled, exclude=excluded, **(params or {})
    )
    np.testing.assert_array_equal(selector.indices_, expected)
    np.testing.assert_array_equal(selector.get_support(indices=True), np.sort(expected))
    np.testing.assert_array_equal(np.flatnonzero(selector.get_support()), np.sort(expected))
    assert selector.get_support().shape == (40,) and selector.n_features_in_ == 3


def test_scores_are_those_of_the_strategy_or_the_order() -> None:
    points = cloud()
    best = PoolSelector("typicality", 5).fit(points).scores_
    assert (np.diff(best) <= 0).all() and best[0] > best[-1]
    np.testing.assert_array_equal(PoolSelector("random", 5).fit(points).scores_, np.arange(5.0))


def test_parameters_can_be_searched_and_copied() -> None:
    grid = ParameterGrid({"strategy": ["kcenter", "kmeans"], "budget": [2, 4]})
    for setting in grid:
        fitted = clone(PoolSelector(seed=1).set_params(**setting)).fit(cloud())
        assert len(fitted.indices_) == setting["budget"] and fitted.get_params() == {
            **setting,
            "seed": 1,
            "params": None,
        }


def test_warnings_are_of_the_line_that_fits() -> None:
    with pytest.warns(UserWarning, match="8 images are chosen, of 30") as caught:
        PoolSelector("kcenter", 30, params={"min_distance": 0.9}).fit(cloud())
    assert caught[0].filename == __file__


@pytest.mark.parametrize("params", ["normalize", {"labeled": [1]}, {"normalise": False}])
def test_params_that_are_none_are_refused(params: object) -> None:
    with pytest.raises(UserError, match=r"params|labeled|normalise"):
        PoolSelector("kcenter", 3, params=params).fit(cloud())  # type: ignore[arg-type]


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, initpools_cli; assert not {'sklearn', 'numpy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
