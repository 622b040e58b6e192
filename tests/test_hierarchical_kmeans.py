"""Hierarchical k-means: the division of the budget against its plain definition, and clusters that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.hierarchical_kmeans import balanced_order, cluster_levels, nearest_members
from initpools_cli.strategies.select import choose


def divide(available, used, budget):
    """Give one image at a time to the cluster that has the fewest and is not exhausted, ties to the lower."""
    shares = dict.fromkeys(available, 0)
    for _ in range(budget):
        open_ones = [name for name in sorted(available) if shares[name] < available[name]]
        shares[min(open_ones, key=lambda name: shares[name] + used[name])] += 1
    return shares


def plain_picks(rows, labeled, tree, budget):
    """Divide the budget from the highest level down; take the first rows of each of the lowest clusters."""
    if not tree:
        return rows[:budget]
    *below, labels = tree
    members = {name: [row for row in rows if labels[row] == name] for name in {labels[row] for row in rows}}
    labeled_of = {name: [row for row in labeled if labels[row] == name] for name in members}
    counts = [{name: len(each) for name, each in groups.items()} for groups in (members, labeled_of)]
    shares = divide(*counts, budget)
    return [pick for name, own in members.items() for pick in plain_picks(own, labeled_of[name], below, shares[name])]


@st.composite
def trees(draw):
    """Clusters of clusters, rows in some order, some of them labeled, and a budget."""
    n, levels = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tree = [rng.integers(0, 9, n)]
    for _ in range(levels - 1):
        tree.append(rng.integers(0, draw(st.integers(1, 5)), 9)[tree[-1]] if len(tree) == 1 else tree[-1] // 2)
    order = rng.permutation(n)
    count = draw(st.integers(0, n - 1))
    return order[count:], np.sort(order[:count]), tree, draw(st.integers(1, n - count))


@settings(max_examples=80, deadline=None)
@given(trees())
def test_the_budget_is_divided_as_by_its_plain_definition(case):
    rows, labeled, tree, budget = case
    order = balanced_order(rows, labeled, tree)
    assert sorted(order) == sorted(rows)
    assert sorted(order[:budget]) == sorted(plain_picks(rows.tolist(), labeled.tolist(), tree, budget))


def test_each_level_is_divided_evenly_and_exhausted_clusters_are_skipped():
    leaves = np.repeat([0, 1, 2, 3], [30, 2, 10, 1])
    tree = [leaves, np.array([0, 0, 1, 1])[leaves]]
    order = balanced_order(np.arange(43), np.array([], np.int64), tree)
    # 8 for each of the highest: 6 and 2 below the first, 7 and 1 below the second.
    assert np.bincount(leaves[order[:16]]).tolist() == [6, 2, 7, 1]
    # The second has 11 images, so the first gives 19.
    assert np.bincount(leaves[order[:30]]).tolist() == [17, 2, 10, 1]


def groups_of_groups():
    """Two regions of 4 and 2 groups with 100 and 10 rows in each, far apart."""
    centers = [[0, 0], [0, 4], [4, 0], [4, 4], [100, 100], [100, 104]]
    group = np.repeat(np.arange(6), [100, 100, 100, 100, 10, 10])
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(group), 2))
    return (np.array(centers)[group] + noise).astype(np.float32), group


def test_clusters_of_clusters_are_found():
    points, group = groups_of_groups()
    low, high = cluster_levels(points, [6, 2], np.random.default_rng(0), 10)
    assert len({*zip(low.tolist(), group.tolist(), strict=True)}) == len(set(low.tolist())) == 6
    assert len({*zip(high.tolist(), (group > 3).tolist(), strict=True)}) == 2


def test_picks_are_even_over_regions_and_over_the_groups_of_each():
    points, group = groups_of_groups()
    knobs = {"n_clusters": 6, "branching": 3}
    picks = choose("hierarchical-kmeans", {"embeddings": points}, 16, normalize=False, knobs=knobs)
    assert np.bincount(group[picks.indices]).tolist() == [2, 2, 2, 2, 4, 4]
    assert len(set(zip(picks.clusters.tolist(), (group[picks.indices] > 3).tolist(), strict=True))) == 2
    flat = choose("hierarchical-kmeans", {"embeddings": points}, 12, normalize=False, knobs={**knobs, "levels": 1})
    assert np.bincount(group[flat.indices]).tolist() == [2] * 6
    # With fewer images than the highest level divides by, it is a single cluster.
    one = choose("hierarchical-kmeans", {"embeddings": points}, 12, normalize=False, knobs={**knobs, "branching": 20})
    assert np.bincount(group[one.indices]).tolist() == [2] * 6 and not one.clusters.any()
    # Six labeled images of the second region count as its picks.
    labeled = np.flatnonzero(group == 4)[:6]
    given_labels = choose(
        "hierarchical-kmeans", {"embeddings": points}, 10, labeled=labeled, normalize=False, knobs=knobs
    )
    assert np.bincount(group[given_labels.indices], minlength=6).tolist() == [2, 2, 2, 2, 0, 2]


def test_nearest_members_are_the_nearest_of_each_cluster():
    points = np.array([[0.0], [1.0], [3.0], [9.0], [10.0], [12.0]], np.float32)
    centroids, labels = np.array([[1.0], [10.0]], np.float32), np.array([0, 0, 0, 1, 1, 1])
    assert nearest_members(points, labels, centroids, 2).tolist() == [0, 1, 3, 4]
    assert nearest_members(points, labels, centroids, 9).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("knobs", [{"levels": 0}, {"branching": 1}, {"n_clusters": 0}, {"resampling": -1}])
def test_settings_that_make_no_tree_are_refused(knobs):
    with pytest.raises(UserError, match=f"{next(iter(knobs))} = "):
        choose("hierarchical-kmeans", {"embeddings": groups_of_groups()[0]}, 5, knobs=knobs)
