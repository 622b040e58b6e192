"""Active learning from every first pool with every query over seeds: a sweep that can be stopped and goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, write_frame, write_text
from initpools_cli.core.reporter import ProgressBar
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.embedding_scale import scale_entry
from initpools_cli.steps.rows import distance_identity
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.sweeps.executors import Executor, Jobs
from initpools_cli.sweeps.jobs import PLAN, JobResult, draw, run_jobs, solve
from initpools_cli.sweeps.setup import ExperimentSpec, arena_of, cast_of, identity_of, labels_of, protocol_of

if TYPE_CHECKING:
    from initpools_cli.training.experiment import BlockJob, ExperimentData, ExperimentSettings

#: What of [al] does not change the result, or enters the table as what it resolves to.
WAYS = {"backend", "strict", "scale"}


def al_run(
    context: Context, name: str, scheduler: str = "", brought: UserFiles | None = None
) -> tuple[FinishedStep, bool]:
    """Write ``al/<name>/{rounds.csv,recalls.csv,picks.npz}``, or find it already done.

    Blocks finished before an interruption are kept under ``.partial`` and not computed again.

    Parameters
    ----------
    scheduler : str
        The address of the cluster that ``al.backend`` names.
    brought : UserFiles, optional
        The images to exclude.

    Raises
    ------
    UserError
        No labels or test split, unknown names, a budget that the candidates can't pay, or, with ``al.strict``, a label
        read that was not bought.
    """
    table = context.settings.al
    context.require_labels("al-run")
    cast = cast_of(context, table)
    _refuse_known_leaks(table, cast)
    experiments, reads = _arenas(context, cast, table.encoders, brought)
    settings = _protocol(context, table, cast, next(iter(experiments.values())))
    resolved = _resolved(context, table, cast, experiments, settings)
    step = context.run.step("al", name, resolved, {**context.items_checksum(), **reads}, force=context.force)
    if step.finished:
        return step.finished, False
    device = str(context.machine.device)
    count = 1 if device != "cpu" else context.machine.threads
    workers = Executor(table.backend, count, scheduler, list(experiments.values()))
    with context.writing(step) as scratch:
        solved = _sweep(context, table, cast, experiments, settings, device, workers, scratch)
        rows = [row for _, found in solved for row in found.rows]
        _write_rows(scratch / "rounds.csv", rows)
        _write_recalls(scratch / "recalls.csv", solved, context.data.classes)
        with atomic_file(scratch / "picks.npz") as stream:
            np.savez(stream, allow_pickle=False, **_picks(solved))
        failed = sum(row["status"] != "ok" for row in rows)
        step.outcome = {"cells": sum(len(job.seeds) for job, _ in solved), "failed": failed}
    return FinishedStep(context.run, step.folder), True


def _sweep(
    context: Context,
    table: AlTable,
    cast: ExperimentSpec,
    experiments: dict[str, ExperimentData],
    settings: ExperimentSettings,
    device: str,
    workers: Executor,
    scratch: Path,
) -> list[tuple[BlockJob, JobResult]]:
    """The first pools, once for all queries and learners, and then every block that begins with them."""
    from initpools_cli.training.experiment import block_jobs, first_pool_jobs

    inits, queries = [each.name for each in cast.inits], [each.name for each in cast.queries]
    draws = list(first_pool_jobs(list(experiments), inits, table.seeds))
    blocks = list(block_jobs(list(experiments), inits, queries, list(cast.learners), table.seeds))
    work = scratch / "work"
    kept = len(list(work.glob("block-*.npz")))
    if kept:
        context.report.say(f"resuming al-run with {kept} of {len(blocks)} blocks done")
    write_text(work / PLAN, f"blocks = {len(blocks)}\n")

    def jobs(of: Sequence[Any], **more: Callable[[Any], Any]) -> Jobs:
        return [
            (
                number,
                job,
                {"experiment": experiments[job.encoder], "settings": settings, "device": device}
                | {key: value(job) for key, value in more.items()},
            )
            for number, job in enumerate(of)
        ]

    with context.report.progress("first pools", sum(len(job.seeds) for job in draws), "pools") as bar:
        drawn = run_jobs(draw, jobs(draws), work, "pools", workers, _told(context, table, draws, bar))
    begun = {(job.encoder, job.init, tuple(job.seeds)): found for job, found in zip(draws, drawn, strict=True)}

    def first(job: BlockJob) -> JobResult:
        return begun[job.encoder, job.init, tuple(job.seeds)]

    with context.report.progress("al-run", sum(len(job.seeds) for job in blocks), "trials") as bar:
        found = run_jobs(
            solve,
            jobs(
                blocks,
                pools=lambda job: first(job).picks,
                lost=lambda job: {row["seed"]: row["error"] for row in first(job).failures},
            ),
            work,
            "block",
            workers,
            _told(context, table, blocks, bar),
        )
    return list(zip(blocks, found, strict=True))


def _told(context: Context, table: AlTable, jobs: Sequence[Any], bar: ProgressBar) -> Callable[..., None]:
    """Say what came of a job: progress, cells that failed, and under ``al.strict`` a leak, which ends the sweep."""

    def advance(number: int, found: JobResult, computed: bool) -> None:
        job = jobs[number]
        (bar.advance if computed else bar.skip)(len(job.seeds))
        for row in found.failures:
            if row["query"] and not row["labeled"]:
                # Its first pool failed, which has been said.
                continue
            cell = ", ".join(row[key] for key in ("init", "query", "learner") if row[key])
            # One cell that fails is told and recorded as failed, never as 0; the others are still worth having.
            context.report.warn(f"{cell}, seed {row['seed']} failed in round {row['round']}: {row['error']}")
        leaked = [row for row in found.rows if row.get("leaks")]
        if table.strict and leaked:
            row = leaked[0]
            raise _leak(f"{row['init']}, {row['query'] or 'no query'}, {row['learner']} read {row['leaks']} labels")

    return advance


def _refuse_known_leaks(table: AlTable, cast: ExperimentSpec) -> None:
    """Under ``al.strict``, refuse at once what will leak."""
    oracles = [each.name for each in cast.strategies if each.oracle]
    if table.strict and oracles:
        raise _leak(f"{', '.join(oracles)} goes by the labels of all train images")
    if table.strict and table.validation == "free-val":
        raise _leak("validation = free-val reads the labels of the validation split")


def _leak(what: str) -> UserError:
    return UserError(f"--strict: {what} that were not bought.", "Leave it out, or run without --strict: it is counted.")


def _arenas(
    context: Context, cast: ExperimentSpec, sources: Sequence[str], brought: UserFiles | None
) -> tuple[dict[str, ExperimentData], dict[str, str]]:
    """One experiment for each encoder."""
    experiments: dict[str, ExperimentData] = {}
    reads: dict[str, str] = {}
    labels = labels_of(context)
    kept = context.labeled_only("the sweep")
    for source in sources or [""]:
        experiment, checksums = arena_of(context, cast, source, labels, len(context.data.classes), kept, brought)
        if experiment.encoder in experiments:
            raise UserError(f"al.encoders names {experiment.encoder} more than once.", "Name each once.")
        experiments[experiment.encoder] = experiment
        reads |= checksums
    return experiments, reads


def _protocol(context: Context, table: AlTable, cast: ExperimentSpec, experiment: ExperimentData) -> ExperimentSettings:
    init_budget = table.init_budget or table.budget
    rounds = _affordable(context, table, init_budget, experiment)
    return protocol_of(context, table, cast, init_budget=init_budget, rounds=rounds, candidates=table.candidates)


def _affordable(context: Context, table: AlTable, init_budget: int, experiment: ExperimentData) -> int:
    """How many of the rounds there are images for; says so where it is not all of them."""
    there = max(1, round(table.candidates * int(experiment.kept.sum())))
    if init_budget > there:
        raise UserError(
            f"The first pool is to have {init_budget} labels, and there are only {there} candidates.",
            "Lower --init-budget or --budget.",
        )
    rounds = min(table.rounds, (there - init_budget) // table.budget)
    if rounds < table.rounds:
        paid = init_budget + rounds * table.budget
        context.report.warn(
            f"the sweep stops after round {rounds} of {table.rounds}, with {paid} labels: "
            f"{there - paid} of the {there} candidates are left, and a round buys {table.budget}."
        )
    return rounds


def _resolved(
    context: Context,
    table: AlTable,
    cast: ExperimentSpec,
    experiments: dict[str, ExperimentData],
    settings: ExperimentSettings,
) -> dict[str, Any]:
    """Everything that the result depends on, for ``step.toml``."""
    oracles = sorted(set().union(*(experiment.oracles for experiment in experiments.values())))
    experiment = next(iter(experiments.values()))
    return {
        **{key: value for key, value in table.identity().items() if key not in WAYS},
        "init": [each.name for each in cast.inits],
        "query": [each.name for each in cast.queries],
        "learner": list(cast.learners),
        **identity_of(cast, cast.strategies, experiment, context.settings.select),
        "init_budget": settings.init_budget,
        "rounds": settings.rounds,
        # Older sweeps could spread all their strategies; of those that are not spread, the digest stays the same.
        "balance": "none",
        "normalize": settings.normalize,
        "n_clusters": context.clusters(context.settings.select.n_clusters),
        "sample": settings.sample,
        "order": context.settings.select.order,
        "seed": context.seed,
        **distance_identity(context.settings.select),
        "encoders": list(experiments),
        **scale_entry(experiments.values()),
        **({"oracle": oracles} if oracles else {}),
    }


def _picks(solved: Sequence[tuple[BlockJob, JobResult]]) -> dict[str, np.ndarray]:
    """What each cell bought, by ``init|query|learner|encoder|seed``."""
    return {
        f"{job.init}|{job.query}|{job.learner}|{job.encoder}|{index}": picks
        for job, found in solved
        for index, picks in zip(job.seeds, found.picks, strict=True)
    }


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    from initpools_cli.training.active_learning import COLUMNS

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    write_frame(path, frame)


def _write_recalls(path: Path, solved: Sequence[tuple[BlockJob, JobResult]], classes: Sequence[str]) -> None:
    """The recall of each class, a column each, for every row of rounds.csv that has metrics."""
    import io

    keys = ("init", "query", "learner", "encoder", "seed", "round", "labeled")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*keys, *classes])
    for _, found in solved:
        good = [row for row in found.rows if row["status"] == "ok"]
        for row, recalls in zip(good, found.recalls, strict=True):
            table.writerow(
                [*(row[key] for key in keys), *("" if np.isnan(each) else f"{each:.6g}" for each in recalls)]
            )
    write_text(path, text.getvalue())
