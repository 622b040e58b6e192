"""initpools: choose which images to label first, and measure whether the choice beat a random one."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

try:
    __version__ = version("initpools")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__", "select"]


def select(
    embeddings: ArrayLike | None,
    strategy: str,
    budget: int,
    *,
    labeled: ArrayLike | None = None,
    exclude: ArrayLike | None = None,
    seed: int = 0,
    device: str = "cpu",
    **knobs: Any,
) -> NDArray[np.int64]:
    """Choose `budget` images to label.

    Parameters
    ----------
    embeddings : (n, d) array or None
        One row per image; None for a strategy that does without.
    strategy : str
        A name of ``initpools list strategies``; of the scores among them, those that are made of embeddings.
    budget : int
        How many images, ≥ 1.
    labeled : (m,) int or (n,) bool, optional
        Images that have a label already.
    exclude : (m,) int or (n,) bool, optional
        Images not to be looked at.
    seed : int
        Decides everything that is drawn; ≥ 0.
    device : {"cpu", "cuda"}
        What multiplies blocks of rows.
    **knobs
        The strategy's own; ``normalize``, ``balance``, ``n_clusters`` and ``sample`` of every strategy; and the other
        arrays it reads, by name: ``scores``, ``probs``, ``view_probs``, ``mc_probs``, ``member_probs``,
        ``labels``, ``patches``, ``clusters``, ``order``.

    Returns
    -------
    (budget,) int64
        Distinct unlabelled images in order of choice.

    Raises
    ------
    initpools_cli.core.errors.UserError
        What is wrong with what was given, and what to do.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.array([[0.0], [1.0], [9.0], [10.0]]), "kcenter", 2, normalize=False)
    array([1, 3])
    """
    from initpools_cli.core.errors import UserError
    from initpools_cli.geometry.products import on_device
    from initpools_cli.steps.context import gpu
    from initpools_cli.steps.inputs import named, with_score
    from initpools_cli.strategies.choose import choose
    from initpools_cli.strategies.guards import refuse_indifferent
    from initpools_cli.strategies.inputs import INPUTS

    if device not in ("cpu", "cuda"):
        raise UserError(f"device = '{device}' is not valid.", "It is cpu or cuda.")
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed!r} is not valid.", "It is a whole number from 0 to 2**63 - 1.")
    wanted = named(strategy)
    own = {*wanted.method.knobs, *wanted.settable}
    shared = {
        key: knobs.pop(key)
        for key in ("normalize", "balance", "n_clusters", "sample")
        if key in knobs and key not in own
    }
    arrays = {key: knobs.pop(key) for key in INPUTS if key in knobs and key not in own}
    inputs = {"embeddings": embeddings, **arrays} if embeddings is not None else arrays
    of_score = wanted.score_knobs(knobs)
    plain = {key: value for key, value in knobs.items() if key not in of_score}
    name = wanted.method.name
    with on_device(gpu(device)):
        inputs = with_score(wanted, inputs, knobs, normalize=shared.get("normalize", True), seed=seed)
        chosen = choose(name, inputs, budget, labeled=labeled, exclude=exclude, seed=seed, knobs=plain, **shared)
    refuse_indifferent(wanted.method, chosen)
    return chosen.indices
