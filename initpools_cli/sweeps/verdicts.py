"""Finished sweeps judged: which first pools are better than random, by how much, and over which data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.steps.strategy_name import named
from initpools_cli.sweeps.results import rounds_of

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.stats.multi_dataset import FriedmanRow


@dataclass(frozen=True)
class SweepVerdicts:
    """What `judge` finds.

    Attributes
    ----------
    verdicts, savings, first_and_later : DataFrame
        Of the sweeps one after the other, with `sweep` as the first column.
    across : list of FriedmanRow
        First pools ranked over the data sets; empty for one.
    notes : list of str
        What must be known to read them.
    """

    verdicts: pd.DataFrame
    savings: pd.DataFrame
    first_and_later: pd.DataFrame
    across: list[FriedmanRow]
    notes: list[str]

    def payload(self) -> dict[str, Any]:
        """Everything, for JSON."""
        tables = {name: getattr(self, name) for name in ("verdicts", "savings", "first_and_later")}
        return {
            **{name: table.to_dict("records") for name, table in tables.items()},
            "across": [row._asdict() | {"sentence": row.sentence} for row in self.across],
            "notes": self.notes,
        }


def sweep_of(run: Run | None, name: str) -> FinishedStep | None:
    """The finished sweep of that name: ``main`` or ``al/main`` of the run, or a path ``RUN/al/main``; None if none."""
    own = None if run is None else run.find_step(name if name.startswith("al/") else f"al/{name}")
    if own is not None:
        return own
    folder = Path(name)
    return Run(folder.parent.parent).find_step(f"al/{folder.name}") if folder.parent.name == "al" else None


def judge(
    sweeps: dict[str, FinishedStep], against: str = "random", metric: str = "accuracy", measures: Sequence[str] = ()
) -> SweepVerdicts:
    """Judge the first pools of finished sweeps.

    Parameters
    ----------
    sweeps : dict of str to Done
        By the name that they are shown under.
    against : str
        The first pool that the others are compared with.
    metric : str
        A column of rounds.csv of which more is better.
    measures : sequence of str
        Of "first pool", "area" and "last round"; default: all.

    Raises
    ------
    UserError
        An unknown metric or measure, or a sweep that is damaged or stale or has nothing to compare.
    """
    import pandas as pd

    from initpools_cli.stats.correlation import first_and_later
    from initpools_cli.stats.label_savings import savings
    from initpools_cli.stats.multi_dataset import across
    from initpools_cli.stats.verdicts import MEASURES, METRICS, notes, verdicts

    against = named(against).name
    _require(metric, METRICS, "metric", "--metric")
    asked = tuple(measures) or MEASURES
    for measure in asked:
        _require(measure, MEASURES, "measure", "--measure")
    rounds = {name: rounds_of(done) for name, done in sweeps.items()}
    said, found = [], []
    for name, rows in rounds.items():
        table = verdicts(rows, against, metric, asked)
        if not len(table):
            raise UserError(*_nothing(name, rows, against))
        tables = (table, savings(rows, against, metric), first_and_later(rows, metric))
        for each in tables:
            each.insert(0, "sweep", name)
        found.append(tables)
        told = [*notes(table), *_leaking(rows)]
        said += [f"{name}: {note}" if len(rounds) > 1 else note for note in told]
    sets = [str(sorted(done.run.facts()["dataset"].items())) for done in sweeps.values()]
    ranked = across(list(rounds.values()), metric, asked) if len(set(sets)) == len(sets) else []
    if len(set(sets)) < len(sets):
        said.append("Some sweeps are of one data set: there is no ranking over data sets.")
    judged, saved, later = (pd.concat(each, ignore_index=True) for each in zip(*found, strict=True))
    return SweepVerdicts(judged, saved, later, ranked, said)


def _leaking(rounds: pd.DataFrame) -> list[str]:
    """What is said of a sweep in which labels were read that had not been bought."""
    leaks = rounds[rounds["leaks"] > 0]
    if not len(leaks):
        return []
    by = (
        "the policy free-val"
        if "free-val" in set(leaks.get("validation", ()))
        else ", ".join(dict.fromkeys(leaks["init"]))
    )
    return [f"Labels that were not bought were read by {by} (the column leaks of rounds.csv says how many)."]


def _require(name: str, known: Sequence[str], kind: str, flag: str) -> None:
    if name not in known:
        guess = nearest(name, known)
        meant = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"{flag} '{name}' is no {kind} to compare by.", f"{meant}There are: {', '.join(known)}.")


def _nothing(name: str, rounds: pd.DataFrame, against: str) -> tuple[str, str]:
    inits = ", ".join(dict.fromkeys(rounds["init"]))
    return (
        f"The sweep {name} has nothing to compare with {against}: its first pools are {inits}.",
        f"Run it again with --init {against} and another, or name one of its first pools with --against.",
    )
