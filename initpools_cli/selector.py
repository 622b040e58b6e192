"""Selection of images as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from initpools_cli.core.errors import UserError
from initpools_cli.steps.select_arrays import select_arrays
from initpools_cli.strategies.defaults import FIRST_POOL


class PoolSelector(BaseEstimator):
    """Choose the images to label, as an estimator of scikit-learn.

    It chooses the same images as `initpools_cli.select`.

    Parameters
    ----------
    strategy : str or callable
        A name of ``initpools list strategies``, or a strategy of yours, as for `initpools_cli.select`.
    budget : int
        Number of images to choose, ≥ 1.
    seed : int
        Seed of all random draws, ≥ 0.
    params : mapping, optional
        Other keywords of `initpools_cli.select`: knobs of the strategy, settings such as ``normalize``, and further
        arrays that it reads. `fit` takes `labeled` and `exclude`.

    Attributes
    ----------
    indices_ : (budget,) int64
        Rows of the chosen images, in order of choice.
    scores_ : (budget,) float64
        Scores of the chosen images, in the same order, as in the column ``score`` of a pool. For a strategy without
        scores: 0, 1, …, the order of choice.
    n_samples_ : int
        Number of images.
    n_features_in_ : int
        Number of dimensions.
    feature_names_in_ : (n_features_in_,) str
        Names of the columns, if `X` is a data frame whose columns have names.

    Examples
    --------
    >>> import numpy as np
    >>> from initpools_cli import PoolSelector
    >>> points = np.array([[1.0], [2.0], [10.0], [11.0]])
    >>> selector = PoolSelector("kcenter", budget=2, params={"normalize": False}).fit(points)
    >>> selector.indices_
    array([1, 3])
    >>> selector.get_support()
    array([False,  True, False,  True])
    """

    def __init__(
        self,
        strategy: str | Callable[..., Any] = FIRST_POOL,
        budget: int = 10,
        seed: int = 0,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.strategy = strategy
        self.budget = budget
        self.seed = seed
        self.params = params

    def fit(
        self, X: ArrayLike, y: Any = None, *, labeled: ArrayLike | None = None, exclude: ArrayLike | None = None
    ) -> PoolSelector:
        """Choose `budget` rows of `X`.

        Parameters
        ----------
        X : (n, d) array or data frame
            Embeddings, one row per image.
        y : object
            Ignored.
        labeled : (m,) int or (n,) bool, optional
            Images that have a label already, as indices or as a mask. They are never chosen.
        exclude : (m,) int or (n,) bool, optional
            Images to leave out, as indices or as a mask.

        Returns
        -------
        PoolSelector
            This estimator.

        Raises
        ------
        ValueError
            If `X` is not a matrix of finite numbers.
        initpools_cli.core.errors.UserError
            If a parameter is not valid, or the strategy can't choose among these rows.
        """
        rows = validate_data(self, X, dtype=[np.float64, np.float32, np.float16])
        selection = select_arrays(
            rows,
            self.strategy,
            self.budget,
            labeled=labeled,
            exclude=exclude,
            seed=self.seed,
            more=_keywords(self.params),
        )
        order = np.arange(len(selection.indices), dtype=np.float64)
        self.indices_ = selection.indices
        self.scores_ = order if selection.scores is None else selection.scores
        self.n_samples_ = len(rows)
        return self

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Return which rows were chosen.

        Parameters
        ----------
        indices : bool
            Return the indices of these rows, ascending, instead of a mask.

        Returns
        -------
        (n,) bool or (budget,) int64
        """
        check_is_fitted(self)
        mask = np.zeros(self.n_samples_, bool)
        mask[self.indices_] = True
        return np.flatnonzero(mask) if indices else mask


def _keywords(params: object) -> dict[str, Any]:
    """Return `params` as keywords of `select_arrays`."""
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        kind = type(params).__name__
        raise UserError(f"params is of type {kind}, not a mapping.", "Write params={'name': value}.", kind)
    return dict(params)
