"""Choose images from arrays, without a run: what `initpools_cli.select` and `PoolSelector` call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.matmul import on_device
from initpools_cli.steps.context import gpu
from initpools_cli.steps.keywords import as_array, sort_keywords
from initpools_cli.steps.query_set import resolve_query_set
from initpools_cli.steps.rows import facts_of, short_note, subject_of, zero_note
from initpools_cli.steps.strategy_inputs import with_score
from initpools_cli.steps.strategy_name import balanced, named
from initpools_cli.strategies.arrays import rounding_note
from initpools_cli.strategies.candidates import as_rows
from initpools_cli.strategies.checks import refuse_constant_outputs
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.selection import Selection


def select_arrays(
    embeddings: Any,
    strategy: str | Callable[..., Any],
    budget: int,
    *,
    labeled: Any = None,
    exclude: Any = None,
    seed: int = 0,
    device: str = "cpu",
    knobs: Mapping[str, Any] | None = None,
    more: Mapping[str, Any],
) -> Selection:
    """Choose `budget` images; `initpools_cli.select` describes the parameters.

    Parameters
    ----------
    more : mapping
        The keywords of `initpools_cli.select` that are knobs, settings or arrays.

    Returns
    -------
    Selection
        In order of choice.

    Raises
    ------
    UserError
        If a value is not valid.

    Warns
    -----
    UserWarning
        As `initpools_cli.select`, at the line that called the caller of this function.
    """
    if device not in ("cpu", "cuda"):
        raise UserError(f"device = '{device}' is not valid.", "Use 'cpu' or 'cuda'.", device)
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed!r} is not valid.", "Use an integer from 0 to 2**63 - 1.", seed)
    wanted = named(strategy)
    given = sort_keywords(wanted, knobs, more)
    points = as_array("embeddings", embeddings)
    inputs = given.inputs if points is None else {"embeddings": points, **given.inputs}
    of_score = wanted.score_knobs(given.knobs)
    own = {key: value for key, value in given.knobs.items() if key not in of_score}
    normalize = given.settings.get("normalize", True)
    said = {key: given.settings[key] for key in ("balance", "n_clusters") if key in given.settings}
    spread = balanced(wanted, SelectTable(**said))
    settings = {**given.settings, "balance": spread.balance.kind, "n_clusters": spread.balance.n_clusters}
    with on_device(gpu(device)):
        own_scores = "scores" not in inputs
        excluded = as_array("exclude", exclude)
        if inputs.get("query_set") is not None and points is not None:
            inputs, queries = resolve_query_set(inputs, len(points), "query_set")
            excluded = np.union1d(as_rows("exclude", excluded, len(points)), queries)
        inputs = with_score(wanted, inputs, of_score, normalize=normalize, seed=seed, exclude=excluded)
        facts = facts_of(subject_of(spread, inputs, own_scores=own_scores))
        chosen = choose(
            wanted.method,
            inputs,
            budget,
            labeled=as_array("labeled", labeled),
            exclude=excluded,
            seed=seed,
            knobs=own,
            facts=facts,
            **settings,
        )
    refuse_constant_outputs(wanted.method, chosen)
    short = short_note(len(chosen.indices), budget, given.settings)
    for note in (zero_note(facts, excluded), short, rounding_note(wanted.method, inputs)):
        if note:
            warnings.warn(note, stacklevel=3)
    return chosen
