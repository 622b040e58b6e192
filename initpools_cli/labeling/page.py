"""Label a batch by hand: what is labeled stands in a file that is whole after every click."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.classes import KnownClasses, meanings, plain, says_nothing
from initpools_cli.datasets.spec import Dataset
from initpools_cli.labeling.batch import Batch, find_batch
from initpools_cli.labeling.classes import ClassList
from initpools_cli.labeling.label_file import Mark, read_marks, stamp, write_marks
from initpools_cli.labeling.summary import tell_problems
from initpools_cli.steps.context import Context

#: Where a run keeps its files of labels, and the classes that its batches share.
FOLDER, CLASSES = "labels", "classes.txt"


class LabelingSession:
    """A batch with its labels, saved at every change.

    Parameters
    ----------
    name : str
        Of the batch.
    data : Dataset
    indices : list of int
        Train rows in the order in which they are to be labeled.
    vocabulary : ClassList
    file : Path
        Where labels are written; what it holds already is honored, rows of other images are kept as they are.
    report : Reporter
        Where problems of that file are told.
    before : dict of int to Mark
        What was known of images before the file was there.
    """

    def __init__(
        self,
        name: str,
        data: Dataset,
        indices: list[int],
        vocabulary: ClassList,
        file: Path,
        report: Reporter,
        before: dict[int, Mark],
    ) -> None:
        self.name, self.data, self.indices, self.vocabulary, self.file = name, data, indices, vocabulary, file
        self.paths = [data.splits["train"].paths[index] for index in indices]
        self._report = report
        self.orders = {index: order for order, index in enumerate(indices)}
        self._past: list[tuple[int, Mark]] = []
        self.marks = [before.get(index, Mark()) for index in indices]
        self._others: list[list[str]] = []
        self._stamp: tuple[int, int] | None = None
        self.read_again()

    @property
    def labeled(self) -> int:
        """How many have a class."""
        return sum(map(self.is_labeled, self.marks))

    @property
    def skipped(self) -> int:
        """How many were passed over."""
        return sum(mark.skipped for mark in self.marks)

    @property
    def can_undo(self) -> bool:
        """Whether something was said since the program began."""
        return bool(self._past)

    def is_labeled(self, mark: Mark) -> bool:
        """Whether its label is a class: somebody may have written another into the file."""
        return bool(mark.label) and (not self.vocabulary.fixed or mark.label in self.vocabulary.names)

    def label(self, order: int, name: str) -> None:
        """Give an image a class; a new one joins, where classes are open.

        Raises
        ------
        Unfit
            No class of the data set.
        UserError
            The file can't be written, or was changed elsewhere so that it can't be read.
        """
        resolved = self.vocabulary.resolve(name)
        self.vocabulary.keep(resolved)
        self._change(order, Mark(resolved))

    def skip(self, order: int) -> None:
        """Pass over an image."""
        self._change(order, Mark(skipped=True))

    def clear(self, order: int) -> None:
        """Take back what is said of an image."""
        self._change(order, Mark())

    def undo(self) -> int | None:
        """Take back the last change, and say which image it was; None where there is none."""
        if not self._past:
            return None
        order, before = self._past[-1]
        self._write(order, before)
        self._past.pop()
        return order

    def changed_elsewhere(self) -> bool:
        """Whether somebody else has written to the file since it was read or written here."""
        return self.file.exists() and self._stamp != stamp(self.file)

    def read_again(self) -> None:
        """Take what the file says; images that it says nothing of stay as they are.

        Raises
        ------
        UserError
            It can't be read as a table of labels.
        """
        if not self.file.exists():
            return
        now = stamp(self.file)
        found = read_marks(self.file, self.data, self.indices, self.vocabulary.known)
        tell_problems(self._report, [f"{self.file}, {problem}" for problem in found.problems], str(self.file))
        self.marks = [found.marks.get(index, mark) for index, mark in zip(self.indices, self.marks, strict=True)]
        self._others, self._stamp = found.others, now
        self.vocabulary.learn(mark.label for mark in self.marks)

    def _change(self, order: int, mark: Mark) -> None:
        before = self.marks[order]
        self._write(order, mark)
        if mark != before:
            self._past.append((order, before))

    def _write(self, order: int, mark: Mark) -> None:
        if self.changed_elsewhere():
            self.read_again()
        marks = [*self.marks[:order], mark, *self.marks[order + 1 :]]
        write_marks(self.file, self.indices, self.paths, marks, self._others)
        self.marks, self._stamp = marks, stamp(self.file)


def open_labeling(context: Context, named: str | None, classes: Sequence[str], output: Path | None) -> LabelingSession:
    """A batch of the run, with the labels that it has.

    Parameters
    ----------
    named : str, optional
        See `find_batch`.
    classes : sequence of str
        See `ClassList`.
    output : Path, optional
        Where labels are written; default: ``labels/<batch>.csv`` in the run.

    Raises
    ------
    UserError
        No such batch, or a file that can't be read.
    """
    batch = find_batch(context, named)
    folder = context.run.path / FOLDER
    file = output or folder / f"{batch.name}.csv"
    if batch.file is not None and batch.file.resolve() == file.resolve():
        raise UserError(f"{file} is the batch itself, and its other columns would be lost.", "Name another --output.")
    vocabulary = ClassList(context.data.classes, classes, folder / CLASSES)
    vocabulary.learn(_classes_of_rounds(context))
    labels = _as_classes(batch, vocabulary.known)
    before = {index: Mark(label) for index, label in zip(batch.indices, labels, strict=True) if label}
    vocabulary.learn(labels)
    return LabelingSession(batch.name, context.data, batch.indices, vocabulary, file, context.report, before)


def _as_classes(batch: Batch, known: KnownClasses) -> list[str]:
    """The labels of a batch by their classes; one that is no class stays as it is written."""
    means = meanings(
        Counter(batch.labels), known, what=str(batch.file or batch.name), remedy="Write each class in one way there."
    ).of
    return [plain(label) if means[label] is None else means[label] or "" for label in batch.labels]


def _classes_of_rounds(context: Context) -> tuple[str, ...]:
    """Those that the labeling loop knows: they may come from another tool."""
    from initpools_cli.labeling.label_history import classes_of_rounds

    return classes_of_rounds(context.run)


def round_words(file: Path | str, images: int, classes: Sequence[str] = ()) -> list[str]:
    """The command that learns from a file of labels and chooses as many images again.

    Parameters
    ----------
    classes : sequence of str
        Those of the page: they are named where one of them would else mean that there is no label.
    """
    words = ["al-run", "--labels", str(file), "--query", "margin", "--budget", str(images), "--next", "next.csv"]
    return [*words, f"--classes={','.join(classes)}"] if any(map(says_nothing, classes)) else words
