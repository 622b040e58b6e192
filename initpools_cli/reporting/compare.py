"""Overlap of pools and rankings, and correlation of rankings with accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.steps.find_ranking import ranked_images
from initpools_cli.steps.run_data import read_items
from initpools_cli.steps.user_files import images_of_table
from initpools_cli.strategies.arrays import integers

#: Images at the head of two rankings for which the overlap is reported.
TOP = 100


def compare(run: Run | None, names: list[str]) -> list[dict[str, Any]]:
    """Compare every pair of pools or rankings.

    Parameters
    ----------
    names : list of str
        Steps of the run (``pool/typiclust-b20-s0``, ``rank/entropy``, or their last parts), or .npy and .csv files of
        indices.

    Returns
    -------
    list of dict
        first, second, shared, jaccard; for two orders of the same images also spearman, kendall, top_overlap.
    """
    from initpools_cli.stats.agreement import pool_overlap, rank_agreement

    orders = {name: order_of(run, name) for name in names}
    rows = []
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            a, b = orders[first], orders[second]
            row: dict[str, Any] = {"first": first, "second": second, **pool_overlap(a, b)._asdict()}
            if len(a) == len(b) and set(a.tolist()) == set(b.tolist()):
                row |= rank_agreement(a, b, TOP)._asdict()
            rows.append(row)
    return rows


def with_accuracy(run: Run | None, names: list[str], sweep: str, *, every: bool = False) -> list[dict[str, Any]]:
    """Correlate the mean rank of the training images with accuracy, or the primary metric with several labels.

    Ranks are scaled from 1 for the first image to 0 for the last, so a positive correlation means that models trained
    on images near the head of the ranking were more accurate. By default only random first pools with random queries
    are used: they are random samples at every budget.

    Parameters
    ----------
    names : list of str
        Rankings, as in `compare`.
    sweep : str
        The name of a sweep, or its path.
    every : bool
        Use all first pools and queries. Pairs then share strategies, so the intervals are too narrow.

    Returns
    -------
    list of dict
        ranking, query, learner, encoder, labeled (images), pools, and the fields of `Correlation`. Budgets with fewer
        than four pools, or without variance in ranks or accuracies, are left out.

    Raises
    ------
    UserError
        No such sweep, or it has no random first pools with random queries.
    """
    import pandas as pd

    from initpools_cli.stats.correlation import correlation
    from initpools_cli.stats.metric_names import metrics_of
    from initpools_cli.sweeps.results import rounds_of
    from initpools_cli.sweeps.verdicts import sweep_of

    step = sweep_of(run, sweep)
    if step is None:
        raise UserError(f"There is no sweep '{sweep}'.", "Make it with `initpools al-run`, or name another one.", sweep)
    rounds = rounds_of(step)
    metric = metrics_of(rounds.columns)[0]
    ok = rounds[rounds["status"] == "ok"]
    if not every:
        ok = ok[(ok["init"] == "random") & ok["query"].isin(["", "random"])]
        if not len(ok):
            raise UserError(
                f"The sweep '{sweep}' has no random first pools with random queries.",
                "Run `initpools al-run --init random --query random`, or add --all.",
                sweep,
            )
    images = labeled_images(step)
    rows = []
    for name in names:
        ranks = _scaled_ranks(order_of(run, name))
        means = pd.Series([_mean_rank(ranks, images, row) for row in ok.itertuples()], index=ok.index)
        keys = ["query", "learner", "encoder", "labeled"]
        for key, group in ok.groupby(keys, sort=False):
            query, learner, encoder, labeled = cast("tuple[str, str, str, int]", key)
            result = correlation(means[group.index], group[metric])
            if not np.isnan(result.pearson):
                cell = {"ranking": name, "query": query, "learner": learner, "encoder": encoder}
                rows.append(cell | {"labeled": int(labeled), "pools": result.pairs, **result._asdict()})
    for row in rows:
        del row["pairs"]
    return rows


def labeled_images(step: FinishedStep) -> dict[tuple[str, ...], np.ndarray]:
    """Read the images that each cell of a sweep labeled, in order.

    Keys are (init, query, learner, encoder, seed); first pools also have a key with an empty query.
    """
    with np.load(step.verified_path("picks.npz"), allow_pickle=False) as file:
        cells = {tuple(key.split("|")): file[key] for key in file.files}
    return {(init, "", *rest): picks for (init, _, *rest), picks in cells.items()} | cells


def _scaled_ranks(order: np.ndarray) -> np.ndarray:
    """Scale the rank of each image to 1 for the first and 0 for the last; NaN for images that are not ranked."""
    ranks = np.full(int(order.max(initial=0)) + 1, np.nan)
    ranks[order] = np.linspace(1, 0, len(order))
    return ranks


def _mean_rank(ranks: np.ndarray, images: dict[tuple[str, ...], np.ndarray], row: Any) -> float:
    """Average the scaled ranks of the images that a row's model was trained on; NaN if none has a rank."""
    pool = images[row.init, row.query, row.learner, row.encoder, str(row.seed)][: row.labeled]
    pool_ranks = ranks[pool[pool < len(ranks)]]
    values = pool_ranks[~np.isnan(pool_ranks)]
    return float(values.mean()) if len(values) else float("nan")


def is_order(run: Run | None, name: str) -> bool:
    """Whether the run has a pool or ranking of that name."""
    return run is not None and _step_of(run, name) is not None


def _step_of(run: Run, name: str) -> FinishedStep | None:
    """Find the finished pool or ranking of that name."""
    for kind in ("pool", "rank"):
        step = run.find_step(name) if name.startswith(f"{kind}/") else run.find_step(f"{kind}/{name}")
        if step is not None:
            return step
    return None


def order_of(run: Run | None, name: str) -> np.ndarray:
    """Read the indices of a pool or ranking, in order.

    Raises
    ------
    UserError
        Neither a step of the run nor a file.
    """
    step = None if run is None else _step_of(run, name)
    if step is not None:
        step.require_fresh()
        return step.array("indices.npy") if step.id.startswith("pool/") else ranked_images(step)
    path = Path(name)
    if path.suffix.lower() == ".csv":
        items = None if run is None else read_items(run)
        return images_of_table(path, "a pool", None if items is None else items[items["split"] == "train"])
    if path.suffix.lower() == ".npy":
        return integers(str(path), read_array(path, "a pool or ranking"))
    steps = [] if run is None else [step.id for kind in ("pool", "rank") for step in run.steps(kind)]
    raise UserError(
        f"There is no pool or ranking '{name}'.",
        f"Pass one of the run ({', '.join(steps) or 'it has none'}), or a .npy or .csv file.",
        name,
    )
