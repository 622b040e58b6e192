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
    """What the newest round says of single images.

    Attributes
    ----------
    number : int
        0 if there is no round.
    labels : dict of int to str
        All labels so far, by train row.
    origins : dict of int to str
        Why these images were labeled, where it is known.
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
    from initpools_cli.labeling.label_history import number_of, outcome_of, read_known, rounds
    from initpools_cli.labeling.origin import audit_images

    audit = frozenset(audit_images(run))
    done = rounds(run)
    if not done:
        return LastRound(audit=audit)
    known = read_known(done[-1])
    images = known["index"].tolist()
    origins = known["origin"].tolist() if "origin" in known else [""] * len(images)
    shown: dict[int, Suggestion] = {}
    if suggestions:
        table = done[-1].frame("predictions.csv", dtype={"path": str, "label": str}, keep_default_na=False)
        rows = zip(table["index"].tolist(), table["label"], table["confidence"].astype(float), strict=True)
        shown = {image: Suggestion(label, confidence) for image, label, confidence in rows if image not in audit}
    return LastRound(
        number_of(done[-1].name),
        {image: label for image, label in zip(images, known["label"], strict=True) if label},
        {image: origin for image, origin in zip(images, origins, strict=True) if origin},
        shown,
        audit,
        [outcome_of(step) for step in done],
    )
