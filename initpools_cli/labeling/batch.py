"""Batches of images to label: a pool, a labeling round, or a table of the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.steps.context import Context

#: File with the images to label, by kind of step.
LISTS = {"pool": "items.csv", LOOP: "next.csv"}


@dataclass(frozen=True)
class Batch:
    """Images to label, in order.

    Attributes
    ----------
    name : str
        Name of the step, or of the file without its suffix.
    indices : list of int
        Distinct train rows.
    labels : list of str
        Labels in the table; "" for none.
    file : Path or None
        The table of the user.
    audit : frozenset of int
        Rows drawn at random for the audit sample, which are shown without suggestions.
    doubts : dict of int to str
        Why the label of an image is doubtful, in a second look.
    """

    name: str
    indices: list[int]
    labels: list[str]
    file: Path | None = None
    audit: frozenset[int] = frozenset()
    doubts: dict[int, str] = field(default_factory=dict)


def find_batch(context: Context, name: str | None) -> Batch:
    """Find a batch by name or file; default: the newest of the run.

    Parameters
    ----------
    context : Context
    name : str, optional
        A pool (``typiclust-b20-s0``), a round (``round-2``), or a table with a column ``path`` or ``index``.

    Raises
    ------
    UserError
        If there is no such batch, or it has images that are not in the data set.
    """
    steps = [step for kind in LISTS for step in context.run.steps(kind) if _list_of(step) in step.facts["writes"]]
    if name is None:
        if not steps:
            raise UserError(
                f"The run {context.run.path} has no images to label yet.",
                "Run `initpools select-pool --budget 20` first, or pass a table: --batch FILE.csv.",
                context.run.path,
            )
        return _of_step(max(steps, key=lambda step: str(step.facts["finished"])))
    matches = [step for step in steps if name in (step.name, step.id)]
    if matches:
        return _of_step(matches[-1])
    if Path(name).is_file():
        return _of_file(context, Path(name))
    if Path(name).suffix:
        raise UserError(f"There is no file {name} (--batch).", "Correct the path: --batch FILE.csv.", name)
    raise unknown_name("batch", name, [step.name for step in steps], "initpools status")


def _list_of(step: FinishedStep) -> str:
    return LISTS[step.id.partition("/")[0]]


def _of_step(step: FinishedStep) -> Batch:
    rows = step.frame(_list_of(step), dtype={"path": str, "label": str}, keep_default_na=False)
    origins = rows["origin"].tolist() if "origin" in rows else [""] * len(rows)
    return _batch(step.name, rows["index"].tolist(), [""] * len(rows), origins)


def _of_file(context: Context, path: Path) -> Batch:
    from initpools_cli.datasets.annotations.table import read
    from initpools_cli.steps.user_files import images_of_table

    rows, notes = read(path, "--batch", with_labels=False)
    for note in notes:
        context.report.say(note)
    images = images_of_table(path, "--batch", context.data.items, context.data.root)
    origins = [row.details.origin for row in rows]
    return _batch(path.stem, images.tolist(), [row.label for row in rows], origins, path)


def _batch(name: str, indices: list[int], labels: list[str], origins: list[str], file: Path | None = None) -> Batch:
    if not indices:
        raise UserError(f"The batch {name} has no images.", "Use another one: --batch NAME|FILE.", name)
    from initpools_cli.steps.audit_sample import AUDIT

    # A repeated image is shown once, with the first label of its lines.
    label_of: dict[int, str] = {}
    for index, label in zip(indices, labels, strict=True):
        label_of[index] = label_of.get(index) or label
    audit = frozenset(index for index, origin in zip(indices, origins, strict=True) if origin == AUDIT)
    return Batch(name, list(label_of), list(label_of.values()), file, audit)
