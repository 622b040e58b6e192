"""The embeddings that a labeling loop goes on with."""

from __future__ import annotations

from initpools_cli.core.rundir import Run
from initpools_cli.labeling.stored_rounds import rounds
from initpools_cli.steps.context import Context, LoopEmbeddings


def of_loop(run: Run) -> LoopEmbeddings | None:
    """Return the embeddings that the next round reads: those of the rounds, else those of the first pool."""
    return of_rounds(run) or of_first_pool(run)


def of_rounds(run: Run) -> LoopEmbeddings | None:
    """Return the embeddings of the newest round that used any; None if no round did."""
    for done in reversed(rounds(run)):
        for name in done.table["encoders"]:
            return LoopEmbeddings(name, done.id)
    return None


def of_first_pool(run: Run) -> LoopEmbeddings | None:
    """Return the embeddings that the newest pool was chosen from; None if it was chosen without those of the run."""
    for pool in run.steps("pool")[-1:]:
        for path in pool.facts["reads"]:
            kind, _, file = path.partition("/")
            if kind == "embed":
                return LoopEmbeddings(file.partition("/")[0], pool.id)
    return None


def report_change(context: Context, name: str) -> None:
    """Report that the user has named other embeddings than the labeling loop used."""
    used = context.loop_embeddings(context.run)
    if used is not None and name != used.name:
        context.report.once(f"The labeling loop changes its embeddings: {used.step} used embed/{used.name}.")
