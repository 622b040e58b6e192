"""The newest finished round as the labeling page needs it: labels, predictions, and when they were made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from initpools_cli.core.rundir import Run


class Suggestion(NamedTuple):
    """A predicted class, and its calibrated probability."""

    label: str
    confidence: float


@dataclass(frozen=True)
class LastRound:
    """Results of the newest round for single images.

    Attributes
    ----------
    number : int
        0 if there is no round.
    labels : dict of int to str
        All labels so far, by train row.
    origins : dict of int to str
        Why each image of the round's labels.csv was labeled; batch if that is not known.
    suggestions : dict of int to Suggestion
        By train row; none for audit images.
    audit : frozenset of int
        Images that a batch of the run lists as audit.
    outcomes : list of dict
        The outcome of every round, oldest first.
    """

    number: int = 0
    labels: dict[int, str] = field(default_factory=dict)
    origins: dict[int, str] = field(default_factory=dict)
    suggestions: dict[int, Suggestion] = field(default_factory=dict)
    audit: frozenset[int] = frozenset()
    outcomes: list[dict[str, object]] = field(default_factory=list)


#: Of a run without rounds.
NO_ROUND = LastRound()


def last_round(run: Run, *, suggestions: bool = True) -> LastRound:
    """Read the newest round of a run.

    Parameters
    ----------
    run : Run
    suggestions : bool
        Whether to read its predictions.

    Raises
    ------
    UserError
        If one of its files is damaged.
    """
    from initpools_cli.labeling.origin import BATCH, audit_images
    from initpools_cli.labeling.stored_rounds import (
        DETAILS,
        number_of,
        outcome_of,
        read_predictions,
        read_round_labels,
        rounds,
    )

    audit = frozenset(audit_images(run))
    steps = rounds(run)
    if not steps:
        return LastRound(audit=audit)
    labels = read_round_labels(steps[-1])
    # Images of a class that was split since are no longer in `labels`, but keep their origin.
    all_rows = steps[-1].frame(
        "labels.csv", dtype=dict.fromkeys(("path", "label", *DETAILS), str), keep_default_na=False
    )
    origins = all_rows["origin"].tolist() if "origin" in all_rows else [""] * len(all_rows)
    predictions: dict[int, Suggestion] = {}
    if suggestions:
        table = read_predictions(steps[-1])
        rows = zip(table["index"].tolist(), table["label"], table["confidence"].astype(float), strict=True)
        predictions = {image: Suggestion(label, confidence) for image, label, confidence in rows if image not in audit}
    return LastRound(
        number_of(steps[-1].name),
        {image: label for image, label in zip(labels["index"].tolist(), labels["label"], strict=True) if label},
        {image: origin or BATCH for image, origin in zip(all_rows["index"].tolist(), origins, strict=True)},
        predictions,
        audit,
        [outcome_of(step) for step in steps],
    )
