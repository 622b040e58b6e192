"""Strategies that can do with and without a model, with patches, and with all labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain import crowds, go_on, pairwise, pick

from initpools_cli import select
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.dcom import competence, pure_ball
from initpools_cli.strategies.freesel import centers
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.uherding import smallest_gap, tempered, uncertainties

quick = settings(max_examples=200, deadline=None)


@st.composite
def crowds_with_predictions(draw):
    points, labeled, budget = draw(crowds())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probs = rng.dirichlet(np.full(3, 0.5), size=len(points))
    if draw(st.booleans()):
        probs = np.eye(3)[rng.integers(0, 3, len(points))] * 0.75 + np.full((len(points), 3), 0.25 / 3)
    return points, probs, labeled, budget


# ---- uherding

UNCERTAINTY = {
    "margin": lambda p: 1 - (np.sort(p)[:, -1] - np.sort(p)[:, -2]),
    "entropy": lambda p: -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1),
    "confidence": lambda p: 1 - p.max(axis=1),
}


@quick
@given(crowds_with_predictions(), st.sampled_from(sorted(UNCERTAINTY)), st.sampled_from([1.0, 2.5]))
def test_uherding_equals_its_plain_definition(case, uncertainty, temperature):
    points, probs, labeled, budget = case
    logits = np.log(np.maximum(probs, 1e-300)) / temperature
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weights = UNCERTAINTY[uncertainty](soft)
    gaps = np.sqrt(pairwise(points[labeled])) if labeled else np.zeros((0, 0))
    bandwidth = gaps[gaps > 0].min(initial=np.inf)
    bandwidth = 0.8 if np.isinf(bandwidth) else bandwidth
    similar = np.exp(-pairwise(points) / bandwidth**2)
    held = similar[labeled].max(axis=0, initial=0)
    picks, gained = [], []
    while len(picks) < budget:
        gains = (np.maximum(similar - held, 0) * weights / weights.mean()).sum(axis=1)
        gains[labeled + picks] = -np.inf
        if gains.max() <= 1e-6:
            break
        picks.append(int(np.flatnonzero(gains >= gains.max() - 1e-6)[0]))
        gained.append(gains[picks[-1]] * weights.mean() / len(points))
        held = np.maximum(held, similar[picks[-1]])
    knobs = {"uncertainty": uncertainty, "temperature": temperature, "bandwidth": 0.8}
    inputs = {"embeddings": points, "probs": probs}
    selection = pick("uherding", inputs, labeled, budget, **knobs)
    np.testing.assert_allclose(selection.scores[: len(gained)], gained, atol=1e-9)
    assert selection.indices.tolist() == go_on(points, labeled, picks, budget)


@quick
@given(crowds_with_predictions(), st.sampled_from([0.6, 2.0]))
def test_uherding_without_a_model_is_maxherding(case, bandwidth):
    points, _, labeled, budget = case
    herding, ours = (
        pick(name, {"embeddings": points}, labeled, budget, bandwidth=bandwidth) for name in ("maxherding", "uherding")
    )
    np.testing.assert_array_equal(ours.indices, herding.indices)


def test_uherding_passes_over_what_the_model_is_sure_of():
    points = np.repeat(np.eye(3, dtype=np.float32), [50, 20, 2], axis=0) + np.float32(0.01) * cloud(72)
    probs = np.repeat([[1.0, 0.0], [0.6, 0.4], [0.5, 0.5]], [50, 20, 2], axis=0)
    plain, unsure = (select(points, "uherding", 2, **more) for more in ({}, {"probs": probs}))
    assert sorted(np.searchsorted([50, 70], plain, side="right")) == [0, 1]
    assert np.searchsorted([50, 70], unsure, side="right").tolist() == [1, 2]
    certain = np.eye(2)[np.arange(72) % 2]
    assert len(set(select(points, "uherding", 20, probs=certain, labeled=[1]).tolist())) == 20


def cloud(n):
    return np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)


def test_what_uherding_is_made_of():
    probs = np.array([[0.8, 0.2, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(tempered(probs, 2)[0], np.array([2, 1, 0]) / 3)
    np.testing.assert_allclose(tempered(probs, 1e-4), np.eye(3)[[0, 0]], atol=1e-12)
    np.testing.assert_allclose(uncertainties(probs, "margin"), [0.4, 0])
    np.testing.assert_allclose(uncertainties(probs, "confidence"), [0.2, 0])
    points = np.array([[0, 3], [0, 3], [-0.0, 3], [4, 0], [4, 1]], np.float32)
    assert smallest_gap(points) == 1 and smallest_gap(points[:3]) == 0 and smallest_gap(points[:0]) == 0
    assert smallest_gap(points[2:4]) == 5


# ---- dcom


def plain_dcom(points, probs, labeled, labels, budget, delta, largest=1.1, resolution=0.05, k=50, a=0.8):
    gaps, n = np.sqrt(pairwise(points)), len(points)
    classes = probs.argmax(axis=1)
    known = [row for row in labeled if labels[row] >= 0]
    classes[known] = labels[known]
    threshold = 0.2 * (gaps[labeled] < delta).any(axis=0).mean() + 0.4
    radii = []
    for row in labeled:
        low, high = 0.0, largest
        while high - low > resolution:
            middle = (low + high) / 2
            ball = np.flatnonzero(gaps[row] < middle)
            low, high = (middle, high) if (classes[ball] == classes[row]).mean() >= threshold else (low, middle)
        radii.append((low + high) / 2)
    covered = (gaps[labeled] < np.array(radii)[:, None]).any(axis=0)
    radius = np.mean(radii) if radii else delta
    c = competence(covered.mean(), k, a)

    def scaled(values):
        return (values - values.min()) / (values.max() - values.min()) if np.ptp(values) else np.zeros(n)

    unsure = scaled(UNCERTAINTY["margin"](probs))
    picks = []
    while len(picks) < budget:
        degrees = ((gaps < radius) & ~covered).sum(axis=1) * 1.0
        unsure_, rows = unsure.copy(), labeled + picks
        degrees[rows] = unsure_[rows] = 0
        score = c * scaled(unsure_) + (1 - c) * scaled(degrees)
        score[rows] = -1
        picks.append(int(score.argmax()))
        covered |= gaps[picks[-1]] < radius
    return picks


@quick
@given(crowds_with_predictions(), st.sampled_from([1.05, 2.03, 3.3]), st.sampled_from([1.1, 4.7]), st.booleans())
def test_dcom_with_a_model_equals_its_plain_definition(case, delta, largest, has_labels):
    points, probs, labeled, budget = case
    labels = np.where(np.isin(np.arange(len(points)), labeled[::2]), np.arange(len(points)) % 3, -1)
    inputs = {"embeddings": points, "probs": probs} | ({"labels": labels} if has_labels else {})
    knobs = {"delta": delta, "max_delta": largest}
    selection = pick("dcom", inputs, labeled, budget, **knobs)
    known = labels if has_labels else np.full(len(points), -1)
    plain = plain_dcom(points, probs, labeled, known, budget, delta, largest)
    assert selection.indices.tolist() == plain


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_dcom_without_a_model_is_probcover(delta):
    points = cloud(200)
    ours, cover = (select(points, name, 60, labeled=[3, 9], delta=delta) for name in ("dcom", "probcover"))
    np.testing.assert_array_equal(ours, cover)


def test_what_dcom_is_made_of():
    assert competence(1.0, 50, 0.8) == 1
    assert competence(0.8, 50, 0.8) == pytest.approx((1 + np.exp(-10)) / 2)
    assert competence(0.0, 50, 0.8) < 1e-15 and competence(0.0, 1e6, 0.8) == 0
    squared = np.array([0.0, 0.1, 0.2, 0.9]) ** 2
    # Up to 0.9 all are alike; from there three of four.
    alike = np.array([True, True, True, False])
    assert pure_ball(squared, alike, 0.7, 1.1, 0.05) == pytest.approx(1.1, abs=0.05)
    assert pure_ball(squared, alike, 0.8, 1.1, 0.05) == pytest.approx(0.9, abs=0.05)
    assert pure_ball(squared, ~alike, 0.8, 1.1, 0.05) < 0.05
    # What is as far as the radius is not in the ball: 1 is tried, and stays.
    assert pure_ball(np.array([0.0, 1.0]), np.array([True, False]), 1.0, 2.0, 1.0) == 1.5


def test_dcom_turns_from_density_to_uncertainty_as_more_is_covered():
    points = np.repeat(np.eye(3, dtype=np.float32), [30, 20, 10], axis=0) + np.float32(0.01) * cloud(60)
    probs = np.repeat([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [30, 20, 10], axis=0)
    probs[35] = [0.5, 0.5, 0]
    few = choose("dcom", {"embeddings": points, "probs": probs}, 2, labeled=[0], knobs={"delta": 0.3})
    assert 30 <= few.indices[0] < 50 <= few.indices[1]
    all_covered = choose("dcom", {"embeddings": points, "probs": probs}, 1, labeled=[0, 30, 50], knobs={"delta": 0.3})
    assert all_covered.indices.tolist() == [35] and all_covered.scores[0] == pytest.approx(1)


# ---- freesel


def plain_centers(patches, count):
    """The centers of one image: k-means from patches far apart, without patches of zeros."""
    patches = patches[patches.any(axis=1)].astype(np.float64)
    count = min(count, len(patches))
    if count == 1:
        return patches.mean(axis=0, keepdims=True)
    centroids = [patches[((patches - patches.mean(axis=0)) ** 2).sum(axis=1).argmax()]]
    while len(centroids) < count:
        centroids.append(patches[np.min([((patches - c) ** 2).sum(axis=1) for c in centroids], axis=0).argmax()])
    centroids = np.array(centroids)
    for _ in range(20):
        own = ((patches[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
        centroids = np.array(
            [patches[own == c].mean(axis=0) if (own == c).any() else centroids[c] for c in range(count)]
        )
    return centroids


@quick
@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.sampled_from(["cosine", "l2"]),
    st.sampled_from(["distance", "farthest"]),
    st.booleans(),
    st.booleans(),
)
def test_freesel_equals_its_plain_definition(seed, count, distance, sampling, has_labeled, has_zeros):
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(int(rng.integers(3, 20)), 5, 4)) + 0.5
    if has_zeros:
        # Often fewer patches are left than there are patterns.
        patches *= (np.arange(5)[:, None] == 2) | (rng.random((len(patches), 5, 1)) < 0.3)
    patches[-1] = patches[0]
    labeled = [1] if has_labeled else []
    n, budget = len(patches), int(rng.integers(1, len(patches) - len(labeled) + 1))
    centroids = [plain_centers(image, count) for image in patches]
    owner, flat = np.repeat(np.arange(n), [len(each) for each in centroids]), np.concatenate(centroids)
    if distance == "cosine":
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    draws, chosen, picks = generator(3, "freesel"), list(labeled), []
    while len(picks) < budget:
        number = draws.random()
        gaps = np.full(len(flat), np.inf)
        for image in chosen:
            squared = ((flat[:, None] - flat[owner == image]) ** 2).sum(axis=2).min(axis=1)
            gaps = np.minimum(gaps, squared / 2 if distance == "cosine" else np.sqrt(squared))
        gaps[np.isin(owner, chosen)] = 0
        gaps[gaps < 1e-9] = 0
        if np.isinf(gaps).any() or not gaps.any():
            gaps = ~np.isin(owner, chosen) * 1.0
        elif sampling == "farthest":
            farthest = gaps >= gaps.max() * (1 - 1e-6)
            # What differs by no more than float32 rounds may go either way; what is the same goes to the lower index.
            assume(np.ptp(gaps[farthest]) <= 1e-12 * gaps.max())
            gaps = farthest * 1.0
            number = 0.0
        total = np.cumsum(gaps**2)
        at = min(int(np.searchsorted(total, number * total[-1], side="right")), np.flatnonzero(gaps)[-1])
        picks.append(owner[at])
        chosen.append(owner[at])
    knobs = {"patterns": count, "distance": distance, "sampling": sampling}
    selection = pick("freesel", {"patches": patches}, labeled, budget, seed=3, **knobs)
    assert selection.indices.tolist() == picks


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_centers_of_many_images_are_those_of_each(count):
    patches = np.random.default_rng(1).normal(size=(30, 4, 3)) + 100
    patches[3, 1] = patches[3, 2]
    means, exists = centers(patches, count)
    for image, centroids in zip(patches, means, strict=True):
        np.testing.assert_allclose(centroids, plain_centers(image, count))
    assert exists.all()


# ---- class-balanced, and what is refused


def test_class_balanced_draws_as_many_of_each_class():
    labels = np.repeat([0, 1, 2], [60, 30, 4])
    picked = select(None, "class-balanced", 21, labels=labels)
    assert np.bincount(labels[picked]).tolist() == [9, 8, 4]
    assert not np.array_equal(picked, select(None, "class-balanced", 21, labels=labels, seed=1))


def test_bad_inputs_are_told():
    points, probs = cloud(20), np.full((20, 2), 0.5)
    patches = np.linspace(0.1, 1, 20)[:, None, None] * np.ones((3, 2))
    for strategy, given_, message in (
        ("class-balanced", {"labels": np.where(np.arange(20) > 4, 0, -1)}, "5 of 20 are unknown, the first .* 0"),
        ("class-balanced", {"labels": np.arange(20) - 3}, "labels has class number -3 for image 0"),
        ("class-balanced", {"labels": np.full(20, 0.5)}, "labels is 1-D float64; it must be 1-D integers"),
        ("class-balanced", {}, "'class-balanced' needs labels"),
        ("freesel", {"patches": np.ones((20, 3))}, r"patches has shape \(20, 3\); it must be 3-D"),
        ("freesel", {"patches": 1e20 * patches, "distance": "l2"}, "patches has values up to 1e.20, too large"),
        ("freesel", {"patches": 0 * patches + 1e20}, "of all 20 images are equal"),
        ("freesel", {}, "'freesel' needs patches"),
        ("dcom", {"embeddings": points, "probs": probs[:9]}, "numbers of images differ: embeddings 20, probs 9"),
        ("dcom", {"embeddings": points, "probs": probs * 3}, "row 0 sums to 3"),
        ("dcom", {"embeddings": points, "delta": 1e-6}, "is too small: no two of the 20 images"),
        ("uherding", {"embeddings": points, "labels": np.zeros(3, int)}, "differ: embeddings 20, labels 3"),
        ("uherding", {"embeddings": points, "temperature": 0.0}, "temperature = 0.0 is not valid"),
    ):
        more = dict(given_)
        with pytest.raises(UserError, match=message):
            select(more.pop("embeddings", None), strategy, 4, normalize=False, **more)


# ---- whole commands


def test_from_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("emb.npy", cloud(60))
    np.save("patches.npy", rng.normal(size=(60, 4, 3)).astype(np.float32))
    np.save("probs.npy", rng.dirichlet(np.ones(3), 60))
    np.save("all.npy", np.arange(60) % 3)
    np.save("some.npy", np.where(np.arange(60) < 6, np.arange(60) % 3, -1))
    pd.DataFrame({"index": [1, 2], "label": ["0", "1"]}).to_csv("some.csv", index=False)
    for strategy, *files in (
        ["freesel", "--patches", "patches.npy"],
        ["class-balanced", "--labels", "all.npy"],
        ["uherding", "--embeddings", "emb.npy", "--probs", "probs.npy"],
        ["dcom", "--embeddings", "emb.npy"],
        ["dcom", "--embeddings", "emb.npy", "--probs", "probs.npy", "--labels", "some.npy"],
    ):
        picked = initpools("select-pool", strategy, "--budget", 9, *files, "-o", "pool.npy")
        assert picked.code == 0, picked.err
        pool = np.load("pool.npy")
        assert len(set(pool.tolist())) == 9
        assert pool.min() >= 6 or "some.npy" not in files
        ranked = initpools("rank", strategy, *files, "-o", "order.npy")
        assert ranked.code == 0, ranked.err
        assert len(np.load("order.npy")) == (54 if "some.npy" in files else 60)
    table = initpools("select-pool", "dcom", "--budget", 9, "--embeddings", "emb.npy", "--labels", "some.csv")
    assert table.code == 2 and "some.csv (--labels) is a table" in table.err and ".npy" in table.err


def test_an_oracle_strategy_is_marked_wherever_it_is_used(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    kept = np.load(run / "data/kept.npy")
    items = pd.read_csv(run / "data/items.csv", dtype=str)
    labels = items[items["split"] == "train"]["label"].to_numpy()
    picked = initpools("select-pool", "class-balanced", "--budget", 20, "-o", "pool.npy")
    assert picked.code == 0 and "warning: class-balanced is an oracle" in picked.err
    assert set(np.unique(labels[np.load("pool.npy")], return_counts=True)[1]) == {2}
    assert tomli.loads((run / "pool/class-balanced-b20-s0/step.toml").read_text())["table"]["oracle"] is True

    words = ["al-run", "--budget", 10, "--rounds", 1, "--seeds", 1, "--threads", 1]
    swept = initpools(*words, "--init", "class-balanced,uherding", "--query", "class-balanced,dcom,uherding")
    assert swept.code == 0, swept.err
    rounds = pd.read_csv(run / "al/main/rounds.csv")
    leaks = {(row.init, row.query if row.round else ""): row.leaks for row in rounds.itertuples()}
    count = int(kept.sum())
    assert leaks["uherding", "dcom"] == leaks["uherding", "uherding"] == leaks["uherding", ""] == 0
    assert leaks["class-balanced", ""] == count and leaks["uherding", "class-balanced"] == count - 10
    picks, encoder = np.load(run / "al/main/picks.npz"), rounds["encoder"][0]
    # The learner's predictions reach them: without they would be MaxHerding and ProbCover.
    model = {query: picks[f"uherding|{query}|linear|{encoder}|0"][10:].tolist() for query in ("dcom", "uherding")}
    again = initpools(*words, "--name", "plain", "--init", "uherding", "--query", "probcover,maxherding")
    assert again.code == 0, again.err
    plain = np.load(run / "al/plain/picks.npz")
    without = {query: plain[f"uherding|{query}|linear|{encoder}|0"].tolist() for query in ("maxherding", "probcover")}
    assert without["maxherding"][:10] == picks[f"uherding|dcom|linear|{encoder}|0"][:10].tolist()
    assert model["uherding"] != without["maxherding"][10:]
    assert model["dcom"] != without["probcover"][10:]

    rows = {row["name"]: row for row in json.loads(initpools("list", "strategies", "--json").out)}
    assert {name for name, row in rows.items() if row["oracle"]} >= {"class-balanced", "el2n"}
    assert not rows["random"]["oracle"] and rows["dcom"]["optional"] == ["probs", "labels"]
    lines = initpools("list", "strategies").out.splitlines()
    assert "(oracle: looks at all labels)." in next(line for line in lines if line.startswith("class-balanced"))
    assert {line.split("\t")[2] for line in lines} == {"nested", "drawn anew"}


def test_bought_labels_are_left_out_and_reach_the_strategy(copied_run: Path, initpools: Initpools) -> None:
    items = pd.read_csv(copied_run / "runs/digits/data/items.csv", dtype=str)
    train = items[items["split"] == "train"].iloc[:30]
    train[["index", "label"]].to_csv("bought.csv", index=False)
    count = int((items["split"] == "train").sum())
    np.save("probs.npy", np.random.default_rng(0).dirichlet(np.ones(10), count))
    words = ["select-pool", "dcom", "--budget", 5, "--probs", "probs.npy", "--run", "runs/digits"]
    picked = initpools(*words, "--labels", "bought.csv", "-o", "pool.npy")
    assert picked.code == 0, picked.err
    assert np.load("pool.npy").min() >= 30
    wrong = train.assign(label="77")
    wrong[["index", "label"]].to_csv("wrong.csv", index=False)
    refused = initpools(*words, "--labels", "wrong.csv")
    assert refused.code == 2 and "77" in refused.err
    np.save("short.npy", np.zeros(7, int))
    short = initpools(*words, "--labels", "short.npy")
    assert short.code == 2 and f"7 labels for {count} train images" in short.err
    without = initpools("select-pool", "freesel", "--budget", 5)
    assert without.code == 2 and "has no patches" in without.err and "--set embed.patches=true" in without.err
