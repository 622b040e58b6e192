"""Verdicts of a sweep in words: a sentence for each, and notes on a table of them."""

from __future__ import annotations

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.intervals import LEAST
from initpools_cli.stats.power import seeds_to_reject
from initpools_cli.stats.verdict import Verdict

#: When the metric is compared, by measure.
WHEN = {
    "first pool": "right after it is labeled (first pool)",
    "area": "on average over the learning curve (area)",
    "last round": "after the last round",
}
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
    where = {
        "first pool": f"as a first pool of {row.labeled} labels",
        "area": f"on average over the learning curve up to {row.labeled} labels",
        "last round": f"at {row.labeled} labels",
    }[row.measure] + f" ({setting(query=row.query, learner=row.learner, encoder=row.encoder)})"
    about = f"{row.init} and {row.against} {where}"
    if row.verdict.startswith("no verdict"):
        what = {"first": row.init, "second": row.against, "difference": "their difference"}.get(constant)
        why = f"{what} is the same at every seed" if what else "no seed has a value on both sides"
        return f"No verdict on {about}: {why}."
    difference, low, high = (100 * x for x in (row.difference, row.low, row.high))
    result = (
        f"{difference:+.1f} points, 95 % CI {low:+.1f} to {high:+.1f}, "
        f"{p_value(row.p_holm, row.family)}, {row.seeds} seeds"
    )
    result += f" and {row.groups} {'groups' if row.groups > 1 else 'group'} of test images" if row.groups else ""
    if row.verdict in ("better", "worse"):
        return f"{row.init} is {row.verdict} than {row.against} {where}: {result}."
    if row.verdict == "not distinguishable":
        # More seeds do not make up for few groups.
        note = f"; about {row.seeds_for_a_point:,.0f} seeds would be needed to detect a difference of one point"
        return f"{row.init} is not distinguishable from {row.against} {where}: {result}{'' if row.groups else note}."
    seeds = f"{row.seeds} seed is" if row.seeds == 1 else f"{row.seeds} seeds are"
    corrected = f"corrected for {row.family} comparisons, " if row.family > 1 else ""
    return (
        f"{seeds} too few for any verdict on {about}: {corrected}no difference, however large, would be significant; "
        f"{seeds_to_reject(row.family, alpha)} seeds would be enough."
    )


def setting(**names: str) -> str:
    """Name what a comparison holds for, such as "query margin, learner linear"; empty names are left out."""
    return ", ".join(f"{kind} {name}" for kind, name in names.items() if name)


def p_value(p: float, family: int) -> str:
    """Return a p-value, and for how many comparisons it is corrected."""
    return f"p = {p:.2g}" + (f" (corrected for {family} comparisons)" if family > 1 else "")


def notes(table: DataFrame) -> list[str]:
    """Return notes on a table of verdicts: the test, its correction, the encoder, pairs left out."""
    if not len(table):
        return []
    first = table.iloc[0]
    when = ", ".join(WHEN[each] for each in table["measure"].unique())
    corrected = f", corrected by Holm's method for all {first['family']} comparisons of the sweep"
    lines = [
        f"Each first pool is compared with {first['against']} at the same seeds: {when}. p: sign-flip test"
        f"{corrected if first['family'] > 1 else ''}."
    ]
    encoders = [name for name in table["encoder"].unique() if name]
    if len(encoders) == 1:
        lines.append(f"All results are for one encoder, {encoders[0]}; they may differ for others.")
    count = int(table["groups"].max())
    if count:
        groups = f"{count:,}" if count > 1 else "only one"
        lines.append(
            f"Intervals and p allow for other seeds and for other groups of test images than the {groups} here; "
            "intervals of label savings allow for other seeds only."
        )
    failures = int(table["lost"].sum())
    if failures:
        lines.append(
            f"{failures} pairs of trials are left out because one of them failed or has no value of the metric."
        )
    return [*lines, *_bootstrap_notes(table), *_split_notes(table)]


def _bootstrap_notes(table: DataFrame) -> list[str]:
    """Return a note on the bootstrap-t intervals, or on why there are none."""
    seeds = int(table["seeds"].max())
    if table["groups"].max():
        return ["Intervals that allow for skewed differences (bootstrap-t) do not exist for groups of test images."]
    if seeds < LEAST:
        return [f"Intervals that allow for skewed differences (bootstrap-t) need {LEAST} seeds; there are {seeds}."]
    verdicts, doubtful = _decided(table, "bootstrap_low", "bootstrap_high")
    note = "Intervals that allow for skewed differences (bootstrap-t): bootstrap_low and bootstrap_high of `compare`."
    doubt = "doubt this verdict" if len(doubtful) == 1 else "doubt these verdicts"
    return [f"{note} They include 0 for {_listed(doubtful, verdicts)}: {doubt}." if len(doubtful) else note]


def _split_notes(table: DataFrame) -> list[str]:
    """Return a note on how much the sampling error of the test images adds to the intervals."""
    if table["groups"].max() or not table["test_images"].max():
        return []
    images = f"The intervals are for these {int(table['test_images'].max()):,} test images"
    with_error = table[table["test_low"].notna()]
    if not len(with_error):
        return [f"{images}; how much a new test set would change them is unknown for this metric."]
    ratio = (with_error["test_high"] - with_error["test_low"]) / (with_error["high"] - with_error["low"])
    if not (ratio > WIDER).any():
        return [f"{images}. For a new test set of the same kind they would be at most {WIDER - 1:.0%} wider."]
    verdicts, doubtful = _decided(with_error, "test_low", "test_high")
    columns = "test_low and test_high of `compare`"
    if (with_error["test_error_kind"] == "bound").any():
        confirmation = (
            f" {len(verdicts) - len(doubtful)} of {len(verdicts)} verdicts hold even then." if len(verdicts) else ""
        )
        return [
            f"{images}. For a new test set of the same kind they may be up to {ratio.max():.1f} times as wide "
            f"({columns}, an upper bound).{confirmation} The sweep was made by an older version: repeat it with "
            "--force to measure the sampling error of the test split."
        ]
    note = (
        f"{images}. For a new test set of the same kind, {(ratio > WIDER).sum()} of {len(with_error)} would be more "
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
