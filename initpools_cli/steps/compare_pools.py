"""Compare a pool with those of other strategies and with random ones, by what a report card measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_frame
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.stats import card as numbers
from initpools_cli.steps.context import Context
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.report_card import CardData, class_balance, distance_facts, group_coverage, with_labeled
from initpools_cli.steps.rows import zero_count
from initpools_cli.steps.run_provider import RunProvider
from initpools_cli.steps.select_pool import Pool, resolve_pool, select_pool
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy, reads_source, refuse_same_stem, with_balance
from initpools_cli.strategies.arrays import refuse_missing

TABLE = "compare.csv"
#: Random pools by default.
DRAWS = 100
#: Random pools a range of 5 to 95 % is taken of, at the least.
FEWEST = 20
#: Pairs of an image and a pick that are multiplied, and numbers that are kept; beyond, a sample stands for all images.
PAIRS, KEPT = 2 * 10**9, 2**26


def rivals(strategy: StrategySpec, text: str | None, randoms: int) -> list[StrategySpec]:
    """The strategies of ``--compare A,B,C``; none without the option.

    Raises
    ------
    UserError
        An empty list, an unknown or repeated name, or too few random pools.
    """
    if text is None:
        return []
    others = [parse_strategy(name.strip()) for name in text.split(",") if name.strip()]
    if not others:
        raise UserError("--compare names no strategy.", "Name some, for example --compare kmeans,kcenter.", "--compare")
    refuse_same_stem([strategy, *others])
    names = [strategy.name, *(each.name for each in others)]
    for other in names[1:]:
        if other == strategy.name:
            raise UserError(
                f"--compare names {other}, the strategy of the pool itself.",
                f"Leave out {other}: it is compared anyway.",
                other,
            )
        if names.count(other) > 1:
            raise UserError(
                f"--compare names {other} more than once.", "Name each once; aliases are the same strategy.", other
            )
    if randoms < FEWEST:
        raise UserError(
            f"--random-pools {randoms} is too few for a range of 5 to 95 %.",
            f"Use {FEWEST} or more; 100 is usual.",
            str(randoms),
        )
    return others


COMMON = ("balance", "n_clusters", "normalize", "sample", "copies", "min_distance", "semdedup", "per_group")


def table_of(table: SelectTable, strategy: StrategySpec) -> SelectTable:
    """The settings of [select] for another strategy: its own knobs are their defaults, what holds for all stays."""
    own: dict[str, Any] = {"strategy": strategy.argument, "params": {}, "order": "highest"}
    own |= {"n_clusters": 0} if strategy.balance.n_clusters else {}
    balanced_spec = with_balance(strategy, table.model_copy(update=own))
    own |= {} if strategy.method.traits.partitions else {"partitions": 1}
    about_embeddings = strategy.reads_embeddings or "embeddings" in balanced_spec.inputs
    return table.model_copy(update=own if about_embeddings else own | {"min_distance": 0.0, "semdedup": 0.0})


def compare_with(provider: Provider, pool: Pool, others: list[StrategySpec], randoms: int) -> list[dict[str, Any]]:
    """Compare a pool with those of other strategies and with random ones; see `compare_pools`.

    A run stores the table in ``compare/<pool>/compare.csv``, and the other pools as `select-pool` does.

    Parameters
    ----------
    others : list of StrategySpec
    randoms : int
        How many random pools.

    Raises
    ------
    UserError
        An input that one of the strategies lacks, before any of their pools is chosen.
    """
    providers = {each.name: _other(provider, each) for each in others}
    inputs_of = {name: resolve_pool(each) for name, each in providers.items()}
    for name, inputs in inputs_of.items():
        refuse_missing(name, sorted(inputs.strategy.inputs), inputs.arrays)
    pools = {pool.inputs.strategy.name: pool}
    for name, each in providers.items():
        pools[name] = other = select_pool(each, inputs_of[name])
        if other.step is not None:
            provider.report.say(f"{'' if other.fresh else 'already done: '}{other.step.id}")
    embeddings, checksums = provider.card_embeddings("" if pool.step is None else str(pool.step.table["source"]))

    def compute() -> list[dict[str, Any]]:
        data = provider.card_data(pool.inputs, embeddings)
        if data.points is None and data.labels is None:
            raise UserError("--compare needs embeddings.", "Pass them with --embeddings FILE.npy.", "--compare")
        picks = {name: each.indices for name, each in pools.items()}
        return compare_pools(data, picks, randoms, provider.seed)

    if provider.context is None:
        return compute()
    return _rows_of_step(
        provider.context, provider, pools, randoms, zero_count(embeddings, pool.inputs.image_mask), checksums, compute
    )


def _rows_of_step(
    context: Context,
    provider: Provider,
    pools: Mapping[str, Pool],
    randoms: int,
    zero: Mapping[str, int],
    checksums: Mapping[str, str],
    compute: Callable[[], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return the rows of the run's comparison; compute them if there is none."""
    steps = [each.step for each in pools.values() if each.step is not None]
    pick_checksums = {path: sha for each in steps for path, sha in each.checksums("indices.npy").items()}
    step = context.run.step(
        "compare",
        steps[0].name,
        {
            "pools": [each.id for each in steps],
            "random_pools": randoms,
            "seed": context.seed,
            "normalize": context.settings.select.normalize,
            **zero,
        },
        {**context.items_checksum(), **pick_checksums, **provider.user.checksums, **checksums},
        force=context.force,
    )
    if step.finished is None:
        with context.writing(step) as scratch:
            rows = compute()
            import pandas as pd

            write_frame(scratch / TABLE, pd.DataFrame(rows))
            step.outcome = {"random_pools": randoms, "images": rows[0]["images"]}
    return read_comparison(FinishedStep(context.run, step.folder))


def read_comparison(step: FinishedStep) -> list[dict[str, Any]]:
    """The rows of a finished ``compare.csv``."""
    return [{str(key): value for key, value in row.items()} for row in step.frame(TABLE).to_dict("records")]


def compare_pools(data: CardData, pools: Mapping[str, np.ndarray], randoms: int, seed: int) -> list[dict[str, Any]]:
    """Compare each pool with random ones of its size, drawn as the strategy 'random' draws.

    All distances are of the same images: all, or a random sample if there are too many.

    Returns
    -------
    list of dict
        quantity, strategy, value, percentile, random_mean, random_5, random_95, random_pools, images.
    """
    from initpools_cli.geometry.pool_distances import distances_to_pools

    budget = len(next(iter(pools.values())))
    free = np.setdiff1d(data.rows, data.labeled)
    random_pools = [generator(seed, "random pool", i).choice(free, budget, replace=False) for i in range(randoms)]
    every = [*pools.values(), *random_pools]
    cards: list[dict[str, Any]] = [class_balance(data, picks) | group_coverage(data, picks) for picks in every]
    images = len(data.rows)
    places = [data.places(picks) for picks in every]
    # A pool of nothing but rows of length zero is at no distance from anything.
    if data.points is not None and all(map(len, places)):
        images = min(len(data.points), PAIRS // len(np.unique(np.concatenate(places))), KEPT // len(every))
        rows = np.sort(generator(seed, "compared images").choice(len(data.points), images, replace=False))
        sample = data.points if images == len(data.points) else data.points[rows]
        distances = with_labeled(data, distances_to_pools(sample, data.points, places), sample)
        cards = [
            one | distance_facts(data, picks, row) for one, picks, row in zip(cards, every, distances, strict=True)
        ]
    table = numbers.compare_strategies(dict(zip(pools, cards, strict=False)), cards[len(pools) :])
    return [row | {"random_pools": randoms, "images": images} for row in table]


def _other(provider: Provider, strategy: StrategySpec) -> Provider:
    """Return the provider of another strategy's inputs, as if `select-pool` ran with it."""
    table = table_of(provider.settings.select, strategy)
    settings = provider.settings.model_copy(update={"select": table})
    if not isinstance(provider, RunProvider):
        return provider.with_settings(settings)
    source = provider.source if reads_source(with_balance(strategy, table), provider.files) else ""
    words = ["select-pool", strategy.argument, "--budget", str(table.budget)]
    for key in (*COMMON, "partitions"):
        value = getattr(table, key)
        if value != SelectTable.model_fields[key].default:
            words += ["--set", f"select.{key}={str(value).lower()}"]
    words += ["--from", source] if source else []
    for flag, file in provider.files.paths.items():
        words += [f"--{flag}", str(file.resolve())]
    words += ["--id-column", provider.files.id_column] if provider.files.id_column else []
    words += [f"--classes={','.join(provider.files.classes)}"] if provider.files.classes else []
    other = provider.context.for_needed_step(*words)
    other.settings = settings
    return provider.for_command(other, source)
