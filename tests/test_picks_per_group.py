"""Groups in selections: a limit per group, and picks spread over groups."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from conftest import Initpools
from hypothesis import given, settings
from plain import QUICK

import initpools_cli
from initpools_cli import testing
from initpools_cli.core.errors import UserError
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.testing import cloud, inputs_for

quick = settings(max_examples=25, deadline=None)


def plain_limit(strategy: str, inputs: dict, groups: list, budget: int, labeled: list, most: int, **options) -> list:
    """Pick image by image: skip those of full groups, and ask again without them; a cap rises when all are full."""
    n, picked = len(groups), []
    while len(picked) < budget:
        known = [*labeled, *picked]
        used = {group: sum(groups[i] == group for i in known) for group in groups}
        free = [i for i in range(n) if i not in known]
        cap = most
        while all(used[groups[i]] >= cap for i in free):
            cap += most
        open_ = [i for i in free if used[groups[i]] < cap]
        left = {group: sum(groups[i] == group for i in open_) for group in groups}
        room = sum(min(left[group], cap - used[group]) for group in left if left[group])
        closed = [i for i in free if i not in open_]
        count = min(budget - len(picked), room)
        for image in choose(strategy, inputs, count, labeled=known, exclude=closed, **options).indices.tolist():
            if used[groups[image]] < cap:
                picked.append(image)
                used[groups[image]] += 1
    return picked


def caps(groups: np.ndarray, labeled: list, budget: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The fewest and the most images that each group can have, with the labeled ones."""
    size, have = np.bincount(groups), np.bincount(groups[labeled], minlength=groups.max() + 1)
    level = 0
    while np.maximum(np.minimum(size, level + most), have).sum() < budget + len(labeled):
        level += most
    return np.maximum(np.minimum(size, level), have), np.maximum(np.minimum(size, level + most), have)


@st.composite
def cases(draw):
    groups = np.array(draw(st.lists(st.integers(0, 5), min_size=12, max_size=30)))
    groups = np.unique(groups, return_inverse=True)[1]
    labeled = draw(st.lists(st.integers(0, len(groups) - 1), max_size=6, unique=True))
    budget = draw(st.integers(1, len(groups) - len(labeled)))
    return groups, labeled, budget, draw(st.integers(1, 4))


@quick
@given(cases(), st.sampled_from(["random", "kcenter", "typiclust", "score", "margin"]))
def test_a_limit_per_group_equals_its_plain_definition(case, strategy):
    groups, labeled, budget, most = case
    inputs = {**inputs_for(cloud(len(groups))), "groups": groups}
    options = {"labeled": labeled, "per_group": most}
    picks = choose(strategy, inputs, budget, **options).indices
    plain = plain_limit(strategy, inputs, groups.tolist(), budget, labeled, most)
    assert picks.tolist() == plain
    least, greatest = caps(groups, labeled, budget, most)
    have = np.bincount(groups[[*labeled, *picks]], minlength=len(least))
    assert (least <= have).all() and (have <= greatest).all()
    names = np.array([f"patient {9 - code}" for code in groups])
    assert choose(strategy, {**inputs, "groups": names}, budget, **options).indices.tolist() == plain


@pytest.mark.parametrize("method", list(strategies), ids=lambda method: method.name)
def test_every_strategy_keeps_to_a_limit_per_group(method):
    inputs, labeled, knobs = inputs_for(cloud()), [3, 40], QUICK.get(method.name, {})
    for most, budget, balance in ((1, 7, "none"), (2, 25, "kmeans")):
        options = {"labeled": labeled, "balance": balance, "n_clusters": 3, "knobs": knobs}
        picks = choose(method, inputs, budget, per_group=most, **options).indices
        least, greatest = caps(inputs["groups"], labeled, budget, most)
        have = np.bincount(inputs["groups"][[*labeled, *picks]], minlength=len(least))
        assert (least <= have).all() and (have <= greatest).all()
    testing.check_budget(method, "many duplicates", "groups", knobs)


@quick
@given(cases())
def test_picks_spread_over_groups_go_to_those_with_the_fewest_images(case):
    groups, labeled, budget, _ = case
    inputs = {**inputs_for(cloud(len(groups))), "groups": groups}
    selection = choose("kcenter", inputs, budget, labeled=labeled, balance="groups")
    have, size = np.bincount(groups[labeled], minlength=groups.max() + 1), np.bincount(groups)
    for image, group in zip(selection.indices, selection.clusters, strict=True):
        assert groups[image] == group
        assert have[group] == have[have < size].min()
        have[group] += 1


def test_the_first_groups_are_drawn_and_a_larger_pool_begins_with_the_smaller():
    groups = np.repeat(np.arange(30), 4)
    inputs = {"embeddings": cloud(120), "groups": groups}
    firsts = {tuple(choose("random", inputs, 5, balance="groups", seed=seed).clusters) for seed in range(20)}
    assert len(firsts) == 20 and len({group for first in firsts for group in first}) > 20
    large = choose("kcenter", inputs, 40, balance="groups").indices
    assert choose("kcenter", inputs, 8, balance="groups").indices.tolist() == large[:8].tolist()


def test_a_limit_and_a_minimum_distance_hold_together():
    points, groups = cloud(60, 2), np.arange(60) % 4
    inputs = {"embeddings": points, "groups": groups}
    picks = choose("kmeans", inputs, 12, per_group=1, min_distance=0.3, normalize=False).indices
    gaps = np.linalg.norm(points[picks][:, None] - points[picks], axis=2) + 9 * np.eye(len(picks))
    assert gaps.min() >= 0.3
    assert np.bincount(groups[picks[:4]], minlength=4).tolist() == [1, 1, 1, 1]


def test_copies_come_last_and_keep_to_the_limit_among_themselves():
    points = np.repeat(cloud(6), [1, 1, 1, 1, 5, 5], axis=0)
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    selection = choose("kcenter", {"embeddings": points, "groups": groups}, 14, per_group=2)
    assert set(selection.indices[:6]) == {0, 1, 2, 3, 4, 9}
    assert np.bincount(groups[selection.indices[6:8]]).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_group": 2}, "'random' needs groups"),
        ({"balance": "groups"}, "'random' needs groups"),
        ({"per_group": -1, "groups": [0] * 9}, "per_group"),
        ({"per_group": 1, "groups": [0] * 8}, "differ"),
        ({"per_group": 1, "groups": [0.5] * 9}, "groups is 1-D float64"),
        ({"per_group": 1, "groups": ["a"] * 8 + [""]}, "groups has '' for image 8"),
        ({"per_group": 1, "groups": [0] * 8 + [-1]}, "groups has -1 for image 8"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        initpools_cli.select(cloud(9), "random", 3, **options)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Embeddings of 40 scans of 10 patients, their names, and the patient of each by name and by index."""
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", cloud(40))
    rows = [(f"scan-{i}.png", i, f"patient {i % 10}") for i in range(40)]
    Path("ids.txt").write_text("".join(f"{name}\n" for name, _, _ in rows))
    Path("by-id.csv").write_text("id,group\n" + "".join(f"{name},{group}\n" for name, _, group in reversed(rows)))
    Path("by-index.csv").write_text("index,group\n" + "".join(f"{i},{group}\n" for _, i, group in rows))
    return tmp_path


def test_files_alone_name_groups_by_index_or_by_id(files: Path, initpools: Initpools) -> None:
    words = ["select-pool", "kcenter", "--embeddings", "emb.npy", "--budget", 12, "--set", "per_group=1", "--json"]
    one = json.loads(initpools(*words, "--groups", "by-index.csv").out)
    other = json.loads(initpools(*words, "--groups", "by-id.csv", "--ids", "ids.txt").out)
    picks = [row["index"] for row in one["pool"]]
    inputs = {"embeddings": cloud(40), "groups": np.arange(40) % 10}
    assert picks == choose("kcenter", inputs, 12, per_group=1).indices.tolist()
    assert [row["index"] for row in other["pool"]] == picks
    assert [row["path"] for row in other["pool"]] == [f"scan-{i}.png" for i in picks]
    assert one["card"]["groups"] == one["card"]["groups_covered"] == 10 and one["card"]["largest_group"] == 2
    result = initpools(
        "rank", "kcenter@groups", *words[2:4], "--groups", r"(.)\.png", "--ids", "ids.txt", "--depth", 10
    )
    assert sorted(int(name[-5]) for name in result.out.split()[:10]) == list(range(10))
    for arguments, fault in (
        (["select-pool", "kcenter@groups", *words[2:6]], "needs groups, and there are none"),
        (["select-pool", "kcenter", *words[2:6], "--groups", "by-id.csv"], "which is not an integer"),
        (["rank", "kcenter", *words[2:4], "--groups", "by-index.csv"], "has no effect"),
    ):
        refused = initpools(*arguments)
        assert refused.code == 2 and fault in refused.err


def test_a_run_without_groups_takes_them_for_picks_alone(copied_run: Path, initpools: Initpools) -> None:
    Path("g.csv").write_text("index,group\n" + "".join(f"{i},writer {i % 20}\n" for i in range(1797)))
    words = ["select-pool", "random", "--budget", 30, "--set", "per_group=1", "--groups", "g.csv"]
    result = initpools(*words, "--json")
    assert "for picks only" in result.err and json.loads(result.out)["card"]["groups_covered"] == 20
    assert "already done" in initpools(*words).err
    assert "group" not in (copied_run / "runs/digits/data/items.csv").read_text().partition("\n")[0]
    assert initpools("al-run", "--groups", "g.csv").code == 2
