"""Labels of several annotators: the label that counts, ties, and agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.datasets.annotations.annotators import LAST, Votes, by_image, decide, format_labels
from initpools_cli.datasets.annotations.check import Annotations

if TYPE_CHECKING:
    import pandas as pd

#: Files of a round: the label of each annotator, and images without a label because annotators disagree.
VOTES, TIES = "annotators.csv", "ties.csv"
COLUMNS = ["index", "path", "annotator", "label"]
#: Number of ties that are printed.
LISTED = 5


def decide_labels(
    annotations: Annotations, before: Votes, rule: str, files: Sequence[Path]
) -> tuple[Annotations, Votes, dict[int, dict[str, str]]]:
    """Decide the label of each image that annotators labeled in this file or in earlier rounds.

    Parameters
    ----------
    annotations : Annotations
    before : Votes
        Votes of earlier rounds.
    rule : str
        See `decide`.
    files : sequence of Path
        For messages.

    Returns
    -------
    annotations : Annotations
        With the labels that count.
    votes : Votes
        Of all rounds.
    ties : dict of int to dict
        Images without a decision, and their labels by annotator.

    Raises
    ------
    UserError
        The rule needs annotators, and there are none.
    """
    votes = {image: dict(labels) for image, labels in before.items()}
    for image, labels in by_image(annotations.votes).items():
        votes.setdefault(image, {}).update(labels)
    labeled = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
    if not annotations.votes:
        # A label without an annotator is final.
        for image in votes.keys() & labeled.keys():
            votes[image][""] = labeled[image]
    if rule == LAST:
        return annotations, votes, {}
    if not votes:
        names = " and ".join(map(str, files))
        raise UserError(
            f"--annotators {rule} needs to know who gave each label, and {names} does not say it.",
            "Add a column 'annotator', or pass a file of each annotator: --labels A.csv --labels B.csv.",
            f"--annotators {rule}",
        )
    ties = {}
    for image, labels in sorted(votes.items()):
        label = decide(labels, rule)
        if label:
            labeled[image] = label
        else:
            labeled.pop(image, None)
            ties[image] = labels
    images = sorted(labeled)
    rows = np.array(images, dtype=np.int64)
    return replace(annotations, rows=rows, labels=[labeled[image] for image in images]), votes, ties


def refuse_only_ties(ties: Mapping[int, object], rule: str) -> None:
    """Refuse labels of which none is decided.

    Raises
    ------
    UserError
        There are ties.
    """
    if ties:
        raise UserError(
            f"The annotators disagree on all {len(ties)} images, so --annotators {rule} leaves no label.",
            "Use --annotators last, or pass labels of one more annotator.",
            len(ties),
        )


def agreement_outcome(votes: Votes, rule: str, ties: Mapping[int, object], seed: int) -> dict[str, Any]:
    """Return the key ``agreement`` of the outcome of a round; empty without annotators.

    Final labels, which no annotator gave, are not counted.
    """
    from initpools_cli.stats.krippendorff import nominal_alpha

    by_annotator = [{name: label for name, label in labels.items() if name} for _, labels in sorted(votes.items())]
    annotators = sorted({name for labels in by_annotator for name in labels})
    if not annotators:
        return {}
    classes = sorted({label for labels in by_annotator for label in labels.values()})
    numbers = {label: number for number, label in enumerate(classes)}
    counts = np.zeros((len(by_annotator), len(classes)), dtype=np.int64)
    for row, labels in enumerate(by_annotator):
        for label in labels.values():
            counts[row, numbers[label]] += 1
    overlap = counts[counts.sum(axis=1) >= 2]
    alpha = nominal_alpha(counts, generator(seed, "agreement"))
    estimates = {key: value for key, value in alpha._asdict().items() if not np.isnan(value)}
    return {
        "agreement": {
            "rule": rule,
            "annotators": annotators,
            "images": len(overlap),
            "differ": int(((overlap > 0).sum(axis=1) > 1).sum()),
            "ties": len(ties),
            **estimates,
        }
    }


def agreement(outcome: Mapping[str, Any]) -> str:
    """Say how well the annotators agree; empty without annotators."""
    stats = outcome.get("agreement")
    if not stats:
        return ""
    count = len(stats["annotators"])
    if count == 1:
        return f"All labels with an annotator are by {stats['annotators'][0]}: agreement needs two."
    if not stats["images"]:
        return f"{count} annotators, but no image has labels of two of them: agreement is unknown."
    images = "1 image has" if stats["images"] == 1 else f"{stats['images']:,} images have"
    text = f"{count} annotators: {images} labels of two or more, and they differ on {stats['differ']:,}"
    if "alpha" not in stats:
        return f"{text}. Krippendorff's alpha is undefined, as all these labels are of one class."
    interval = f" (95 % interval {stats['low']:.2f} to {stats['high']:.2f})" if "low" in stats else ""
    return f"{text}. Agreement: Krippendorff's alpha {stats['alpha']:.2f}{interval}; 1 is perfect, 0 is chance."


def tie_lines(ties: Mapping[int, Mapping[str, str]], paths: Sequence[str]) -> list[str]:
    """Describe the first ties, one line each, and count the others."""
    lines = [
        f"no decision for {paths[image] or f'image {image}'}: {format_labels(labels)}"
        for image, labels in list(ties.items())[:LISTED]
    ]
    more = len(ties) - LISTED
    return [*lines, *([f"{more} more images have no decision."] if more > 0 else [])]


def votes_table(votes: Votes, paths: Sequence[str]) -> pd.DataFrame:
    """Return the label of each annotator, by image and annotator."""
    import pandas as pd

    rows = [
        (image, paths[image], annotator, label)
        for image, labels in sorted(votes.items())
        for annotator, label in sorted(labels.items())
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def ties_table(ties: Mapping[int, Mapping[str, str]], paths: Sequence[str]) -> pd.DataFrame:
    """Return the images without a decision, as a batch to label again."""
    import pandas as pd

    rows = [(image, paths[image], format_labels(labels)) for image, labels in ties.items()]
    return pd.DataFrame(rows, columns=["index", "path", "labels_given"])
