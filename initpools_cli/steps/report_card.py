"""The report card that comes with a pool: what is measured on, the short card, and the full one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tomli
import tomli_w

from initpools_cli.core.config import DEFAULT_CLUSTERS, SelectTable
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import write_text
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.stats import card as numbers
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.rows import there, zero_count
from initpools_cli.steps.strategy_inputs import bought, pick
from initpools_cli.steps.strategy_name import named
from initpools_cli.steps.user_files import UserFiles

CARD = "card.toml"
LEVELS = ("none", "short", "full")
#: The strategies that a full card sets a pool beside.
OTHERS = ("kcenter", "typiclust", "maxherding")
#: With more images than these, a full card leaves out strategies that look at all pairs of images.
PAIRS_OF = 20_000
#: How many images stand for all where a full card asks how typical picks are, and how many neighbors tell it.
SAMPLE, NEIGHBORS = 2000, 20


@dataclass(frozen=True)
class CardData:
    """What pools are measured on.

    Attributes
    ----------
    points : (p, d) float32 or None
        The embeddings of the images in `measured`, as strategies get them.
    rows : (m,) int64
        The images there are, ascending.
    measured : (p,) int64
        Those of them whose embedding has a length: the others are at no distance from anything. Ascending.
    labeled : (l,) int64
        Images that are labeled already.
    labels : (n,) int64 or None
        Of all images, -1 for none; looked at when a pool is chosen, never before.
    classes : tuple of str
    """

    points: np.ndarray | None
    rows: np.ndarray
    measured: np.ndarray
    labeled: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def places(self, indices: np.ndarray) -> np.ndarray:
        """Where images are in `points`; those that have no point are passed over."""
        place = np.searchsorted(self.measured, indices)
        place[place == len(self.measured)] = 0
        found: np.ndarray = place[self.measured[place] == indices]
        return found

    def both(self, picks: np.ndarray) -> np.ndarray:
        """The images that will be labeled: those that are, then the picks."""
        return np.concatenate([self.labeled, picks])


def ground_of(
    embeddings: np.ndarray | None,
    normalize: bool,
    rows: np.ndarray,
    labeled: np.ndarray | None,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
) -> CardData:
    """The ground for pools of the images in `rows` (m,), of which those in `labeled` have labels already; ascending."""
    from initpools_cli.strategies.arrays import INPUTS, as_embeddings
    from initpools_cli.strategies.duplicates import zero_rows

    points, measured = None, rows
    if embeddings is not None:
        checked = INPUTS["embeddings"].check(embeddings)
        zero = zero_rows(checked if len(rows) == len(checked) else checked[rows])
        if not zero.all():
            measured = rows[~zero]
            points = as_embeddings(checked if len(measured) == len(checked) else checked[measured], normalize)
    return CardData(points, rows, measured, np.empty(0, np.int64) if labeled is None else labeled, labels, classes)


@dataclass(frozen=True)
class NearestPicks:
    """Of every measured image of a `CardData`: the pick it is nearest to, (m,) int64, and how far, (m,) float64."""

    owner: np.ndarray
    distance: np.ndarray


def nearness(ground: CardData, picks: np.ndarray) -> NearestPicks | None:
    """Which pick each image is nearest to, the one chosen earlier among equals; None where no pick is measured."""
    with_point = np.flatnonzero(np.isin(picks, ground.measured))
    if ground.points is None or not len(with_point):
        return None
    from initpools_cli.geometry.neighbors import nearest as nearest_points

    owner, distance = nearest_points(ground.points, ground.points[ground.places(picks)])
    return NearestPicks(with_point[owner], distance)


def short_card(ground: CardData, picks: np.ndarray, near: NearestPicks | None, strategy: str) -> dict[str, Any]:
    """What follows from the distances of `nearness`, and the classes of the picks where there are labels.

    Images that are labeled already count as picks do: an image is covered by the nearest of either, and classes are
    those of both. Redundancy is of the picks, against each other and against what is labeled.
    """
    facts: dict[str, Any] = {
        "strategy": strategy,
        "budget": len(picks),
        "images": len(ground.rows),
        "labeled": len(ground.labeled),
    }
    zero = len(ground.rows) - len(ground.measured)
    if zero:
        facts["zero_rows"] = zero
    if near is None and ground.points is not None:
        facts["lacks"] = ["distances: the embeddings of all picks are zero"]
    elif near is None:
        facts["lacks"] = [f"distances: '{strategy}' was given no embeddings"]
    else:
        assert ground.points is not None
        if zero:
            facts["lacks"] = [f"distances of {zero} images whose embeddings are zero"]
        facts |= distance_facts(ground, picks, with_labeled(ground, near.distance, ground.points))
    return facts | class_balance(ground, picks)


def with_labeled(ground: CardData, distances: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The distances (…, m) of `images` (m, d) to the nearest pick or labeled image, from those to the nearest pick."""
    from initpools_cli.geometry.neighbors import nearest as nearest_points

    assert ground.points is not None
    known = ground.places(ground.labeled)
    if not len(known):
        return distances
    return np.minimum(distances, nearest_points(images, ground.points[known])[1])


def distance_facts(ground: CardData, picks: np.ndarray, distances: np.ndarray) -> dict[str, Any]:
    """Coverage and redundancy of a pool, from the distances (m,) of images to what will be labeled."""
    from initpools_cli.geometry.pool_distances import pick_distances

    assert ground.points is not None
    covered = numbers.coverage(distances)
    gaps = pick_distances(ground.points[ground.places(picks)], ground.points[ground.places(ground.labeled)])
    return covered | numbers.repetition(*gaps, covered["mean_distance"])


def class_balance(ground: CardData, picks: np.ndarray) -> dict[str, Any]:
    """The classes of what will be labeled, by name, of the images whose class is known; nothing without labels."""
    if ground.labels is None:
        return {}
    available = np.unique(ground.labels[ground.rows])
    available = available[available >= 0]
    inside = np.intersect1d(ground.both(picks), ground.rows)
    known = ground.labels[inside]
    unknown = int((known < 0).sum())
    if unknown == len(known) or not len(available):
        return {"class_unknown": unknown}
    facts = numbers.balance(known[known >= 0], available)
    counts = dict(zip((ground.classes[each] for each in available), facts.pop("counts").tolist(), strict=True))
    return {**facts, **({"class_unknown": unknown} if unknown else {}), "class_counts": counts}


# ---- the full card


def full_card(context: Context, pool: FinishedStep, brought: UserFiles, source: str) -> FinishedStep:
    """Write ``card/<pool>/card.toml`` for a pool of the run, or find it done.

    Embeddings that the pool did without are taken from the run.
    """
    stored = {key: value for key, value in pool.table.items() if key in SelectTable.model_fields and key != "params"}
    table = SelectTable(**stored)
    embeddings, reads = run_embeddings(context, pool, brought, source)
    clusters = context.clusters(table.n_clusters)
    step = context.run.step(
        "card",
        pool.name,
        {
            "pool": pool.id,
            "normalize": table.normalize,
            "n_clusters": clusters,
            "seed": context.seed,
            "others": list(OTHERS),
            **zero_count(embeddings, there(context, brought)),
        },
        {**context.items_checksum(), **pool.checksums("indices.npy"), **brought.checksums(), **reads},
        force=context.force,
    )
    if step.finished:
        return step.finished
    with context.writing(step) as scratch:
        ground = run_ground(context, embeddings, table.normalize, brought)
        picks = pool.array("indices.npy")
        facts = full_facts(ground, picks, table, context.seed, clusters, read_card(pool)["strategy"])
        write_card(scratch, facts)
        step.outcome = {"picked": len(picks)}
    return FinishedStep(context.run, step.folder)


def run_embeddings(
    context: Context, pool: FinishedStep, brought: UserFiles, source: str
) -> tuple[np.ndarray, Mapping[str, str]]:
    """The embeddings to measure a pool of the run on: those brought, those it was chosen from, else the newest."""
    arrays = brought.arrays(classes=context.data.classes)
    if "embeddings" in arrays:
        return arrays["embeddings"], {}
    chosen_from = str(pool.table["source"])
    done = newest(context, source or (chosen_from[len("embed/") :] if chosen_from.startswith("embed/") else ""))
    return matrix(done), done.checksums("train.npy")


def run_ground(context: Context, embeddings: np.ndarray | None, normalize: bool, brought: UserFiles) -> CardData:
    """The ground for pools of a run."""
    data = context.data
    labeled, _ = bought(named(context.settings.select.strategy), brought, context)
    seen = there(context, brought)
    labeled = labeled if labeled is None else labeled[seen[labeled]]
    rows = np.flatnonzero(seen)
    return ground_of(embeddings, normalize, rows, labeled, data.splits["train"].labels, data.classes)


def full_facts(
    ground: CardData, picks: np.ndarray, table: SelectTable, seed: int, clusters: int, strategy: str
) -> dict[str, Any]:
    """A short card, and what a full one adds: typicality, cluster coverage, agreement with other strategies."""
    facts = short_card(ground, picks, nearness(ground, picks), strategy)
    added = _more(ground, picks, table, seed, clusters)
    lacks = [*facts.get("lacks", []), *added.get("lacks", [])]
    return {**facts, **added, **({"lacks": lacks} if lacks else {})}


def _more(ground: CardData, picks: np.ndarray, table: SelectTable, seed: int, clusters: int) -> dict[str, Any]:
    if ground.points is None or not len(ground.places(picks)):
        return {}
    from initpools_cli.geometry.kmeans import kmeans

    k = min(clusters or DEFAULT_CLUSTERS, len(ground.points))
    groups = kmeans(ground.points, k, generator(seed, "card", "clusters", k)).labels
    return {
        "typicality": _typicality(ground.points, ground.places(picks), seed),
        **numbers.clusters_hit(groups, ground.places(ground.both(picks))),
        **_agreement(ground, picks, table, seed),
    }


def _typicality(points: np.ndarray, places: np.ndarray, seed: int) -> float:
    """The mean percentile of the picks among all images, by the distance to the 20 nearest others; 1 is most typical.

    All images are stood for by a random 2,000 of them, so that the cost stays linear in their number.
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


def _agreement(ground: CardData, picks: np.ndarray, table: SelectTable, seed: int) -> dict[str, Any]:
    """The share of the picks that other strategies take too, and that random picks are expected to share."""
    points = ground.points
    assert points is not None
    known = ground.places(ground.labeled)
    shares, left_out = {}, []
    for other in OTHERS:
        strategy = named(other)
        if other == table.strategy:
            continue
        if "n²" in strategy.method.traits.cost and len(points) > PAIRS_OF:
            left_out.append(f"agreement with {other}: it looks at all pairs of more than {PAIRS_OF:,} images")
            continue
        # The points are normalized already.
        plain = SelectTable(normalize=False)
        knobs = strategy.knobs({}, "highest")
        try:
            found = pick(strategy, {"embeddings": points}, len(picks), plain, knobs, seed, labeled=known)
        except UserError as error:
            left_out.append(f"agreement with {other}: {error.fact}")
            continue
        shares[other] = len(np.intersect1d(found.indices, ground.places(picks))) / len(picks)
    shares["random"] = len(picks) / (len(points) - len(known))
    return {"agreement": shares, **({"lacks": left_out} if left_out else {})}


# ---- in and out


def require_level(level: str) -> None:
    """Refuse a card that there is none of.

    Raises
    ------
    UserError
        The level is not one of `LEVELS`.
    """
    if level not in LEVELS:
        guess = nearest(level, LEVELS)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"There is no card '{level}' (in --card).", f"{hint}It is one of {', '.join(LEVELS)}.")


def write_card(folder: Any, facts: Mapping[str, Any]) -> None:
    """Write ``card.toml``; tables come last, as TOML wants them."""
    plain = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    write_text(folder / CARD, tomli_w.dumps({**plain, **facts}))


def read_card(done: FinishedStep) -> dict[str, Any]:
    """A finished step's card.

    Raises
    ------
    UserError
        It is damaged; with the command that makes it again.
    """
    return tomli.loads(done.verified_path(CARD).read_text(encoding="utf-8"))
