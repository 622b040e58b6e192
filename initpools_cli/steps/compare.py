"""Two pools or two rankings beside each other, and how a ranking goes with accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.rundir import Run
from initpools_cli.steps.bring import read_table, rows_of
from initpools_cli.steps.context import read_items
from initpools_cli.strategies.inputs import integers

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


def with_accuracy(run: Run, names: list[str], sweep: str) -> list[dict[str, Any]]:
    """How the rankings go with accuracy, over the first pools of a sweep and round by round.

    A pool is scored by the mean place of its images in the ranking, 1 for the first and 0 for the last, so that a
    positive correlation says: pools that the ranking prefers led to higher accuracy.

    Parameters
    ----------
    names : list of str
        Rankings, as in `compare`.
    sweep : str
        A folder under ``al/``.

    Returns
    -------
    list of dict
        ranking, round, pools, pearson, pearson_p, spearman, spearman_p; rounds in which pools or accuracies do not vary
        are left out.
    """
    import pandas as pd
    from scipy import stats

    from initpools_cli.steps.al import read_rounds

    done = run.done(f"al/{sweep}")
    if done is None:
        raise UserError(
            f"The run {run.path} has no sweep al/{sweep}.", "Make it with `initpools al-run`, or name another."
        )
    rounds = read_rounds(done.require_fresh())
    good = rounds[rounds["status"] == "ok"]
    with np.load(done.folder / "picks.npz", allow_pickle=False) as file:
        pools = {tuple(key.split("|")): file[key][: done.table["init_budget"]] for key in file.files}
    found = []
    for name in names:
        order = order_of(run, name)
        place = np.full(max(order.max(), *(indices.max(initial=0) for indices in pools.values())) + 1, np.nan)
        place[order] = np.linspace(1, 0, len(order))
        means = {
            (init, learner, int(seed)): float(np.nanmean(place[indices]))
            for (init, _, learner, seed), indices in pools.items()
            if len(indices) and not np.isnan(place[indices]).all()
        }
        for round_, group in good.groupby("round"):
            accuracy = group.groupby(["init", "learner", "seed"])["accuracy"].mean()
            score = pd.Series(means).reindex(accuracy.index)
            both = score.notna()
            if both.sum() < 3 or score[both].std() == 0 or accuracy[both].std() == 0:
                continue
            pearson = stats.pearsonr(score[both], accuracy[both])
            spearman = stats.spearmanr(score[both], accuracy[both])
            found.append(
                {
                    "ranking": name,
                    "round": int(round_),
                    "pools": int(both.sum()),
                    "pearson": float(pearson.statistic),
                    "pearson_p": float(pearson.pvalue),
                    "spearman": float(spearman.statistic),
                    "spearman_p": float(spearman.pvalue),
                }
            )
    return found


def order_of(run: Run | None, name: str) -> np.ndarray:
    """The indices of a pool or ranking, in order.

    Raises
    ------
    UserError
        Neither a step of the run nor a file.
    """
    if run is not None:
        for kind, file in (("pool", "indices.npy"), ("rank", "sorted_idx.npy")):
            done = run.done(name) if name.startswith(f"{kind}/") else run.done(f"{kind}/{name}")
            if done is not None:
                return done.require_fresh().array(file)
    path = Path(name)
    if path.suffix.lower() == ".csv":
        items = None if run is None else read_items(run)
        return rows_of(read_table(path, "a pool"), path, None if items is None else items[items["split"] == "train"])
    if path.suffix.lower() == ".npy":
        return integers(str(path), read_array(path, "a pool or ranking"))
    has = [] if run is None else [step.id for kind in ("pool", "rank") for step in run.steps(kind)]
    raise UserError(
        f"There is no pool or ranking '{name}'.",
        f"The run has: {', '.join(has) or 'none'}; or give a .npy or .csv file.",
    )
