"""Labeling round: train on the labels, evaluate, and select the next batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_frame
from initpools_cli.core.plugins import plugin_of
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.core.seeds import derive
from initpools_cli.datasets.annotations.check import Problem
from initpools_cli.labeling.annotators import TIES, VOTES, agreement_outcome, ties_table, votes_table
from initpools_cli.labeling.audit import audit_outcome, audit_predictions, suggestion_outcome
from initpools_cli.labeling.class_changes import APPLIED, read_changes
from initpools_cli.labeling.evaluation import (
    CrossValidation,
    cross_validate,
    on_test,
    out_of_fold_table,
    previous_model,
)
from initpools_cli.labeling.forecast import cannot_forecast, forecast_outcome
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.labeling.label_sets import (
    cross_validate_sets,
    on_test_sets,
    out_of_fold_sets,
    set_predictions,
)
from initpools_cli.labeling.next_batch import next_batch, predictions
from initpools_cli.labeling.replace_round import ReplacedBatch, read_next, same_but_batch
from initpools_cli.labeling.review import DOUBTFUL, doubtful_labels
from initpools_cli.labeling.round_inputs import RoundInputs, refuse_round_settings, resolve_round
from initpools_cli.labeling.stopping import has_reached
from initpools_cli.labeling.stored_rounds import PREFIX, number_of, rounds
from initpools_cli.steps.audit_sample import AUDIT
from initpools_cli.steps.context import Context
from initpools_cli.steps.embedding_scale import scale_entry
from initpools_cli.steps.rows import distance_identity
from initpools_cli.steps.split_overlap import overlap_of_labeled
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.sweeps.al_settings import count_budgets
from initpools_cli.sweeps.setup import identity_of

#: Settings of [al] that the labeling loop uses.
USED = ("query", "learner", "budget", "encoders", "space", "views", "passes", "members", "validation", "params")


@dataclass(frozen=True)
class Round:
    """Finished labeling round.

    Attributes
    ----------
    done : FinishedStep
        Its folder: labels.csv, problems.csv, classes.csv, predictions.csv, and next.csv if there is a next batch.
    fresh : bool
        Whether it was run now, not found finished.
    labeled : LabelHistory
    """

    done: FinishedStep
    fresh: bool
    labeled: LabelHistory


def label_round(
    context: Context, labels: Sequence[Path], classes: tuple[str, ...], *, ask: bool, files: UserFiles | None = None
) -> Round:
    """Run a round and write ``loop/round-<n>/``, unless it is already done.

    Parameters
    ----------
    context : Context
    labels : sequence of Path
        Files of the new annotations; those of earlier rounds are in the run.
    classes : tuple of str
        The allowed classes; empty: those of the data set, else any.
    ask : bool
        Whether to select a next batch.
    files : UserFiles, optional
        The images to exclude: they are neither selected nor predicted, and their labels are stored but not used.

    Raises
    ------
    UserError
        If a setting has no effect, there is no label, or a query needs a model and there is only one class.
    """
    count_budgets(context)
    refuse_round_settings(context)
    newest = _newest(context)
    checksums = {str(file.resolve()): checksum(file) for file in labels if file.is_file()}
    # Count the changes of classes before reading the labels: later changes apply to these labels.
    changes = len(read_changes(context.run))
    inputs = resolve_round(context, labels, classes, files, ask=ask)
    labeled = inputs.labeled
    reads = {**context.items_checksum(), **inputs.reads}
    step = context.run.step(LOOP, f"{PREFIX}{labeled.number}", _step_table(inputs, ask), reads, force=context.force)
    earlier = next((each for each in rounds(context.run) if number_of(each.name) == labeled.number), None)
    if earlier is not None:
        # The same labels with other settings: the round is replaced.
        step = replace(step, id=earlier.id)
        if not ask and not context.force and same_but_batch(earlier, step):
            return Round(earlier, False, labeled)
    if step.finished:
        return Round(step.finished, False, labeled)
    old_batch = None if earlier is None else ReplacedBatch.of(context, earlier, labeled)
    with context.writing(step) as scratch:
        # Rounds build on each other: labels of a concurrent round would be lost.
        if _newest(context) != newest:
            raise UserError(
                f"Another process has finished {_newest(context)[0]} meanwhile.",
                "Run the same command again.",
                _newest(context)[0],
            )
        step.outcome = _work(inputs, ask, scratch)
        refuse_changed(Path(), checksums)
        paths = [str(file.resolve()) for file in labels]
        step.outcome["annotations"] = paths[0] if len(paths) == 1 else paths
        if checksums:
            step.outcome["annotations_sha256"] = checksums[paths[0]] if len(paths) == 1 else [*checksums.values()]
        step.outcome |= _names_of(labeled, earlier) | ({APPLIED: changes} if changes else {})
    new_round = FinishedStep(context.run, step.folder)
    if old_batch is not None:
        old_batch.tell(context.report, read_next(new_round))
    return Round(new_round, True, labeled)


def _names_of(labeled: LabelHistory, earlier: FinishedStep | None) -> dict[str, list[str]]:
    """Return class names and spellings set by the user; those of a replaced round stay valid."""
    before = {} if earlier is None else earlier.facts["outcome"]
    user_classes = list(labeled.user_classes) or before.get("named", [])
    spellings = sorted({*labeled.spellings, *before.get("spellings", [])})
    return {key: value for key, value in (("named", user_classes), ("spellings", spellings)) if value}


def _newest(context: Context) -> tuple[str, str]:
    """Return name and time of the last round."""
    last = [(step.name, str(step.facts["finished"])) for step in rounds(context.run)[-1:]]
    return last[0] if last else ("", "")


def _work(inputs: RoundInputs, ask: bool, scratch: Path) -> dict[str, Any]:
    """Write the files of a round, and return its outcome."""
    context, labeled, data = inputs.context, inputs.labeled, inputs.data
    multilabel = context.data.multilabel
    validation = (cross_validate_sets if multilabel else cross_validate)(inputs)
    model = inputs.fit(labeled.rows, derive(context.seed, "loop"))
    rest = np.setdiff1d(np.flatnonzero(data.kept), labeled.rows)
    # Queries read the learner's own probabilities; only predictions are calibrated.
    temperature = validation.quality.get("temperature", 1.0)
    probs = None
    if len(rest):
        probs = data.probabilities(model.logits(inputs.images("train")[rest]) / temperature)
    outcome = {
        **_counts(labeled, rest),
        **validation.quality,
        **_overlap(inputs, validation),
        **(on_test_sets if multilabel else on_test)(inputs, model),
        **previous_model(context, labeled),
        **({"multilabel": True} if multilabel else _estimates(inputs, validation, rest, probs)),
        **({} if labeled.minutes is None else {"minutes": round(labeled.minutes, 2)}),
        **agreement_outcome(labeled.votes, labeled.rule, labeled.ties, context.seed),
    }
    _write_labels(context, labeled, scratch)
    _write_predictions(inputs, validation, rest, probs, scratch)
    stop_at = context.settings.al.stop_at
    if ask and has_reached(stop_at, outcome):
        outcome["stopped"], ask = stop_at, False
    batch = next_batch(inputs, model) if ask else None
    if batch is not None:
        write_frame(scratch / "next.csv", batch)
        write_array(scratch / "indices.npy", batch["index"].to_numpy(np.int64))
        outcome["picked"] = len(batch)
        if "origin" in batch:
            outcome["audit_next"] = int((batch["origin"] == AUDIT).sum())
    return outcome


def _counts(labeled: LabelHistory, rest: np.ndarray) -> dict[str, Any]:
    """Return the numbers of images and classes, and the names of the classes."""
    return {
        "labeled": len(labeled.rows),
        "skipped": len(labeled.skipped),
        "new": len(labeled.fresh),
        "corrected": labeled.corrections,
        "problems": len(labeled.annotations.problems),
        "unlabeled": len(rest),
        "classes": len(labeled.classes),
        "class_names": list(labeled.classes),
    }


def _write_labels(context: Context, labeled: LabelHistory, scratch: Path) -> None:
    """Write the labels of a round, its problems, votes and ties."""
    import pandas as pd

    paths = context.data.splits["train"].paths
    write_frame(scratch / "labels.csv", labeled.stored)
    write_frame(scratch / "problems.csv", pd.DataFrame(labeled.annotations.problems, columns=list(Problem._fields)))
    if labeled.votes:
        write_frame(scratch / VOTES, votes_table(labeled.votes, paths))
    if labeled.ties:
        write_frame(scratch / TIES, ties_table(labeled.ties, paths))


def _write_predictions(
    inputs: RoundInputs, validation: CrossValidation, rest: np.ndarray, probs: np.ndarray | None, scratch: Path
) -> None:
    """Write the predictions of a round for labeled images and for `rest`."""
    context, labeled = inputs.context, inputs.labeled
    multilabel = context.data.multilabel
    write_frame(scratch / "classes.csv", validation.by_class)
    if validation.probs is not None:
        table_of = out_of_fold_sets if multilabel else out_of_fold_table
        write_frame(scratch / "out_of_fold.csv", table_of(context, validation.probs, labeled))
        write_array(scratch / "out_of_fold.npy", validation.probs.astype(np.float32))
    predict = set_predictions if multilabel else predictions
    write_frame(scratch / "predictions.csv", predict(context, rest, probs, labeled))
    if not multilabel:
        write_frame(scratch / DOUBTFUL, doubtful_labels(context, inputs.data, labeled, validation.probs))


def _overlap(inputs: RoundInputs, validation: CrossValidation) -> dict[str, Any]:
    """Return the near-duplicates of labeled images, if there is an accuracy that they bias."""
    if not validation.quality:
        return {}
    labeled = inputs.labeled
    return overlap_of_labeled(inputs.context, inputs.data.encoder, labeled.rows, len(labeled.classes))


def _estimates(
    inputs: RoundInputs, validation: CrossValidation, unlabeled: np.ndarray, probs: np.ndarray | None
) -> dict[str, Any]:
    """Return the outcomes of audit images and suggestions, and the forecast."""
    context, labeled, encoder = inputs.context, inputs.labeled, inputs.data.encoder
    table = context.settings.al
    # Skipped images are not counted.
    rest = None if probs is None else probs[~np.isin(unlabeled, labeled.skipped)]
    settings = {"encoders": [encoder] if encoder else [], "learner": table.learner}
    earlier = [step for step in rounds(context.run) if number_of(step.name) < labeled.number]
    foreseen = audit_predictions(earlier, labeled, settings)
    audit = audit_outcome(labeled, validation.probs, rest, foreseen)
    label_count = int(labeled.judged.sum())
    why = cannot_forecast(inputs.learner.name, label_count, len(np.unique(labeled.codes)))
    return {
        **audit,
        **suggestion_outcome(labeled, validation.probs, foreseen),
        **forecast_outcome(why, validation.quality, rest, label_count, table.target),
        **({} if rest is None or not len(rest) else {"confidence": float(rest.max(axis=1).mean())}),
    }


def _step_table(inputs: RoundInputs, ask: bool) -> dict[str, Any]:
    """Return everything that the result depends on, for ``step.toml``."""
    context, labeled, data, query = inputs.context, inputs.labeled, inputs.data, inputs.query
    table, select = context.settings.al, context.settings.select
    entries: dict[str, Any] = {key: getattr(table, key) for key in USED}
    if ask:
        entries |= {key: getattr(table, key) for key in ("audit", "stop_at") if getattr(table, key)}
    if table.target != AlTable.model_fields["target"].default:
        entries["target"] = table.target
    if labeled.votes:
        votes = votes_table(labeled.votes, context.data.splits["train"].paths).to_csv(index=False)
        entries |= {"annotators": labeled.rule, "votes": hashlib.sha256(votes.encode()).hexdigest()}
    if plugin_of(query.method) is not None:
        entries |= {"query": [query.name]}
    if not ask:
        entries |= {"query": [], "budget": 0}
    return {
        **entries,
        **identity_of(inputs.spec, [query] if ask else [], data, select),
        "encoders": [data.encoder] if data.encoder else [],
        **scale_entry([data]),
        "classes": list(labeled.classes),
        "labels": hashlib.sha256(labeled.identity.to_csv(index=False).encode()).hexdigest(),
        "balance": select.balance,
        "normalize": select.normalize,
        "n_clusters": context.clusters(select.n_clusters),
        "sample": select.sample,
        "order": select.order,
        "seed": context.seed,
        **distance_identity(select),
    }
