"""Labeling sessions: a batch and its labels, saved after every change."""

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

#: Folder of a run for label files, and the file of classes that its batches share.
FOLDER, CLASSES = "labels", "classes.txt"


class LabelingSession:
    """Batch with its labels, saved at every change.

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
    before : dict of int to Mark
        Labels that images have without the file.
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
        """Number of labeled images."""
        return sum(map(self.is_labeled, self.marks))

    @property
    def skipped(self) -> int:
        """Number of skipped images."""
        return sum(mark.skipped for mark in self.marks)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._past)

    def is_labeled(self, mark: Mark) -> bool:
        """Return whether the label is a valid class; the file may contain others."""
        return bool(mark.label) and (not self.vocabulary.fixed or mark.label in self.vocabulary.names)

    def label(self, order: int, name: str) -> None:
        """Label an image; a new class is added unless classes are fixed.

        Raises
        ------
        InvalidClass
            If it is not a class of the data set, or not a valid name.
        UserError
            If the file cannot be written, or was changed by another program and cannot be read.
        """
        resolved = self.vocabulary.resolve(name)
        self.vocabulary.keep(resolved)
        self._change(order, Mark(resolved))

    def skip(self, order: int) -> None:
        """Skip an image."""
        self._change(order, Mark(skipped=True))

    def clear(self, order: int) -> None:
        """Remove the label of an image."""
        self._change(order, Mark())

    def undo(self) -> int | None:
        """Undo the last change, and return the position of its image; None if there is none."""
        if not self._past:
            return None
        order, before = self._past[-1]
        self._write(order, before)
        self._past.pop()
        return order

    def changed_elsewhere(self) -> bool:
        """Return whether another program has written to the file since it was read or written here."""
        return self.file.exists() and self._stamp != stamp(self.file)

    def read_again(self) -> None:
        """Read the file again; images that are not in it keep their labels.

        Raises
        ------
        UserError
            If it is not a table of labels.
        """
        if not self.file.exists():
            return
        now = stamp(self.file)
        read = read_marks(self.file, self.data, self.indices, self.vocabulary.known)
        tell_problems(self._report, [f"{self.file}, {problem}" for problem in read.problems], str(self.file))
        self.marks = [read.marks.get(index, mark) for index, mark in zip(self.indices, self.marks, strict=True)]
        self._others, self._stamp = read.others, now
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
    """Open a labeling session for a batch.

    Parameters
    ----------
    context : Context
    named : str, optional
        See `find_batch`.
    classes : sequence of str
        See `ClassList`.
    output : Path, optional
        File of the labels; default: ``labels/<batch>.csv`` in the run.

    Raises
    ------
    UserError
        If there is no such batch, or a file cannot be read.
    """
    context.require_images(
        "The labeling page",
        "Label in your own tool, and pass the labels: `initpools al-run --labels FILE.csv` (columns index or id, and "
        "label).",
    )
    batch = find_batch(context, named)
    folder = context.run.path / FOLDER
    file = output or folder / f"{batch.name}.csv"
    if batch.file is not None and batch.file.resolve() == file.resolve():
        raise UserError(
            f"--output {file} is the file of the batch, whose other columns would be lost.",
            "Use another file for --output.",
            file,
        )
    vocabulary = ClassList(context.data.classes, classes, folder / CLASSES)
    vocabulary.learn(_classes_of_rounds(context))
    labels = _as_classes(batch, vocabulary.known)
    before = {index: Mark(label) for index, label in zip(batch.indices, labels, strict=True) if label}
    vocabulary.learn(labels)
    return LabelingSession(batch.name, context.data, batch.indices, vocabulary, file, context.report, before)


def _as_classes(batch: Batch, known: KnownClasses) -> list[str]:
    """Convert the labels of a batch to classes; unknown labels stay as written."""
    means = meanings(
        Counter(batch.labels), known, what=str(batch.file or batch.name), remedy="Write each class in one way there."
    ).of
    return [plain(label) if means[label] is None else means[label] or "" for label in batch.labels]


def _classes_of_rounds(context: Context) -> tuple[str, ...]:
    """Return the classes of labeling rounds, which may come from another tool."""
    from initpools_cli.labeling.label_history import classes_of_rounds

    return classes_of_rounds(context.run)


def round_words(file: Path | str, images: int, classes: Sequence[str] = ()) -> list[str]:
    """Build the command that trains on a file of labels and selects as many images again.

    Parameters
    ----------
    file : Path or str
    images : int
    classes : sequence of str
        Classes of the page; added to the command if one of their names otherwise stands for no label.
    """
    words = ["al-run", "--labels", str(file), "--budget", str(images), "--next", "next.csv"]
    return [*words, f"--classes={','.join(classes)}"] if any(map(says_nothing, classes)) else words
