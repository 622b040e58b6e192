"""Strategies that spread picks or follow a query set or a score, against plain definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import crowds, go_on, pairwise, pick

from initpools_cli import select
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.farthest_first import nearest_to_mean
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.testing import cloud

quick = settings(max_examples=50, deadline=None)


def plain_similarity(points, name, bandwidth):
    if name == "rbf":
        return np.exp(-pairwise(points) / bandwidth**2)
    points = points.astype(np.float64)
    lengths = np.linalg.norm(points, axis=1)
    scale = lengths[:, None] * lengths
    products = points @ points.T
    return (1 + np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)) / 2


def plain_log_det(points, similar, labeled, budget):
    """Factors of the determinant by solving for what the chosen images explain, one image at a time."""

    def factor(row, chosen):
        within, to = similar[np.ix_(chosen, chosen)], similar[chosen, row]
        return similar[row, row] - to @ np.linalg.solve(within, to)

    chosen, picks = [], []
    for row in labeled:
        if factor(row, chosen) > 1e-6:
            chosen.append(row)
    while len(picks) < budget:
        factors = np.array([factor(row, chosen) for row in range(len(points))])
        factors[labeled + picks] = -np.inf
        if factors.max() <= 1e-6:
            break
        at = int(np.flatnonzero(factors >= factors.max() - 1e-6)[0]) if labeled + picks else nearest_to_mean(points)
        picks.append(at)
        chosen.append(at)
    return go_on(points, labeled, picks, budget)


@quick
@given(crowds(), st.sampled_from(["cosine", "rbf"]), st.sampled_from([0.7, 1.3]))
def test_log_det_equals_its_plain_definition(case, name, bandwidth):
    points, labeled, budget = case
    selection = pick("log-det", {"embeddings": points}, labeled, budget, similarity=name, bandwidth=bandwidth)
    similar = plain_similarity(points, name, bandwidth)
    assert selection.indices.tolist() == plain_log_det(points, similar, labeled, budget)


def test_scores_of_log_det_multiply_to_the_determinant():
    points = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    selection = pick("log-det", {"embeddings": points}, [], 12)
    similar = plain_similarity(points, "rbf", 1.0)[np.ix_(selection.indices, selection.indices)]
    np.testing.assert_allclose(np.prod(selection.scores), np.linalg.det(similar), rtol=1e-9)


def plain_disparity(points, labeled, budget, metric):
    points = unit_rows(points) if metric == "cosine" else points
    gaps = pairwise(points) / 2 if metric == "cosine" else np.sqrt(pairwise(points))
    picks = []
    while len(picks) < budget:
        sums = gaps[:, labeled + picks].sum(axis=1)
        sums[labeled + picks] = -1
        ties = np.flatnonzero(sums >= sums.max() * (1 - 1e-9))
        picks.append(int(ties[0]) if labeled + picks else nearest_to_mean(points))
    return picks


@quick
@given(crowds(), st.sampled_from(["l2", "cosine"]))
def test_disparity_equals_its_plain_definition(case, metric):
    points, labeled, budget = case
    selection = pick("disparity", {"embeddings": points}, labeled, budget, metric=metric)
    assert selection.indices.tolist() == plain_disparity(points, labeled, budget, metric)


def plain_similar(points, queries, name, bandwidth, labeled, budget, objective, eta):
    """Facility-location mutual information as defined, of every possible next pick."""
    n = len(points)
    similar = plain_similarity(np.concatenate([points, queries]), name, bandwidth)
    to_queries, among = similar[:n, n:], similar[:n, :n]

    def value(chosen):
        if not chosen:
            return 0.0
        if objective == "fl2mi":
            return to_queries[chosen].max(axis=0).sum() + eta * to_queries[chosen].max(axis=1).sum()
        return np.minimum(among[chosen].max(axis=0), eta * to_queries.max(axis=1)).sum()

    picks = []
    while len(picks) < budget:
        free = np.setdiff1d(np.arange(n), labeled + picks)
        gains = np.array([value([*labeled, *picks, int(row)]) for row in free]) - value(labeled + picks)
        if objective == "fl1mi" and gains.max() <= 1e-6:
            gains = to_queries[free].max(axis=1).round(6)
            picks.append(int(free[gains.argmax()]))
            continue
        picks.append(int(free[np.flatnonzero(gains >= gains.max() - 1e-6)[0]]))
    return picks


@quick
@given(
    crowds(),
    st.integers(1, 5),
    st.sampled_from(["fl2mi", "fl1mi"]),
    st.sampled_from(["cosine", "rbf"]),
    st.sampled_from([0.0, 0.7, 1.0, 3.0]),
)
def test_similar_equals_its_plain_definition(case, count, objective, name, eta):
    points, labeled, budget = case
    queries = np.random.default_rng(count).normal(size=(count, points.shape[1])).astype(np.float32)
    inputs, knobs = {"embeddings": points, "query_set": queries}, {"objective": objective, "eta": eta}
    selection = pick("similar", inputs, labeled, budget, similarity=name, bandwidth=1.3, **knobs)
    assert selection.indices.tolist() == plain_similar(
        points, queries, name, 1.3, labeled, budget, objective=objective, eta=eta
    )


def test_a_query_set_is_embeddings_or_images_that_are_not_chosen(tmp_path: Path, monkeypatch, initpools: Initpools):
    monkeypatch.chdir(tmp_path)
    points = cloud(80)
    np.save("emb.npy", points)
    np.save("images.npy", np.array([3, 70, 5]))
    np.save("mask.npy", np.isin(np.arange(80), [3, 5, 70]))
    pd.DataFrame({"index": [3, 5, 70]}).to_csv("images.csv", index=False)
    np.save("others.npy", points[[3, 5, 70]])
    expected = select(points, "similar", 9, query_set=[3, 5, 70])
    assert not np.isin(expected, [3, 5, 70]).any()
    command = ["select-pool", "similar", "--budget", 9, "--embeddings", "emb.npy", "-o", "pool.npy", "--query-set"]
    for file in ("images.npy", "mask.npy", "images.csv"):
        result = initpools(*command, file)
        assert result.code == 0 and "The 3 images of --query-set are not chosen." in result.err
        np.testing.assert_array_equal(np.load("pool.npy"), expected)
    # Embeddings of other images exclude nothing: an image with the same embedding is the most similar one.
    assert initpools(*command, "others.npy").code == 0
    assert set(np.load("pool.npy")[:3].tolist()) == {3, 5, 70}
    np.testing.assert_array_equal(np.load("pool.npy"), select(points, "similar", 9, query_set=points[[3, 5, 70]]))
    assert initpools("rank", *command[1:2], *command[4:], "images.npy").code == 0
    assert np.load("pool.npy")[:9].tolist() == expected.tolist() and np.load("pool.npy")[-3:].tolist() == [3, 5, 70]


def test_a_query_set_in_a_run_names_images_by_path(copied_run: Path, initpools: Initpools):
    items = pd.read_csv(copied_run / "runs/digits/data/items.csv")
    train = items[items["split"] == "train"]["index"].to_numpy()[:4]
    pd.DataFrame({"index": train}).to_csv("like.csv", index=False)
    for number, objective in enumerate(("fl2mi", "fl1mi")):
        knob = f"objective={objective}"
        result = initpools("select-pool", "similar", "--budget", 6, "--query-set", "like.csv", "--set", knob)
        assert result.code == 0, result.err
        folder = sorted((copied_run / "runs/digits/pool").glob("similar-b6-s0*"))
        assert len(folder) == number + 1
        reads = (folder[-1] / "step.toml").read_text()
        assert "like.csv" in reads and not np.isin(np.load(folder[-1] / "indices.npy"), train).any()
    assert (
        "already done"
        in initpools("select-pool", "similar", "--budget", 6, "--query-set", "like.csv", "--set", "objective=fl2mi").err
    )
    for words, message in (
        (["select-pool", "kcenter", "--budget", 6, "--query-set", "like.csv"], "'kcenter' does not read it"),
        (["rank", "random", "--query-set", "like.csv"], "'random' does not read it"),
        (["select-pool", "similar", "--budget", 6], "'similar' needs query_set."),
        (["al-run", "--init", "similar", "--query", "random", "--budget", 6], "which al-run cannot provide"),
    ):
        refused = initpools(*words)
        assert refused.code == 2 and message in refused.err


@pytest.mark.parametrize(
    ("query_set", "fact"),
    [
        (np.ones((2, 4)), "query_set has 4 dimensions, but the embeddings have 5."),
        (np.array([[1, 2, 3, 4, np.nan]]), "query_set has NaN or infinity in 1 of its rows, the first 0."),
        (np.vstack([np.ones(5), np.zeros(5)]), "1 of 2 rows of query_set are zero, the first 1."),
        (np.empty((0, 5)), "query_set is empty: it has 0 rows."),
        (np.empty(0, int), "query_set names 0 images."),
        ([2, 60], "query_set has image 60, but there are 60 images."),
        ([2, 2], "query_set has image 2 more than once."),
        (np.arange(60), "All images are excluded: 0 are left."),
    ],
)
def test_a_query_set_that_cannot_be_used_is_refused(query_set, fact):
    with pytest.raises(UserError) as error:
        select(cloud(60), "similar", 3, query_set=query_set)
    assert error.value.fact == fact


def fair_shares(sizes, budget):
    """Equal shares of a budget, in order of size: what a small stratum lacks is shared by the larger ones."""
    shares, left = [], budget
    for place, size in enumerate(sorted(sizes)):
        shares.append(min(size, left // (len(sizes) - place)))
        left -= shares[-1]
    return shares


@quick
@given(st.integers(2, 80), st.integers(1, 12), st.sampled_from([0.0, 0.3, 0.9]), st.integers(0, 2**32), st.data())
def test_ccs_shares_the_budget_over_strata_without_the_hardest(n, strata, cutoff, seed, data):
    scores = np.random.default_rng(seed).gamma(2, size=n)
    budget = data.draw(st.integers(1, n))
    aside = np.argsort(-scores, kind="stable")[: int(cutoff * n)]
    kept = np.setdiff1d(np.arange(n), aside)
    edges = np.linspace(scores[kept].min(), scores[kept].max(), strata + 1)[1:-1]
    of_kept = np.searchsorted(edges, scores[kept], side="right")
    picks = pick("ccs", {"scores": scores}, [], budget, seed, strata=strata, cutoff=cutoff).indices
    drawn = picks[: min(budget, len(kept))]
    assert np.isin(drawn, kept).all()
    last = sorted(aside.tolist(), key=lambda row: (scores[row], row))
    assert picks[len(drawn) :].tolist() == last[: budget - len(drawn)]
    sizes = np.bincount(of_kept, minlength=strata)
    counts = np.bincount(of_kept[np.searchsorted(kept, drawn)], minlength=strata)
    if scores[kept].min() < scores[kept].max():
        assert sorted(zip(sizes, counts, strict=True)) == list(
            zip(sorted(sizes), fair_shares(sizes.tolist(), len(drawn)), strict=True)
        )


def test_ccs_counts_what_is_labeled_and_continues():
    scores = np.random.default_rng(1).normal(size=300)
    first = select(None, "ccs", 20, scores=scores)
    both = select(None, "ccs", 50, scores=scores, order="lowest", cutoff=0.5)
    assert np.isin(both, np.argsort(-scores)[:150]).all()
    strata = np.arange(300) % 3
    more = pick("ccs", {"scores": strata.astype(float)}, np.flatnonzero(strata)[:20].tolist(), 10, cutoff=0.0, strata=3)
    assert (strata[more.indices] == 0).sum() == 10
    assert len(first) == 20


def plain_d2(points, scores, labeled, budget, neighbors, gamma):
    """Message passing on a full matrix of edges."""
    n = len(points)
    gaps = np.sqrt(pairwise(points))
    far = gaps + np.where(np.eye(n), np.inf, 0)
    near = np.zeros((n, n), bool)
    np.put_along_axis(near, np.argsort(far, axis=1, kind="stable")[:, : min(neighbors, n - 1)], True, axis=1)
    near |= near.T
    values = scores - scores.min()
    values = values + (near * np.exp(-gaps)) @ values
    allowance, order = 1e-9 * values.max(), []
    while len(order) < len(labeled) + budget:
        allowed = np.isin(np.arange(n), labeled) == (len(order) < len(labeled))
        allowed[order] = False
        at = int(np.flatnonzero(allowed & (values >= values[allowed].max() - allowance))[0])
        values = values - near[at] * np.exp(-gamma * gaps[at]) * values[at]
        order.append(at)
    return order[len(labeled) :]


@quick
@given(crowds(), st.integers(1, 6), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 2**32))
def test_d2_equals_its_plain_definition(case, neighbors, gamma, seed):
    points, labeled, budget = case
    scores = np.random.default_rng(seed).normal(size=len(points))
    inputs = {"embeddings": points, "scores": scores}
    selection = pick("d2-pruning", inputs, labeled, budget, neighbors=neighbors, gamma=gamma)
    assert selection.indices.tolist() == plain_d2(points, scores, labeled, budget, neighbors, gamma)


def test_the_images_that_d2_sets_aside_come_last():
    points, scores = cloud(50), np.arange(50.0)
    picks = select(points, "d2-pruning", 50, scores=scores, cutoff=0.2)
    assert picks[-10:].tolist() == list(range(40, 50))
    assert np.isin(select(points, "d2-pruning", 5, scores=scores, order="lowest", cutoff=0.2), np.arange(10, 50)).all()


def test_a_strategy_on_a_score_is_named_with_it(copied_run: Path, initpools: Initpools):
    scored = initpools("score", "typicality", "-o", "scores.npy")
    assert scored.code == 0, scored.err
    for strategy in ("ccs", "d2-pruning"):
        named = initpools("select-pool", f"{strategy}+typicality", "--budget", 12, "-o", "named.npy")
        words = ["--run", "runs/digits"] if strategy == "ccs" else []
        result = initpools("select-pool", strategy, *words, "--scores", "scores.npy", "--budget", 12, "-o", "given.npy")
        assert named.code == result.code == 0, named.err + result.err
        np.testing.assert_array_equal(np.load("named.npy"), np.load("given.npy"))
        assert (copied_run / f"runs/digits/pool/{strategy}+typicality-b12-s0/indices.npy").is_file()
    own = initpools("select-pool", "d2-pruning+typicality", "--budget", 12, "--set", "neighbors=9", "-o", "own.npy")
    assert own.code == 0 and not np.array_equal(np.load("own.npy"), np.load("named.npy"))
    swept = initpools(
        *("al-run", "--init", "random,ccs+typicality", "--query", "d2-pruning+outlier", "--budget", 10),
        *("--rounds", 1, "--seeds", 1, "--threads", 1),
    )
    assert swept.code == 0, swept.err
    for name, message in (
        ("ccs", "'ccs' needs scores."),
        ("ccs+tipicality", "There is no score 'tipicality'."),
        ("kmeans+typicality", "There is no strategy 'kmeans+typicality'."),
    ):
        refused = initpools("select-pool", name, "--budget", 5)
        assert refused.code == 2 and message in refused.err


def test_kmeans_plus_plus_keeps_its_names():
    points = cloud(60)
    np.testing.assert_array_equal(select(points, "kmeans++", 5), select(points, "d2", 5))
