"""Measure the runtime and memory of strategies on this machine, on more and more images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core import profiling
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.chunked import available_threads
from initpools_cli.steps.strategy_inputs import with_score
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy, refuse_same_stem
from initpools_cli.strategies.arrays import inputs_of

if TYPE_CHECKING:
    import pandas as pd

#: Fewer images are too few to measure growth.
FEWEST = 100
#: What takes less time than this, in seconds, is timed three times.
QUICK = 0.2
COLUMNS = ["strategy", "n", "d", "budget", "threads", "seconds", "bytes"]


def measure(
    embeddings: np.ndarray, names: Sequence[str], budget: int, seconds: float, seed: int, report: Reporter
) -> pd.DataFrame:
    """Time each strategy on twice as many images again and again, while it takes less than `seconds`.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
        The images; smaller sets are random, and each is part of the next.
    names : sequence of str
        Strategies with their default knobs; none: all that need only embeddings.
    budget : int
        Images to choose.

    Returns
    -------
    DataFrame
        strategy, n, d, budget, threads, seconds (the least of three for quick runs) and the additional bytes at the
        peak; NaN if the system does not report them.

    Raises
    ------
    UserError
        A strategy that needs more than embeddings, or fewer images than the budget.
    """
    import pandas as pd

    strategies = [parse_strategy(name) for name in names] or _all()
    refuse_same_stem(strategies)
    order = generator(seed, "cost").permutation(len(embeddings))
    sizes = doublings(len(embeddings), max(FEWEST, 2 * budget))
    rows: list[tuple[str, int, int, int, int, float, float]] = []
    with report.progress("cost", len(strategies) * len(sizes)) as bar:
        for strategy in strategies:
            # Imports at the first call are no cost of the strategy, and a strategy that can't run fails early.
            _choose(strategy, embeddings[order[: sizes[0]]], budget, seed)
        for strategy in strategies:
            for place, n in enumerate(sizes):
                some = np.ascontiguousarray(embeddings[np.sort(order[:n])])
                call = partial(_choose, strategy, some, budget, seed)
                runs = [profiling.measure(call)]
                while runs[0][0] < QUICK and len(runs) < 3:
                    runs.append(profiling.measure(call))
                elapsed, peak = min(run[0] for run in runs), max(run[1] for run in runs)
                rows.append((strategy.name, n, embeddings.shape[1], budget, available_threads(), elapsed, peak))
                bar.advance(
                    1 if elapsed <= seconds else len(sizes) - place, f"{strategy.name}, {n:,} images: {elapsed:.2g} s"
                )
                if elapsed > seconds:
                    break
    return pd.DataFrame(rows, columns=COLUMNS)


def doublings(n: int, fewest: int) -> list[int]:
    """Ascending sizes that end in `n`, each half of the next rounded up, none below `fewest` (≥ 2) but `n` itself."""
    sizes = [n]
    while -(-sizes[0] // 2) >= fewest:
        sizes.insert(0, -(-sizes[0] // 2))
    return sizes


def _all() -> list[StrategySpec]:
    from initpools_cli.strategies.registry import strategies

    return [parse_strategy(method.name) for method in strategies if set(inputs_of(method, "none")) <= {"embeddings"}]


def _choose(strategy: StrategySpec, embeddings: np.ndarray, budget: int, seed: int) -> None:
    from initpools_cli.strategies.checks import refuse_constant_outputs
    from initpools_cli.strategies.select import choose

    arrays = with_score(strategy, {"embeddings": embeddings}, {}, normalize=True, seed=seed)
    missing = [name for name in sorted(strategy.inputs) if arrays.get(name) is None]
    if missing:
        raise UserError(
            f"'{strategy.name}' needs {', '.join(missing)}, and cost is measured on embeddings alone.",
            "Name others, for example --name kcenter; --set strategies= measures all that need only embeddings.",
            strategy.name,
        )
    selection = choose(
        strategy.method,
        arrays,
        budget,
        seed=seed,
        balance=strategy.balance.kind,
        n_clusters=strategy.balance.n_clusters,
        knobs=strategy.knobs({}, "highest"),
    )
    refuse_constant_outputs(strategy.method, selection)
