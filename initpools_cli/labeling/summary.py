"""Tables and notes of labeling rounds, for terminal and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from initpools_cli.core.reporter import Reporter
from initpools_cli.core.types import DataFrame
from initpools_cli.figures.escape import percent
from initpools_cli.labeling.stored_rounds import SETTINGS
from initpools_cli.stats.long_tail import is_long_tail, rare_recall, rarest_third

#: What the accuracy in the table is the accuracy of.
NOTE = (
    "Accuracy: cross-validated on the labeled images. It holds for the images without a label only if the labeled ones "
    "were drawn at random; if a strategy chose them, it may be far from it. Largest class: accuracy of always "
    "predicting it."
)
#: The same, if there are audit images.
AUDIT_NOTE = (
    "Accuracy: cross-validated on all labeled images, most of which a strategy chose. Without a label: accuracy on the "
    "other images, estimated from the audit images, which were drawn at random. Largest class: accuracy of always "
    "predicting it."
)

#: The same with groups.
GROUP_NOTE = (
    "Accuracy: cross-validated by whole groups, so it holds for new groups that are like the labeled ones. The "
    "intervals are over the groups, as images of one group are not independent. Largest class: accuracy of always "
    "predicting it."
)
#: The same with groups, if there are audit images.
GROUP_AUDIT_NOTE = (
    f"{GROUP_NOTE} Without a label: accuracy on the other images, estimated from the audit images by models that have "
    "not seen their group, so it is rather too low where groups are partly labeled."
)

#: The same with several labels per image.
SETS_NOTE = (
    "The metrics are cross-validated on the labeled images; classes without a labeled image are left out of the means. "
    "The interval is over the images, or over the groups. If a strategy chose the images, it is not that of the images "
    "without a label. Probabilities are not calibrated."
)

#: Maximum number of problems of a label file that are reported one by one.
LISTED = 5

Outcome = Mapping[str, Any]


def _share(outcome: Outcome, name: str) -> str:
    return percent(outcome[name]) if name in outcome else ""


def _between(outcome: Outcome, name: str, low: str, high: str) -> str:
    if name not in outcome:
        return ""
    ends = "–".join(percent(outcome[end]).removesuffix(" %") for end in (low, high))
    return f"{percent(outcome[name])} ({ends})"


def _decimal(outcome: Outcome, name: str) -> str:
    return f"{outcome[name]:.3f}" if name in outcome else ""


def _area(outcome: Outcome) -> str:
    """Format the macro AUC with its interval; a sample of the images may have none."""
    if "auc" not in outcome or "low" not in outcome:
        return _decimal(outcome, "auc")
    return f"{outcome['auc']:.3f} ({outcome['low']:.3f} to {outcome['high']:.3f})"


def _groups(outcome: Outcome) -> str:
    """Name the numbers of groups that the intervals are over; empty without groups."""
    if "test_groups" not in outcome:
        return f"{outcome['groups']:,}" if "groups" in outcome else ""
    return f"{outcome.get('groups', 0):,}, test {outcome['test_groups']:,}"


def _previous_model(outcome: Outcome) -> str:
    if "previous_accuracy" not in outcome:
        return ""
    return f"{_share(outcome, 'previous_accuracy')} of {outcome['previous_labels']:,}"


COLUMNS: Mapping[str, Callable[[Outcome], str]] = {
    "round": lambda outcome: str(outcome["round"]),
    "encoder": lambda outcome: str(outcome.get("encoder", "")),
    "learner": lambda outcome: str(outcome.get("learner", "")),
    "labeled": lambda outcome: f"{outcome['labeled']:,}",
    "classes": lambda outcome: str(outcome["classes"]),
    "accuracy (95 % CI)": lambda outcome: _between(outcome, "accuracy", "low", "high"),
    "without a label": lambda outcome: _between(outcome.get("audit", {}), "accuracy", "low", "high"),
    "largest class": lambda outcome: _share(outcome, "majority"),
    "on the test split": lambda outcome: _between(outcome, "test_accuracy", "test_low", "test_high"),
    "macro AUC (95 % CI)": lambda outcome: _area(outcome),
    "mean average precision": lambda outcome: _decimal(outcome, "mean_average_precision"),
    "micro F1": lambda outcome: _decimal(outcome, "micro_f1"),
    "macro F1": lambda outcome: _decimal(outcome, "macro_f1"),
    "AUC on the test split": lambda outcome: _decimal(outcome, "test_auc"),
    "groups": _groups,
    "previous model": _previous_model,
}


def majority_note(outcome: Outcome) -> str:
    """Say that the accuracy is not better than that of always guessing the largest class; empty if it is better."""
    if "accuracy" not in outcome or outcome["low"] > outcome["majority"]:
        return ""
    share, interval = percent(outcome["majority"]), f"{percent(outcome['low'])} to {percent(outcome['high'])}"
    if outcome["high"] < outcome["majority"]:
        return f"Worse than guessing the largest class: its share ({share}) is above the interval ({interval})."
    return f"No better than guessing the largest class: its share ({share}) is in the interval ({interval})."


def calibration(outcome: Outcome) -> str:
    """Say how the confidences of the predictions are calibrated; empty without an accuracy."""
    if "accuracy" not in outcome:
        return ""
    if "temperature" not in outcome:
        return (
            f"The confidences of round {outcome['round']} are not calibrated: an older version made it. Run the same "
            "command with --force to calibrate them."
        )
    temperature = float(outcome["temperature"])
    effect = "lower" if temperature > 1 else "higher"
    consequence = (
        "which leaves them as they are"
        if f"{temperature:.2f}" == "1.00"
        else f"which makes them {effect} than the model's own"
    )
    return f"The confidences of the predictions are calibrated with temperature {temperature:.2f}, {consequence}."


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return notes on the table of rounds; those on accuracy and confidence are on the last round."""
    return [
        *filter(None, (majority_note(outcomes[-1]), calibration(outcomes[-1]))),
        _note(outcomes[-1]),
        *filter(None, [_previous_model_note(outcomes)]),
        *(
            f"The rounds have different {name}s ({', '.join(values)}), which also affects their accuracies."
            for name in SETTINGS
            if len(values := list(dict.fromkeys(str(each[name]) for each in outcomes if each.get(name)))) > 1
        ),
    ]


def _note(outcome: Outcome) -> str:
    """Return the explanation of the columns."""
    if "multilabel" in outcome:
        return SETS_NOTE
    has_audit = "accuracy" in outcome.get("audit", {})
    if "groups" in outcome:
        return GROUP_AUDIT_NOTE if has_audit else GROUP_NOTE
    return AUDIT_NOTE if has_audit else NOTE


def _previous_model_note(outcomes: Sequence[Outcome]) -> str:
    """Explain the column on the previous model; empty if the table has none."""
    if not any(map(_previous_model, outcomes)):
        return ""
    sets = "multilabel" in outcomes[-1]
    exactly = "label sets that it predicted exactly" if sets else "labels that it predicted correctly"
    return f"Previous model: share of the new {exactly}, before it was trained on them."


def long_tail_note(outcome: Outcome, by_class: DataFrame) -> str:
    """Say how a round does on rare classes, if the numbers of labels differ more than tenfold; else empty.

    Parameters
    ----------
    outcome : mapping
        Of the round.
    by_class : DataFrame
        Its classes.csv: class, labeled, recall.
    """
    if "balanced_accuracy" not in outcome or not {"labeled", "recall"} <= {*by_class.columns}:
        return ""
    counts = by_class["labeled"].to_numpy(np.int64)
    if not is_long_tail(counts):
        return ""
    rare = rarest_third(counts)
    recall = float(rare_recall(by_class["recall"].to_numpy(np.float64)[None], rare)[0])
    there = counts[counts > 0]
    names = ", ".join(by_class["class"].astype(str).to_numpy()[rare[:5]]) + (", …" if len(rare) > 5 else "")
    return (
        f"The classes have {there.min():,} to {there.max():,} labels: balanced accuracy "
        f"{percent(outcome['balanced_accuracy'])}, recall of the rarest third ({names}) {percent(recall)}."
    )


def tell_problems(report: Reporter, problems: Sequence[object], where: str) -> None:
    """Warn of rows that cannot be used: the first ones one by one, then the number of others.

    Parameters
    ----------
    report : Reporter
    problems : sequence
        Messages.
    where : str
        The file that lists all problems.
    """
    for problem in problems[:LISTED]:
        report.warn(str(problem))
    if len(problems) > LISTED:
        report.warn(f"{len(problems) - LISTED} more rows cannot be used: see {where}.")


def table_of(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Return columns and one line per round; empty columns and constant settings are left out.

    Parameters
    ----------
    outcomes : sequence of mapping
        From `history`.
    """
    columns = [
        name
        for name, cell in COLUMNS.items()
        if any(map(cell, outcomes)) and (name not in SETTINGS or len(set(map(cell, outcomes))) > 1)
    ]
    return columns, [[COLUMNS[name](each) or "–" for name in columns] for each in outcomes]
