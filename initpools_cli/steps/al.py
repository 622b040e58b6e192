"""Active learning from every first pool with every query over seeds: a sweep that can be stopped and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.config import AlTable, SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.rundir import Done
from initpools_cli.steps.bring import Brought
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.inputs import Named, named, needed, supply
from initpools_cli.steps.score import can_score
from initpools_cli.strategies.inputs import FROM_A_MODEL
from initpools_cli.training.rounds import COLUMNS, Arena, Protocol, blocks_of, run_cell

#: Columns of rounds.csv that a failed cell leaves empty.
NUMBERS = ("accuracy", "balanced_accuracy", "auc", "nll", "ece", "absent_classes", "leaks")


def al_run(context: Context, name: str, source: str = "") -> tuple[Done, bool]:
    """Write ``al/<name>/{rounds.csv,picks.npz}``, or find it already done.

    Blocks finished before an interruption are kept under ``.partial`` and not computed again.

    Raises
    ------
    UserError
        No labels or test split, unknown names, or a budget that the candidates can't pay.
    """
    table = context.settings.al
    context.require_labels("al-run")
    inits, queries = [named(each) for each in table.init], [named(each) for each in table.query]
    for flag, names in (("--init", inits), ("--query", queries)):
        _refuse_twice(flag, [each.name for each in names])
    given_knobs = _knobs(table, [*inits, *queries])
    learners = _learners(table, given_knobs, context.where("al"))
    _refuse_models_first(inits)
    arena, reads = _arena(context, inits, queries, learners, given_knobs, source)
    protocol = _protocol(context, table, learners)
    _check_budget(arena, protocol)
    resolved = {
        **table.model_dump(),
        "init": [each.name for each in inits],
        "query": [each.name for each in queries],
        "learner": list(learners),
        "params": {**learners, **{name: dict(knobs) for name, (_, knobs) in arena.strategy.items() if knobs}},
        "init_budget": protocol.init_budget,
        "balance": protocol.balance,
        "normalize": protocol.normalize,
        "n_clusters": protocol.n_clusters,
        "sample": protocol.sample,
        "order": context.settings.select.order,
        "seed": context.seed,
        "source": arena.encoder,
        **({"oracle": sorted(arena.oracles)} if arena.oracles else {}),
    }
    step = context.run.step("al", name, resolved, {**context.items_checksum(), **reads}, force=context.force)
    if step.finished:
        return step.finished, False
    jobs = list(blocks_of(protocol, resolved["init"], resolved["query"], resolved["learner"], table.seeds))
    cells = sum(len(seeds) for *_, seeds, _ in jobs)
    with (
        context.writing(step) as scratch,
        context.report.progress("al-run", cells * (protocol.rounds + 1)) as bar,
    ):
        kept = sum(_block_file(scratch, number).exists() for number in range(len(jobs)))
        if kept:
            context.report.say(f"resuming al-run at block {kept + 1} of {len(jobs)}")
        frames: list[dict[str, Any]] = []
        picks: dict[str, np.ndarray] = {}
        for number, (init, query, learner, seeds, first) in enumerate(jobs):
            file = _block_file(scratch, number)
            if not file.exists():
                _solve_block(file, init, query, learner, seeds, first, arena, protocol, context, bar.advance)
            else:
                bar.advance(len(seeds) * (protocol.rounds + 1))
            rows, chosen = _read_block(file)
            frames += rows
            picks |= chosen
        _write_rounds(scratch / "rounds.csv", frames)
        with atomic_file(scratch / "picks.npz") as stream:
            np.savez(stream, allow_pickle=False, **picks)
        step.outcome = {"cells": cells, "failed": sum(row["status"] != "ok" for row in frames)}
    return Done(context.run, step.folder), True


def _solve_block(
    file: Path,
    init: str,
    query: str,
    learner: str,
    seeds: range,
    first: bool,
    arena: Arena,
    protocol: Protocol,
    context: Context,
    advance: Any,
) -> None:
    """One block, whole or not at all: its rows and picks in one file."""
    rows: list[dict[str, Any]] = []
    picks: dict[str, np.ndarray] = {}
    for index in seeds:
        try:
            found, chosen = run_cell(
                init, query, learner, index, arena, protocol, context.machine.device, with_first=first, on_round=advance
            )
        except UserError:
            raise
        except Exception as error:
            # One cell that fails is told and recorded as failed, never as 0; the others are still worth having.
            context.report.warn(f"{init}, {query}, {learner}, seed {index} failed: {type(error).__name__}: {error}")
            found, chosen = [_failed(init, query, learner, index, protocol, error)], np.empty(0, dtype=np.int64)
        rows += found
        picks[f"{init}|{query}|{learner}|{index}"] = chosen
    import json

    with atomic_file(file) as stream:
        np.savez(stream, allow_pickle=False, rows=np.array(json.dumps(rows)), **picks)


def _failed(init: str, query: str, learner: str, index: int, protocol: Protocol, error: Exception) -> dict[str, Any]:
    """The row of a cell that did not come to its end: no metrics, the error."""
    return {
        "init": init,
        "query": query,
        "learner": learner,
        "encoder": "",
        "seed": index,
        "round": protocol.rounds,
        "labeled": protocol.init_budget + protocol.rounds * protocol.budget,
        "validation": protocol.validation,
        "status": "failed",
        "error": f"{type(error).__name__}: {error}",
    }


def _read_block(file: Path) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    import json

    with np.load(file, allow_pickle=False) as block:
        picks = {name: block[name] for name in block.files if name != "rows"}
        return json.loads(str(block["rows"])), picks


def _block_file(scratch: Path, number: int) -> Path:
    return scratch / "work" / f"block-{number:05d}.npz"


def _write_rounds(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    with atomic_file(path) as stream:
        frame.to_csv(stream, index=False)


def read_rounds(done: Done) -> Any:
    """A finished sweep's rounds.csv."""
    return done.frame(
        "rounds.csv",
        keep_default_na=False,
        na_values={column: [""] for column in NUMBERS},
    )


def _refuse_twice(flag: str, names: list[str]) -> None:
    """A name given twice would count its seeds twice."""
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{flag} names {name} more than once.", "Name each once; aliases are the same strategy.")


def _knobs(table: AlTable, strategies: list[Named]) -> dict[str, dict[str, Any]]:
    """[al.params] as one table a learner or strategy; flat knobs are those of the only learner."""
    from initpools_cli.training.learners.registry import learners

    names = [learners.get(each).name for each in table.learner]
    _refuse_twice("--learner", names)
    flat = {key: value for key, value in table.params.items() if not isinstance(value, dict)}
    given = {key: value for key, value in table.params.items() if isinstance(value, dict)}
    if flat and len(names) > 1:
        raise UserError(
            f"al.params = {flat} does not say which of {', '.join(names)} it is for.",
            f"Write for example --set al.params.{names[0]}='{{{next(iter(flat))} = …}}'.",
        )
    known = [*names, *(each.name for each in strategies)]
    for name in given:
        if name not in known:
            raise UserError(f"al.params.{name} is for nothing in this sweep.", f"It has: {', '.join(known)}.")
    return given | ({names[0]: flat | given.get(names[0], {})} if flat else {})


def _learners(table: AlTable, given: dict[str, dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    """Each learner with the values of all its knobs."""
    from initpools_cli.training.learners.registry import learners

    names = [learners.get(each).name for each in table.learner]
    return {name: learners.get(name).validate(given.get(name, {}), where) for name in names}


def _refuse_models_first(inits: list[Named]) -> None:
    for init in inits:
        asked = FROM_A_MODEL & set(init.method.inputs)
        if asked:
            raise UserError(
                f"--init {init.name} asks a model for {', '.join(sorted(asked))}, and at first there is none.",
                "Take it as --query, and for --init a strategy that needs no model (`initpools list strategies`).",
            )


def _arena(
    context: Context,
    inits: list[Named],
    queries: list[Named],
    learners: dict[str, dict[str, Any]],
    knobs: dict[str, dict[str, Any]],
    source: str,
) -> tuple[Arena, dict[str, str]]:
    from initpools_cli.training.learners.registry import learners as registry

    data, select = context.data, context.settings.select
    train = data.splits["train"]
    test = data.splits.get("test")
    if test is None or test.labels is None or train.labels is None:
        raise UserError(f"{data.spec.name} has no labelled test split to measure on.", "Bring a data set with labels.")
    given: dict[str, dict[str, np.ndarray]] = {}
    strategy: dict[str, tuple[str, dict[str, Any]]] = {}
    reads: dict[str, str] = {}
    inputs: dict[str, dict[str, np.ndarray]] = {}
    encoder = ""
    asked = {registry.get(name).inputs[0] for name in learners}
    wanted = set().union(*(needed(each, select.balance) for each in [*inits, *queries]))
    on_embeddings = any(each.reads_embeddings for each in [*inits, *queries])
    embedded = newest(context, source) if on_embeddings or "embeddings" in asked | wanted else None
    if source and embedded is None:
        raise UserError(f"Nothing in this sweep reads embeddings: --from {source} means nothing.", "Leave it out.")
    for each in {each.name: each for each in [*inits, *queries]}.values():
        own_knobs = knobs.get(each.name, {})
        about = embedded.name if embedded is not None and _is_about(context, each, select.balance, embedded) else ""
        supplied = supply(context, each, select, Brought(), about, own_knobs, with_model=True)
        given[each.name] = supplied.arrays
        reads |= supplied.reads
        order = select.order if "order" in each.method.knobs else "highest"
        strategy[each.name] = (each.method.name, each.knobs(own_knobs, order, context.where("al")))
    if embedded is not None and "embeddings" in asked:
        inputs["embeddings"] = _standardised(embedded, list(data.splits), data.kept)
        reads |= embedded.reads(*(f"{split}.npy" for split in data.splits))
        encoder = embedded.name
    if "images" in asked:
        inputs["images"] = {name: split.images for name, split in data.splits.items()}
    val = data.splits.get("val")
    arena = Arena(
        inputs=inputs,
        given=given,
        strategy=strategy,
        labels=train.labels,
        test_labels=test.labels,
        val_labels=None if val is None else val.labels,
        kept=data.kept,
        classes=len(data.classes),
        encoder=encoder,
        oracles=frozenset(each.name for each in [*inits, *queries] if each.oracle),
    )
    return arena, reads


def _is_about(context: Context, strategy: Named, balance: str, embedded: Done) -> bool:
    """Whether what the strategy reads can come from the same source as the embeddings: scores may be of another."""
    if strategy.reads_embeddings or "embeddings" in needed(strategy, balance):
        return True
    return bool(strategy.score) and can_score(context, strategy.score, embedded.name)


def _standardised(embedded: Done, splits: list[str], kept: np.ndarray) -> dict[str, np.ndarray]:
    """Every split's embeddings, shifted and scaled by the mean and deviation of the train images, float32."""
    train = np.asarray(matrix(embedded))[kept]
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    return {split: ((matrix(embedded, split) - mean) / scale).astype(np.float32) for split in splits}


def _protocol(context: Context, table: AlTable, learners: dict[str, dict[str, Any]]) -> Protocol:
    select: SelectTable = context.settings.select
    return Protocol(
        init_budget=table.init_budget or table.budget,
        budget=table.budget,
        rounds=table.rounds,
        candidates=table.candidates,
        validation=table.validation,
        seed=context.seed,
        normalize=select.normalize,
        balance=select.balance,
        n_clusters=context.clusters(select.n_clusters),
        sample=select.sample,
        learner_knobs=learners,
    )


def _check_budget(arena: Arena, protocol: Protocol) -> None:
    there = round(protocol.candidates * int(arena.kept.sum()))
    wanted = protocol.init_budget + protocol.rounds * protocol.budget
    if wanted > there:
        raise UserError(
            f"{protocol.init_budget} + {protocol.rounds} × {protocol.budget} = {wanted} labels, and there are only "
            f"{there} candidates.",
            "Lower --budget or --rounds.",
        )
