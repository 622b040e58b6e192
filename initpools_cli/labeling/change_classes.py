"""Rename, merge and split classes, in all label files of a run and, through a log, in its finished rounds."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.locks import locked
from initpools_cli.core.rundir import Run
from initpools_cli.core.spreadsheet import escaped, unescaped
from initpools_cli.core.system_errors import disk_errors
from initpools_cli.datasets.annotations.rows import LABEL_NAMES
from initpools_cli.datasets.classes import KnownClasses, alike, says_nothing
from initpools_cli.datasets.spec import Dataset
from initpools_cli.labeling.class_changes import LOG, MERGE, RENAME, SPLIT, Change, as_text, read_changes
from initpools_cli.labeling.classes import ClassList, InvalidClass, tidy
from initpools_cli.labeling.label_file import read_marks, write_to_disk
from initpools_cli.labeling.last_round import last_round
from initpools_cli.labeling.relabel import WAS_SPLIT, RelabelReason, add_to_queue
from initpools_cli.labeling.session import LabelingSession


@dataclass(frozen=True)
class ChangeResult:
    """The labels that a change of the classes has changed.

    Attributes
    ----------
    change : Change
    files : dict of Path to int
        The label files that were written, and the labels in them that changed.
    round_labels : int
        The labels of finished rounds that are now read with another class.
    queue : list of int
        Images that have to be labeled again.
    """

    change: Change
    files: dict[Path, int]
    round_labels: int
    queue: list[int]


def valid_change(do: str, old: Sequence[str], new: Sequence[str], vocabulary: ClassList, dataset: str) -> Change:
    """Check a change against the present classes.

    Raises
    ------
    InvalidClass
        If a class does not exist, or a new one does, or a name is not valid.
    """
    if vocabulary.fixed:
        raise InvalidClass(
            f"The classes of {dataset} are those of the data set, so '{old[0]}' cannot be changed.",
            "Change them in the data set, or label it in another run: --set dataset.labels=none --run DIR.",
            old[0],
        )
    names = vocabulary.names
    before = tuple(dict.fromkeys(_existing(name, names) for name in old))
    after = tuple(dict.fromkeys(_target(name, names, before) for name in new))
    if do == RENAME and (match := alike(after[0], [name for name in names if name != before[0]])):
        raise InvalidClass(
            f"There is a class '{match}' already.", f"Merge them: --merge {before[0]},{match}={match}.", match
        )
    if do == MERGE:
        before = tuple(name for name in before if name not in after)
    if do == SPLIT and len(after) < 2:
        raise InvalidClass(
            f"'{before[0]}' is to be split into one class, '{after[0]}'.", "Name two or more classes.", after[0]
        )
    if not before or before == after:
        raise InvalidClass(f"'{after[0]}' would stay the same.", "Name another class.", after[0])
    return Change(do, before, after)


def _existing(name: str, names: Sequence[str]) -> str:
    match = alike(name, names)
    if match is None:
        guess = nearest(name, names)
        remedy = f"Did you mean '{guess}'?" if guess else f"Use one of the classes: {', '.join(names[:20])}."
        raise InvalidClass(f"There is no class {name!r}.", remedy, repr(name))
    return match


def _target(name: str, names: Sequence[str], before: Sequence[str]) -> str:
    """Return the class of a name, which may be new, or the old one in another spelling."""
    match = alike(name, [each for each in names if each not in before])
    new_name = match or tidy(name)
    if says_nothing(new_name) and new_name not in names:
        raise InvalidClass(f"{name!r} stands for no label.", "Choose another name.", repr(name))
    return new_name


def change_classes(
    run: Run,
    data: Dataset,
    change: Change,
    vocabulary: ClassList,
    session: LabelingSession | None = None,
    also: Sequence[Path] = (),
) -> ChangeResult:
    """Apply a change to all label files of a run, its list of classes, and its log.

    The log is written before the list of classes, and label files before both. If the process ends in between, the same
    change completes it; a rename is then completed by merging, as the message says.

    Parameters
    ----------
    run : Run
    data : Dataset
    change : Change
        From `valid_change`.
    vocabulary : ClassList
    session : LabelingSession, optional
        The open page, whose file is changed through it.
    also : sequence of Path
        Label files outside the run.

    Raises
    ------
    UserError
        If a file cannot be read or written, or another process is labeling it.
    """
    files = [file for file in label_files(run, also) if session is None or file.resolve() != session.file.resolve()]
    with contextlib.ExitStack() as locks:
        for file in files:
            locks.enter_context(_lock_file(file))
        labels = last_round(run, suggestions=False).labels
        images = [index for index, label in labels.items() if label in change.old]
        marks = {file: read_marks(file, data, KnownClasses(vocabulary.names, fixed=False)).marks for file in files}
        if session is not None:
            marks[session.file] = session.marks
        images_by_file = {
            file: [index for index, mark in file_marks.items() if mark.label in change.old]
            for file, file_marks in marks.items()
        }
        queue: list[int] = []
        if change.do == SPLIT:
            queue = sorted({*images}.union(*images_by_file.values()))
            add_to_queue(run, {index: RelabelReason(WAS_SPLIT, change.old[0]) for index in queue})
        for file in files:
            _rewrite(file, change)
        if session is not None:
            session.change_class(change)
        write_to_disk(run.path / LOG, as_text([*read_changes(run), change]))
        vocabulary.replace(change.old, change.new)
    return ChangeResult(change, {file: len(rows) for file, rows in images_by_file.items() if rows}, len(images), queue)


def label_files(run: Run, also: Sequence[Path]) -> list[Path]:
    """Return the label files of a run, and those outside it that exist."""
    return [*sorted((run.path / "labels").glob("*.csv")), *(file for file in also if file.exists())]


@contextlib.contextmanager
def _lock_file(file: Path) -> Iterator[None]:
    def busy_error(holder: str) -> UserError:
        return UserError(
            f"{file} is being labeled by another process{holder}.",
            "Change the classes on that page, or stop it with Ctrl-C first.",
            str(file),
        )

    with contextlib.ExitStack() as locks:
        lock = file.with_name(f".{file.name}.lock")
        with disk_errors(lock):
            locks.enter_context(locked(lock, busy_error))
        yield


def _rewrite(file: Path, change: Change) -> None:
    """Replace classes in the columns of labels and suggestions; all other cells stay as they are."""
    from initpools_cli.datasets.annotations.table import read_table

    table = read_table(file, "labels")
    labels, suggestions = table.place_of(LABEL_NAMES), table.place_of(("suggested",))

    def new_cell(place: int, cell: str) -> str:
        name = alike(unescaped(cell), change.old) if place in (labels, suggestions) else None
        if name is None:
            return cell
        # A suggestion stays after a split.
        new = change.of(name)
        return escaped(new) if new else (cell if place == suggestions else "")

    lines = [[new_cell(place, cell) for place, cell in enumerate(cells)] for _, cells in table.lines]
    if lines == [cells for _, cells in table.lines]:
        return
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([table.columns, *lines])
    write_to_disk(file, stream.getvalue())
