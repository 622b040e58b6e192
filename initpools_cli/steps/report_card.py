"""The report card of a pool: its data, and metrics of distances and classes."""

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
    """The images, embeddings and labels for report cards.

    Attributes
    ----------
    points : (p, d) float32 or None
        The embeddings of the images in `point_rows`, as strategies read them.
    rows : (m,) int64
        All images, ascending.
    point_rows : (p,) int64
        The images whose embedding is not zero, ascending: a zero row has no distance to others.
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
    point_rows: np.ndarray
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
        """Return the data of the images in `rows` (m,), of which `labeled` have labels already; both ascending."""
        from initpools_cli.strategies.arrays import INPUTS, take
        from initpools_cli.strategies.duplicates import largest_entries, near_zero
        from initpools_cli.strategies.embeddings import as_embeddings

        points, point_rows = None, rows
        if embeddings is not None:
            array = INPUTS["embeddings"].check(embeddings)
            zero = near_zero(largest_entries(array)[rows])
            if not zero.all():
                point_rows = rows[~zero]
                points = as_embeddings(take("embeddings", array, point_rows), normalize)
        labeled = np.empty(0, np.int64) if labeled is None else labeled
        return cls(points, rows, point_rows, labeled, labels, classes)

    def places(self, indices: np.ndarray) -> np.ndarray:
        """The places of images in `points`; images without a point are left out."""
        place = np.searchsorted(self.point_rows, indices)
        place[place == len(self.point_rows)] = 0
        return np.asarray(place[self.point_rows[place] == indices])

    def both(self, picks: np.ndarray) -> np.ndarray:
        """The labeled images, then the picks."""
        return np.concatenate([self.labeled, picks])


@dataclass(frozen=True)
class NearestPicks:
    """The nearest pick of each of `CardData.point_rows`, (m,) int64, and its distance, (m,) float64."""

    owner: np.ndarray
    distance: np.ndarray


def nearness(data: CardData, picks: np.ndarray) -> NearestPicks | None:
    """The nearest pick of each image, the first of equals; None if all picks are zero rows."""
    with_point = np.flatnonzero(np.isin(picks, data.point_rows))
    if data.points is None or not len(with_point):
        return None
    from initpools_cli.geometry.neighbors import nearest as nearest_points

    owner, distance = nearest_points(data.points, data.points[data.places(picks)])
    return NearestPicks(with_point[owner], distance)


def short_card(data: CardData, picks: np.ndarray, near: NearestPicks | None, strategy: str) -> dict[str, Any]:
    """The card from the distances of `nearness`, with the classes of the picks if there are labels.

    Labeled images count like picks: an image is covered by the nearest of either, and classes are those of both.
    Redundancy is that of the picks, among themselves and with labeled images.
    """
    facts: dict[str, Any] = {
        "strategy": strategy,
        "budget": len(picks),
        "images": len(data.rows),
        "labeled": len(data.labeled),
    }
    zero = len(data.rows) - len(data.point_rows)
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
    places = data.places(data.labeled)
    if not len(places):
        return distances
    return np.minimum(distances, nearest_points(images, data.points[places])[1])


def distance_facts(data: CardData, picks: np.ndarray, distances: np.ndarray) -> dict[str, Any]:
    """Coverage and redundancy of a pool, from the distances (m,) of images to what will be labeled."""
    from initpools_cli.geometry.pool_distances import pick_distances

    assert data.points is not None
    coverage = numbers.coverage(distances)
    gaps = pick_distances(data.points[data.places(picks)], data.points[data.places(data.labeled)])
    return coverage | numbers.repetition(*gaps, coverage["mean_distance"])


def group_coverage(data: CardData, picks: np.ndarray) -> dict[str, Any]:
    """The number of groups, and of groups with an image that will be labeled; empty without groups."""
    if data.groups is None:
        return {}
    return numbers.groups_covered(data.groups[data.rows], data.groups[data.both(picks)])


def class_balance(data: CardData, picks: np.ndarray) -> dict[str, Any]:
    """The classes of the images that will be labeled, by name; empty without labels."""
    if data.labels is None:
        return {}
    available = np.unique(classes_of(data.labels[data.rows]))
    labels = data.labels[np.intersect1d(data.both(picks), data.rows)]
    known_classes = classes_of(labels)
    unknown = len(labels) - len(labeled_rows(labels))
    if not len(known_classes) or not len(available):
        return {"class_unknown": unknown}
    facts = numbers.balance(known_classes, available)
    counts = dict(zip((data.classes[each] for each in available), facts.pop("counts").tolist(), strict=True))
    return {**facts, **({"class_unknown": unknown} if unknown else {}), "class_counts": counts}


def require_level(level: str) -> None:
    """Refuse an unknown level of the card.

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
    """Write ``card.toml``; tables come last, as TOML requires."""
    plain = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    write_text(folder / CARD, tomli_w.dumps({**plain, **facts}))


def read_card(step: FinishedStep) -> dict[str, Any]:
    """A finished step's card.

    Raises
    ------
    UserError
        It is damaged.
    """
    return tomli.loads(step.verified_path(CARD).read_text(encoding="utf-8"))
