"""Better, worse, or not to be told apart: every first pool of a sweep against the random one, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.learning_curves import CURVE, areas, whole_cells, with_shared_start
from initpools_cli.stats.paired import Paired, holm, paired
from initpools_cli.stats.power import seeds_to_reject, seeds_to_see, smallest_p

#: What two first pools are compared by.
MEASURES = ("first pool", "area", "last round")
#: Metrics of rounds.csv of which more is better.
METRICS = ("accuracy", "balanced_accuracy", "auc")
ALPHA = 0.05


class Verdict(NamedTuple):
    """A row of `verdicts`.

    Attributes
    ----------
    init, query, learner, encoder : str
        What is judged; the first pool comes before any query, so that its query is "".
    measure : str
        "first pool" and "last round" are the metric there, "area" its mean height over the labels bought.
    labeled : int
        Labels at which it is measured; for the area the last of them.
    against : str
        The first pool that it is compared with, under the same query, learner, encoder and seeds.
    seeds, lost : int
        Pairs compared, and seeds left out since a cell of theirs failed.
    mean, against_mean, difference, low, high : float
        In the metric's unit; the interval is of the mean difference, 95 %, for this row alone.
    p, p_holm : float
        Of the sign-flip test, alone and over the family.
    family : int
        Comparisons in the family.
    effect, rank_biserial : float
        Mean difference over the deviation of the differences; share of ranks won minus share lost.
    seeds_for_a_point : float
        Seeds needed to see a difference of 0.01 in this family with 80 % power; NaN without variation.
    verdict, sentence : str
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


class _Pair(NamedTuple):
    """A comparison to be made: its name, and one value a seed of either side, NaN where a cell failed."""

    name: tuple[str, str, str, str]
    measure: str
    labeled: int
    first: np.ndarray
    second: np.ndarray


def verdicts(
    rounds: DataFrame,
    against: str = "random",
    metric: str = "accuracy",
    measures: Sequence[str] = MEASURES,
    alpha: float = ALPHA,
) -> DataFrame:
    """Judge every first pool of a sweep against another one, paired by seed.

    The p-values are corrected by Holm over all rows of the table: the chance that any of its "better" or "worse" is a
    false alarm is at most `alpha`. Naming fewer measures, before looking, makes the family smaller.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    against : str
        The first pool to compare with.
    metric : str
        A column of which more is better.
    measures : sequence of str
        Of `MEASURES`.

    Returns
    -------
    DataFrame
        A row a (init, query, learner, encoder, measure), see `Verdict`; empty where nothing can be compared. `verdict`
        is "better", "worse", "not distinguishable", "cannot be told apart with S seeds (N could)", or "no verdict:"
        and why.
    """
    import pandas as pd

    pairs = [pair for measure in measures for pair in _pairs(rounds, against, metric, measure)]
    compared = [paired(pair.first, pair.second) for pair in pairs]
    corrected = holm([each.p for each in compared])
    rows = [
        _row(pair, each, float(p_holm), len(pairs), against, alpha)
        for pair, each, p_holm in zip(pairs, compared, corrected, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(Verdict._fields))


def decide(found: Paired, p_holm: float, family: int, alpha: float = ALPHA) -> str:
    """The verdict on a comparison, in a few words."""
    if found.pairs == 0:
        return "no verdict: no seed has a value on both sides"
    if found.still:
        return "no verdict: nothing varies over the seeds"
    if p_holm <= alpha:
        return "better" if found.difference > 0 else "worse"
    if smallest_p(found.pairs) * family > alpha:
        seeds = "1 seed" if found.pairs == 1 else f"{found.pairs} seeds"
        return f"cannot be told apart with {seeds} ({seeds_to_reject(family, alpha)} could)"
    return "not distinguishable"


def notes(table: DataFrame) -> list[str]:
    """What must be known to read a table of verdicts: the family, the encoders, the seeds lost."""
    if not len(table):
        return []
    first = table.iloc[0]
    measures = ", ".join(table["measure"].unique())
    said = [
        f"Paired by seed against {first['against']}; p by sign flips, corrected by Holm over a family of "
        f"{first['family']}: all comparisons of the sweep by {measures}."
    ]
    encoders = [name for name in table["encoder"].unique() if name]
    if len(encoders) == 1:
        said.append(f"All on one encoder, {encoders[0]}: what is found holds for it, and another may say otherwise.")
    lost = int(table["lost"].sum())
    if lost:
        said.append(f"{lost} pairs are left out: a cell of theirs failed, or the metric has no value there.")
    return said


def _row(pair: _Pair, found: Paired, p_holm: float, family: int, against: str, alpha: float) -> Verdict:
    for_a_point = math.nan
    if not math.isnan(found.deviation):
        for_a_point = float(seeds_to_see(found.deviation, 0.01, family, alpha))
    verdict = decide(found, p_holm, family, alpha)
    return Verdict(
        *pair.name,
        measure=pair.measure,
        labeled=pair.labeled,
        against=against,
        seeds=found.pairs,
        lost=len(pair.first) - found.pairs,
        mean=found.mean,
        against_mean=found.against,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=p_holm,
        family=family,
        effect=found.effect,
        rank_biserial=found.rank_biserial,
        seeds_for_a_point=for_a_point,
        verdict=verdict,
        sentence=_sentence(pair, found, p_holm, family, against, verdict, for_a_point),
    )


def _sentence(
    pair: _Pair, found: Paired, p_holm: float, family: int, against: str, verdict: str, for_a_point: float
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
        still = {"first": init, "second": against, "difference": "their difference"}.get(found.still)
        why = f"{still} is the same at every seed" if still else "no seed has a value on both sides"
        return f"No verdict on {about}: {why}."
    seen = (
        f"{100 * found.difference:+.1f} points, 95 % CI {100 * found.low:+.1f} to {100 * found.high:+.1f}, "
        f"p = {p_holm:.2g} in a family of {family}, {found.pairs} seeds"
    )
    if verdict in ("better", "worse"):
        return f"{init} is {verdict} than {against} {where} ({setting}): {seen}."
    if verdict == "not distinguishable":
        needed = f"a true difference of one point would take about {for_a_point:,.0f} seeds to see"
        return f"Not distinguishable: {about}: {seen}; {needed}."
    return f"{about} {verdict}: no difference, however large, could be significant in a family of {family}."


def _pairs(rounds: DataFrame, against: str, metric: str, measure: str) -> Iterator[_Pair]:
    """The comparisons by one measure, in the order in which the curves come."""
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
    """One number a cell.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    metric : str
        One of its columns.
    measure : str
        One of `MEASURES`.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, labeled and value, NaN where the cell failed. A cell that failed later
        still has its first pool, which has no query.
    """
    rows = with_shared_start(rounds)
    if measure == "first pool":
        start = rows[rows["round"] == 0].assign(query="")
        found = start.sort_values("status", key=lambda status: status != "ok", kind="stable")
        found = found.drop_duplicates([*CURVE, "seed"]).sort_index()
        return found.assign(value=found[metric].where(found["status"] == "ok"))
    rows = rows[rows["query"] != ""]
    cells = rows[[*CURVE, "seed"]].drop_duplicates()
    if measure == "area":
        found = areas(whole_cells(rounds), metric).rename(columns={"area": "value"})
    else:
        found = rows[(rows["round"] == rows["round"].max()) & (rows["status"] == "ok")].assign(
            value=lambda at: at[metric]
        )
    return cells.merge(found, on=[*CURVE, "seed"], how="left").assign(labeled=rows["labeled"].max())
