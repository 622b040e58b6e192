"""Results of the sweeps of a run: the report's section on sweeps, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError
from initpools_cli.figures.html import bullets, folded, paragraph, table
from initpools_cli.figures.section import Section
from initpools_cli.reporting.sections import Figures, fresh_steps, rounds_of
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import describe_source, trained_on
from initpools_cli.strategies.defaults import FIRST_POOL, MULTILABEL_QUERY, QUERY
from initpools_cli.sweeps.verdicts import SweepVerdicts, compare_sweeps

if TYPE_CHECKING:
    from initpools_cli.core.types import DataFrame, Figure


def sweep_verdicts(context: Context) -> dict[str, SweepVerdicts | str]:
    """Compute the verdicts of every sweep, or a sentence that explains why there are none."""
    verdicts: dict[str, SweepVerdicts | str] = {}
    for step in fresh_steps(context, "al"):
        try:
            verdicts[step.name] = compare_sweeps({step.name: step})
        except UserError as error:
            verdicts[step.name] = error.fact
    return verdicts


def sweeps(
    verdicts: Mapping[str, SweepVerdicts | str], curves: Mapping[str, Figure | Section], figures: Figures
) -> Section | None:
    """Show the learning curves and verdicts of every sweep, then the figures of all sweeps."""
    if not verdicts and not figures:
        return None
    each = [
        Section(f"Sweep {name}", "", _verdicts(name, verdicts[name]), [], parts=[curve])
        for name, curve in curves.items()
    ]
    return Section("Sweeps", "", "", [], parts=[*each, *figures], anchor="sweeps")


def _verdicts(name: str, verdicts: SweepVerdicts | str) -> str:
    """Render the counts of each verdict, a collapsed table, and notes; or the reason why there are none."""
    if isinstance(verdicts, str):
        return paragraph(verdicts)
    rows = verdicts.verdicts
    counts = rows["verdict"].map(lambda verdict: verdict.split(":")[0]).value_counts(sort=False)
    summary_of_counts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [
        (
            row["init"],
            row["query"] or "–",
            row["learner"],
            f"{row['measure']}, {row['labeled']}",
            f"{100 * row['difference']:+.1f}",
            f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}",
            f"{row['p_holm']:.2g}",
            row["verdict"],
        )
        for row in rows.to_dict("records")
    ]
    header = ("first pool", "query", "learner", "measure, labels", "points", "95 % CI", "p", "verdict")
    against = rows["against"].iloc[0]
    return (
        paragraph(f"{len(rows)} comparisons with {against}: {summary_of_counts}.")
        + folded("All verdicts", table(f"Verdicts of the sweep {name}", header, lines))
        + folded("How to read the verdicts", bullets(verdicts.notes))
    )


def summary(context: Context, verdicts: Mapping[str, SweepVerdicts | str]) -> list[str]:
    """Summarize the results in a few sentences; without results, name the command that produces them."""
    images = f"{int(context.data.kept.sum()):,} images to choose from"
    if not verdicts and rounds_of(context):
        # The state of the loop comes first on the page.
        return _outside_knowledge(context)
    first, *others = _sweep_summary(context, verdicts)
    return [f"{images}. {first}", *others, *_outside_knowledge(context)]


def _outside_knowledge(context: Context) -> list[str]:
    """Name the embeddings of networks that were trained outside the run."""
    outside = [describe_source(step) for step in fresh_steps(context, "embed") if trained_on(step)]
    if not outside:
        return []
    return [
        f"{', '.join(outside)}: for images like those of that training, results use knowledge from outside this "
        "data set."
    ]


def _sweep_summary(context: Context, verdicts: Mapping[str, SweepVerdicts | str]) -> list[str]:
    import pandas as pd

    tables = [each.verdicts for each in verdicts.values() if isinstance(each, SweepVerdicts)]
    if not tables and not context.data.classes:
        return ["The data set has no labels, so first pools can't be compared with random ones."]
    if not tables:
        query = MULTILABEL_QUERY if context.data.multilabel else QUERY
        command = context.command_for("al-run", "--init", f"random,{FIRST_POOL}", "--query", f"random,{query}")
        return [
            "No sweep has compared first pools with random ones, so it is unknown whether a chosen pool is better.",
            f"To find out, run `{command}`.",
        ]
    rows = pd.concat(tables, ignore_index=True)
    better, worse = rows[rows["verdict"] == "better"], rows[rows["verdict"] == "worse"]
    against = rows["against"].iloc[0]
    number = "1 sweep" if len(tables) == 1 else f"{len(tables)} sweeps"
    first = (
        f"Of {len(rows)} comparisons with {against} in {number}, the first pool was better in {len(better)}, worse in "
        f"{len(worse)}, and not distinguishable in {len(rows) - len(better) - len(worse)}."
    )
    few = int(rows["verdict"].str.startswith("cannot be told apart").sum())
    if few:
        first += f" {few} of them had too few seeds for any verdict."
    note = " (each sweep is corrected separately)" if len(tables) > 1 else ""
    if len(better):
        return [first, f"The largest gain{note}: {_sentence(better, better['difference'].argmax())}"]
    if len(worse):
        return [first, f"The largest loss{note}: {_sentence(worse, worse['difference'].argmin())}"]
    return [first, f"No first pool was significantly better than {against}."]


def _sentence(rows: DataFrame, position: Any) -> str:
    return str(rows["sentence"].iloc[int(position)])
