"""The rows of a finished sweep, as statistics and figures read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep

if TYPE_CHECKING:
    import pandas as pd

#: Columns of rounds.csv that a failed cell leaves empty.
NUMBERS = ("accuracy", "balanced_accuracy", "auc", "nll", "ece", "absent_classes", "leaks")
#: What statistics read of rounds.csv.
NAMES = ("init", "query", "learner", "encoder", "status")
COUNTS = ("seed", "round", "labeled", "leaks")


def rounds_of(done: FinishedStep) -> pd.DataFrame:
    """A finished sweep's rounds.csv, of which statistics can be made.

    Raises
    ------
    UserError
        It is not as it was written, lacks a column, or holds what is no number or no fraction.
    """
    from initpools_cli.stats.verdicts import METRICS

    blank = {column: [""] for column in NUMBERS}
    rounds: pd.DataFrame = done.require_fresh().frame("rounds.csv", keep_default_na=False, na_values=blank)
    place = f"{done.folder / 'rounds.csv'}"
    remedy = f"Make it again with `{done.renewal()}`."
    lacking = [column for column in (*NAMES, *COUNTS, *METRICS) if column not in rounds.columns]
    if lacking:
        raise UserError(f"{place} has no column {lacking[0]}.", remedy)
    for column in (*COUNTS, *METRICS):
        if rounds[column].dtype.kind not in "iuf":
            raise UserError(f"{place} holds something in the column {column} that is no number.", remedy)
    for column in METRICS:
        outside = rounds[column][(rounds[column] < 0) | (rounds[column] > 1)]
        if len(outside):
            raise UserError(f"{place} says {column} = {outside.iloc[0]:g}, which is no fraction.", remedy)
    if not len(rounds):
        raise UserError(f"{place} has no rows.", remedy)
    # A round may be there twice: measured, and then failed at the query after it.
    twice = rounds[rounds.duplicated([*NAMES, "seed", "round"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(f"{place} has round {row['round']} of {row['init']}, seed {row['seed']}, twice.", remedy)
    return rounds
