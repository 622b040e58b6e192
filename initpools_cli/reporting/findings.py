"""What the sweeps of a run found, as a chapter of its report and in two sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError
from initpools_cli.figures.html import bullets, folded, paragraph, table
from initpools_cli.figures.section import Section
from initpools_cli.reporting.sections import Drawn, rounds_of, share, whole
from initpools_cli.steps.context import Context
from initpools_cli.sweeps.verdicts import SweepVerdicts, compare_sweeps

if TYPE_CHECKING:
    from initpools_cli.core.types import DataFrame, Figure


def judged(context: Context) -> dict[str, SweepVerdicts | str]:
    """What every sweep says of its first pools, or the sentence that says why nothing can be said."""
    found: dict[str, SweepVerdicts | str] = {}
    for step in whole(context, "al"):
        try:
            found[step.name] = compare_sweeps({step.name: step})
        except UserError as error:
            found[step.name] = error.fact
    return found


def sweeps(
    found: Mapping[str, SweepVerdicts | str], curves: Mapping[str, Figure | Section], drawn: Drawn
) -> Section | None:
    """Of every sweep the learning curves and the verdicts; then what is drawn of all of them."""
    if not found and not drawn:
        return None
    each = [
        Section(f"Sweep {name}", "", _verdicts(name, found[name]), [], parts=[curve]) for name, curve in curves.items()
    ]
    return Section("Sweeps", "", "", [], parts=[*each, *drawn], anchor="sweeps")


def _verdicts(name: str, found: SweepVerdicts | str) -> str:
    """How often which verdict, all of them folded, and what must be known to read them; or why there is none."""
    if isinstance(found, str):
        return paragraph(found)
    rows = found.verdicts
    counts = rows["verdict"].map(lambda verdict: verdict.split(":")[0]).value_counts(sort=False)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
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
    header = ("first pool", "query", "learner", "measured by, labels", "points", "95 % CI", "p", "verdict")
    against = rows["against"].iloc[0]
    return (
        paragraph(f"Against {against}, {len(rows)} comparisons: {told}.")
        + folded("All verdicts", table(f"Verdicts of the sweep {name}", header, lines))
        + folded("How to read them", bullets(found.notes))
    )


def summary(context: Context, found: Mapping[str, SweepVerdicts | str]) -> list[str]:
    """What was found, in two sentences; where nothing was, what would have to be done to know."""
    about = f"{int(context.data.kept.sum()):,} images to choose from"
    said = [*_found(context, found)]
    rounds = rounds_of(context)
    if rounds and "accuracy" in (last := rounds[-1].facts["outcome"]):
        times = "1 labeling round" if len(rounds) == 1 else f"{len(rounds)} labeling rounds"
        said.append(
            f"After {times} {last['labeled']} images are labeled, and the cross-validated accuracy is "
            f"{share(last['accuracy'])}."
        )
    return [f"{about}. {said[0]}", *said[1:]]


def _found(context: Context, found: Mapping[str, SweepVerdicts | str]) -> list[str]:
    import pandas as pd

    tables = [each.verdicts for each in found.values() if isinstance(each, SweepVerdicts)]
    if not tables and not context.data.classes:
        return ["The data set has no labels of its own, so chosen first pools can't be compared with random ones."]
    if not tables:
        command = context.command_for("al-run", "--init", "random,typiclust", "--query", "random,margin")
        return [
            "No sweep has compared first pools with random ones, so whether a chosen one is worth more is not known.",
            f"To find out: `{command}`.",
        ]
    rows = pd.concat(tables, ignore_index=True)
    better, worse = rows[rows["verdict"] == "better"], rows[rows["verdict"] == "worse"]
    against = rows["against"].iloc[0]
    swept = "1 sweep" if len(tables) == 1 else f"{len(tables)} sweeps"
    first = (
        f"Of {len(rows)} comparisons with {against} in {swept}, {len(better)} found the first pool better, "
        f"{len(worse)} found it worse, and {len(rows) - len(better) - len(worse)} could not tell them apart."
    )
    few = int(rows["verdict"].str.startswith("cannot be told apart").sum())
    if few:
        first += f" In {few} of them there were too few seeds to tell, however large the difference."
    each = " (every sweep is corrected by itself)" if len(tables) > 1 else ""
    if len(better):
        return [first, f"The largest gain{each}: {_sentence(better, better['difference'].argmax())}"]
    if len(worse):
        return [first, f"The largest difference{each}: {_sentence(worse, worse['difference'].argmin())}"]
    return [first, f"Nothing here shows that a chosen first pool is worth more than {against}."]


def _sentence(rows: DataFrame, place: Any) -> str:
    return str(rows["sentence"].iloc[int(place)])
