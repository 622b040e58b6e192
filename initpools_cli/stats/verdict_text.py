"""Verdicts of a sweep in words: a sentence for each, and notes on a table of them."""

from __future__ import annotations

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.intervals import LEAST
from initpools_cli.stats.power import seeds_to_reject
from initpools_cli.stats.verdict import Verdict

#: An interval counts as wider with the sampling error of the test images from this ratio of widths.
WIDER = 1.1


def sentence(row: Verdict, constant: str, alpha: float) -> str:
    """Return a verdict as a sentence.

    Parameters
    ----------
    row : Verdict
    constant : str
        The series that does not vary over the seeds, see `Paired`.
    alpha : float
        Family-wise error rate.
    """
    setting = ", ".join(part for part in (row.query, row.learner, row.encoder) if part)
    where = {
        "first pool": f"as a first pool of {row.labeled} labels",
        "area": f"on average up to {row.labeled} labels",
        "last round": f"at {row.labeled} labels",
    }[row.measure]
    about = f"{row.init} and {row.against} {where} ({setting})"
    if row.verdict.startswith("no verdict"):
        what = {"first": row.init, "second": row.against, "difference": "their difference"}.get(constant)
        why = f"{what} is the same at every seed" if what else "no seed has a value on both sides"
        return f"No verdict on {about}: {why}."
    difference, low, high = (100 * x for x in (row.difference, row.low, row.high))
    result = (
        f"{difference:+.1f} points, 95 % CI {low:+.1f} to {high:+.1f}, "
        f"p = {row.p_holm:.2g} in a family of {row.family}, {row.seeds} seeds"
    )
    result += f" and {row.groups} {'groups' if row.groups > 1 else 'group'} of test images" if row.groups else ""
    if row.verdict in ("better", "worse"):
        return f"{row.init} is {row.verdict} than {row.against} {where} ({setting}): {result}."
    if row.verdict == "not distinguishable" and row.groups:
        return f"Not distinguishable: {about}: {result}."
    if row.verdict == "not distinguishable":
        seeds_note = f"detecting a true difference of one point would take about {row.seeds_for_a_point:,.0f} seeds"
        return f"Not distinguishable: {about}: {result}; {seeds_note}."
    seeds = f"{row.seeds} seed is" if row.seeds == 1 else f"{row.seeds} seeds are"
    return (
        f"{seeds} too few for any verdict on {about}: in a family of {row.family} no difference, however large, could "
        f"be significant; {seeds_to_reject(row.family, alpha)} seeds would be enough."
    )


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
    failures = int(table["lost"].sum())
    if failures:
        lines.append(f"{failures} pairs are left out because a cell failed or the metric has no value.")
    return [*lines, *_bootstrap_notes(table), *_split_notes(table)]


def _bootstrap_notes(table: DataFrame) -> list[str]:
    """Return a note on the bootstrap-t intervals, or on why there are none."""
    seeds = int(table["seeds"].max())
    if table["groups"].max():
        return ["There are no bootstrap-t intervals with groups: they are over seeds alone."]
    if seeds < LEAST:
        return [
            f"There are no bootstrap-t intervals, which allow for skewed differences: they need {LEAST} seeds, and "
            f"there are {seeds}."
        ]
    verdicts, doubtful = _decided(table, "bootstrap_low", "bootstrap_high")
    note = "`compare` has bootstrap-t intervals, which allow for skewed differences: bootstrap_low and bootstrap_high."
    return [f"{note} They include 0 for {_listed(doubtful, verdicts)}; doubt them." if len(doubtful) else note]


def _split_notes(table: DataFrame) -> list[str]:
    """Return a note on how much the sampling error of the test images adds to the intervals."""
    if table["groups"].max() or not table["test_images"].max():
        return []
    images = f"Intervals hold for these {int(table['test_images'].max()):,} test images"
    with_error = table[table["test_low"].notna()]
    if not len(with_error):
        return [f"{images}; the sampling error of the test split is unknown for this metric."]
    ratio = (with_error["test_high"] - with_error["test_low"]) / (with_error["high"] - with_error["low"])
    if not (ratio > WIDER).any():
        return [f"{images}; for other test images of the same kind they would be at most {WIDER - 1:.0%} wider."]
    verdicts, doubtful = _decided(with_error, "test_low", "test_high")
    columns = "test_low and test_high of `compare`"
    if (with_error["test_error_kind"] == "bound").any():
        confirmation = (
            f" {len(verdicts) - len(doubtful)} of {len(verdicts)} verdicts hold even then." if len(verdicts) else ""
        )
        return [
            f"{images}. For other test images of the same kind they may be up to {ratio.max():.1f} times as wide "
            f"({columns}, an upper bound).{confirmation} The sweep was made by an older version: repeat it with "
            "--force to measure the sampling error of the test split."
        ]
    note = (
        f"{images}. For other test images of the same kind, {(ratio > WIDER).sum()} of {len(with_error)} would be more "
        f"than {WIDER - 1:.0%} wider, up to {ratio.max():.1f} times as wide ({columns})."
    )
    return [f"{note} They include 0 for {_listed(doubtful, verdicts)}." if len(doubtful) else note]


def _decided(table: DataFrame, low: str, high: str) -> tuple[DataFrame, DataFrame]:
    """Return the rows that are better or worse, and those of them whose interval includes 0."""
    verdicts = table[table["verdict"].isin(["better", "worse"])]
    return verdicts, verdicts[(verdicts[low] <= 0) & (verdicts[high] >= 0)]


def _listed(doubtful: DataFrame, verdicts: DataFrame) -> str:
    """Count verdicts of better or worse, and name their first pools."""
    names = list(dict.fromkeys(doubtful["init"]))
    more = f" and {len(names) - 5} more" if names[5:] else ""
    return f"{len(doubtful)} of {len(verdicts)} verdicts of better or worse ({', '.join(names[:5])}{more})"
