"""Replacement of a labeling round that is run again with the same labels."""

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

#: Settings of a round that affect only its next batch.
BATCH_SETTINGS = {
    "query", "budget", "space", "views", "passes", "members", "balance", "normalize", "n_clusters", "sample", "order",
    "params", "revisions", "zero_rows", "copied_rows", "copies", "min_distance", "semdedup", "per_group", "audit",
    "stop_at",
}  # fmt: skip


def read_next(step: FinishedStep) -> pd.DataFrame | None:
    """Read the next batch of a round, as rows of a pool; None if it has none."""
    from initpools_cli.steps.select_pool import read_picks

    return read_picks(step, "next.csv") if "next.csv" in step.facts["writes"] else None


def same_but_batch(old_step: FinishedStep, new_step: PendingStep) -> bool:
    """Return whether a finished round has all results of `new_step`, which selects no batch."""
    facts = old_step.facts
    old, new = facts["table"], new_step.table
    settings = {key: value for key, value in old.items() if key not in BATCH_SETTINGS}
    return (
        not old_step.missing_file
        and settings == {key: value for key, value in new.items() if key not in BATCH_SETTINGS}
        and new["params"].items() <= old["params"].items()
        and new.get("revisions", {}).items() <= old.get("revisions", {}).items()
        and new_step.reads.items() <= facts["reads"].items()
        # Further reads for the batch are files of the run; files of the user, such as --exclude, change the round.
        and not any(Path(path).is_absolute() for path in facts["reads"].keys() - new_step.reads.keys())
    )


@dataclass(frozen=True)
class ReplacedBatch:
    """Batch that is replaced when its round is run again.

    Attributes
    ----------
    step : str
    query : str
        The query that selected it.
    images : frozenset of int
        Train rows.
    again : str
        The command that selects it again.
    file : Path
        Label file of `initpools label` for the batch.
    unused : int
        Number of images with a label in this file that no round has used.
    """

    step: str
    query: str
    images: frozenset[int]
    again: str
    file: Path
    unused: int

    @classmethod
    def of(cls, context: Context, step: FinishedStep, labeled: LabelHistory) -> ReplacedBatch | None:
        """Read the batch of a round before the round is run again; None if it has no readable batch."""
        batch = None
        with suppress(UserError):
            batch = read_next(step)
        if batch is None:
            return None
        file = context.run.path / FOLDER / f"{step.name}.csv"
        query, images = ", ".join(step.table["query"]), frozenset(batch["index"].tolist())
        return cls(step.id, query, images, step.renewal(), file, _unused_labels(context, file, labeled))

    def tell(self, report: Reporter, batch: pd.DataFrame | None) -> None:
        """Report a replaced batch that differs from the new one, and its unused labels."""
        if batch is not None and self.images == set(batch["index"].tolist()):
            return
        by = "no batch" if batch is None else f"{len(batch)} other images"
        report.warn(
            f"{self.step}: its batch of {len(self.images)} images ({self.query}) is replaced by {by}. "
            f"`{self.again}` selects it again."
        )
        if self.unused:
            report.warn(
                f"{self.file} has {self.unused} labels that no round has used: use them with --labels {self.file}."
            )


def _unused_labels(context: Context, file: Path, labeled: LabelHistory) -> int:
    """Count the images with a label in the file and none in the rounds."""
    from initpools_cli.datasets.annotations.check import read_annotations
    from initpools_cli.datasets.classes import KnownClasses

    if not file.is_file():
        return 0
    data = context.data
    with suppress(UserError):
        known_classes = KnownClasses(data.classes, multilabel=data.multilabel)
        annotations = read_annotations(file, data.items, known_classes, data.root, mask=data.kept)
        labels = labeled.table["index"][labeled.table["label"] != ""]
        return len(set(annotations.rows.tolist()) - set(labels.tolist()))
    return 0
