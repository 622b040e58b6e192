"""A round that is done again: it takes the place of the one with the same labels, and no label is lost by that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.page import FOLDER
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: Settings of a round that its batch alone depends on.
OF_THE_BATCH = {
    "query", "budget", "space", "views", "passes", "members", "balance", "normalize", "n_clusters", "sample", "order",
    "params", "revisions", "zero_rows", "copied_rows", "copies", "min_distance",
}  # fmt: skip


def read_next(done: FinishedStep) -> pd.DataFrame | None:
    """The batch that a round chose, as rows of a pool, or None where it chose none."""
    from initpools_cli.steps.select_pool import read_rows

    return read_rows(done, "next.csv") if "next.csv" in done.facts["writes"] else None


def same_but_batch(done: FinishedStep, step: PendingStep) -> bool:
    """Whether a finished round holds all that `step` would make, which asks for no batch."""
    facts = done.facts
    made, asked = facts["table"], step.table
    plain = {key: value for key, value in made.items() if key not in OF_THE_BATCH}
    return (
        not done.missing_file
        and plain == {key: value for key, value in asked.items() if key not in OF_THE_BATCH}
        and asked["params"].items() <= made["params"].items()
        and asked.get("revisions", {}).items() <= made.get("revisions", {}).items()
        and step.reads.items() <= facts["reads"].items()
        # What the batch alone was made from is of the run; files of the user, such as --exclude, change the round.
        and not any(Path(path).is_absolute() for path in facts["reads"].keys() - step.reads.keys())
    )


@dataclass(frozen=True)
class Replaced:
    """A batch whose place another takes.

    Attributes
    ----------
    step : str
    query : str
        What asked for it.
    images : frozenset of int
        Train rows.
    again : str
        The command that chooses it again.
    file : Path
        Where `initpools label` keeps labels of it.
    unlearned : int
        Images with a label in that file that no round has learned from.
    """

    step: str
    query: str
    images: frozenset[int]
    again: str
    file: Path
    unlearned: int

    @classmethod
    def of(cls, context: Context, done: FinishedStep, labeled: LabelHistory) -> Replaced | None:
        """The batch of a round that is about to be done again; None where it has none that can be read."""
        batch = None
        with suppress(UserError):
            batch = read_next(done)
        if batch is None:
            return None
        file = context.run.path / FOLDER / f"{done.name}.csv"
        query, images = ", ".join(done.table["query"]), frozenset(batch["index"].tolist())
        return cls(done.id, query, images, done.renewal(), file, _unlearned(context, file, labeled))

    def tell(self, report: Reporter, batch: pd.DataFrame | None) -> None:
        """Say what is replaced, where the new batch is another, and which labels wait."""
        if batch is not None and self.images == set(batch["index"].tolist()):
            return
        by = "no batch" if batch is None else f"{len(batch)} others"
        report.warn(
            f"{self.step}: its batch of {len(self.images)} images ({self.query}) is replaced by {by}. "
            f"`{self.again}` chooses it again."
        )
        if self.unlearned:
            report.warn(
                f"{self.file} keeps {self.unlearned} labels that no round has learned from: give them with "
                f"--labels {self.file}."
            )


def _unlearned(context: Context, file: Path, labeled: LabelHistory) -> int:
    """How many images have a label in the file and none in the rounds."""
    from initpools_cli.datasets.annotations.check import read_annotations
    from initpools_cli.datasets.classes import KnownClasses

    if not file.is_file():
        return 0
    data = context.data
    with suppress(UserError):
        read = read_annotations(file, data.items, KnownClasses(data.classes), data.root, kept=data.kept)
        known = labeled.table["index"][labeled.table["label"] != ""]
        return len(set(read.rows.tolist()) - set(known.tolist()))
    return 0
