"""Strategies that spread picks or follow a query set or a score, against plain definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import crowds, go_on, pairwise, pick

from initpools_cli.geometry.farthest_first import nearest_to_mean

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
    if metric == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)
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
