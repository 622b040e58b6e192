"""Validated rows of a finished sweep, for statistics and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.stats.metric_names import METRICS, MULTILABEL_METRICS, metrics_of
from initpools_cli.steps.run_data import read_items
from initpools_cli.sweeps.long_tail import long_tail_of, with_rare_recall

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.stats.group_variance import RightByGroup
    from initpools_cli.stats.split_error import EvaluatedImages

#: The file of the correct predictions by group of test images, if the data set has groups.
TEST_GROUPS = "test_groups.npz"
#: The file of the correct predictions of each test image, with one class per image.
TEST_CORRECT = "test_correct.npz"
#: Columns of rounds.csv that a failed cell leaves empty.
NUMBERS = (*dict.fromkeys((*METRICS, *MULTILABEL_METRICS)), "nll", "ece", "absent_classes", "leaks")
#: Columns of rounds.csv that statistics read.
NAMES = ("init", "query", "learner", "encoder", "status")
COUNTS = ("seed", "round", "labeled", "leaks")


def groups_of(step: FinishedStep, rounds: pd.DataFrame) -> RightByGroup | None:
    """Read the correct predictions by group of test images of a finished sweep; None without groups.

    Parameters
    ----------
    rounds : DataFrame
        From `rounds_of`.

    Raises
    ------
    UserError
        If the file was changed.
    """
    from initpools_cli.stats.group_variance import RightByGroup

    if TEST_GROUPS not in step.facts["writes"]:
        return None
    with np.load(step.verified_path(TEST_GROUPS), allow_pickle=False) as archive:
        right = np.zeros((len(rounds), len(archive["group"])))
        right[(rounds["status"] == "ok").to_numpy()] = archive["right"]
        return RightByGroup(right, archive["group"], archive["label"], archive["images"])


def images_of(step: FinishedStep, rounds: pd.DataFrame) -> EvaluatedImages:
    """Read the correct predictions of each test image of a finished sweep; older sweeps have only the number of images.

    Parameters
    ----------
    rounds : DataFrame
        From `rounds_of`.

    Raises
    ------
    UserError
        If the file was changed.
    """
    from initpools_cli.stats.split_error import EvaluatedImages

    if TEST_CORRECT not in step.facts["writes"]:
        items = read_items(step.run)
        return EvaluatedImages(int(((items["split"] == "test") & items["label"].notna()).sum()))
    with np.load(step.verified_path(TEST_CORRECT), allow_pickle=False) as archive:
        label = archive["label"]
        correct = np.zeros((len(rounds), len(label)), bool)
        correct[(rounds["status"] == "ok").to_numpy()] = np.unpackbits(archive["correct"], axis=1, count=len(label))
        return EvaluatedImages(len(label), correct, label)


def rounds_of(step: FinishedStep) -> pd.DataFrame:
    """Read and validate the rounds.csv of a finished sweep.

    Raises
    ------
    UserError
        If the file was changed, or a column or value is not valid.
    """
    blank = {column: [""] for column in NUMBERS}
    rounds: pd.DataFrame = step.require_fresh().frame("rounds.csv", keep_default_na=False, na_values=blank)
    metrics = metrics_of(rounds.columns)
    place = f"{step.folder / 'rounds.csv'}"
    remedy = f"Make it again with `{step.renewal()}`."
    missing = [column for column in (*NAMES, *COUNTS, *metrics) if column not in rounds.columns]
    if missing:
        raise UserError(f"{place} has no column '{missing[0]}'.", remedy, missing[0])
    for column in (*COUNTS, *metrics):
        if rounds[column].dtype.kind not in "iuf":
            raise UserError(f"{place} has values in the column '{column}' that are not numbers.", remedy, column)
    for column in metrics:
        outside = rounds[column][(rounds[column] < 0) | (rounds[column] > 1)]
        if len(outside):
            value = f"{column} = {outside.iloc[0]:g}"
            raise UserError(f"{place} has {value}, which is not between 0 and 1.", remedy, value)
    if not len(rounds):
        raise UserError(f"{place} has no rows.", remedy, place)
    # A round may have two rows with different status: evaluated, then failed at the next query.
    duplicates = rounds[rounds.duplicated([*NAMES, "seed", "round"])]
    if len(duplicates):
        row = duplicates.iloc[0]
        name = f"round {row['round']} of {row['init']}, seed {row['seed']}"
        raise UserError(f"{place} has {name}, more than once.", remedy, name)
    tail = long_tail_of(step)
    return rounds if tail is None else with_rare_recall(step, rounds, tail)
