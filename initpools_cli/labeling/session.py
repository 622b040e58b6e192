"""Labeling sessions: a batch and its labels, saved after every action."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.datasets.label_sets import parts_of
from initpools_cli.datasets.spec import Dataset
from initpools_cli.labeling.class_changes import Change, successor_note, successors
from initpools_cli.labeling.classes import ClassList
from initpools_cli.labeling.label_file import Mark, read_marks, stamp, write_marks
from initpools_cli.labeling.last_round import NO_ROUND, LastRound, Suggestion
from initpools_cli.labeling.origin import AUDIT, BATCH, OWN_CHOICE
from initpools_cli.labeling.summary import tell_problems


class Viewing(NamedTuple):
    """How long images were viewed before an action, and whether with suggestions.

    Attributes
    ----------
    seconds : float
        Time for all images of the action together.
    suggestions : bool
        Whether the page showed suggestions.
    """

    seconds: float = 0.0
    suggestions: bool = False


#: The last actions that can be undone: a page may stay open for weeks.
MOST_UNDONE = 1000
#: An action without a time and suggestions.
NO_VIEWING = Viewing()


class Conflict(NamedTuple):
    """Two different labels of an image: of this session, and of another program that wrote the file meanwhile.

    Attributes
    ----------
    yours, theirs : Mark
    winner : str
        ``yours`` or ``theirs``: the one that is in the file.
    """

    yours: Mark
    theirs: Mark
    winner: str


class LabelingSession:
    """A batch with its labels, and labels of other images of the data set in the same file.

    Every action is on the disk when its method returns; if it cannot be saved, nothing changes.

    Parameters
    ----------
    name : str
        Name of the batch.
    data : Dataset
    indices : list of int
        Train rows in the order of labeling.
    vocabulary : ClassList
    file : Path
        File of the labels; existing labels are read, and rows of other images are kept.
    report : Reporter
        Reports problems of the file.
    before : mapping of int to Mark
        Labels that images have without the file.
    audit : frozenset of int
        Rows of the audit sample in this batch.
    last : LastRound
        Labels and predictions of the newest round.
    doubts : mapping of int to str
        Why the labels of the batch are doubtful, in a second look: an image is done once its label was given again.
    annotator : str
        Who labels; written to the file if there is a name.
    changes : sequence of Change
        Changes of the classes of the run: labels in the file may be from before them.

    Attributes
    ----------
    marks : dict of int to Mark
        Every image of the batch, and other images in the file, by train row.
    conflicts : dict of int to Conflict
        Conflicts that are not decided yet: an action on the image decides.
    """

    def __init__(
        self,
        name: str,
        data: Dataset,
        indices: list[int],
        vocabulary: ClassList,
        file: Path,
        report: Reporter,
        before: Mapping[int, Mark],
        *,
        audit: frozenset[int] = frozenset(),
        last: LastRound = NO_ROUND,
        doubts: Mapping[int, str] | None = None,
        annotator: str = "",
        changes: Sequence[Change] = (),
    ) -> None:
        self.name, self.data, self.indices, self.vocabulary, self.file = name, data, indices, vocabulary, file
        self.last, self.suggests = last, bool(last.suggestions)
        self.audit = audit | last.audit
        self.batch = frozenset(indices)
        self.doubts, self.annotator = dict(doubts or {}), annotator
        self.marks: dict[int, Mark] = {index: before.get(index, Mark()) for index in indices}
        self.conflicts: dict[int, Conflict] = {}
        self._report, self._changes = report, [*changes]
        self._past: deque[dict[int, Mark]] = deque(maxlen=MOST_UNDONE)
        self._own: set[int] = set()
        self._unknown: list[list[str]] = []
        self._read: set[int] = set()
        self._stamp: tuple[int, ...] | None = None
        self.read_again()

    @property
    def paths(self) -> list[str]:
        """The paths of the batch, in its order."""
        return [self.path_of(index) for index in self.indices]

    @property
    def labeled(self) -> int:
        """Number of labeled images of the batch."""
        return sum(self.is_labeled(self.marks[index]) for index in self.indices)

    @property
    def skipped(self) -> int:
        """Number of skipped images of the batch."""
        return sum(self.marks[index].skipped for index in self.indices)

    @property
    def checked(self) -> list[int]:
        """Images of a second look that were labeled again or skipped."""
        marks = {index: self.marks[index] for index in self.doubts}
        return [index for index, mark in marks.items() if mark.skipped or mark.details.origin]

    @property
    def left(self) -> int:
        """Number of images of the batch that are still to be labeled, or to be checked in a second look."""
        if self.doubts:
            return len(self.doubts) - len(self.checked)
        return len(self.indices) - self.labeled - self.skipped

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return bool(self._past)

    def is_labeled(self, mark: Mark) -> bool:
        """Return whether the label is a valid class; the file may contain others."""
        return bool(mark.label) and (not self.vocabulary.fixed or self.vocabulary.has(mark.label))

    def is_image(self, index: int) -> bool:
        """Return whether it is the row of a train image of the run."""
        return 0 <= index < len(self.data.kept) and bool(self.data.kept[index])

    def path_of(self, index: int) -> str:
        """Return the path of an image; "" in arrays."""
        return self.data.splits["train"].paths[index]

    def label_of(self, index: int) -> str:
        """Return the label of an image: in the file, else of earlier rounds; "" if there is none."""
        mark = self.marks.get(index, Mark())
        return mark.label or self.last.labels.get(index, "")

    def suggestion_of(self, index: int) -> Suggestion | None:
        """Return the prediction of an image by the newest round; none for audit images."""
        suggestion = None if index in self.audit else self.last.suggestions.get(index)
        return suggestion if suggestion is not None and self.vocabulary.has(suggestion.label) else None

    def references(self, most: int) -> dict[str, list[int]]:
        """Return labeled images of each class: those of earlier rounds first, then those of this file."""
        images_of: dict[str, list[int]] = {}
        for index in [*self.last.labels, *self.marks]:
            label = self.label_of(index)
            for name in parts_of(label) if self.vocabulary.multilabel else [label]:
                images = images_of.setdefault(name, [])
                if len(images) < most and index not in images:
                    images.append(index)
        return {name: images_of[name] for name in self.vocabulary.names if name in images_of}

    def origin_of(self, index: int) -> str:
        """Return why an image is labeled."""
        origin = self.marks.get(index, Mark()).details.origin
        if index in self.audit:
            return AUDIT
        if index in self.batch:
            return BATCH
        return origin or self.last.origins.get(index, OWN_CHOICE)

    def label(self, images: Sequence[int], name: str, viewing: Viewing = NO_VIEWING) -> None:
        """Label images; a new class is added unless classes are fixed.

        Raises
        ------
        InvalidClass
            If it is not a class of the data set, or not a valid name.
        UserError
            If the file cannot be written, or was changed by another program and cannot be read.
        """
        class_name = self.vocabulary.resolve(name)
        self.vocabulary.keep(class_name)
        self._act(images, lambda _: (class_name, False), viewing)

    def skip(self, images: Sequence[int], viewing: Viewing = NO_VIEWING) -> None:
        """Skip images."""
        self._act(images, lambda _: ("", True), viewing)

    def clear(self, images: Sequence[int], viewing: Viewing = NO_VIEWING) -> None:
        """Take the labels of images away."""
        self._act(images, lambda _: ("", False), viewing)

    def undo(self) -> list[int]:
        """Undo the last action, and return its images; none if there is no action."""
        if not self._past:
            return []
        before = self._past[-1]
        changes = {
            index: mark._replace(details=mark.details._replace(seconds=self._details(index).seconds))
            for index, mark in before.items()
        }
        self._save(changes)
        self._past.pop()
        return list(before)

    def change_class(self, change: Change) -> None:
        """Save all labels with the classes after a change."""
        if self.changed_elsewhere():
            self.read_again()
        marks = {index: _with_class(mark, change.of) for index, mark in self.marks.items()}
        if marks != self.marks or self.file.exists():
            self._write(marks)
        before = [{index: _with_class(mark, change.of) for index, mark in action.items()} for action in self._past]
        self._past = deque(before, maxlen=MOST_UNDONE)
        self._changes.append(change)

    def changed_elsewhere(self) -> bool:
        """Return whether another program has written to the file since it was read or written here."""
        return self.file.exists() and self._stamp != stamp(self.file)

    def read_again(self) -> None:
        """Read the file again, and merge it with the labels of this session image by image.

        Images that are not in it keep their labels. An image whose label in the file differs from that of this session
        is a conflict: the file's label is kept, or this session's if the file has none.

        Raises
        ------
        UserError
            If it is not a table of labels.
        """
        if not self.file.exists():
            return
        now = stamp(self.file)
        label_file = read_marks(self.file, self.data, self.vocabulary.known_classes)
        tell_problems(self._report, [f"{self.file}, {problem}" for problem in label_file.problems], str(self.file))
        marks = dict(self.marks)
        for index, theirs in self._with_present_classes(label_file.marks).items():
            mine = self.marks.get(index, Mark())
            # A program that does not know the details leaves them out.
            theirs = theirs if any(theirs.details) else theirs._replace(details=mine.details)
            marks[index] = theirs
            if index in self._own and theirs.answer != mine.answer:
                self.conflicts[index] = Conflict(mine, theirs, "yours" if theirs.is_open else "theirs")
                marks[index] = mine if theirs.is_open else theirs
        self.marks, self._unknown, self._read, self._stamp = marks, label_file.unknown, {*label_file.marks}, now
        self.vocabulary.learn(mark.label for mark in self.marks.values())

    def _with_present_classes(self, marks: dict[int, Mark]) -> dict[int, Mark]:
        """Replace labels from before a change of the classes, and report them."""
        successor_of = successors(self._changes, self.vocabulary.names) if self._changes else {}
        old_names = {mark.label for mark in marks.values()} & successor_of.keys()
        if not old_names:
            return marks
        for name in sorted(old_names):
            self._report.say(successor_note(str(self.file), name, successor_of[name]))
        return {index: _with_class(mark, lambda name: successor_of.get(name, name)) for index, mark in marks.items()}

    def _act(self, images: Iterable[int], answer: Callable[[int], tuple[str, bool]], viewing: Viewing) -> None:
        rows = [*dict.fromkeys(images)]
        changes = {}
        for index, seconds in zip(rows, _shares(viewing.seconds, len(rows)), strict=True):
            label, skip = answer(index)
            changes[index] = Mark(label, skip, self._details_after(index, seconds, viewing.suggestions))
        before = {index: self.marks.get(index, Mark()) for index in rows}
        self._save(changes)
        past = {index: mark for index, mark in before.items() if mark.answer != changes[index].answer}
        if past:
            self._past.append(past)

    def _details(self, index: int) -> Details:
        return self.marks.get(index, Mark()).details

    def _details_after(self, index: int, seconds: float, suggestions: bool) -> Details:
        """Return the details of an image after the annotator has looked at it."""
        before, suggestion = self._details(index), self.suggestion_of(index) if suggestions else None
        total = seconds + float(before.seconds or 0)
        return Details(
            self.origin_of(index),
            # An earlier suggestion may still influence the annotator.
            suggestion.label if suggestion else before.suggested,
            f"{suggestion.confidence:.4f}" if suggestion else before.confidence,
            f"{total:.1f}" if total else before.seconds,
        )

    def _save(self, changes: Mapping[int, Mark]) -> None:
        old_marks = {index: self.marks.get(index, Mark()) for index in changes}
        if self.changed_elsewhere():
            self.read_again()
        conflicts = dict(self.conflicts)
        for index, mark in changes.items():
            theirs = self.marks.get(index, Mark())
            conflicts.pop(index, None)
            if theirs.answer not in (old_marks[index].answer, mark.answer):
                conflicts[index] = Conflict(mark, theirs, "yours")
        self._write({**self.marks, **changes})
        self._own |= changes.keys()
        self.conflicts = conflicts

    def _write(self, marks: dict[int, Mark]) -> None:
        # Other images are only in the file while they are labeled or skipped, or if another program listed them.
        file_images = self.batch | self._read
        rows = {index: mark for index, mark in marks.items() if index in file_images or not mark.is_open}
        paths = self.data.splits["train"].paths
        write_marks(self.file, self.indices, paths, rows, self._unknown, self.annotator)
        self.marks, self._stamp = rows, stamp(self.file)


def _with_class(mark: Mark, present: Callable[[str], str]) -> Mark:
    """Replace the label of a mark by its present class, "" for none; a suggestion without one stays."""
    label, suggested = mark.label and present(mark.label), mark.details.suggested
    suggested = suggested and (present(suggested) or suggested)
    return mark._replace(label=label, details=mark.details._replace(suggested=suggested))


def _shares(seconds: float, count: int) -> list[float]:
    """Divide a time into equal shares of tenths of a second that add up to it."""
    tenths = round(10 * seconds)
    return [(tenths // count + (place < tenths % count)) / 10 for place in range(count)]
