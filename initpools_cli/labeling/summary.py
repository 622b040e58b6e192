"""What is told of labeling rounds, in the terminal and in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from initpools_cli.core.reporter import Reporter
from initpools_cli.figures.escape import percent
from initpools_cli.labeling.label_history import SETTINGS

#: What the accuracy is, and what it is not.
NOTE = (
    "Accuracy is cross-validated on the images labeled by then, which were chosen and not drawn at random: on all "
    "images it may differ. Largest class: what guessing it would reach. Foretold: of the labels that came in a round, "
    "those that the model of the round before was right about."
)

#: Problems of a file of labels that are told one by one.
TOLD = 5

Outcome = Mapping[str, Any]


def _share(outcome: Outcome, name: str) -> str:
    return percent(outcome[name]) if name in outcome else ""


def _between(outcome: Outcome, name: str, low: str, high: str) -> str:
    return f"{_share(outcome, name)} ({percent(outcome[low])} to {percent(outcome[high])})" if name in outcome else ""


def _foretold(outcome: Outcome) -> str:
    return f"{_share(outcome, 'foretold')} of {outcome['foretold_of']:,}" if "foretold" in outcome else ""


COLUMNS: Mapping[str, Callable[[Outcome], str]] = {
    "round": lambda outcome: str(outcome["round"]),
    "encoder": lambda outcome: str(outcome.get("encoder", "")),
    "learner": lambda outcome: str(outcome.get("learner", "")),
    "labeled": lambda outcome: f"{outcome['labeled']:,}",
    "classes": lambda outcome: str(outcome["classes"]),
    "accuracy (95 % CI)": lambda outcome: _between(outcome, "accuracy", "low", "high"),
    "largest class": lambda outcome: _share(outcome, "majority"),
    "on the test split": lambda outcome: _between(outcome, "test_accuracy", "test_low", "test_high"),
    "foretold": _foretold,
}


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """What must be known to read the table of rounds."""
    return [
        NOTE,
        *(
            f"The rounds have different {name}s ({', '.join(values)}): their accuracies differ by that, too."
            for name in SETTINGS
            if len(values := list(dict.fromkeys(str(each[name]) for each in outcomes if each.get(name)))) > 1
        ),
    ]


def tell_problems(report: Reporter, problems: Sequence[object], where: str) -> None:
    """Warn of rows that can't be used: of the first ones each, of the rest how many.

    Parameters
    ----------
    problems : sequence
        Each as it is to be read.
    where : str
        Where the others are to be found.
    """
    for problem in problems[:TOLD]:
        report.warn(str(problem))
    if len(problems) > TOLD:
        report.warn(f"{len(problems) - TOLD} more rows can't be used: see {where}.")


def table_of(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Columns and a line a round; a column that is empty in all of them is left out, and a setting that is the same.

    Parameters
    ----------
    outcomes : sequence of mapping
        Of `history`.
    """
    columns = [
        name
        for name, cell in COLUMNS.items()
        if any(map(cell, outcomes)) and (name not in SETTINGS or len(set(map(cell, outcomes))) > 1)
    ]
    return columns, [[COLUMNS[name](each) or "–" for name in columns] for each in outcomes]
