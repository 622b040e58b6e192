"""One round of the labeling loop: train on what is labeled, say how good that is, and choose what to label next."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_frame
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.core.seeds import derive
from initpools_cli.datasets.annotations.check import Problem
from initpools_cli.labeling.evaluation import cell_of, foretold, judge, on_test
from initpools_cli.labeling.label_history import (
    PREFIX,
    LabelHistory,
    labeled_so_far,
    number_of,
    outcome_of,
    rounds,
)
from initpools_cli.labeling.next_batch import next_batch, predictions
from initpools_cli.labeling.replace_round import Replaced, read_next, same_but_batch
from initpools_cli.steps.context import Context
from initpools_cli.steps.embedding_scale import scale_entry
from initpools_cli.steps.rows import distance_identity, there
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.sweeps.setup import ExperimentSpec, arena_of, cast_of, identity_of, protocol_of

if TYPE_CHECKING:
    from initpools_cli.training.experiment import ExperimentData

#: Settings of [al] that the loop goes by; the others are of sweeps.
USED = ("query", "learner", "budget", "encoders", "space", "views", "passes", "members", "validation", "params")
#: Flags of sweeps that mean nothing where a person labels.
OF_SWEEPS = ("init", "init_budget", "rounds", "seeds", "candidates", "strict", "backend")


@dataclass(frozen=True)
class Round:
    """A finished round.

    Attributes
    ----------
    done : FinishedStep
        Its folder: labels.csv, problems.csv, classes.csv, predictions.csv, and next.csv where there is a next batch.
    fresh : bool
        Whether it was done just now.
    labeled : LabelHistory
    """

    done: FinishedStep
    fresh: bool
    labeled: LabelHistory


def label_round(
    context: Context, file: Path, classes: tuple[str, ...], *, ask: bool, files: UserFiles | None = None
) -> Round:
    """Write ``loop/round-<n>/``, or find it already done.

    Parameters
    ----------
    file : Path
        The new annotations; earlier ones are remembered.
    classes : tuple of str
        The only classes there can be; empty: those of the data set, else any.
    ask : bool
        Whether a next batch is wanted.
    files : UserFiles, optional
        The images to exclude: they are neither chosen nor predicted, and their labels are remembered, not learned from.

    Raises
    ------
    UserError
        Settings that mean nothing here, no label, or a query that asks a model where there is but one class.
    """
    table = _table(context)
    newest = _newest(context)
    brought = {str(file.resolve()): checksum(file)} if file.is_file() else {}
    labeled = labeled_so_far(context, file, classes)
    files = files or UserFiles()
    if files.exclude is not None:
        labeled = replace(labeled, excluded=np.flatnonzero(~there(context, files)))
    cast = cast_of(context, table)
    if ask:
        _refuse_unaskable(cast, labeled)
    codes = np.full(len(context.data.kept), -1, dtype=np.int64)
    codes[labeled.rows] = labeled.codes
    experiment, reads = arena_of(
        context,
        cast,
        _only(table.encoders, "--from"),
        {"train": codes},
        len(labeled.classes),
        context.data.kept,
        files,
    )
    resolved = _resolved(context, table, cast, experiment, labeled, ask)
    step = context.run.step(
        LOOP, f"{PREFIX}{labeled.number}", resolved, {**context.items_checksum(), **reads}, force=context.force
    )
    earlier = next((done for done in rounds(context.run) if number_of(done.name) == labeled.number), None)
    if earlier is not None:
        # The same labels again: with other settings the round is done anew in its place.
        step = replace(step, id=earlier.id)
        if not ask and not context.force and same_but_batch(earlier, step):
            return Round(earlier, False, labeled)
    if step.finished:
        return Round(step.finished, False, labeled)
    lost = None if earlier is None else Replaced.of(context, earlier, labeled)
    with context.writing(step) as scratch:
        # Rounds build on each other: labels that came since would be forgotten.
        if _newest(context) != newest:
            raise UserError("Another process has finished a round meanwhile.", "Give the command again.")
        step.outcome = _work(context, table, cast, experiment, labeled, ask, scratch)
        refuse_changed(Path(), brought)
        step.outcome["annotations"] = str(file.resolve())
        if brought:
            step.outcome["annotations_sha256"] = brought[str(file.resolve())]
        step.outcome |= _names_of(labeled, earlier)
    done = FinishedStep(context.run, step.folder)
    if lost is not None:
        lost.tell(context.report, read_next(done))
    return Round(done, True, labeled)


def _names_of(labeled: LabelHistory, earlier: FinishedStep | None) -> dict[str, list[str]]:
    """How classes are called, as the user said: what a round that is replaced was told still holds."""
    before = {} if earlier is None else earlier.facts["outcome"]
    named = list(labeled.named) or before.get("named", [])
    spellings = sorted({*labeled.spellings, *before.get("spellings", [])})
    return {key: value for key, value in (("named", named), ("spellings", spellings)) if value}


def _newest(context: Context) -> tuple[str, str]:
    """What tells the last round from all others."""
    last = [(step.name, str(step.facts["finished"])) for step in rounds(context.run)[-1:]]
    return last[0] if last else ("", "")


def history(context: Context) -> list[dict[str, Any]]:
    """The outcome of every round, oldest first, with its name as ``round``."""
    return [outcome_of(step) for step in rounds(context.run)]


def _work(
    context: Context,
    table: AlTable,
    cast: ExperimentSpec,
    experiment: ExperimentData,
    labeled: LabelHistory,
    ask: bool,
    scratch: Path,
) -> dict[str, Any]:
    """Write what a round consists of, and give its outcome."""
    import pandas as pd

    from initpools_cli.training.active_learning import fit, inputs_of
    from initpools_cli.training.learners.registry import learners, softmax

    learner = learners.get(next(iter(cast.learners)))
    settings = protocol_of(context, table, cast, init_budget=0, rounds=1, candidates=1.0)
    device = context.machine.device
    judged, by_class = judge(context, experiment, settings, learner, labeled)
    model = fit(
        learner, cell_of(context, experiment, labeled.rows), derive(context.seed, "loop"), experiment, settings, device
    )
    rest = np.setdiff1d(np.flatnonzero(experiment.kept), labeled.rows)
    probs = softmax(model.logits(inputs_of(learner, experiment)["train"][rest])) if len(rest) else None
    outcome = {
        "labeled": len(labeled.rows),
        "skipped": len(labeled.skipped),
        "new": len(labeled.fresh),
        "corrected": labeled.corrected,
        "problems": len(labeled.read.problems),
        "unlabeled": len(rest),
        "classes": len(labeled.classes),
        "class_names": list(labeled.classes),
        **judged,
        **on_test(context, model, learner, experiment, labeled),
        **foretold(context, labeled),
    }
    problems = pd.DataFrame(labeled.read.problems, columns=list(Problem._fields))
    write_frame(scratch / "labels.csv", labeled.table)
    write_frame(scratch / "problems.csv", problems)
    write_frame(scratch / "classes.csv", by_class)
    write_frame(scratch / "predictions.csv", predictions(context, rest, probs, labeled))
    batch = next_batch(context, cast, experiment, settings, model, labeled) if ask else None
    if batch is not None:
        write_frame(scratch / "next.csv", batch)
        write_array(scratch / "indices.npy", batch["index"].to_numpy(np.int64))
        outcome["picked"] = len(batch)
    return outcome


# ---- what is asked for


def _table(context: Context) -> AlTable:
    """[al] as the loop goes by it.

    Raises
    ------
    UserError
        A setting of sweeps, or several queries, learners or encoders.
    """
    table = context.settings.al
    for key in OF_SWEEPS:
        if f"al.{key}" in context.given:
            raise UserError(
                f"al.{key} ({context.given[f'al.{key}']}) is of sweeps, and --labels begins a round of labeling.",
                "Leave it out.",
            )
    _only(table.query, "--query")
    _only(table.learner, "--learner")
    if table.validation == "free-val":
        raise UserError(
            "validation = free-val reads a labeled validation split, which labeling does not go by.",
            "Use none or from-budget.",
        )
    return table


def _only(names: list[str], flag: str) -> str:
    if len(names) > 1:
        raise UserError(f"{flag} names {', '.join(names)}, and a round of labeling has one.", "Name one.")
    return names[0] if names else ""


def _refuse_unaskable(cast: ExperimentSpec, labeled: LabelHistory) -> None:
    query = cast.queries[0]
    if len(labeled.classes) < 2 and {*query.method.inputs} & MODEL_OUTPUTS:
        raise UserError(
            f"All {len(labeled.rows)} labels are of one class, '{labeled.classes[0]}', so that no model can be asked "
            f"by {query.name}.",
            "Take a query that needs none (--query typiclust), or name the classes there will be: --classes A,B.",
        )


def _resolved(
    context: Context, table: AlTable, cast: ExperimentSpec, experiment: ExperimentData, labeled: LabelHistory, ask: bool
) -> dict[str, Any]:
    """Everything that the result depends on, for ``step.toml``."""
    select = context.settings.select
    asked = {key: getattr(table, key) for key in USED}
    query = cast.queries[0]
    if not ask:
        asked |= {"query": [], "budget": 0}
    return {
        **asked,
        **identity_of(cast, [query] if ask else [], experiment, select),
        "encoders": [experiment.encoder] if experiment.encoder else [],
        **scale_entry([experiment]),
        "classes": list(labeled.classes),
        "labels": hashlib.sha256(labeled.table.to_csv(index=False).encode()).hexdigest(),
        "balance": select.balance,
        "normalize": select.normalize,
        "n_clusters": context.clusters(select.n_clusters),
        "sample": select.sample,
        "order": select.order,
        "seed": context.seed,
        **distance_identity(select),
    }
