"""Verdicts of a sweep: each first pool better, worse or not distinguishable from a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.group_variance import METRICS as GROUPED
from initpools_cli.stats.group_variance import RightByGroup, over_seeds_and_groups
from initpools_cli.stats.learning_curves import CURVE, areas, complete_cells, right_by_cell, with_shared_start
from initpools_cli.stats.metric_names import PRIMARY, chosen_metric
from initpools_cli.stats.paired import Paired, holm, paired
from initpools_cli.stats.power import seeds_to_detect, seeds_to_reject, smallest_p

#: Measures by which two first pools are compared.
MEASURES = ("first pool", "area", "last round")
ALPHA = 0.05


class Verdict(NamedTuple):
    """Row of `verdicts`.

    Attributes
    ----------
    init, query, learner, encoder : str
        The curve that is compared; the first pool precedes any query, so its query is "".
    measure : str
        "first pool" and "last round": the metric in that round; "area": its mean over the learning curve.
    labeled : int
        Number of labels at which it is measured; for the area that of the last round.
    against : str
        The first pool that it is compared with, at the same query, learner, encoder and seeds.
    seeds, lost : int
        Number of pairs compared, and of seeds left out because a cell failed.
    mean, against_mean, difference, low, high : float
        In the metric's unit; low and high are the 95 % interval of the mean difference, not corrected.
    p, p_holm : float
        p-value of the sign-flip test, and corrected over the family.
    family : int
        Number of comparisons in the family.
    effect, rank_biserial : float
        Mean difference over the standard deviation of the differences; share of ranks won minus share lost.
    seeds_for_a_point : float
        Seeds needed to detect a difference of 0.01 in this family with 80 % power; NaN without variation.
    verdict, sentence : str
    groups : int
        Number of groups of test images that the interval and p are over, besides seeds; 0 without groups.
    """

    init: str
    query: str
    learner: str
    encoder: str
    measure: str
    labeled: int
    against: str
    seeds: int
    lost: int
    mean: float
    against_mean: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    family: int
    effect: float
    rank_biserial: float
    seeds_for_a_point: float
    verdict: str
    sentence: str
    groups: int = 0


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
) -> DataFrame:
    """Compare every first pool of a sweep with a baseline, paired by seed.

    With groups of test images, intervals are over seeds and groups, and p is the larger of that of the sign-flip test
    over seeds and that of Student's test over both.

    The p-values are corrected by Holm over all rows of the table: the probability that any "better" or "worse" is a
    false alarm is at most `alpha`. Fewer measures, chosen before seeing results, make the family smaller.

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
    compared = [paired(pair.first, pair.second) for pair in pairs]
    count = 0
    if groups is not None and metric in GROUPED:
        count = groups.count
        right = {measure: right_by_cell(rounds, groups, measure) for measure in measures}
        compared = [
            _over_groups(pair, each, against, right[pair.measure], groups, metric)
            for pair, each in zip(pairs, compared, strict=True)
        ]
    corrected = holm([each.p for each in compared])
    rows = [
        _row(pair, each, float(p_holm), len(pairs), against, alpha, count)
        for pair, each, p_holm in zip(pairs, compared, corrected, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(Verdict._fields))


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


def notes(table: DataFrame) -> list[str]:
    """Return notes on a table of verdicts: the family, the encoder, pairs left out."""
    if not len(table):
        return []
    first = table.iloc[0]
    measures = ", ".join(table["measure"].unique())
    lines = [
        f"Paired by seed against {first['against']}; p by sign flips, corrected by Holm over a family of "
        f"{first['family']}: all comparisons of the sweep by {measures}."
    ]
    encoders = [name for name in table["encoder"].unique() if name]
    if len(encoders) == 1:
        lines.append(f"All results are for one encoder, {encoders[0]}; they may differ for others.")
    count = int(table["groups"].max())
    if count:
        groups = f"{count:,} groups" if count > 1 else "only group"
        lines.append(f"Intervals and p are over seeds and the {groups} of test images; label savings over seeds.")
    lost = int(table["lost"].sum())
    if lost:
        lines.append(f"{lost} pairs are left out because a cell failed or the metric has no value.")
    return lines


def _over_groups(
    pair: _Pair,
    comparison: Paired,
    against: str,
    right: Mapping[tuple[Any, ...], np.ndarray],
    groups: RightByGroup,
    metric: str,
) -> Paired:
    """Return a comparison with interval and p over seeds and groups."""
    curves: dict[tuple[str, ...], dict[int, np.ndarray]] = {pair.name: {}, (against, *pair.name[1:]): {}}
    for (*name, seed), counts in right.items():
        if tuple(name) in curves:
            curves[tuple(name)][seed] = counts
    first, second = curves.values()
    both = [seed for seed in first if seed in second]
    if comparison.constant or len(both) < 2:
        return comparison
    difference = np.mean([first[seed] - second[seed] for seed in both], axis=0)
    wider = over_seeds_and_groups(
        comparison.difference,
        comparison.deviation**2 / comparison.pairs,
        comparison.pairs,
        groups.variance(difference, metric),
        groups.count,
    )
    # With a single group nothing is known about others.
    p = 1.0 if math.isnan(wider.p) else max(comparison.p, wider.p)
    return comparison._replace(low=wider.low, high=wider.high, p=p)


def _row(
    pair: _Pair, comparison: Paired, p_holm: float, family: int, against: str, alpha: float, groups: int
) -> Verdict:
    for_a_point = math.nan
    # More seeds do not make up for few groups.
    if not math.isnan(comparison.deviation) and not groups:
        for_a_point = float(seeds_to_detect(comparison.deviation, 0.01, family, alpha))
    verdict = decide(comparison, p_holm, family, alpha)
    return Verdict(
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
        sentence=_sentence(pair, comparison, p_holm, family, against, alpha, verdict, for_a_point, groups),
        groups=groups,
    )


def _sentence(
    pair: _Pair,
    comparison: Paired,
    p_holm: float,
    family: int,
    against: str,
    alpha: float,
    verdict: str,
    for_a_point: float,
    groups: int,
) -> str:
    init, query, learner, encoder = pair.name
    setting = ", ".join(part for part in (query, learner, encoder) if part)
    where = {
        "first pool": f"as a first pool of {pair.labeled} labels",
        "area": f"on average up to {pair.labeled} labels",
        "last round": f"at {pair.labeled} labels",
    }[pair.measure]
    about = f"{init} and {against} {where} ({setting})"
    if verdict.startswith("no verdict"):
        constant = {"first": init, "second": against, "difference": "their difference"}.get(comparison.constant)
        why = f"{constant} is the same at every seed" if constant else "no seed has a value on both sides"
        return f"No verdict on {about}: {why}."
    difference, low, high = (100 * x for x in (comparison.difference, comparison.low, comparison.high))
    result = (
        f"{difference:+.1f} points, 95 % CI {low:+.1f} to {high:+.1f}, "
        f"p = {p_holm:.2g} in a family of {family}, {comparison.pairs} seeds"
    )
    result += f" and {groups} {'groups' if groups > 1 else 'group'} of test images" if groups else ""
    if verdict in ("better", "worse"):
        return f"{init} is {verdict} than {against} {where} ({setting}): {result}."
    if verdict == "not distinguishable" and groups:
        return f"Not distinguishable: {about}: {result}."
    if verdict == "not distinguishable":
        needed = f"detecting a true difference of one point would take about {for_a_point:,.0f} seeds"
        return f"Not distinguishable: {about}: {result}; {needed}."
    seeds = f"{comparison.pairs} seed is" if comparison.pairs == 1 else f"{comparison.pairs} seeds are"
    return (
        f"{seeds} too few for any verdict on {about}: in a family of {family} no difference, however large, could be "
        f"significant; {seeds_to_reject(family, alpha)} seeds would be enough."
    )


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
