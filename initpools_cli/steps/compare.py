"""Two pools or two rankings beside each other, and how a ranking goes with accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.rundir import Run
from initpools_cli.steps.bring import read_table, rows_of

#: Head of two rankings whose overlap is told.
TOP = 100


def compare(run: Run | None, names: list[str]) -> list[dict[str, Any]]:
    """Every pair of the named pools or rankings.

    Parameters
    ----------
    names : list of str
        Steps of the run (``pool/typiclust-b20-s0``, ``rank/entropy``, or their last parts), or .npy and .csv files of
        indices.

    Returns
    -------
    list of dict
        first, second, shared, jaccard; and, where both order the same images, spearman, kendall, top_overlap.
    """
    from initpools_cli.analysis.compare import pool_overlap, rank_agreement

    orders = {name: order_of(run, name) for name in names}
    found = []
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            a, b = orders[first], orders[second]
            row: dict[str, Any] = {"first": first, "second": second, **pool_overlap(a, b)._asdict()}
            if len(a) == len(b) and set(a.tolist()) == set(b.tolist()):
                row |= rank_agreement(a, b, TOP)._asdict()
            found.append(row)
    return found


def order_of(run: Run | None, name: str) -> np.ndarray:
    """The indices of a pool or ranking, in order.

    Raises
    ------
    UserError
        Neither a step of the run nor a file.
    """
    if run is not None:
        for kind in ("pool", "rank"):
            done = run.done(name) if name.startswith(f"{kind}/") else run.done(f"{kind}/{name}")
            if done is not None:
                file = done.folder / ("indices.npy" if done.id.startswith("pool/") else "sorted_idx.npy")
                return np.load(file, allow_pickle=False)
    path = Path(name)
    if path.suffix.lower() == ".csv":
        return rows_of(read_table(path, "a pool"), path, None)
    if path.suffix.lower() == ".npy":
        order = read_array(path, "a pool or ranking")
        if order.ndim != 1 or order.dtype.kind not in "iu":
            raise UserError(
                f"{path} is {order.ndim}-D {order.dtype}, not a list of indices.", "Give a 1-D integer array."
            )
        return order.astype(np.int64)
    has = [] if run is None else [step.id for kind in ("pool", "rank") for step in run.steps(kind)]
    raise UserError(
        f"There is no pool or ranking '{name}'.",
        f"The run has: {', '.join(has) or 'none'}; or give a .npy or .csv file.",
    )


def with_accuracy(
    rounds: Any, picks: dict[str, np.ndarray], scores: np.ndarray, init_budget: int
) -> list[dict[str, Any]]:
    """How the mean score of the first pools goes with the accuracy they lead to.

    Parameters
    ----------
    rounds : DataFrame
        rounds.csv of a sweep.
    picks : dict of str to ndarray
        picks.npz of the same sweep.
    scores : ndarray
        (n,) float64, higher is ranked earlier.
    init_budget : int
        Labels of a first pool.

    Returns
    -------
    list of dict
        round, pools, pearson, pearson_p, spearman, spearman_p.
    """
    import pandas as pd
    from scipy import stats

    means = {}
    for key, indices in picks.items():
        init, _, learner, seed = key.split("|")
        means[(init, learner, int(seed))] = float(np.mean(scores[indices[:init_budget]]))
    good = rounds[rounds["status"] == "ok"]
    found = []
    for round_, group in good.groupby("round"):
        accuracy = group.groupby(["init", "learner", "seed"])["accuracy"].mean()
        pool = pd.Series(means).reindex(accuracy.index)
        if len(pool) < 3 or pool.std() == 0 or accuracy.std() == 0:
            continue
        pearson, spearman = stats.pearsonr(pool, accuracy), stats.spearmanr(pool, accuracy)
        found.append(
            {
                "round": int(round_),
                "pools": len(pool),
                "pearson": float(pearson.statistic),
                "pearson_p": float(pearson.pvalue),
                "spearman": float(spearman.statistic),
                "spearman_p": float(spearman.pvalue),
            }
        )
    return found
