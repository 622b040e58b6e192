"""The full report card of a pool: typicality, cluster coverage, and agreement with other strategies."""

from __future__ import annotations

from typing import Any

import numpy as np

from initpools_cli.core.config import DEFAULT_CLUSTERS
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.stats import card as numbers
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.report_card import CardData, nearness, read_card, short_card, write_card
from initpools_cli.steps.rows import zero_count
from initpools_cli.steps.select_pool import Pool
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy

#: The strategies that a full card compares a pool with.
OTHERS = ("kcenter", "typiclust", "maxherding")
#: With more images than these, strategies that look at all pairs of images are left out.
PAIRS_OF = 20_000
#: How many images are sampled to measure how typical picks are, and by how many neighbors.
SAMPLE, NEIGHBORS = 2000, 20


def full_card(provider: Provider, pool: Pool) -> dict[str, Any]:
    """The full card of a pool; in a run, ``card/<pool>/card.toml`` holds it.

    If the pool needed no embeddings, those of the user or of the run are used.
    """
    inputs, select = pool.inputs, provider.settings.select
    embeddings, checksums = provider.card_embeddings("" if pool.step is None else str(pool.step.table["source"]))
    clusters, strategy = inputs.strategy.balance.n_clusters, inputs.strategy

    def compute() -> dict[str, Any]:
        data = provider.card_data(inputs, embeddings)
        return full_facts(data, pool.indices, strategy, provider.seed, clusters)

    context = provider.context
    if context is None or pool.step is None:
        return compute()
    step = context.run.step(
        "card",
        pool.step.name,
        {
            "pool": pool.step.id,
            "normalize": select.normalize,
            "n_clusters": clusters,
            "seed": context.seed,
            "others": list(OTHERS),
            **zero_count(embeddings, inputs.image_mask),
        },
        {**context.items_checksum(), **pool.step.checksums("indices.npy"), **provider.user.checksums, **checksums},
        force=context.force,
    )
    if step.finished is None:
        with context.writing(step) as scratch:
            write_card(scratch, compute())
            step.outcome = {"picked": len(pool.indices)}
    return read_card(FinishedStep(context.run, step.folder))


def full_facts(data: CardData, picks: np.ndarray, strategy: StrategySpec, seed: int, clusters: int) -> dict[str, Any]:
    """A short card with typicality, cluster coverage, and agreement with other strategies."""
    facts = short_card(data, picks, nearness(data, picks), strategy.name)
    more = _more(data, picks, strategy.base, seed, clusters)
    lacks = [*facts.get("lacks", []), *more.get("lacks", [])]
    return {**facts, **more, **({"lacks": lacks} if lacks else {})}


def _more(data: CardData, picks: np.ndarray, base: str, seed: int, clusters: int) -> dict[str, Any]:
    if data.points is None or not len(data.places(picks)):
        return {}
    from initpools_cli.geometry.kmeans import kmeans

    k = min(clusters or DEFAULT_CLUSTERS, len(data.points))
    groups = kmeans(data.points, k, generator(seed, "card", "clusters", k)).labels
    return {
        "typicality": _typicality(data.points, data.places(picks), seed),
        **numbers.clusters_hit(groups, data.places(data.both(picks))),
        **_agreement(data, picks, base, seed),
    }


def _typicality(points: np.ndarray, places: np.ndarray, seed: int) -> float:
    """The mean percentile of the picks among all images, by the distance to the 20 nearest others; 1 is most typical.

    A random 2,000 represent all images, so that the cost is linear in their number.
    """
    from initpools_cli.geometry.neighbors import nearest_k

    n = len(points)
    if n == 1:
        return 0.5
    sample = np.sort(generator(seed, "card", "typicality").choice(n, min(SAMPLE, n), replace=False))
    rows, place = np.unique(np.concatenate([places, sample]), return_inverse=True)
    # The image itself is among its nearest, at distance 0.
    nearby = min(NEIGHBORS, max(1, n // 2))
    density = -nearest_k(points[rows], points, nearby + 1)[1].sum(axis=1)
    return numbers.mean_percentile(density[place[: len(places)]], density[place[len(places) :]])


def _agreement(data: CardData, picks: np.ndarray, base: str, seed: int) -> dict[str, Any]:
    """The share of the picks that each other strategy selects too, and the expected share of random picks."""
    from initpools_cli.strategies.checks import refuse_constant_outputs
    from initpools_cli.strategies.select import choose

    points = data.points
    assert points is not None
    labeled = data.places(data.labeled)
    shares, left_out = {}, []
    for other in OTHERS:
        strategy = parse_strategy(other)
        if other == base:
            continue
        if "n²" in strategy.method.traits.cost and len(points) > PAIRS_OF:
            left_out.append(f"agreement with {other}: it looks at all pairs of more than {PAIRS_OF:,} images")
            continue
        try:
            # The points are normalized already.
            selection = choose(other, {"embeddings": points}, len(picks), labeled=labeled, seed=seed, normalize=False)
            refuse_constant_outputs(strategy.method, selection)
        except UserError as error:
            left_out.append(f"agreement with {other}: {error.fact}")
            continue
        shares[other] = len(np.intersect1d(selection.indices, data.places(picks))) / len(picks)
    shares["random"] = len(picks) / (len(points) - len(labeled))
    return {"agreement": shares, **({"lacks": left_out} if left_out else {})}
