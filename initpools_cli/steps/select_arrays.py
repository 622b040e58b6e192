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
from initpools_cli.steps.strategy_name import parse_strategy, with_balance
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
    spec = parse_strategy(strategy)
    keywords = sort_keywords(spec, knobs, more)
    points = as_array("embeddings", embeddings)
    inputs = keywords.inputs if points is None else {"embeddings": points, **keywords.inputs}
    of_score = spec.score_knobs(keywords.knobs)
    own = {key: value for key, value in keywords.knobs.items() if key not in of_score}
    normalize = keywords.settings.get("normalize", True)
    balance = {key: keywords.settings[key] for key in ("balance", "n_clusters") if key in keywords.settings}
    balanced_spec = with_balance(spec, SelectTable(**balance))
    settings = {
        **keywords.settings,
        "balance": balanced_spec.balance.kind,
        "n_clusters": balanced_spec.balance.n_clusters,
    }
    with on_device(gpu(device)):
        own_scores = "scores" not in inputs
        exclude = as_array("exclude", exclude)
        if inputs.get("query_set") is not None and points is not None:
            inputs, queries = resolve_query_set(inputs, len(points), "query_set")
            exclude = np.union1d(as_rows("exclude", exclude, len(points)), queries)
        inputs = with_score(spec, inputs, of_score, normalize=normalize, seed=seed, exclude=exclude)
        facts = facts_of(subject_of(balanced_spec, inputs, own_scores=own_scores))
        selection = choose(
            spec.method,
            inputs,
            budget,
            labeled=as_array("labeled", labeled),
            exclude=exclude,
            seed=seed,
            knobs=own,
            facts=facts,
            **settings,
        )
    refuse_constant_outputs(spec.method, selection)
    short = short_note(len(selection.indices), budget, keywords.settings)
    for note in (zero_note(facts, exclude), short, rounding_note(spec.method, inputs)):
        if note:
            warnings.warn(note, stacklevel=3)
    return selection
