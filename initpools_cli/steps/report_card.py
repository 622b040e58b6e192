"""The report card of a pool: what it is measured on, and what follows from distances and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tomli
import tomli_w

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import write_text
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.datasets.multilabel import classes_of, labeled_rows
from initpools_cli.stats import card as numbers

CARD = "card.toml"
LEVELS = ("none", "short", "full")


@dataclass(frozen=True)
class CardData:
    """The images, embeddings and labels that pools are measured on.

    Attributes
    ----------
    points : (p, d) float32 or None
        The embeddings of the images in `measured`, as strategies get them.
    rows : (m,) int64
        All images, ascending.
    measured : (p,) int64
        Those whose embedding is not zero, ascending: a zero row has no distance to others.
    labeled : (l,) int64
        Images that are labeled already.
    labels : (n,) int64, (n, c) int8, or None
        Of all images, -1 for none; read only after a pool is chosen.
    classes : tuple of str
    groups : (n,) int64 or None
        Of all images, such as the patient of each.
    """

    points: np.ndarray | None
    rows: np.ndarray
    measured: np.ndarray
    labeled: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        embeddings: np.ndarray | None,
        normalize: bool,
        rows: np.ndarray,
        labeled: np.ndarray | None,
        labels: np.ndarray | None = None,
        classes: tuple[str, ...] = (),
    ) -> CardData:
        """Of the images in `rows` (m,), of which those in `labeled` have labels already; both ascending."""
        from initpools_cli.strategies.arrays import INPUTS, as_embeddings, take
        from initpools_cli.strategies.duplicates import largest_entries, near_zero

        points, measured = None, rows
        if embeddings is not None:
            checked = INPUTS["embeddings"].check(embeddings)
            zero = near_zero(largest_entries(checked)[rows])
            if not zero.all():
                measured = rows[~zero]
                points = as_embeddings(take("embeddings", checked, measured), normalize)
        known = np.empty(0, np.int64) if labeled is None else labeled
        return cls(points, rows, measured, known, labels, classes)

    def places(self, indices: np.ndarray) -> np.ndarray:
        """The places of images in `points`; images without a point are left out."""
        place = np.searchsorted(self.measured, indices)
        place[place == len(self.measured)] = 0
        found: np.ndarray = place[self.measured[place] == indices]
        return found

    def both(self, picks: np.ndarray) -> np.ndarray:
        """The labeled images, then the picks."""
        return np.concatenate([self.labeled, picks])


@dataclass(frozen=True)
class NearestPicks:
    """Of every measured image of a `CardData`: the pick it is nearest to, (m,) int64, and how far, (m,) float64."""

    owner: np.ndarray
    distance: np.ndarray


def nearness(data: CardData, picks: np.ndarray) -> NearestPicks | None:
    """Which pick each image is nearest to, the one chosen earlier among equals; None where no pick is measured."""
    with_point = np.flatnonzero(np.isin(picks, data.measured))
    if data.points is None or not len(with_point):
        return None
    from initpools_cli.geometry.neighbors import nearest as nearest_points

    owner, distance = nearest_points(data.points, data.points[data.places(picks)])
    return NearestPicks(with_point[owner], distance)


def short_card(data: CardData, picks: np.ndarray, near: NearestPicks | None, strategy: str) -> dict[str, Any]:
    """What follows from the distances of `nearness`, and the classes of the picks where there are labels.

    Images that are labeled already count as picks do: an image is covered by the nearest of either, and classes are
    those of both. Redundancy is of the picks, against each other and against what is labeled.
    """
    facts: dict[str, Any] = {
        "strategy": strategy,
        "budget": len(picks),
        "images": len(data.rows),
        "labeled": len(data.labeled),
    }
    zero = len(data.rows) - len(data.measured)
    if zero:
        facts["zero_rows"] = zero
    if near is None and data.points is not None:
        facts["lacks"] = ["distances: the embeddings of all picks are zero"]
    elif near is None:
        facts["lacks"] = [f"distances: '{strategy}' was given no embeddings"]
    else:
        assert data.points is not None
        if zero:
            facts["lacks"] = [f"distances of {zero} images whose embeddings are zero"]
        facts |= distance_facts(data, picks, with_labeled(data, near.distance, data.points))
    return facts | group_coverage(data, picks) | class_balance(data, picks)


def with_labeled(data: CardData, distances: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The distances (…, m) of `images` (m, d) to the nearest pick or labeled image, from those to the nearest pick."""
    from initpools_cli.geometry.neighbors import nearest as nearest_points

    assert data.points is not None
    known = data.places(data.labeled)
    if not len(known):
        return distances
    return np.minimum(distances, nearest_points(images, data.points[known])[1])


def distance_facts(data: CardData, picks: np.ndarray, distances: np.ndarray) -> dict[str, Any]:
    """Coverage and redundancy of a pool, from the distances (m,) of images to what will be labeled."""
    from initpools_cli.geometry.pool_distances import pick_distances

    assert data.points is not None
    covered = numbers.coverage(distances)
    gaps = pick_distances(data.points[data.places(picks)], data.points[data.places(data.labeled)])
    return covered | numbers.repetition(*gaps, covered["mean_distance"])


def group_coverage(data: CardData, picks: np.ndarray) -> dict[str, Any]:
    """The groups there are, and those of what will be labeled; nothing without groups."""
    if data.groups is None:
        return {}
    return numbers.groups_covered(data.groups[data.rows], data.groups[data.both(picks)])


def class_balance(data: CardData, picks: np.ndarray) -> dict[str, Any]:
    """The classes of what will be labeled, by name, of the images whose class is known; nothing without labels."""
    if data.labels is None:
        return {}
    available = np.unique(classes_of(data.labels[data.rows]))
    labels = data.labels[np.intersect1d(data.both(picks), data.rows)]
    known = classes_of(labels)
    unknown = len(labels) - len(labeled_rows(labels))
    if not len(known) or not len(available):
        return {"class_unknown": unknown}
    facts = numbers.balance(known, available)
    counts = dict(zip((data.classes[each] for each in available), facts.pop("counts").tolist(), strict=True))
    return {**facts, **({"class_unknown": unknown} if unknown else {}), "class_counts": counts}


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
        raise UserError(f"There is no card '{level}' (in --card).", f"{hint}Use one of {', '.join(LEVELS)}.", level)


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
