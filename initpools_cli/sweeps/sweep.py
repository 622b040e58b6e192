"""Sweeps: active learning with every first pool, query and learner over seeds, resumable."""

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
from initpools_cli.steps.run_provider import RunProvider
from initpools_cli.steps.split_overlap import tell_test
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.sweeps.al_settings import ROUND_ONLY, count_budgets, refuse_settings
from initpools_cli.sweeps.executors import Executor, Jobs
from initpools_cli.sweeps.jobs import PLAN, JobResult, run_cells, run_jobs, select_pools
from initpools_cli.sweeps.results import TEST_CORRECT, TEST_GROUPS
from initpools_cli.sweeps.setup import build_experiment, build_settings, identity_of, labels_of
from initpools_cli.sweeps.spec import ExperimentSpec, build_spec, leaking_rankings

if TYPE_CHECKING:
    from initpools_cli.training.experiment import BlockJob, Experiment, ExperimentData, ExperimentSettings, FirstPoolJob

#: Keys of [al] that do not change the result, or are stored resolved.
NOT_IDENTITY = {"backend", "strict", "scale"}
#: Tables of a metric of each class; those after the first with several labels per image.
BY_CLASS = ("recalls.csv", "average_precisions.csv", "areas.csv")


def al_run(
    context: Context, name: str, scheduler: str = "", files: UserFiles | None = None
) -> tuple[FinishedStep, bool]:
    """Run a sweep and write ``al/<name>/{rounds.csv,recalls.csv,picks.npz}``, unless it is finished.

    With one class per image it also writes ``test_correct.npz``; with several labels per image also
    ``average_precisions.csv`` and ``areas.csv``, as ``recalls.csv``.

    Blocks finished before an interruption are kept under ``.partial`` and not run again.

    Parameters
    ----------
    scheduler : str
        The address of the cluster that ``al.backend`` names.
    files : UserFiles, optional
        The images to exclude.

    Raises
    ------
    UserError
        If there are no labels or no test split, a name is unknown, the budget exceeds the candidates, or, with
        ``al.strict``, a label is read that was not bought.
    """
    from initpools_cli.training.experiment import Experiment

    count_budgets(context)
    context.require_labels("al-run")
    remedy = "pass labels: --labels FILE.csv"
    refuse_settings(context, ROUND_ONLY, "in a sweep: it is for rounds of labeling", remedy)
    spec = build_spec(context, multilabel=context.data.multilabel)
    leaking = leaking_rankings(context, spec)
    _refuse_known_leaks(context.settings.al, spec, leaking)
    by_encoder, reads = data_by_encoder(context, spec, files)
    encoder, data = next(iter(by_encoder.items()))
    tell_test(context, encoder)
    settings = settings_of(context, spec, data)
    identity = _identity(context, spec, by_encoder, settings)
    step = context.run.step("al", name, identity, {**context.items_checksum(), **reads}, force=context.force)
    if step.finished:
        return step.finished, False
    device = context.machine.device
    experiments = {name: Experiment(each, settings, device) for name, each in by_encoder.items()}
    count = 1 if device.type != "cpu" else context.machine.threads
    workers = Executor(context.settings.al.backend, count, scheduler, list(experiments.values()))
    with context.writing(step) as scratch:
        pools, results = _sweep(context, spec, experiments, workers, scratch)
        rows = [row for _, result in results for row in result.rows]
        multilabel = context.data.multilabel
        _write_rows(scratch / "rounds.csv", rows, multilabel=multilabel)
        for place, file in enumerate(BY_CLASS[: 3 if multilabel else 1]):
            _write_by_class(scratch / file, results, context.data.classes, place if multilabel else None)
        with atomic_file(scratch / "picks.npz") as stream:
            np.savez(stream, allow_pickle=False, **_picks(results))
        _write_correct(scratch / TEST_CORRECT, results, data)
        has_groups = "test" in data.groups
        if has_groups and not multilabel:
            _write_groups(scratch / TEST_GROUPS, results, data)
        n_failed = sum(row["status"] != "ok" for row in rows)
        step.outcome = {"cells": sum(len(job.seeds) for job, _ in results), "failed": n_failed}
        step.outcome["seconds"] = _seconds(pools, results)
        if leaking:
            step.outcome["leaking_rankings"] = leaking
        if has_groups:
            step.outcome["test_groups"] = len(np.unique(data.groups["test"]))
    return FinishedStep(context.run, step.folder), True


def _sweep(
    context: Context,
    spec: ExperimentSpec,
    experiments: dict[str, Experiment],
    workers: Executor,
    scratch: Path,
) -> tuple[list[tuple[FirstPoolJob, JobResult]], list[tuple[BlockJob, JobResult]]]:
    """Select the first pools, once for all queries and learners, and run every block; return the results of both."""
    from initpools_cli.training.experiment import block_jobs, first_pool_jobs

    inits, queries = [each.name for each in spec.inits], [each.name for each in spec.queries]
    seeds = context.settings.al.seeds
    pools = list(first_pool_jobs(list(experiments), inits, seeds))
    blocks = list(block_jobs(list(experiments), inits, queries, list(spec.learners), seeds))
    work = scratch / "work"
    n_done = len(list(work.glob("block-*.npz")))
    if n_done:
        context.report.say(f"resuming al-run with {n_done} of {len(blocks)} blocks done")
    write_text(work / PLAN, f"blocks = {len(blocks)}\n")

    def jobs(of: Sequence[Any], **more: Callable[[Any], Any]) -> Jobs:
        return [
            (number, job, {"experiment": experiments[job.encoder], **{key: value(job) for key, value in more.items()}})
            for number, job in enumerate(of)
        ]

    with context.report.progress("first pools", sum(len(job.seeds) for job in pools), "pools") as bar:
        pool_results = run_jobs(select_pools, jobs(pools), work, "pools", workers, _reporter(context, pools, bar))
    by_job = {(job.encoder, job.init, tuple(job.seeds)): pool for job, pool in zip(pools, pool_results, strict=True)}

    def first(job: BlockJob) -> JobResult:
        return by_job[job.encoder, job.init, tuple(job.seeds)]

    with context.report.progress("al-run", sum(len(job.seeds) for job in blocks), "trials") as bar:
        results = run_jobs(
            run_cells,
            jobs(
                blocks,
                pools=lambda job: first(job).picks,
                pool_errors=lambda job: {row["seed"]: row["error"] for row in first(job).failures},
            ),
            work,
            "block",
            workers,
            _reporter(context, blocks, bar),
        )
    return list(zip(pools, pool_results, strict=True)), list(zip(blocks, results, strict=True))


def _reporter(context: Context, jobs: Sequence[Any], bar: ProgressBar) -> Callable[[int, JobResult, bool], None]:
    """Make a callback that reports progress and failed cells, and ends the sweep on a leak under ``al.strict``."""

    def advance(number: int, result: JobResult, is_new: bool) -> None:
        job = jobs[number]
        (bar.advance if is_new else bar.skip)(len(job.seeds))
        for row in result.failures:
            if row["query"] and not row["labeled"]:
                # Its first pool failed, which was reported before.
                continue
            cell = ", ".join(row[key] for key in ("init", "query", "learner") if row[key])
            # A failed cell is recorded as failed, not as 0, and the sweep continues.
            context.report.warn(f"{cell}, seed {row['seed']} failed in round {row['round']}: {row['error']}")
        leaks = [row for row in result.rows if row.get("leaks")]
        if context.settings.al.strict and leaks:
            row = leaks[0]
            cell = ", ".join((row["init"], row["query"] or "no query", row["learner"]))
            raise _leak(cell, f"reads {row['leaks']} labels that were not bought")

    return advance


def _refuse_known_leaks(table: AlTable, spec: ExperimentSpec, leaking: list[str]) -> None:
    """Refuse oracles, rankings made with test labels, and free validation labels under ``al.strict``."""
    oracles = [each.name for each in spec.strategies if each.oracle]
    if table.strict and oracles:
        raise _leak(", ".join(oracles), "reads the labels of all train images, which were not bought")
    if table.strict and leaking:
        raise _leak(", ".join(leaking), "was ranked with the labels of the test split, which were not bought")
    if table.strict and table.validation == "free-val":
        raise _leak("validation = free-val", "reads the labels of the validation split, which were not bought")


def _leak(name: str, what: str) -> UserError:
    return UserError(
        f"--strict refuses {name}: it {what}.", f"Leave out {name}, or leave out --strict to count such reads.", name
    )


def data_by_encoder(
    context: Context, spec: ExperimentSpec, files: UserFiles | None
) -> tuple[dict[str, ExperimentData], dict[str, str]]:
    """Return the data of an experiment for each encoder, and the checksums of the files that they read."""
    by_encoder: dict[str, ExperimentData] = {}
    reads: dict[str, str] = {}
    labels = labels_of(context)
    mask = context.labeled_only("the sweep")
    provider = RunProvider(context, files)
    for source in context.settings.al.encoders or [""]:
        data, checksums = build_experiment(provider.with_source(source), spec, labels, len(context.data.classes), mask)
        if data.encoder in by_encoder:
            raise UserError(f"al.encoders has {data.encoder} more than once.", "List each encoder once.", data.encoder)
        by_encoder[data.encoder] = data
        reads |= checksums
    return by_encoder, reads


def settings_of(context: Context, spec: ExperimentSpec, data: ExperimentData) -> ExperimentSettings:
    """Return the settings of a sweep, with the number of rounds for which there are enough candidates."""
    table = context.settings.al
    init_budget = table.init_budget or table.budget
    rounds = _round_count(context, init_budget, data)
    return build_settings(context, spec, init_budget=init_budget, rounds=rounds, candidates=table.candidates)


def _round_count(context: Context, init_budget: int, data: ExperimentData) -> int:
    """Return the number of rounds for which there are enough candidates; warn if it is less than ``al.rounds``."""
    from initpools_cli.training.experiment import candidate_count

    table = context.settings.al
    # Whole groups do not give every seed the same number.
    candidates = min(candidate_count(data, table.candidates, context.seed + seed) for seed in range(table.seeds))
    if init_budget > candidates:
        raise UserError(
            f"The first pool of {init_budget} images is more than the {candidates} candidates.",
            "Use a smaller --init-budget or --budget.",
            init_budget,
        )
    rounds = min(table.rounds, (candidates - init_budget) // table.budget)
    if rounds < table.rounds:
        n_labels = init_budget + rounds * table.budget
        context.report.warn(
            f"the sweep stops after round {rounds} of {table.rounds}, with {n_labels} labels: "
            f"{candidates - n_labels} of the {candidates} candidates are left, and a round buys {table.budget}."
        )
    return rounds


def _identity(
    context: Context,
    spec: ExperimentSpec,
    by_encoder: dict[str, ExperimentData],
    settings: ExperimentSettings,
) -> dict[str, Any]:
    """Return the settings and inputs that identify the result, for ``step.toml``."""
    oracles = sorted(set().union(*(each.oracles for each in by_encoder.values())))
    data, select = next(iter(by_encoder.values())), context.settings.select
    return {
        **{key: value for key, value in context.settings.al.identity().items() if key not in NOT_IDENTITY},
        "init": [each.name for each in spec.inits],
        "query": [each.name for each in spec.queries],
        "learner": list(spec.learners),
        **identity_of(spec, spec.strategies, data, select),
        "init_budget": settings.init_budget,
        "rounds": settings.rounds,
        # Older sweeps could balance all strategies at once; this key keeps the digests of the others.
        "balance": "none",
        "normalize": select.normalize,
        "n_clusters": context.clusters(select.n_clusters),
        "sample": select.sample,
        "order": select.order,
        "seed": context.seed,
        **distance_identity(select),
        "encoders": list(by_encoder),
        **scale_entry(by_encoder.values()),
        **({"oracle": oracles} if oracles else {}),
    }


def _seconds(
    pools: Sequence[tuple[FirstPoolJob, JobResult]], results: Sequence[tuple[BlockJob, JobResult]]
) -> dict[str, float]:
    """Return the runtime over all seeds: of first pools by ``init|encoder``, of trials by the keys of picks.npz."""
    total: dict[str, float] = {}
    runtimes = [(f"{job.init}|{job.encoder}", result) for job, result in pools]
    runtimes += [(f"{job.init}|{job.query}|{job.learner}|{job.encoder}", result) for job, result in results]
    for key, result in runtimes:
        total[key] = total.get(key, 0.0) + result.seconds
    # TOML has a nan, but a sum without some of its parts means nothing.
    return {key: round(seconds, 4) for key, seconds in total.items() if seconds == seconds}


def _picks(results: Sequence[tuple[BlockJob, JobResult]]) -> dict[str, np.ndarray]:
    """Return the labeled images of each cell, by ``init|query|learner|encoder|seed``."""
    return {
        f"{job.init}|{job.query}|{job.learner}|{job.encoder}|{index}": picks
        for job, result in results
        for index, picks in zip(job.seeds, result.picks, strict=True)
    }


def _write_groups(path: Path, results: Sequence[tuple[BlockJob, JobResult]], data: ExperimentData) -> None:
    """Write the correct predictions of each group and class of test images, for every row of rounds.csv with metrics.

    ``right`` (rows, k) int32; ``group``, ``label`` and ``images`` (k,) int64: group, class and number of images of each
    column.
    """
    from initpools_cli.training.label_access import group_columns

    column, pairs = group_columns(data.groups["test"], data.labels["test"])
    right = np.array([each for _, result in results for each in result.right])
    with atomic_file(path) as stream:
        np.savez(
            stream, allow_pickle=False, right=right, group=pairs[:, 0], label=pairs[:, 1], images=np.bincount(column)
        )


def _write_correct(path: Path, results: Sequence[tuple[BlockJob, JobResult]], data: ExperimentData) -> None:
    """Write whether each prediction of the test images is right, for every row of rounds.csv with metrics.

    ``correct`` (rows, ceil(n / 8)) uint8: bits of the n images, in the order of the split; ``label`` (n,) int64: their
    classes. Nothing is written with several labels per image, or if blocks of an older version have no predictions.
    """
    correct = [each for _, result in results for each in result.correct]
    if not correct or not all(map(len, correct)):
        return
    with atomic_file(path) as stream:
        np.savez(stream, allow_pickle=False, correct=np.array(correct), label=data.labels["test"])


def _write_rows(path: Path, rows: list[dict[str, Any]], *, multilabel: bool) -> None:
    import pandas as pd

    from initpools_cli.training.active_learning import COLUMNS, MULTILABEL_COLUMNS

    frame = pd.DataFrame(rows, columns=list(MULTILABEL_COLUMNS if multilabel else COLUMNS))
    write_frame(path, frame)


def _write_by_class(
    path: Path, results: Sequence[tuple[BlockJob, JobResult]], classes: Sequence[str], place: int | None
) -> None:
    """Write a metric of each class, one column each, for every row of rounds.csv with metrics.

    Parameters
    ----------
    place : int or None
        The row of `RoundMetrics.recalls`, if it has several.
    """
    import io

    keys = ("init", "query", "learner", "encoder", "seed", "round", "labeled")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*keys, *classes])
    for _, result in results:
        good = [row for row in result.rows if row["status"] == "ok"]
        for row, by_class in zip(good, result.recalls, strict=True):
            recalls = by_class if place is None else by_class[place]
            table.writerow(
                [*(row[key] for key in keys), *("" if np.isnan(each) else f"{each:.6g}" for each in recalls)]
            )
    write_text(path, text.getvalue())
