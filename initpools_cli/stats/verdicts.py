"""Verdicts of a sweep: each first pool better, worse or not distinguishable from a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.group_variance import METRICS, RightByGroup
from initpools_cli.stats.intervals import bootstrap_t_intervals
from initpools_cli.stats.learning_curves import CURVE, areas, complete_cells, with_shared_start
from initpools_cli.stats.metric_names import PRIMARY, chosen_metric
from initpools_cli.stats.paired import Paired, holm, paired_all
from initpools_cli.stats.power import seeds_to_detect, seeds_to_reject, smallest_p
from initpools_cli.stats.split_error import EvaluatedImages, SplitError, over_groups, over_images
from initpools_cli.stats.verdict import Verdict
from initpools_cli.stats.verdict_text import sentence

#: Measures by which two first pools are compared.
MEASURES = ("first pool", "area", "last round")
ALPHA = 0.05


class _Pair(NamedTuple):
    """Comparison to make: its curve, and one value per seed of both sides, NaN where a cell failed."""

    name: tuple[str, str, str, str]
    measure: str
    labeled: int
    first: np.ndarray
    second: np.ndarray


def verdicts(
    rounds: DataFrame,
    against: str = "random",
    metric: str = PRIMARY,
    measures: Sequence[str] = MEASURES,
    alpha: float = ALPHA,
    groups: RightByGroup | None = None,
    images: EvaluatedImages | None = None,
) -> DataFrame:
    """Compare every first pool of a sweep with a baseline, paired by seed.

    With groups of test images, intervals are over seeds and groups, and p is the larger of that of the sign-flip test
    over seeds and that of Student's test over both.

    The p-values are corrected by Holm over all rows of the table: if a first pool and the baseline are exchangeable at
    every seed wherever there is no difference, the probability that any "better" or "worse" is a false alarm is at most
    `alpha`. If only their means are equal and the differences are skewed, it is larger: "How results are kept honest"
    in the documentation. Fewer measures, chosen before seeing results, make the family smaller.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    against : str
        The first pool to compare with.
    metric : str
        One of `metrics_of`, or "primary".
    measures : sequence of str
        A subset of `MEASURES`.
    alpha : float
        Family-wise error rate.
    groups : RightByGroup, optional
        Correct predictions by group, for `rounds`; not used for metrics that are no means over images.
    images : EvaluatedImages, optional
        The test images, for the sampling error of the test split; not used for such metrics either.

    Returns
    -------
    DataFrame
        One row per (init, query, learner, encoder, measure), see `Verdict`; empty if nothing can be compared. `verdict`
        is "better", "worse", "not distinguishable", "cannot be told apart with S seeds (N could)", or "no verdict:"
        and the reason.
    """
    import pandas as pd

    metric = chosen_metric(metric, rounds.columns)
    pairs = [pair for measure in measures for pair in _pairs(rounds, against, metric, measure)]
    results = paired_all([(pair.first, pair.second) for pair in pairs])
    by_name = {(pair.name, pair.measure): each for pair, each in zip(pairs, results, strict=True)}
    count, errors = 0, [SplitError()] * len(pairs)
    if groups is not None and metric in METRICS:
        count = groups.count
        wider = over_groups(rounds, by_name, against, groups, metric)
        results, errors = [each for each, _ in wider], [each for _, each in wider]
    elif images is not None and metric in METRICS:
        errors = over_images(rounds, by_name, against, images, metric)
    p_values = holm([each.p for each in results])
    bootstrap_intervals = _bootstrapped(pairs, count)
    rows = [
        _row(pair, each, float(p_holm), len(pairs), against, alpha, count)._replace(
            bootstrap_low=float(low),
            bootstrap_high=float(high),
            test_images=0 if images is None else images.count,
            test_error=error.error,
            test_error_kind=error.kind,
            test_low=error.low,
            test_high=error.high,
        )
        for pair, each, p_holm, (low, high), error in zip(
            pairs, results, p_values, bootstrap_intervals, errors, strict=True
        )
    ]
    return pd.DataFrame(rows, columns=list(Verdict._fields))


def _bootstrapped(pairs: Sequence[_Pair], groups: int) -> np.ndarray:
    """Return the bootstrap-t interval of each pair's differences, (m, 2); NaN with groups, which it does not cover."""
    ends = np.full((len(pairs), 2), math.nan)
    if groups:
        return ends
    # A column in which every cell failed has objects.
    differences = [np.asarray(pair.first - pair.second, np.float64) for pair in pairs]
    finite = [each[~np.isnan(each)] for each in differences]
    for count in {len(each) for each in finite}:
        rows = [place for place, each in enumerate(finite) if len(each) == count]
        ends[rows] = bootstrap_t_intervals([finite[place] for place in rows])
    return ends


def decide(comparison: Paired, p_holm: float, family: int, alpha: float = ALPHA) -> str:
    """Return the verdict on a comparison, as stored in the column `verdict`."""
    if comparison.pairs == 0:
        return "no verdict: no seed has a value on both sides"
    if comparison.constant:
        return "no verdict: nothing varies over the seeds"
    if p_holm <= alpha:
        return "better" if comparison.difference > 0 else "worse"
    if smallest_p(comparison.pairs) * family > alpha:
        seeds = "1 seed" if comparison.pairs == 1 else f"{comparison.pairs} seeds"
        return f"cannot be told apart with {seeds} ({seeds_to_reject(family, alpha)} could)"
    return "not distinguishable"


def _row(
    pair: _Pair, comparison: Paired, p_holm: float, family: int, against: str, alpha: float, groups: int
) -> Verdict:
    for_a_point = math.nan
    # More seeds do not make up for few groups.
    if not math.isnan(comparison.deviation) and not groups:
        for_a_point = float(seeds_to_detect(comparison.deviation, 0.01, family, alpha))
    verdict = decide(comparison, p_holm, family, alpha)
    row = Verdict(
        *pair.name,
        measure=pair.measure,
        labeled=pair.labeled,
        against=against,
        seeds=comparison.pairs,
        lost=len(pair.first) - comparison.pairs,
        mean=comparison.mean,
        against_mean=comparison.against,
        difference=comparison.difference,
        low=comparison.low,
        high=comparison.high,
        p=comparison.p,
        p_holm=p_holm,
        family=family,
        effect=comparison.effect,
        rank_biserial=comparison.rank_biserial,
        seeds_for_a_point=for_a_point,
        verdict=verdict,
        sentence="",
        groups=groups,
    )
    return row._replace(sentence=sentence(row, comparison.constant, alpha))


def _pairs(rounds: DataFrame, against: str, metric: str, measure: str) -> Iterator[_Pair]:
    """Yield the comparisons by one measure, in the order of the curves."""
    values = values_of(rounds, metric, measure)
    curves = {cast("tuple[str, str, str, str]", name): cells for name, cells in values.groupby(CURVE, sort=False)}
    for name, cells in curves.items():
        other = curves.get((against, *name[1:]))
        if name[0] == against or other is None:
            continue
        both = (
            cells.set_index("seed")["value"]
            .to_frame("first")
            .join(other.set_index("seed")["value"].rename("second"), how="outer")
        )
        yield _Pair(name, measure, int(values["labeled"].max()), both["first"].to_numpy(), both["second"].to_numpy())


def values_of(rounds: DataFrame, metric: str, measure: str) -> DataFrame:
    """Return one value per cell by one measure.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    metric : str
        One of its columns, or "primary".
    measure : str
        One of `MEASURES`.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, labeled and value (NaN if the cell failed). The measure "first pool" has
        an empty query, and a value also for cells that failed in a later round.
    """
    metric = chosen_metric(metric, rounds.columns)
    rows = with_shared_start(rounds)
    if measure == "first pool":
        start = rows[rows["round"] == 0].assign(query="")
        values = start.sort_values("status", key=lambda status: status != "ok", kind="stable")
        values = values.drop_duplicates([*CURVE, "seed"]).sort_index()
        return values.assign(value=values[metric].where(values["status"] == "ok"))
    rows = rows[rows["query"] != ""]
    cells = rows[[*CURVE, "seed"]].drop_duplicates()
    if measure == "area":
        values = areas(complete_cells(rounds), metric).rename(columns={"area": "value"})
    else:
        values = rows[(rows["round"] == rows["round"].max()) & (rows["status"] == "ok")].assign(
            value=lambda at: at[metric]
        )
    return cells.merge(values, on=[*CURVE, "seed"], how="left").assign(labeled=rows["labeled"].max())
