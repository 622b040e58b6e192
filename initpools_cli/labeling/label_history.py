"""Label history: labels of earlier rounds and a new file of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.datasets.annotations.annotators import LAST, Votes
from initpools_cli.datasets.annotations.check import Annotations, read_annotations
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.datasets.classes import KnownClasses, class_list, in_order, plain, value_of
from initpools_cli.datasets.label_sets import classes_in, parts_of
from initpools_cli.datasets.multilabel import checked_names, labels_of_texts
from initpools_cli.labeling.annotators import decide_labels, refuse_only_ties
from initpools_cli.labeling.class_changes import read_changes, successor_note, successors
from initpools_cli.labeling.classes import added_classes
from initpools_cli.labeling.origin import OWN_CHOICE, combine, listed_origins, usable
from initpools_cli.labeling.stored_rounds import (
    COLUMNS,
    DETAILS,
    named_before,
    number_of,
    read_round_labels,
    read_votes,
    rounds,
)
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: A class of at most this many images, with a name similar to another class, is probably a typing error.
FEW = 2
ALIKE = 0.8


@dataclass(frozen=True)
class LabelHistory:
    """All labels after a file of annotations was read.

    Attributes
    ----------
    number : int
        Number of the round, from 1.
    table : DataFrame
        `COLUMNS` and `DETAILS`, by index.
    classes : tuple of str
        All classes, in the order of their numbers.
    annotations : Annotations
        The new file.
    fresh : (k,) int64
        Images with a new label in this round.
    corrections : int
        How many of them had another label before.
    user_classes : tuple of str
        The classes named by the user (--classes): no others are allowed.
    excluded : (e,) int64
        Excluded images, whose labels are in the table but are not used.
    rule : str
        How labels of several annotators are decided.
    votes : Votes
        Their labels in all rounds; empty if no file named them.
    ties : dict of int to dict
        Images without a label because annotators disagree, and their labels by annotator.
    """

    number: int
    table: pd.DataFrame
    classes: tuple[str, ...]
    annotations: Annotations
    fresh: np.ndarray
    corrections: int
    user_classes: tuple[str, ...] = ()
    excluded: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rule: str = LAST
    votes: Votes = field(default_factory=dict)
    ties: dict[int, dict[str, str]] = field(default_factory=dict)

    def class_of(self, label: str) -> str:
        """Return the current class of a label of an earlier round."""
        return self.annotations.means.get(label) or label

    @property
    def spellings(self) -> list[str]:
        """Labels of the new file with surrounding spaces that stand for a class, as written."""
        means = self.annotations.means
        return sorted(
            each for each, name in means.items() if name and each != plain(each) and value_of(plain(each)) is None
        )

    @property
    def rows(self) -> np.ndarray:
        """Train rows with a label, (m,) int64, ascending."""
        return self.table["index"].to_numpy()[self._counts]

    @property
    def codes(self) -> np.ndarray:
        """Their classes, (m,) int64; with several labels per image (m, c) int8."""
        if self.annotations.multilabel:
            return labels_of_texts(self.table["label"][self._counts].tolist(), self.classes)
        numbers = {name: code for code, name in enumerate(self.classes)}
        return np.array([numbers[name] for name in self.table["label"][self._counts]], dtype=np.int64)

    @property
    def origins(self) -> np.ndarray:
        """Why each image of `rows` was labeled, (m,) str; empty if unknown."""
        return self.table["origin"].to_numpy()[self._counts]

    @property
    def since(self) -> np.ndarray:
        """The round in which each label of `rows` was added, (m,) int64."""
        return self.table["round"].to_numpy(np.int64)[self._counts]

    @property
    def suggested(self) -> np.ndarray:
        """The class suggested for each image of `rows`, (m,) str; empty for none."""
        return self.table["suggested"].to_numpy()[self._counts]

    @property
    def judged(self) -> np.ndarray:
        """Whether each image of `rows` counts for accuracy, (m,) bool: all but those that annotators chose."""
        return np.asarray(self.origins != OWN_CHOICE)

    @property
    def minutes(self) -> float | None:
        """Time spent on all images so far, in minutes; None if no file says it."""
        seconds = [float(each) for each in self.table["seconds"] if each]
        return sum(seconds) / 60 if seconds else None

    @property
    def stored(self) -> pd.DataFrame:
        """The table as in labels.csv: without `DETAILS` if no image has any."""
        return self.table if (self.table[DETAILS] != "").any(axis=None) else self.table[COLUMNS]

    @property
    def identity(self) -> pd.DataFrame:
        """What the round depends on: labels, their rounds, and their origins if there are any."""
        return self.table[[*COLUMNS, "origin"] if (self.table["origin"] != "").any() else COLUMNS]

    @property
    def _counts(self) -> np.ndarray:
        """Whether each row of the table has a label and is not excluded."""
        return (self.table["label"].to_numpy() != "") & ~self.table["index"].isin(self.excluded).to_numpy()

    @property
    def skipped(self) -> np.ndarray:
        """Train rows skipped by annotators, (k,) int64."""
        return self.table["index"].to_numpy()[self.table["label"].to_numpy() == ""]


def labeled_so_far(context: Context, files: Sequence[Path], classes: tuple[str, ...], rule: str = LAST) -> LabelHistory:
    """Read new annotations and merge them with the labels of earlier rounds.

    A new label replaces an earlier one. A file without new labels belongs to the last round.

    Parameters
    ----------
    context : Context
    files : sequence of Path
        Several files are of different annotators.
    classes : tuple of str
        The allowed classes; empty: those of the data set, or any if it has none.
    rule : str
        How to decide between labels of several annotators.

    Raises
    ------
    UserError
        If a file cannot be read, or there is no label in it and in earlier rounds.
    """
    data = context.data
    user_classes = class_list(classes, "--classes")
    class_names = user_classes or data.classes
    earlier = rounds(context.run)
    if data.multilabel:
        checked_names(user_classes, "--classes")
    labels, since = _labels_after(earlier)
    known_classes = replace(_known_classes(user_classes, data.classes, earlier), multilabel=data.multilabel)
    file = " and ".join(map(str, files))
    annotations = read_annotations(files, data.items, known_classes, data.root, mask=data.kept, before=labels)
    annotations = _with_successors(annotations, context.run, file)
    labels = _as_read(labels, annotations)
    annotations, votes, ties = decide_labels(annotations, read_votes(earlier[-1]) if earlier else {}, rule, files)
    new = {
        **{image: "" for image in annotations.skipped.tolist() if not labels.get(image)},
        **dict(zip(annotations.rows.tolist(), annotations.labels, strict=True)),
    }
    changes = {image: label for image, label in new.items() if labels.get(image) != label}
    last = number_of(earlier[-1].name) if earlier else 0
    lost_images = [image for image in ties if labels.get(image)]
    number = last + 1 if changes or lost_images or not earlier else last
    labels = {image: label for image, label in {**labels, **changes}.items() if image not in ties}
    since |= dict.fromkeys(changes, number)
    new_details, notes = usable(annotations.details, f"{file} (--labels)")
    annotations = replace(annotations, notes=[*annotations.notes, *notes])
    origins = listed_origins(context.run, {*annotations.rows.tolist(), *annotations.skipped.tolist()})
    details = combine(_details(earlier), new_details, origins)
    _refuse_lost_classes(class_names, _occurring(labels.values(), multilabel=data.multilabel), context.run)
    if not any(labels.values()):
        refuse_only_ties(ties, rule)
        why = f": {annotations.problems[0]}" if annotations.problems else ""
        remedy = (
            "Correct the rows; of the columns 'path' and 'index', one is enough." if why else "Fill the column 'label'."
        )
        raise UserError(f"{file} (--labels) has no usable label{why}.", remedy, file)
    # Compare with the round before this one: the same round may be run again with another query or --force.
    before, _ = _labels_after([step for step in earlier if number_of(step.name) < number])
    before = _as_read(before, annotations)
    fresh = [image for image, label in labels.items() if label and label != before.get(image)]
    return LabelHistory(
        number=number,
        table=_table(labels, since, details, context),
        classes=class_names or _occurring(labels.values(), multilabel=data.multilabel),
        annotations=annotations,
        fresh=np.array(sorted(fresh), dtype=np.int64),
        corrections=sum(bool(before.get(image)) for image in fresh),
        user_classes=user_classes,
        rule=rule,
        votes=votes,
        ties=ties,
    )


def _with_successors(annotations: Annotations, run: Run, file: str) -> Annotations:
    """Replace names of classes that were renamed or merged, and leave out labels of classes that were split."""
    changes = read_changes(run)
    successor_of = successors(changes, added_classes(run)) if changes else {}
    old = sorted({*annotations.labels, *(vote.label for vote in annotations.votes)} & successor_of.keys())
    if not old:
        return annotations
    labels = [successor_of.get(label, label) for label in annotations.labels]
    pairs = [(image, label) for image, label in zip(annotations.rows.tolist(), labels, strict=True) if label]
    notes = [successor_note(file, name, successor_of[name]) for name in old]
    rows = np.array([image for image, _ in pairs], dtype=np.int64)
    votes = [vote._replace(label=successor_of.get(vote.label, vote.label)) for vote in annotations.votes]
    return replace(
        annotations,
        rows=rows,
        labels=[label for _, label in pairs],
        notes=[*annotations.notes, *notes],
        votes=[vote for vote in votes if vote.label],
    )


def _known_classes(
    user_classes: tuple[str, ...], own: tuple[str, ...], earlier: Sequence[FinishedStep]
) -> KnownClasses:
    """Return the allowed classes: those named by the user, those of the data set, or any."""
    outcomes = [step.facts["outcome"] for step in earlier]
    spellings = frozenset(each for outcome in outcomes for each in outcome.get("spellings", []))
    if user_classes:
        return KnownClasses(user_classes, origin="of --classes", accepted=spellings)
    if own:
        return KnownClasses(own, accepted=spellings)
    return KnownClasses(named_before(earlier), fixed=False, origin="a class of earlier rounds", accepted=spellings)


def _as_read(labels: dict[int, str], annotations: Annotations) -> dict[int, str]:
    """Apply the current rules to labels of earlier rounds: equal numbers are one class, and ``nan`` is no label.

    Older versions stored ``0`` and ``0.0`` as two classes, and ``nan`` as a class.
    """
    new_labels = {image: label and annotations.means.get(label, label) for image, label in labels.items()}
    # Keep an empty label (a skipped image). None is a class that is not among those of the user.
    return {
        image: labels[image] if label is None else label
        for image, label in new_labels.items()
        if label != "" or not labels[image]
    }


def _labels_after(earlier: Sequence[FinishedStep]) -> tuple[dict[int, str], dict[int, int]]:
    """Return the labels after the last of these rounds, and the round of each label."""
    if not earlier:
        return {}, {}
    table = read_round_labels(earlier[-1])
    images = table["index"].tolist()
    return dict(zip(images, table["label"], strict=True)), dict(zip(images, table["round"].tolist(), strict=True))


def _details(earlier: Sequence[FinishedStep]) -> dict[int, Details]:
    """Return how each image was labeled after the last of these rounds; all empty in older rounds."""
    if not earlier:
        return {}
    table = read_round_labels(earlier[-1]).reindex(columns=["index", *DETAILS], fill_value="")
    return dict(zip(table["index"].tolist(), map(Details._make, table[DETAILS].to_numpy().tolist()), strict=True))


def doubts(labeled: LabelHistory) -> list[str]:
    """Return notes on classes that are probably typing errors: few images and a name similar to another class."""
    labels = [label for label in labeled.table["label"] if label]
    if labeled.annotations.multilabel:
        labels = [part for label in labels for part in parts_of(label)]
    names, counts = np.unique(labels, return_counts=True)
    size = dict(zip(names.tolist(), counts.tolist(), strict=True))
    lines = []
    for rare in (name for name, count in size.items() if count <= FEW and not name.isdigit()):
        others = [(_similarity(rare, name), name) for name in size if size[name] > FEW]
        similarity, name = max(others, default=(0.0, ""))
        if similarity >= ALIKE:
            images = "1 image" if size[rare] == 1 else f"{size[rare]} images"
            lines.append(f"the class '{rare}' has only {images}: did you mean '{name}', with {size[name]} images?")
    return lines


def _similarity(one: str, other: str) -> float:
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _table(
    labels: dict[int, str], since: dict[int, int], details: dict[int, Details], context: Context
) -> pd.DataFrame:
    import pandas as pd

    paths = context.data.train_items["path"].to_numpy()
    images = sorted(labels)
    return pd.DataFrame(
        {
            "index": np.array(images, dtype=np.int64),
            "path": paths[images],
            "label": [labels[image] for image in images],
            "round": [since[image] for image in images],
            **{name: [getattr(details.get(image, Details()), name) for image in images] for name in DETAILS},
        },
        columns=[*COLUMNS, *DETAILS],
    )


def _occurring(labels: Iterable[str], *, multilabel: bool) -> tuple[str, ...]:
    """Return the classes that occur in labels."""
    names = [label for label in labels if label]
    return classes_in(names) if multilabel else in_order(names)


def _refuse_lost_classes(class_names: tuple[str, ...], occurring: tuple[str, ...], run: Run) -> None:
    missing = sorted({*occurring} - set(class_names)) if class_names else []
    if missing:
        raise UserError(
            f"Earlier rounds of {run.path} have the class {missing[0]!r}, which is not in --classes.",
            "Add it to --classes, or change the labels of its images in the new file.",
            repr(missing[0]),
        )
