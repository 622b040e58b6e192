"""Labels of several annotators, and the label that counts for each image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.errors import UserError

LAST, MAJORITY, STRICT = "last", "majority", "strict"


class Vote(NamedTuple):
    """Label that an annotator gave an image; the annotator is "" for a label that is final."""

    image: int
    annotator: str
    label: str


#: The labels of each image by annotator, in the order in which they were given.
Votes = dict[int, dict[str, str]]


def require_spelling(annotators: Iterable[str], what: str) -> None:
    """Refuse names of annotators that differ only in case.

    Raises
    ------
    UserError
        Two of them do.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in annotators:
        spellings[name.casefold()].add(name)
    for names in spellings.values():
        if len(names) > 1:
            first, second, *_ = sorted(names)
            raise UserError(
                f"{what} has the annotators '{first}' and '{second}', which differ only in case.",
                "Use one spelling for each annotator in the column 'annotator'.",
                first,
            )


def file_annotators(files: Sequence[Path]) -> list[str]:
    """Name the annotator of each file that has no column of them: by the name of the file, else by its path.

    Raises
    ------
    UserError
        A file is named twice.
    """
    for place, file in enumerate(files):
        if file.resolve() in [other.resolve() for other in files[:place]]:
            raise UserError(f"--labels names {file} twice.", "Name each file once.", file)
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [str(file.with_suffix("")) for file in files]


def by_image(votes: Iterable[Vote]) -> Votes:
    """Collect votes by image; a later vote of an annotator replaces an earlier one."""
    image_votes: Votes = defaultdict(dict)
    for vote in votes:
        image_votes[vote.image].pop(vote.annotator, None)
        image_votes[vote.image][vote.annotator] = vote.label
    return dict(image_votes)


def decide(labels: Mapping[str, str], rule: str) -> str:
    """Return the label of an image from the labels by annotator; "" for a tie.

    Parameters
    ----------
    labels : mapping of str to str
        In the order in which they were given. A label without an annotator is final.
    rule : str
        ``last``: the last label; ``majority``: the label given most often; ``strict``: the label that all gave.
    """
    if "" in labels:
        return labels[""]
    if rule == LAST:
        return list(labels.values())[-1]
    counts = Counter(labels.values()).most_common(2)
    if len(counts) == 1:
        return counts[0][0]
    return "" if rule == STRICT or counts[0][1] == counts[1][1] else counts[0][0]


def format_labels(labels: Mapping[str, str]) -> str:
    """Format the labels of an image, such as ``ann: cat, bob: dog``."""
    return ", ".join(f"{annotator or 'final'}: {label}" for annotator, label in labels.items())
