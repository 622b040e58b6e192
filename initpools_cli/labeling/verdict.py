"""Verdict on the labeling loop, in sentences: how good it is, whether to go on, and what holds it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from initpools_cli.figures.escape import percent

#: Gain of 50 labels from which going on is recommended.
WORTH = 0.01
#: Audit images from which their estimate is the first sentence.
FEWEST_AUDIT = 5

Outcome = Mapping[str, Any]


def verdict(outcomes: Sequence[Outcome]) -> list[str]:
    """Return up to three sentences on the last of some rounds.

    Parameters
    ----------
    outcomes : sequence of mapping
        From `history`, oldest first.
    """
    if not outcomes:
        return []
    last = outcomes[-1]
    return [*filter(None, (how_good(last), what_next(last), held_back(last)))]


def how_good(outcome: Outcome) -> str:
    """Say how accurate the model is, by the audit sample if there is one."""
    audit = outcome.get("audit", {})
    if "accuracy" in audit and audit["labeled"] >= FEWEST_AUDIT:
        return (
            f"The model is right about {percent(audit['accuracy'])} of the images without a label (95 % interval "
            f"{percent(audit['low'])} to {percent(audit['high'])}), estimated with {audit['labeled']:,} audit images."
        )
    if "accuracy" in outcome:
        rest = (
            f"label at least {FEWEST_AUDIT} audit images; there are {audit['labeled']}"
            if audit
            else "add an audit sample to the next batch: --audit 10%"
        )
        like = "new groups" if "groups" in outcome else "images like the labeled ones"
        return (
            f"Cross-validated accuracy: {percent(outcome['accuracy'])} (95 % interval {percent(outcome['low'])} to "
            f"{percent(outcome['high'])}{_over_groups(outcome)}). It holds for {like}. To estimate the accuracy on the "
            f"others, {rest}."
        )
    if "multilabel" in outcome:
        return _macro_area(outcome)
    if "groups" in outcome:
        return "No accuracy yet: all labels are of one group, and cross-validation leaves out whole groups."
    return "No accuracy yet: it needs at least two labeled images of two classes."


def _macro_area(outcome: Outcome) -> str:
    """Say how well the labels of several per image are ranked."""
    if "auc" not in outcome:
        return "No macro AUC yet: it needs a class that some labeled images have and others do not."
    absent = outcome["absent_classes"]
    missing = f" {absent:,} of {outcome['classes']:,} classes have no labeled image." if absent else ""
    interval = f" (95 % interval {outcome['low']:.3f} to {outcome['high']:.3f}{_over_groups(outcome)})"
    return (
        f"Cross-validated macro AUC: {outcome['auc']:.3f}{interval if 'low' in outcome else ''}. It holds for images "
        f"like the labeled ones.{missing}"
    )


def _over_groups(outcome: Outcome) -> str:
    """Name the number of groups that the interval is over; empty without groups."""
    return f", over {outcome['groups']:,} groups" if "groups" in outcome else ""


def what_next(outcome: Outcome) -> str:
    """Say whether to go on, and what more labels are expected to add."""
    forecast = outcome.get("forecast", {})
    if "stopped" in outcome:
        return (
            f"Stop: with 95 % confidence the accuracy has reached {percent(outcome['audit']['bound'])}, and --stop-at "
            f"asks for {percent(outcome['stopped'])}."
        )
    if not forecast:
        return ""
    target = percent(forecast["target"])
    if not forecast["can"]:
        return f"Cannot forecast what more labels would add. {forecast['reason']}"
    if "gain_50" not in forecast:
        return "Fewer than 50 images are left to label."
    mean, low, high = (100 * each for each in forecast["gain_50"])
    gain = f"50 more labels are expected to add {mean:.1f} points ({low:.1f} to {high:.1f})"
    label_count = forecast.get("labels_to_target")
    if label_count is not None and label_count > 100:
        label_count = round(label_count, -1)
    is_reached = outcome.get("audit", {}).get("accuracy", 0.0) >= forecast["target"]
    if label_count == 0 or (label_count is None and is_reached):
        return f"The target of {target} may already be reached; {gain}."
    away = (
        f"{target} is too far away to forecast"
        if label_count is None
        else f"{target} may need about {label_count:,} more"
    )
    return f"{'Go on' if mean >= 100 * WORTH else 'More labels add little'}: {gain}; {away}."


def held_back(outcome: Outcome) -> str:
    """Name the classes that are confused most often."""
    pairs = outcome.get("confused", [])
    if not pairs:
        return ""
    first, second, count = pairs[0]
    images = "1 labeled image" if count == 1 else f"{count:,} labeled images"
    others = "".join(f", then {a} and {b} ({number:,})" for a, b, number in pairs[1:])
    return f"Most often confused: {first} and {second} ({images}){others}."


def suggestions(outcome: Outcome) -> str:
    """Say how suggestions may have changed the labels; empty if none were shown."""
    stats = outcome.get("suggested")
    if not stats:
        return ""
    text = f"Suggestions: {stats['accepted']:,} of {stats['shown']:,} were accepted"
    if stats.get("doubtful"):
        text += f"; the cross-validated model disagrees with {stats['doubtful']:,} of these"
    if "audit" not in stats:
        return f"{text}."
    share, audit_share = percent(stats["accepted"] / stats["shown"]), percent(stats["audit_agreed"] / stats["audit"])
    text += (
        f". Labels agree with {share} of the predictions that were shown, and with {audit_share} of those that were not"
    )
    return f"{text}: suggestions may have changed labels." if stats["low"] > 0 else f"{text}."
