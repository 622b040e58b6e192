"""Which images are to be labeled now: a pool, a round of the loop, or a table of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.steps.context import Context

#: The file of each kind of step that lists images to label, in order.
LISTS = {"pool": "items.csv", LOOP: "next.csv"}


@dataclass(frozen=True)
class Batch:
    """Images to label, in order.

    Attributes
    ----------
    name : str
        Of the step, or of the file without its ending.
    indices : list of int
        Their train rows, none twice.
    labels : list of str
        Those that the table has already; empty where it has none.
    file : Path or None
        The user's own table.
    """

    name: str
    indices: list[int]
    labels: list[str]
    file: Path | None = None


def find_batch(context: Context, named: str | None) -> Batch:
    """The batch of that name, of that file, or else the newest of the run.

    Parameters
    ----------
    named : str, optional
        A pool (``typiclust-b20-s0``), a round (``round-2``), or a table with a column ``path`` or ``index``.

    Raises
    ------
    UserError
        No such batch, none at all, or one that names images which the data set does not have.
    """
    steps = [step for kind in LISTS for step in context.run.steps(kind) if _list_of(step) in step.facts["writes"]]
    if named is None:
        if not steps:
            raise UserError(
                f"The run {context.run.path} has no images to label yet.",
                "Choose some with `initpools select-pool typiclust --budget 20`, or give a table: --batch FILE.csv.",
            )
        return _of_step(max(steps, key=lambda step: str(step.facts["finished"])))
    found = [step for step in steps if named in (step.name, step.id)]
    if found:
        return _of_step(found[-1])
    if Path(named).is_file():
        return _of_file(context, Path(named))
    if Path(named).suffix:
        raise UserError(f"There is no file {named} (--batch).", "Check the path.")
    raise unknown_name("batch", named, [step.name for step in steps], "initpools status")


def _list_of(step: FinishedStep) -> str:
    return LISTS[step.id.partition("/")[0]]


def _of_step(step: FinishedStep) -> Batch:
    rows = step.frame(_list_of(step), dtype={"path": str, "label": str}, keep_default_na=False)
    return _batch(step.name, rows["index"].tolist(), [""] * len(rows))


def _of_file(context: Context, path: Path) -> Batch:
    from initpools_cli.datasets.annotations.table import read
    from initpools_cli.steps.user_files import images_named

    rows, notes = read(path, "--batch", with_labels=False)
    for note in notes:
        context.report.say(note)
    images = images_named(path, "--batch", context.data.items, context.data.root)
    return _batch(path.stem, images.tolist(), [row.label for row in rows], path)


def _batch(name: str, indices: list[int], labels: list[str], file: Path | None = None) -> Batch:
    if not indices:
        raise UserError(f"The batch {name} has no images.", "Choose another with --batch NAME|FILE.")
    # An image that is named twice is shown once; a label of either line counts.
    known: dict[int, str] = {}
    for index, label in zip(indices, labels, strict=True):
        known[index] = known.get(index) or label
    return Batch(name, list(known), list(known.values()), file)
