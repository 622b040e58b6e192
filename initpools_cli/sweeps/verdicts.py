"""Verdicts on finished sweeps: which first pools are better than random, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.stats.metric_names import LONG_TAIL, MULTILABEL_METRICS, PRIMARY, metrics_of
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.sweeps.long_tail import long_tail_notes
from initpools_cli.sweeps.results import groups_of, images_of, rounds_of

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.stats.group_variance import RightByGroup
    from initpools_cli.stats.multi_dataset import FriedmanRow


@dataclass(frozen=True)
class SweepVerdicts:
    """Verdicts, label savings and correlations of sweeps.

    Attributes
    ----------
    verdicts, savings, first_and_later : DataFrame
        Rows of all sweeps, with `sweep` as the first column.
    across : list of FriedmanRow
        Friedman tests over the data sets; empty for one data set.
    notes : list of str
        Notes on the tables.
    """

    verdicts: pd.DataFrame
    savings: pd.DataFrame
    first_and_later: pd.DataFrame
    across: list[FriedmanRow]
    notes: list[str]

    def payload(self) -> dict[str, Any]:
        """Return all tables and notes for JSON."""
        tables = {name: getattr(self, name) for name in ("verdicts", "savings", "first_and_later")}
        return {
            **{name: table.to_dict("records") for name, table in tables.items()},
            "across": [row._asdict() | {"sentence": row.sentence} for row in self.across],
            "notes": self.notes,
        }


def sweep_of(run: Run | None, name: str) -> FinishedStep | None:
    """Find a finished sweep: ``main`` or ``al/main`` in the run, or a path ``RUN/al/main``; None if there is none."""
    own = None if run is None else run.find_step(name if name.startswith("al/") else f"al/{name}")
    if own is not None:
        return own
    folder = Path(name)
    return Run(folder.parent.parent).find_step(f"al/{folder.name}") if folder.parent.name == "al" else None


def compare_sweeps(
    sweeps: dict[str, FinishedStep], against: str = "random", metric: str = PRIMARY, measures: Sequence[str] = ()
) -> SweepVerdicts:
    """Compare the first pools of finished sweeps.

    Parameters
    ----------
    sweeps : dict of str to FinishedStep
        By displayed name.
    against : str
        The first pool that the others are compared with.
    metric : str
        A column of rounds.csv for which higher is better; "primary": accuracy, or with several labels per image auc.
    measures : sequence of str
        Any of "first pool", "area" and "last round"; default: all.

    Raises
    ------
    UserError
        If a metric or measure is unknown, or a sweep is damaged, stale or has nothing to compare.
    """
    import pandas as pd

    from initpools_cli.stats.correlation import first_and_later
    from initpools_cli.stats.label_savings import savings
    from initpools_cli.stats.multi_dataset import across
    from initpools_cli.stats.verdict_text import notes
    from initpools_cli.stats.verdicts import MEASURES, verdicts

    measures = tuple(measures) or MEASURES
    for measure in measures:
        _require(measure, MEASURES, "measure", "--measure")
    rounds = {name: rounds_of(step) for name, step in sweeps.items()}
    metrics = [metrics_of(rows.columns) for rows in rounds.values()]
    if len({each == MULTILABEL_METRICS for each in metrics}) > 1:
        names = ", ".join(sweeps)
        raise UserError(
            f"{names} are sweeps of data sets with one class and with several labels per image.",
            "Compare those of one kind: `initpools compare NAME`.",
            names,
        )
    # Only metrics that all data sets have: those of a long tail have more.
    valid = min(metrics, key=len)
    if metric == PRIMARY:
        metric = LONG_TAIL[0] if LONG_TAIL in metrics else valid[0]
    _require(metric, valid, "metric", "--metric")
    # A strategy of a file is known to a sweep by a name that does not say where the file is.
    if not any(against in set(rows["init"]) for rows in rounds.values()):
        against = parse_strategy(against).name
    lines, results = [], []
    for name, rows in rounds.items():
        groups = groups_of(sweeps[name], rows)
        table = verdicts(rows, against, metric, measures, groups=groups, images=images_of(sweeps[name], rows))
        if not len(table):
            raise _nothing_to_compare(name, rows, against)
        tables = (table, savings(rows, against, metric), first_and_later(rows, metric))
        for each in tables:
            each.insert(0, "sweep", name)
        results.append(tables)
        lines += [
            f"{name}: {note}" if len(rounds) > 1 else note
            for note in (
                *notes(table),
                *_leak_notes(rows),
                *_ranking_notes(sweeps[name]),
                *_group_notes(sweeps[name], groups, metric),
                *long_tail_notes(sweeps[name], rows),
            )
        ]
    sets = [str(sorted(step.run.facts()["dataset"].items())) for step in sweeps.values()]
    tests = across(list(rounds.values()), metric, measures) if len(set(sets)) == len(sets) else []
    if len(set(sets)) < len(sets):
        lines.append("Some sweeps use the same data set; a ranking over data sets needs one sweep per data set.")
    verdict_rows, savings_rows, correlations = (
        pd.concat(each, ignore_index=True) for each in zip(*results, strict=True)
    )
    return SweepVerdicts(verdict_rows, savings_rows, correlations, tests, lines)


def _group_notes(step: FinishedStep, groups: RightByGroup | None, metric: str) -> list[str]:
    """Return a note if the intervals of a metric can't be over groups."""
    from initpools_cli.stats.group_variance import METRICS

    count = step.facts["outcome"].get("test_groups", 0)
    if not count or (groups is not None and metric in METRICS):
        return []
    return [f"Intervals and p of {metric} are over seeds only, not over the {count} groups of test images."]


def _leak_notes(rounds: pd.DataFrame) -> list[str]:
    """Return a note if a sweep read labels that were not bought."""
    leaks = rounds[rounds["leaks"] > 0]
    if not len(leaks):
        return []
    by = (
        "the policy free-val"
        if "free-val" in set(leaks.get("validation", ()))
        else ", ".join(dict.fromkeys(leaks["init"]))
    )
    return [f"Labels that were not bought were read by {by}; see the column leaks of rounds.csv."]


def _ranking_notes(step: FinishedStep) -> list[str]:
    """Return a note if rankings of a sweep were made with the labels of the test split."""
    names = step.facts["outcome"].get("leaking_rankings", [])
    if not names:
        return []
    return [f"{', '.join(names)}: ranked with the labels of the test split, so accuracy on it is biased."]


def _require(name: str, valid: Sequence[str], kind: str, flag: str) -> None:
    if name not in valid:
        guess = nearest(name, valid)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"{flag} '{name}' is not a {kind}.", f"{hint}Use one of {', '.join(valid)}.", name)


def _nothing_to_compare(name: str, rounds: pd.DataFrame, against: str) -> UserError:
    inits = ", ".join(dict.fromkeys(rounds["init"]))
    return UserError(
        f"The sweep {name} has nothing to compare with {against}: its first pools are {inits}.",
        f"Use --against with one of its first pools, or run it again with --init {against} and another.",
        against,
    )
