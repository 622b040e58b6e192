"""Opening of labeling sessions: the batch, its classes, and what the newest round says of its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.classes import KnownClasses, meanings, plain, says_nothing
from initpools_cli.datasets.label_sets import set_meanings
from initpools_cli.labeling.batch import Batch, find_batch
from initpools_cli.labeling.class_changes import read_changes
from initpools_cli.labeling.classes import CLASSES, ClassList
from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.last_round import last_round
from initpools_cli.labeling.review import review_batch
from initpools_cli.labeling.session import LabelingSession
from initpools_cli.labeling.shares import (
    file_of,
    files_of,
    parse_overlap,
    parse_part,
    share_of,
    valid_annotator,
    writer_of,
)
from initpools_cli.steps.context import Context

#: Folder of a run for label files.
FOLDER = "labels"


def open_labeling(
    context: Context,
    batch_name: str | None,
    classes: Sequence[str],
    output: Path | None,
    *,
    suggestions: bool = True,
    review: bool = False,
    annotator: str = "",
    part: str | None = None,
    overlap: str | None = None,
) -> LabelingSession:
    """Open a labeling session for a batch.

    Parameters
    ----------
    context : Context
    batch_name : str, optional
        See `find_batch`.
    classes : sequence of str
        See `ClassList`.
    output : Path, optional
        File of the labels; default: ``labels/<batch>.csv`` in the run.
    suggestions : bool
        Whether predictions of the newest round are shown.
    review : bool
        Whether to open the doubtful labels of the newest round instead of a batch.
    annotator : str
        Who labels; with a name, the default file is ``labels/<batch>.by-<annotator>.csv``, with a column of it.
    part, overlap : str, optional
        Which images of the batch to label; see `share_of`.

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
    if review:
        context.require_one_class("--review")
    share, common = parse_part(part), parse_overlap(overlap)
    name = valid_annotator(annotator) if annotator else ""
    batch = review_batch(context) if review else find_batch(context, batch_name)
    if share or common:
        batch = share_of(batch, share, common, context.seed)
    file = output or file_of(context.run.path / FOLDER, batch.name, name)
    if batch.file is not None and batch.file.resolve() == file.resolve():
        raise UserError(
            f"--output {file} is the file of the batch, whose other columns would be lost.",
            "Use another file for --output.",
            file,
        )
    multilabel = context.data.multilabel
    vocabulary = ClassList(context.data.classes, classes, context.run.path / CLASSES, multilabel=multilabel)
    vocabulary.learn(_classes_of_rounds(context))
    labels = _as_classes(batch, vocabulary.known_classes)
    before = {index: Mark(label) for index, label in zip(batch.indices, labels, strict=True) if label}
    vocabulary.learn(labels)
    return LabelingSession(
        batch.name,
        context.data,
        batch.indices,
        vocabulary,
        file,
        context.report,
        before,
        audit=batch.audit,
        last=last_round(context.run, suggestions=suggestions),
        doubts=batch.doubts,
        annotator=writer_of(file, name),
        changes=read_changes(context.run),
    )


def _as_classes(batch: Batch, known_classes: KnownClasses) -> list[str]:
    """Convert the labels of a batch to classes; unknown labels stay as written."""
    means = (set_meanings if known_classes.multilabel else meanings)(
        Counter(batch.labels),
        known_classes,
        what=str(batch.file or batch.name),
        remedy="Write each class in one way there.",
    ).of
    return [plain(label) if means[label] is None else means[label] or "" for label in batch.labels]


def _classes_of_rounds(context: Context) -> tuple[str, ...]:
    """Return the classes of labeling rounds, which may come from another tool."""
    from initpools_cli.labeling.stored_rounds import classes_of_rounds

    return classes_of_rounds(context.run)


def files_with(labeling: LabelingSession) -> list[Path]:
    """Return the file of a session, and those of other annotators of the same batch."""
    if not labeling.annotator:
        return [labeling.file]
    return sorted({labeling.file, *files_of(labeling.file.parent, labeling.name)})


def round_words(files: Sequence[Path | str], images: int, classes: Sequence[str] = ()) -> list[str]:
    """Build the command that trains on files of labels and selects as many images again.

    Parameters
    ----------
    files : sequence of Path or str
    images : int
        0 leaves the size of the next batch to the settings.
    classes : sequence of str
        Classes of the page; added to the command if one of their names otherwise stands for no label.
    """
    budget = ["--budget", str(images)] if images else []
    labels = [word for file in files for word in ("--labels", str(file))]
    words = ["al-run", *labels, *budget, "--next", "next.csv"]
    return [*words, f"--classes={','.join(classes)}"] if any(map(says_nothing, classes)) else words
