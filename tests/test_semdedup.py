"""SemDeDup: the score against its plain definition, and what `select.semdedup` leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.geometry import near_copies
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.near_copies import similarity_to_earlier
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.scores.registry import scores
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose


def unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points.astype(np.float64), axis=1, keepdims=True)


def plain(points: np.ndarray, clusters: int, seed: int, keep: str, first: np.ndarray) -> np.ndarray:
    """Sort each cluster, and look at the upper triangle of its similarities."""
    rows, scaled = unit(points), unit_rows(points)
    clustering = kmeans(scaled, clusters, np.random.default_rng(seed))
    result = np.zeros(len(points))
    for cluster in range(clusters):
        members = np.flatnonzero(clustering.labels == cluster)
        to_center = 1 - ((scaled[members] - unit(clustering.centroids[[cluster]])) ** 2).sum(axis=1) / 2
        place = np.round(to_center, 6) * (1 if keep == "hard" else -1)
        members = members[np.lexsort((place, ~first[members]))]
        upper = np.triu(rows[members] @ rows[members].T, 1)
        result[members] = upper.max(axis=0, initial=0)
    return result


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(2, 5), st.integers(1, 4), st.sampled_from(["hard", "easy"]), st.integers(0, 2**32)
)
def test_similarity_to_earlier_rows_equals_the_plain_one(n: int, d: int, clusters: int, keep: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)).astype(np.float32) + 0.5
    # A third of the rows are copies of others.
    points[: n // 3] = points[rng.integers(n // 3, n, n // 3)] if n > 2 else points[: n // 3]
    clusters, first = min(clusters, n), rng.random(n) < 0.2
    expected = plain(points, clusters, seed, keep, first)
    similarity = similarity_to_earlier(points, np.random.default_rng(seed), clusters=clusters, keep=keep, first=first)
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    _, member = np.unique(points, axis=0, return_inverse=True)
    # Of equal rows all but one have exactly 1.
    assert (similarity == 1).sum() >= n - len(np.unique(member))


def test_rows_over_several_blocks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).normal(size=(700, 6)).astype(np.float32)
    expected = plain(points, 2, 0, "hard", np.zeros(700, bool))
    monkeypatch.setattr(near_copies, "ROWS", 64)
    monkeypatch.setattr(near_copies, "COLUMNS", 50)
    similarities = [
        similarity_to_earlier(points, np.random.default_rng(0), clusters=2, threads=each) for each in (1, 2)
    ]
    np.testing.assert_allclose(similarities[0], expected, atol=1e-6)
    assert similarities[0].tobytes() == similarities[1].tobytes()


def test_which_of_similar_rows_comes_first() -> None:
    # The mean direction is at about 12 degrees: from the farthest, 40, 0, 2, 4.
    angles = np.radians([0.0, 2.0, 4.0, 40.0])
    points = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    hard = similarity_to_earlier(points, generator(0, "x"), clusters=1)
    np.testing.assert_allclose(hard, [*np.cos(np.radians([40, 2, 2])), 0], atol=1e-6)
    easy = similarity_to_earlier(points, generator(0, "x"), clusters=1, keep="easy")
    np.testing.assert_allclose(easy, [*np.cos(np.radians([2, 2])), 0, np.cos(np.radians(36))], atol=1e-6)
    kept = [similarity_to_earlier(points, generator(seed, "x"), clusters=1, keep="random") for seed in range(20)]
    assert {int(each.argmin()) for each in kept} == {0, 1, 2, 3}
    first = np.array([False, True, False, False])
    assert similarity_to_earlier(points, generator(0, "x"), clusters=1, first=first)[1] == 0
    zeros = similarity_to_earlier(np.zeros((3, 2), np.float32), generator(0, "x"))
    assert zeros.tolist() == [0, 0, 0]
    some = similarity_to_earlier(np.array([[0, 0], [3, 0], [0, 0], [4, 0]], np.float32), generator(0, "x"))
    np.testing.assert_allclose(some, [0, 0, 0, 1])


# ---- the setting


def near(n: int = 60) -> np.ndarray:
    """Rows 40 to 49 are near rows 0 to 9, rows 50 to 57 equal rows 10 to 17, and the last two are zero."""
    points = np.random.default_rng(1).normal(size=(n, 12))
    points[40:50] = points[:10] + 0.01 * points[20:30]
    points[50:58] = points[10:18]
    points[58:] = 0
    return points.astype(np.float32)


def left_out(points: np.ndarray, labeled: list[int], seed: int, semdedup: float = 0.01) -> np.ndarray:
    first = np.isin(np.arange(len(points)), labeled)
    similar = similarity_to_earlier(points, generator(seed, "semdedup"), first=first)
    return np.flatnonzero((similar > 1 - semdedup) & ~first)


EMBEDDED = [
    name
    for name in ("kcenter", "kmeans++", "typiclust", "maxherding", "facility-location", "probcover", "usl", "cog")
    if name in strategies
]


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_strategy_chooses_as_if_near_copies_were_absent(name: str) -> None:
    points, labeled = near(), [3, 12, 55]
    out = left_out(points, labeled, 7)
    assert len(out) == 18 and not {3, 12, 55} & {*out} and {43, 52, 15} <= {*out}
    selection = choose(name, {"embeddings": points}, 12, labeled=labeled, seed=7, semdedup=0.01)
    absent = choose(name, {"embeddings": points}, 12, labeled=labeled, seed=7, exclude=out)
    assert selection.indices.tolist() == absent.indices.tolist()
    assert selection.near_copies.tolist() == out.tolist()


def test_fewer_are_chosen_where_too_few_are_left() -> None:
    points = near()
    out = left_out(points, [3], 0)
    for settings_ in ({}, {"copies": "any"}, {"min_distance": 1e-4}):
        selection = choose("kcenter", {"embeddings": points}, 59, labeled=[3], semdedup=0.01, **settings_)
        # Zero rows have no direction: they are chosen last, but not with a minimum distance.
        kept = np.setdiff1d(np.arange(58 if "min_distance" in settings_ else 60), [3, *out])
        assert sorted(selection.indices) == kept.tolist()
    with pytest.warns(UserWarning, match=r"of 57 asked for: all others are near-copies by semdedup = 0\.01"):
        initpools_cli.select(points[:58], "kcenter", 57, labeled=[3], semdedup=0.01)
    sampled = choose("kcenter", {"embeddings": points}, 9, sample=30, seed=2, semdedup=0.01)
    rows = np.sort(generator(2, "sample").choice(60, 30, replace=False))
    assert sampled.near_copies.tolist() == rows[left_out(points[rows], [], 2)].tolist()


def test_strategies_on_scores_of_embeddings_leave_out_near_copies_too() -> None:
    points = near()[:58]
    picks = initpools_cli.select(points, "outlier", 20, semdedup=0.01)
    assert not {*left_out(points, [], 0)} & {*picks}


@pytest.mark.parametrize(
    ("strategy", "more", "fact"),
    [
        ("random", {"semdedup": 0.1}, "semdedup has no effect: 'random' reads no embeddings"),
        ("kcenter", {"semdedup": 1.5}, "semdedup = 1.5"),
        ("kcenter", {"semdedup": 1.0, "labeled": [0]}, r"All images are near-copies of labeled images by semdedup=1"),
    ],
)
def test_what_is_refused(strategy: str, more: dict, fact: str) -> None:
    points = np.abs(near()[:40])
    with pytest.raises(UserError, match=fact):
        initpools_cli.select(points, strategy, 3, **more)


def test_only_this_score_separates_copies() -> None:
    assert [method.name for method in scores if method.traits.separates_copies] == ["semdedup"]


def test_commands_leave_out_near_copies_and_say_how_many(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    eps, kept = ["--set", "semdedup=0.05"], np.flatnonzero(np.load(run / "data/kept.npy"))
    out = kept[left_out(np.load(run / "embed/simclr/train.npy")[kept], [], 0, 0.05)]
    assert 10 < len(out) < len(kept) - 10
    note = f"{len(out):,} of {len(kept):,} images are near-copies of others and are left out"
    pool = initpools("select-pool", "kcenter", "--budget", 9, *eps)
    assert pool.code == 0 and note in pool.err and not {*map(int, pool.out.split())} & {*out.tolist()}
    # In a run, kcenter is ranked on logits.
    ranked = initpools("rank", "kmeans++", *eps, "-o", "order.npy")
    assert ranked.code == 0 and note in ranked.err and "are no near-copies of others by semdedup = 0.05" in ranked.err
    assert sorted(np.load("order.npy")[-len(out) :]) == out.tolist()
    for step in ("pool/kcenter-b9-s0", "rank/kmeans++"):
        assert tomli.loads((run / step / "step.toml").read_text())["table"]["semdedup"] == 0.05
    sweep = ["al-run", "--init", "kcenter,random", "--query", "margin", "--budget", 4, "--rounds", 1, "--seeds", 1]
    swept = initpools(*sweep, *eps, "--threads", 1)
    assert swept.code == 0, swept.err
    table = tomli.loads((run / "al/main/step.toml").read_text())["table"]
    assert table["semdedup"] == 0.05
    short = initpools(*sweep, "--set", "semdedup=0.9", "--threads", 1, "--name", "short")
    assert short.code != 0 and "semdedup = 0.9 leaves" in short.err
