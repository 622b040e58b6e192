"""Two pools or two rankings beside each other, and how a ranking goes with accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.steps.context import read_items
from initpools_cli.steps.user_files import images_named
from initpools_cli.strategies.arrays import integers

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
    from initpools_cli.stats.agreement import pool_overlap, rank_agreement

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


def with_accuracy(run: Run | None, names: list[str], sweep: str, *, every: bool = False) -> list[dict[str, Any]]:
    """How rankings go with accuracy: whether pools of images that come first in a ranking are worth more.

    What a model was trained on is scored by the mean place of its images in the ranking, 1 for the first and 0 for the
    last, so that a positive correlation says: what the ranking prefers led to higher accuracy. Random pools that go on
    with random queries are random at every budget, and any two of them differ by chance alone.

    Parameters
    ----------
    names : list of str
        Rankings, as in `compare`.
    sweep : str
        The name of a sweep, or its path.
    every : bool
        Whether to take what every first pool and query has bought. Its pairs then share strategies, and intervals are
        too narrow.

    Returns
    -------
    list of dict
        ranking, query, learner, encoder, labeled (images), pools, then the fields of `Correlation`; budgets with fewer
        than four pools, or at which pools or accuracies do not vary, are left out.

    Raises
    ------
    UserError
        No such sweep, or none of its first pools is random.
    """
    import pandas as pd

    from initpools_cli.stats.correlation import correlation
    from initpools_cli.sweeps.results import rounds_of
    from initpools_cli.sweeps.verdicts import sweep_of

    done = sweep_of(run, sweep)
    if done is None:
        raise UserError(f"There is no sweep '{sweep}'.", "Make it with `initpools al-run`, or name another.")
    rounds = rounds_of(done)
    good = rounds[rounds["status"] == "ok"]
    if not every:
        good = good[(good["init"] == "random") & good["query"].isin(["", "random"])]
        if not len(good):
            raise UserError(
                f"The sweep {sweep} has no random pools.", "Run one with --init random --query random, or add --all."
            )
    cells = bought(done)
    found = []
    for name in names:
        place = _places(order_of(run, name))
        scores = pd.Series([_mean_place(place, cells, row) for row in good.itertuples()], index=good.index)
        keys = ["query", "learner", "encoder", "labeled"]
        for key, group in good.groupby(keys, sort=False):
            query, learner, encoder, labeled = cast("tuple[str, str, str, int]", key)
            of = correlation(scores[group.index], group["accuracy"])
            if not np.isnan(of.pearson):
                about = {"ranking": name, "query": query, "learner": learner, "encoder": encoder}
                found.append(about | {"labeled": int(labeled), "pools": of.pairs, **of._asdict()})
    for row in found:
        del row["pairs"]
    return found


def bought(done: FinishedStep) -> dict[tuple[str, ...], np.ndarray]:
    """What each cell bought, in order, by init, query, learner, encoder, seed; a first pool also without its query."""
    with np.load(done.verified_path("picks.npz"), allow_pickle=False) as file:
        cells = {tuple(key.split("|")): file[key] for key in file.files}
    return {(init, "", *rest): picks for (init, _, *rest), picks in cells.items()} | cells


def _places(order: np.ndarray) -> np.ndarray:
    """Of each image its place in the ranking, 1 for the first and 0 for the last; NaN for one that is not ranked."""
    place = np.full(int(order.max(initial=0)) + 1, np.nan)
    place[order] = np.linspace(1, 0, len(order))
    return place


def _mean_place(place: np.ndarray, bought: dict[tuple[str, ...], np.ndarray], row: Any) -> float:
    """The mean over what a row's model was trained on; NaN where none of it is ranked."""
    images = bought[row.init, row.query, row.learner, row.encoder, str(row.seed)][: row.labeled]
    inside = place[images[images < len(place)]]
    known = inside[~np.isnan(inside)]
    return float(known.mean()) if len(known) else float("nan")


def is_order(run: Run | None, name: str) -> bool:
    """Whether the name is that of a pool or ranking of the run."""
    return run is not None and _step_of(run, name) is not None


def _step_of(run: Run, name: str) -> tuple[FinishedStep, str] | None:
    """The finished pool or ranking of that name, and its file of indices."""
    for kind, file in (("pool", "indices.npy"), ("rank", "sorted_idx.npy")):
        done = run.find_step(name) if name.startswith(f"{kind}/") else run.find_step(f"{kind}/{name}")
        if done is not None:
            return done, file
    return None


def order_of(run: Run | None, name: str) -> np.ndarray:
    """The indices of a pool or ranking, in order.

    Raises
    ------
    UserError
        Neither a step of the run nor a file.
    """
    step = None if run is None else _step_of(run, name)
    if step is not None:
        done, file = step
        return done.require_fresh().array(file)
    path = Path(name)
    if path.suffix.lower() == ".csv":
        items = None if run is None else read_items(run)
        return images_named(path, "a pool", None if items is None else items[items["split"] == "train"])
    if path.suffix.lower() == ".npy":
        return integers(str(path), read_array(path, "a pool or ranking"))
    has = [] if run is None else [step.id for kind in ("pool", "rank") for step in run.steps(kind)]
    raise UserError(
        f"There is no pool or ranking '{name}'.",
        f"The run has: {', '.join(has) or 'none'}; or give a .npy or .csv file.",
    )
