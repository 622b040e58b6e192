"""Several strategies and many random pools side by side, by what a card measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_frame
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.stats import card as numbers
from initpools_cli.steps.context import Context
from initpools_cli.steps.report_card import (
    CardData,
    class_balance,
    distance_facts,
    run_embeddings,
    run_ground,
    with_labeled,
)
from initpools_cli.steps.rows import there, zero_count
from initpools_cli.steps.select_pool import FilePool, indices_from_files, select_pool
from initpools_cli.steps.strategy_inputs import supply
from initpools_cli.steps.strategy_name import StrategySpec, balanced, heeds_source, named, refuse_same_stem
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import refuse_missing

TABLE = "compare.csv"
#: Random pools where nobody says how many.
DRAWS = 100
#: Random pools a range of 5 to 95 % is taken of, at the least.
FEWEST = 20
#: Pairs of an image and a pick that are multiplied, and numbers that are kept; beyond, a sample stands for all images.
PAIRS, KEPT = 2 * 10**9, 2**26


def rivals(strategy: StrategySpec, text: str | None, randoms: int) -> list[StrategySpec]:
    """The strategies of ``--compare A,B,C``; none where it is not given.

    Raises
    ------
    UserError
        An empty list, an unknown name, one that is given twice, or too few random pools.
    """
    if text is None:
        return []
    others = [named(name.strip()) for name in text.split(",") if name.strip()]
    if not others:
        raise UserError("--compare names no strategy.", "Name some, for example --compare kmeans,kcenter.")
    refuse_same_stem([strategy, *others])
    names = [strategy.name, *(each.name for each in others)]
    for other in names[1:]:
        if other == strategy.name:
            raise UserError(f"--compare names {other}, which is the strategy itself.", "It is compared anyway.")
        if names.count(other) > 1:
            raise UserError(
                f"--compare names {other} more than once.", "Name each once; aliases are the same strategy."
            )
    if randoms < FEWEST:
        raise UserError(
            f"--random-pools {randoms} is too few for a range of 5 to 95 %.", f"Take {FEWEST} or more; 100 is usual."
        )
    return others


def table_of(table: SelectTable, strategy: StrategySpec) -> SelectTable:
    """The settings of [select] for another strategy: its own knobs are their defaults, what holds for all stays."""
    own: dict[str, Any] = {"strategy": strategy.argument, "params": {}, "order": "highest"}
    own |= {"n_clusters": 0} if strategy.balance.n_clusters else {}
    spread = balanced(strategy, table.model_copy(update=own))
    about_embeddings = strategy.reads_embeddings or "embeddings" in spread.needed
    return table.model_copy(update=own if about_embeddings else own | {"min_distance": 0.0})


def compare_in_run(
    context: Context,
    strategy: StrategySpec,
    pool: FinishedStep,
    others: list[StrategySpec],
    brought: UserFiles,
    source: str,
    randoms: int,
) -> FinishedStep:
    """Write ``compare/<pool>/compare.csv``, or find it done; the pools of the others are made as by `select-pool`.

    Parameters
    ----------
    strategy : StrategySpec
        What chose the pool.

    Raises
    ------
    UserError
        An input that one of the strategies lacks, before any of their pools is made.
    """
    select = context.settings.select
    spread = [balanced(each, table_of(select, each)) for each in others]
    sources = [source if heeds_source(each, brought) else "" for each in spread]
    contexts = [_other_context(context, *each, brought) for each in zip(others, sources, strict=True)]
    for other, each, own in zip(contexts, spread, sources, strict=True):
        refuse_missing(each.name, sorted(each.needed), supply(other, each, brought, own, {}).arrays)
    pools = {strategy.name: pool}
    for other, each, own in zip(contexts, others, sources, strict=True):
        pools[each.name], fresh = select_pool(other, brought, own)
        context.report.say(f"{'' if fresh else 'already done: '}{pools[each.name].id}")
    embeddings, reads = run_embeddings(context, pool, brought, source)
    normalize = select.normalize
    chosen = [key for done in pools.values() for key in done.checksums("indices.npy").items()]
    step = context.run.step(
        "compare",
        pool.name,
        {"pools": [done.id for done in pools.values()], "random_pools": randoms, "seed": context.seed}
        | {"normalize": normalize}
        | zero_count(embeddings, there(context, brought)),
        {**context.items_checksum(), **dict(chosen), **brought.checksums(), **reads},
        force=context.force,
    )
    if step.finished:
        return step.finished
    with context.writing(step) as scratch:
        ground = run_ground(context, embeddings, normalize, brought)
        picks = {name: done.array("indices.npy") for name, done in pools.items()}
        rows = compare_pools(ground, picks, randoms, context.seed)
        import pandas as pd

        write_frame(scratch / TABLE, pd.DataFrame(rows))
        step.outcome = {"random_pools": randoms, "images": rows[0]["images"]}
    return FinishedStep(context.run, step.folder)


def read_compared(done: FinishedStep) -> list[dict[str, Any]]:
    """The rows of a finished ``compare.csv``."""
    return [{str(key): value for key, value in row.items()} for row in done.frame(TABLE).to_dict("records")]


def compare_from_files(
    pool: FilePool, table: SelectTable, others: list[StrategySpec], brought: UserFiles, seed: int, randoms: int
) -> list[dict[str, Any]]:
    """The same from brought arrays alone; nothing is written."""
    if pool.ground.points is None:
        raise UserError(
            "--compare has nothing to measure pools by: neither embeddings nor labels are given.",
            "Bring embeddings with --embeddings FILE.npy, or work in a run.",
        )
    picks = {str(pool.card["strategy"]): pool.rows["index"].to_numpy(np.int64)}
    for each in others:
        picks[each.name] = indices_from_files(table_of(table, each), brought, seed)
    return compare_pools(pool.ground, picks, randoms, seed)


def compare_pools(ground: CardData, pools: Mapping[str, np.ndarray], randoms: int, seed: int) -> list[dict[str, Any]]:
    """Every pool against random ones of the same size, drawn as the strategy random would.

    All distances are of the same images: all, or a random sample where there are too many.

    Returns
    -------
    list of dict
        quantity, strategy, value, percentile, random_mean, random_5, random_95, random_pools, images.
    """
    from initpools_cli.geometry.pool_distances import distances_to_pools

    budget = len(next(iter(pools.values())))
    free = np.setdiff1d(ground.rows, ground.labeled)
    drawn = [generator(seed, "random pool", i).choice(free, budget, replace=False) for i in range(randoms)]
    every = [*pools.values(), *drawn]
    cards: list[dict[str, Any]] = [class_balance(ground, picks) for picks in every]
    images = len(ground.rows)
    places = [ground.places(picks) for picks in every]
    # A pool of nothing but rows of length zero is at no distance from anything.
    if ground.points is not None and all(map(len, places)):
        images = min(len(ground.points), PAIRS // len(np.unique(np.concatenate(places))), KEPT // len(every))
        rows = np.sort(generator(seed, "compared images").choice(len(ground.points), images, replace=False))
        measured = ground.points if images == len(ground.points) else ground.points[rows]
        distances = with_labeled(ground, distances_to_pools(measured, ground.points, places), measured)
        cards = [
            one | distance_facts(ground, picks, row) for one, picks, row in zip(cards, every, distances, strict=True)
        ]
    found = numbers.compare_strategies(dict(zip(pools, cards, strict=False)), cards[len(pools) :])
    return [row | {"random_pools": randoms, "images": images} for row in found]


def _other_context(context: Context, strategy: StrategySpec, source: str, brought: UserFiles) -> Context:
    """The context in which another strategy's pool is made, as the command that it is recorded with would."""
    table = table_of(context.settings.select, strategy)
    words = ["select-pool", strategy.argument, "--budget", str(table.budget)]
    for key in ("balance", "n_clusters", "normalize", "sample", "copies", "min_distance"):
        value = getattr(table, key)
        if value != SelectTable.model_fields[key].default:
            words += ["--set", f"select.{key}={str(value).lower()}"]
    words += ["--from", source] if source else []
    for flag, file in brought.files.items():
        words += [f"--{flag}", str(file.resolve())]
    words += [f"--classes={','.join(brought.classes)}"] if brought.classes else []
    other = context.made_on_the_way(*words)
    other.settings = context.settings.model_copy(update={"select": table})
    return other
