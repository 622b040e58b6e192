"""The contract of strategies as checks, for the strategies of this package and for those of users.

>>> from initpools_cli.testing import check_strategy
>>> def first(n, labeled, budget):
...     '''The first images that have no label.'''
...     return [row for row in range(n) if row not in labeled][:budget]
>>> check_strategy(first)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.arrays import INPUTS, take
from initpools_cli.strategies.balance import BALANCES
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.traits import StrategyTraits

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = NDArray[Any]
Strategy = Method[StrategyTraits]
Knobs = Mapping[str, Any]


def check_strategy(strategy: str | Callable[..., Any], **knobs: Any) -> None:
    """Check that a strategy keeps the contract of strategies, by a few hundred choices among at most 3,000 images.

    The strategy must

    - choose exactly `budget` distinct images, none of them labeled or excluded;
    - choose the same images for the same seed and any number of threads;
    - with ``nested=True``, begin the picks for a larger budget with those for a smaller one;
    - accept copies, a single image, and a budget of all images;
    - leave its inputs unchanged, and refuse NaN.

    Parameters
    ----------
    strategy : str or callable
        A function, ``"PATH.py:function"``, or a name of ``initpools list strategies``.
    **knobs
        Knobs of the strategy, for example to make it faster than with its defaults.

    Raises
    ------
    AssertionError
        If a check fails. The message has the first one, with the images that were chosen.
    UserError
        If there is no such strategy, or the function does not have the signature of a strategy.
    """
    from initpools_cli.steps.strategy_name import parse_strategy

    method = parse_strategy(strategy).method
    check_defaults(method)
    for balance in BALANCES:
        for case in HARD_CASES:
            check_budget(method, case, balance, knobs)
        for case in EQUAL:
            check_equal_embeddings(method, case, balance, knobs)
        check_nested(method, balance, knobs)
        for normalize in (True, False):
            check_copies(method, balance, normalize, knobs)
    for check in (check_threads, check_excluded, check_missing, check_not_finite, check_inputs_kept, check_sample):
        check(method, knobs)
    for case in HARD_CASES:
        check_optional(method, case, knobs)


def cloud(n: int = 60, d: int = 5, seed: int = 0) -> NDArray[np.float32]:
    """Normally distributed points (n, d)."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def inputs_for(embeddings: Array, seed: int = 0) -> dict[str, Array]:
    """All inputs for n images; scores vary with the row, so that equal embeddings leave an order to find."""
    n = len(embeddings)
    rng = np.random.default_rng(seed)
    return {
        "embeddings": embeddings,
        "probs": rng.dirichlet(np.ones(3), size=n),
        "view_probs": rng.dirichlet(np.ones(3), size=(4, n)),
        "mc_probs": rng.dirichlet(np.ones(3), size=(5, n)),
        "member_probs": rng.dirichlet(np.ones(3), size=(3, n)),
        "features": rng.normal(size=(n, 4)).astype(np.float32),
        "head": rng.normal(size=(5, 3)),
        "vaal_scores": rng.random(n),
        "calibration": np.array([1.5]),
        "scores": rng.normal(size=n),
        "labels": np.where(np.arange(n) % 3 == 1, 1, 0),
        "patches": rng.normal(size=(n, 3, 2)),
        "clusters": rng.integers(0, 3, size=n),
        "groups": rng.integers(0, 9, size=n),
        "order": rng.permutation(n),
        "query_set": rng.normal(size=(4, embeddings.shape[1])).astype(np.float32),
    }


def _two_tight_clusters() -> Array:
    points = 1e-4 * cloud(40, 3)
    points[:20] += [1, 0, 0]
    points[20:] += [0, 1, 0]
    return points


#: By name: embeddings, labeled rows, budget, and whether embeddings are normalized.
HARD_CASES: Mapping[str, tuple[Array, list[int], int, bool]] = {
    "one image": (cloud(1), [], 1, True),
    "two images": (cloud(2), [0], 1, True),
    "zero rows": (np.where(np.arange(30)[:, None] % 3, cloud(30), 0), [], 25, True),
    "zero rows that are labeled": (np.where(np.arange(30)[:, None] % 3, cloud(30), 0), [0, 1, 3], 20, False),
    "copies of what is labeled": (np.repeat(cloud(6), 5, axis=0), [0, 5, 10, 15, 20, 25], 20, True),
    "copies of one but for a few": (np.vstack([np.ones((26, 5), np.float32), cloud(4)]), [3], 20, True),
    "one constant feature": (np.hstack([cloud(30, 2), np.full((30, 1), 5.0)]), [], 9, False),
    "whole budget": (cloud(50), [], 50, True),
    "all labeled but the budget": (cloud(50), list(range(44)), 6, True),
    "two tight clusters": (_two_tight_clusters(), [1], 7, True),
    "one dimension": (cloud(50, 1), [], 12, False),
    "one dimension, normalized to signs": (cloud(50, 1), [2], 12, True),
    "many duplicates": (np.repeat(cloud(6), 10, axis=0), [0], 30, True),
    "large offset": (cloud(40) + 1000, [], 10, False),
    "float64": (cloud(40).astype(np.float64), [], 10, True),
    "whole numbers": ((cloud(40) * 3).astype(np.int64), [], 10, True),
    "not contiguous": (cloud(80, 10)[::2, ::2], [4], 10, False),
}

#: Embeddings that are the same for all images, exactly or as strategies get them.
EQUAL: Mapping[str, Array] = {
    "all equal": np.ones((30, 4), np.float32),
    "all zero": np.zeros((30, 4), np.float32),
    "all but the zero rows equal": np.where(np.arange(30)[:, None] < 5, 0, np.ones((30, 4), np.float32)),
    "one direction": np.arange(1, 31, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32),
    "equal within rounding": 1 + 1e-7 * np.random.default_rng(0).random((30, 4)).astype(np.float32),
}

# Rows 0 to 2 are the originals of three copies each, row 30 of one; 20 to 24 are zero, and so is 25 but for rounding.
COPIED = np.vstack([cloud(3), np.repeat(cloud(3), 3, axis=0), cloud(8, seed=1), np.zeros((6, 5)), cloud(8, seed=2)])
COPIED = np.vstack([COPIED[:33], COPIED[30]]).astype(np.float32)
COPIED[25] = 1e-9
ZERO, COPIES = [20, 21, 22, 23, 24, 25], [*range(3, 12), 33]


def reads_embeddings(method: Strategy, balance: str = "none") -> bool:
    """Whether a choice depends on embeddings or patches."""
    return balance == "kmeans" or bool({"embeddings", "patches"} & {*method.inputs, *method.optional})


def check_picks(selection: Selection, n: int, labeled: Collection[int], budget: int, where: str = "") -> None:
    """Exactly `budget` distinct rows of n, none labeled; scores and clusters of each, where there are any."""
    indices = selection.indices
    _require(indices.dtype == np.int64, f"{where}: the picks are {indices.dtype}, not int64")
    _require(indices.shape == (budget,), f"{where}: there are picks of shape {indices.shape} for a budget of {budget}")
    _require(len(np.unique(indices)) == budget, f"{where}: a row was chosen twice: {indices.tolist()}")
    _require(not np.isin(indices, list(labeled)).any(), f"{where}: a labeled row was chosen: {indices.tolist()}")
    _require(indices.min() >= 0 and indices.max() < n, f"{where}: there are {n} rows, chosen: {indices.tolist()}")
    if selection.scores is not None:
        _require(selection.scores.dtype == np.float64, f"{where}: scores are {selection.scores.dtype}, not float64")
        _require(selection.scores.shape == (budget,), f"{where}: {len(selection.scores)} scores for {budget} picks")
        own = selection.scores[~np.isin(indices, selection.fallback)]
        _require(not np.isnan(own).any(), f"{where}: scores of picks are NaN")
    if selection.clusters is not None:
        _require(selection.clusters.dtype == np.int64, f"{where}: clusters are {selection.clusters.dtype}, not int64")
        _require(selection.clusters.shape == (budget,), f"{where}: clusters of other than the {budget} picks")


def check_defaults(method: Strategy) -> None:
    """All inputs exist, and the defaults of the knobs are valid."""
    _require({*method.inputs, *method.optional} <= set(INPUTS), f"'{method.name}' reads what there is not")
    method.validate({key: default for key, (_, default) in method.knobs.items() if default is not None})


def check_budget(method: Strategy, case: str, balance: str, knobs: Knobs) -> None:
    """Exactly `budget` distinct unlabeled images, and the same images for the same seed."""
    embeddings, labeled, budget, normalize = HARD_CASES[case]
    where = f"'{method.name}', {case}, balance {balance}"
    options = {"labeled": labeled, "normalize": normalize, "balance": balance, "n_clusters": 3, "seed": 1}
    with _failing(where):
        selection = choose(method, inputs_for(embeddings), budget, knobs=knobs, **options)  # type: ignore[arg-type]
        again = choose(method, inputs_for(embeddings), budget, knobs=knobs, **options)  # type: ignore[arg-type]
    check_picks(selection, len(embeddings), labeled, budget, where)
    _equal(selection.indices, again.indices, f"{where}: the same seed did not choose the same images")


def check_equal_embeddings(method: Strategy, case: str, balance: str, knobs: Knobs) -> None:
    """Embeddings that are all equal are refused where a strategy reads them, and make no difference elsewhere."""
    inputs = inputs_for(EQUAL[case]) | {"patches": np.repeat(EQUAL[case][:, None], 2, axis=1)}
    options: dict[str, Any] = {"labeled": [3, 7], "balance": balance, "knobs": knobs}
    where = f"'{method.name}', embeddings {case}, balance {balance}"
    # Patches are compared without scaling.
    differs_in_length = case in ("one direction", "equal within rounding")
    may_differ = "patches" in method.inputs and balance != "kmeans" and differs_in_length
    if reads_embeddings(method, balance) and not may_differ:
        _refused(partial(choose, method, inputs, 5, **options), "The embeddings of all 30 images are equal", where)
        return
    with _failing(where):
        selection = choose(method, inputs, 5, **options)
    check_picks(selection, 30, [3, 7], 5, where)


def check_copies(method: Strategy, balance: str, normalize: bool, knobs: Knobs) -> None:
    """Copies of other images, and then rows of length zero, come after all others."""
    if not reads_embeddings(method):
        return
    inputs = inputs_for(COPIED) | {"patches": np.repeat(COPIED[:, None], 2, axis=1)}
    options: dict[str, Any] = {"normalize": normalize, "balance": balance, "n_clusters": 3, "knobs": knobs}
    for labeled, others in (([], COPIES), ([4, 12, 20], [0, *COPIES])):
        where = f"'{method.name}', copies, balance {balance}, labeled {labeled}"
        copies, zero = np.setdiff1d(others, labeled), np.setdiff1d(ZERO, labeled)
        first = np.setdiff1d(np.arange(34), [*labeled, *copies, *zero])
        with _failing(where):
            every = choose(method, inputs, 34 - len(labeled), labeled=labeled, **options)
            few = choose(method, inputs, 5, labeled=labeled, **options)
            with_copies = choose(method, inputs, 5, labeled=labeled, copies="any", **options)
        parts = np.split(every.indices, [len(first), len(first) + len(copies)])
        _equal(np.sort(parts[0]), first, f"{where}: images without copies do not come first")
        _equal(np.sort(parts[1]), copies, f"{where}: copies do not come next")
        _equal(parts[2], zero, f"{where}: rows of length zero do not come last")
        _equal(every.fallback, every.indices[len(first) :], f"{where}: `fallback` is not what comes last")
        _require(bool(np.isin(few.indices, first).all()), f"{where}: a copy is chosen before others")
        _require(not np.isin(with_copies.indices, ZERO).any(), f"{where}: a row of length zero is chosen before others")


def check_threads(method: Strategy, knobs: Knobs) -> None:
    """One and two threads choose the same, to the last bit of the scores."""
    from threadpoolctl import threadpool_limits

    inputs, selections = inputs_for(cloud(3000, 24)), []
    for threads in (1, 2):
        with threadpool_limits(threads), _failing(f"'{method.name}', {threads} threads"):
            selections.append(choose(method, inputs, 40, labeled=[5, 6], knobs=knobs))
    one, two = selections
    _equal(one.indices, two.indices, f"'{method.name}': one and two threads choose different images")
    if one.scores is not None and two.scores is not None:
        same = one.scores.tobytes() == two.scores.tobytes()
        _require(same, f"'{method.name}': the scores of one and two threads differ")


def check_nested(method: Strategy, balance: str, knobs: Knobs) -> None:
    """With ``nested=True`` a larger pool begins with the smaller one."""
    if not method.traits.nested:
        return
    for embeddings in (cloud(90), np.repeat(cloud(30), 3, axis=0)):
        options: dict[str, Any] = {"labeled": [4], "balance": balance, "n_clusters": 4, "knobs": knobs}
        where = f"'{method.name}', balance {balance}"
        with _failing(where):
            small, large = (choose(method, inputs_for(embeddings), budget, **options) for budget in (20, 50))
        _equal(small.indices, large.indices[:20], f"{where}: nested=True, but 50 picks do not begin with the 20")


def check_excluded(method: Strategy, knobs: Knobs) -> None:
    """Excluded images change nothing, as if they did not exist."""
    inputs, exclude = inputs_for(cloud(80)), np.arange(10, 35)
    rows = np.setdiff1d(np.arange(80), exclude)
    without = {name: take(name, array, rows) for name, array in inputs.items() if name != "order"}
    order = inputs["order"]
    without["order"] = np.searchsorted(rows, order[np.isin(order, rows)])
    options: dict[str, Any] = {"seed": 3, "knobs": knobs}
    where = f"'{method.name}', excluded images"
    with _failing(where):
        selection = choose(method, inputs, 12, labeled=[0, 40], exclude=exclude, **options)
        alone = choose(method, without, 12, labeled=np.searchsorted(rows, [0, 40]), **options)
        by_mask = choose(method, inputs, 12, labeled=[0, 40], exclude=np.isin(np.arange(80), exclude), **options)
    _equal(selection.indices, rows[alone.indices], f"{where}: they are not as good as absent")
    _equal(selection.indices, by_mask.indices, f"{where}: as a mask they are not the same")


def check_not_finite(method: Strategy, knobs: Knobs) -> None:
    """NaN and infinity are refused with their rows."""
    for name in (*method.inputs, *method.optional):
        for bad in (np.nan, np.inf):
            inputs = inputs_for(cloud())
            if inputs[name].dtype.kind != "f" or not INPUTS[name].of_images:
                continue
            inputs[name] = inputs[name].copy()
            inputs[name][(0, [4, 9]) if INPUTS[name].axis else ([4, 9],)] = bad
            message = f"{name} has NaN or infinity in 2 of its rows: 4, 9."
            _refused(partial(choose, method, inputs, 5, knobs=knobs), message, f"'{method.name}', {bad}")


def check_missing(method: Strategy, knobs: Knobs) -> None:
    """A missing input is named, with the way to give it."""
    for name in method.inputs:
        inputs = {other: array for other, array in inputs_for(cloud()).items() if other != name}
        error = _refused(
            partial(choose, method, inputs, 5, knobs=knobs),
            f"'{method.name}' needs {name}",
            f"'{method.name}' without {name}",
        )
        _require("--" in error.remedy or "al-run" in error.remedy, f"no way to give it is named: {error.remedy}")


def check_optional(method: Strategy, case: str, knobs: Knobs) -> None:
    """Arrays with a default may be left out."""
    if not method.optional:
        return
    embeddings, labeled, budget, normalize = HARD_CASES[case]
    inputs = {name: a for name, a in inputs_for(embeddings).items() if name not in method.optional}
    options: dict[str, Any] = {"labeled": labeled, "normalize": normalize, "seed": 1, "knobs": knobs}
    where = f"'{method.name}', {case}, without {', '.join(method.optional)}"
    with _failing(where):
        without = choose(method, inputs, budget, **options)
        absent: dict[str, Any] = dict.fromkeys(method.optional)
        none = choose(method, {**inputs, **absent}, budget, **options)
    check_picks(without, len(embeddings), labeled, budget, where)
    _equal(without.indices, none.indices, f"{where}: None is not the same as missing")


def check_inputs_kept(method: Strategy, knobs: Knobs) -> None:
    """The arrays are not modified."""
    inputs = inputs_for(cloud())
    copies = {name: array.copy() for name, array in inputs.items()}
    with _failing(f"'{method.name}'"):
        choose(method, inputs, 5, normalize=False, knobs=knobs)
    for name, array in inputs.items():
        _equal(array, copies[name], f"'{method.name}' changed {name}")


def check_sample(method: Strategy, knobs: Knobs) -> None:
    """A sample is as if no other images existed but the labeled ones."""
    inputs, labeled = inputs_for(cloud(80)), [0, 40]
    options: dict[str, Any] = {"labeled": labeled, "seed": 3, "knobs": knobs}
    free = np.setdiff1d(np.arange(80), labeled)
    sample = generator(3, "sample").choice(free, 30, replace=False)
    where = f"'{method.name}', a sample"
    with _failing(where):
        selection = choose(method, inputs, 12, sample=30, **options)
        alone = choose(method, inputs, 12, exclude=np.setdiff1d(free, sample), **options)
        everything = choose(method, inputs, 12, sample=100, **options)
        whole = choose(method, inputs, 12, **options)
    check_picks(selection, 80, labeled, 12, where)
    _equal(selection.indices, alone.indices, f"{where}: other images make a difference")
    _equal(everything.indices, whole.indices, f"{where} of all images is not the same as none")


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(f"{text}.")


def _equal(one: Array, other: Array, text: str) -> None:
    if not np.array_equal(one, other):
        raise AssertionError(f"{text}: {np.asarray(one).tolist()} and {np.asarray(other).tolist()}.")


@contextmanager
def _failing(where: str) -> Iterator[None]:
    """Turn a `UserError` into a failure of the check."""
    try:
        yield
    except UserError as error:
        raise AssertionError(f"{where}: {error}") from error


def _refused(call: Callable[[], Selection], message: str, where: str) -> UserError:
    try:
        selection = call()
    except UserError as error:
        if message not in error.fact:
            raise AssertionError(f"{where}: refused, but not with '{message}': {error}") from error
        return error
    raise AssertionError(f"{where}: chose {selection.indices.tolist()} instead of the error '{message}'.")
