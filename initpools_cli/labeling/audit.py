"""Estimates of a round from its audit images, and of the effect of suggestions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from initpools_cli.core.rundir import FinishedStep
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.stored_rounds import SETTINGS, number_of, read_predictions
from initpools_cli.steps.audit_sample import AUDIT


class AuditPredictions(NamedTuple):
    """Audit images of one round that the round before predicted, and how many of them correctly."""

    right: int
    images: int


def audit_outcome(
    labeled: LabelHistory, probs: np.ndarray | None, rest: np.ndarray | None, foreseen: list[AuditPredictions]
) -> dict[str, Any]:
    """Return the key ``audit`` of the outcome of a round; empty without audit labels.

    Parameters
    ----------
    labeled : LabelHistory
    probs : (m, c) float64 or None
        Cross-validated, calibrated probabilities of the labeled images.
    rest : (u, c) float64 or None
        Calibrated probabilities of the images without a label that were not skipped.
    foreseen : list of AuditPredictions
    """
    from initpools_cli.stats.anytime_bound import anytime_bound
    from initpools_cli.stats.audit_accuracy import audit_accuracy

    audit = np.asarray(labeled.origins == AUDIT)
    if not audit.any():
        return {}
    stats: dict[str, Any] = {"labeled": int(audit.sum())}
    if probs is not None:
        right = probs.argmax(axis=1) == labeled.codes
        stats["right"] = int(right[audit].sum())
        if rest is not None and len(rest):
            share, low, high = audit_accuracy(
                right, probs.max(axis=1), audit, labeled.since, len(rest), float(rest.max(axis=1).mean())
            )
            stats |= {"accuracy": share, "low": low, "high": high}
    if foreseen:
        stats["bound"] = anytime_bound([each.right for each in foreseen], [each.images for each in foreseen])
        stats["foreseen"] = [[each.right, each.images] for each in foreseen]
    return {"audit": stats}


def audit_predictions(
    earlier: list[FinishedStep], labeled: LabelHistory, settings: dict[str, Any]
) -> list[AuditPredictions]:
    """Count the audit images of each round that the model of the round before predicted correctly.

    Parameters
    ----------
    earlier : list of FinishedStep
        The rounds before this one, oldest first.
    labeled : LabelHistory
    settings : dict
        Encoder and learner of this round, as in `SETTINGS`. Rounds with another encoder or learner are not counted,
        since such a change may lower the accuracy.
    """
    audit = labeled.origins == AUDIT
    truth = dict(zip(labeled.rows[audit].tolist(), labeled.codes[audit].tolist(), strict=True))
    since = dict(zip(labeled.rows.tolist(), labeled.since.tolist(), strict=True))
    numbers = {name: code for code, name in enumerate(labeled.classes)}
    counts = []
    for step in earlier:
        if any(step.table.get(key) != settings[key] for key in SETTINGS.values()):
            continue
        number = number_of(step.name) + 1
        images = {image for image in truth if since[image] == number}
        if not images:
            continue
        table = read_predictions(step)
        prediction_of = dict(zip(table["index"].tolist(), map(labeled.class_of, table["label"]), strict=True))
        predicted_images = [image for image in images if image in prediction_of]
        if predicted_images:
            counts.append(
                AuditPredictions(
                    sum(numbers.get(prediction_of[each]) == truth[each] for each in predicted_images),
                    len(predicted_images),
                )
            )
    return counts


def suggestion_outcome(
    labeled: LabelHistory, probs: np.ndarray | None, foreseen: list[AuditPredictions]
) -> dict[str, Any]:
    """Return the key ``suggested`` of the outcome of a round; empty if nothing was suggested.

    Annotators may accept wrong suggestions. Two numbers show it: how often the cross-validated model, which has not
    learned from the image, disagrees with an accepted suggestion; and how much more often labels agree with suggestions
    than with predictions for audit images, which are not shown. Strategies prefer difficult images, which makes this
    difference smaller, so only a difference above 0 is evidence.
    """
    from initpools_cli.stats.proportions import difference_interval

    suggestions = labeled.suggested
    has_suggestion = np.asarray(suggestions != "")
    if not has_suggestion.any():
        return {}
    names = np.array(labeled.classes, dtype=object)
    accepted = has_suggestion & (names[labeled.codes] == suggestions)
    stats: dict[str, Any] = {"shown": int(has_suggestion.sum()), "accepted": int(accepted.sum())}
    if probs is not None:
        stats["doubtful"] = int((accepted & (probs.argmax(axis=1) != labeled.codes)).sum())
    right, count = sum(each.right for each in foreseen), sum(each.images for each in foreseen)
    if count:
        difference = stats["accepted"] / stats["shown"] - right / count
        low, high = difference_interval(stats["accepted"], stats["shown"], right, count)
        stats |= {"audit_agreed": right, "audit": count, "difference": difference, "low": low, "high": high}
    return {"suggested": stats}
