"""initpools: choose which images to label first, and measure whether the choice beat a random one."""

from __future__ import annotations

# `typing` is not imported, nor in `cli.app`: until that module is loaded, Ctrl-C ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from typing import Any, TypeVar

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from initpools_cli.selector import PoolSelector

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["PoolSelector", "__version__", "register", "select"]

__version__: str


def __getattr__(name: str) -> Any:
    # Loaded when asked for: reading the version takes a tenth of the time that the command line takes to start, and
    # scikit-learn far longer than all of it.
    if name == "__version__":
        from initpools_cli.core.version import version

        return version()
    if name == "PoolSelector":
        from initpools_cli.selector import PoolSelector

        return PoolSelector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register(
    *,
    paper: str = "",
    nested: bool = False,
    cost: str = "",
    factor: float = 0.0,
    check: Callable[[Mapping[str, Any], Mapping[str, Any]], None] | None = None,
    high: str = "",
) -> Callable[[F], F]:
    """Describe a strategy or score of yours, as a decorator of its function.

    It is optional: a function without it has the defaults.

    Parameters
    ----------
    paper : str
        Reference, such as ``"Doe 2026"``.
    nested : bool
        For a strategy: whether the picks for a larger budget begin with those for a smaller one.
    cost : str
        Number of operations for n images, d dimensions and budget b, such as ``"n² d"``.
    factor : float
        Time of one operation of `cost`, in multiply-adds of a matrix product. With it, runtimes are estimated.
    check : callable, optional
        For a strategy: a function of the arrays and the knobs that raises an error if they do not fit.
    high : str
        For a score: what a high value says about an image.

    Examples
    --------
    >>> @register(paper="Doe 2026", nested=True)
    ... def norm_top(embeddings, labeled, budget): ...
    """
    traits = {"paper": paper, "nested": nested, "cost": cost, "factor": factor, "check": check, "high": high}

    def decorate(function: F) -> F:
        # `core.plugin_signature` reads them; a function remains a function.
        function.__initpools__ = {key: value for key, value in traits.items() if value}  # type: ignore[attr-defined]
        return function

    return decorate


def select(
    embeddings: ArrayLike | str | PathLike[str] | None,
    strategy: str | Callable[..., Any],
    budget: int,
    *,
    labeled: ArrayLike | None = None,
    exclude: ArrayLike | None = None,
    seed: int = 0,
    device: str = "cpu",
    knobs: Mapping[str, Any] | None = None,
    **more: Any,
) -> NDArray[np.int64]:
    """Choose `budget` images to label.

    Parameters
    ----------
    embeddings : (n, d) array, tensor, data frame, path, or None
        One row per image; None for a strategy that reads none. A data frame has a column of lists, or numbered
        columns. A path is a file, also ``"feats.npz:NAME"``, a folder, or a pattern, as for ``--embeddings``.
    strategy : str or callable
        A name of ``initpools list strategies``, but of the scores among them only those of embeddings; or a strategy
        of yours, as a function or ``"PATH.py:function"``. A suffix spreads the picks over clusters:
        ``"typiclust@kmeans30"``, ``"random@clusters"``.
    budget : int
        Number of images to choose, ≥ 1.
    labeled : (m,) int or (n,) bool, optional
        Images that have a label already, as indices or as a mask. They are never chosen.
    exclude : (m,) int or (n,) bool, optional
        Images to leave out, as indices or as a mask.
    seed : int
        Seed of all random draws, ≥ 0.
    device : {"cpu", "cuda"}
        Device that multiplies blocks of rows.
    knobs : mapping, optional
        Knobs of the strategy, and of the score it ranks by, as in ``initpools list strategies``.
    **more
        Any of these, by name:

        - knobs, as in `knobs`;
        - settings of every strategy: ``normalize``, ``balance``, ``n_clusters``, ``sample``, ``copies``,
          ``min_distance``, ``semdedup``, ``per_group``, ``partitions`` and ``index``;
        - further arrays that the strategy or a setting reads: ``scores``, ``probs``, ``view_probs``, ``mc_probs``,
          ``member_probs``, ``features``, ``head``, ``labels``, ``patches``, ``clusters``, ``groups``, ``order`` and
          ``query_set``. The last is an array of embeddings (q, d), or indices or a mask of images, which are then not
          chosen.

        Some names are both a knob and a setting or an array: ``balance`` of activeft, ``clusters`` of prototypicality.
        Then an array is the array, a text is the setting, and a number is the knob. If `knobs` is passed, the keyword
        is never the knob.

    Returns
    -------
    (budget,) int64
        Indices of distinct unlabeled images, in order of choice; fewer if ``min_distance`` or ``semdedup`` leaves too
        few.

    Raises
    ------
    initpools_cli.core.errors.UserError
        If an argument is not valid. The message says what is wrong, and what to do.

    Warns
    -----
    UserWarning
        If embeddings have length zero (with their rows), if fewer images than `budget` are chosen, or if probabilities
        were rescaled.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[1.0], [2.0], [10.0], [11.0]])
    >>> select(points, "kcenter", 2, normalize=False)
    array([1, 3])

    One image from each of two clusters, with a knob that has the name of a setting:

    >>> circle = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
    >>> select(circle, "activeft", 2, knobs={"balance": 2.0}, balance="clusters", clusters=[0, 0, 1, 1])
    array([0, 2])
    """
    from initpools_cli.steps.select_arrays import select_arrays

    return select_arrays(
        embeddings,
        strategy,
        budget,
        labeled=labeled,
        exclude=exclude,
        seed=seed,
        device=device,
        knobs=knobs,
        more=more,
    ).indices
