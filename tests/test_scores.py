"""Scores: against their plain definitions, in closed form, over the registry, and as whole commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
import torch
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.networks.build import build_encoder
from initpools_cli.scores.ambiguous_to_contrast import ambiguous_to_contrast
from initpools_cli.scores.confidence import confidence
from initpools_cli.scores.correctness import correctness
from initpools_cli.scores.duplicate import duplicate
from initpools_cli.scores.easy_to_contrast import easy_to_contrast
from initpools_cli.scores.el2n import el2n
from initpools_cli.scores.forgetting import forgetting
from initpools_cli.scores.grand import grand
from initpools_cli.scores.hard_to_contrast import hard_to_contrast
from initpools_cli.scores.outlier import outlier
from initpools_cli.scores.prototypicality import prototypicality
from initpools_cli.scores.registry import scores
from initpools_cli.scores.typicality import typicality
from initpools_cli.scores.variability import variability
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.score_name import score_names
from initpools_cli.strategies.checks import refuse_constant
from initpools_cli.strategies.registry import strategies
from initpools_cli.training.dynamics import per_image, record_dynamics
from initpools_cli.training.learners.registry import learners
from initpools_cli.training.network import Network
from initpools_cli.training.running_stats import RunningStats

quick = settings(max_examples=40, deadline=None)
METHODS = [pytest.param(method, id=method.name) for method in scores]
CPU = torch.device("cpu")


def cloud(n: int = 60, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points.astype(np.float64), axis=1, keepdims=True)


def gaps(points: np.ndarray) -> np.ndarray:
    """Distances to all other rows, (n, n) ascending; the row itself comes last."""
    apart = cdist(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(apart, np.inf)
    return np.sort(apart, axis=1)


# ---- against their plain definitions


@quick
@given(st.integers(2, 60), st.integers(1, 25), st.integers(0, 2**32))
def test_scores_of_neighbors_equal_plain_ones(n: int, k: int, seed: int) -> None:
    points = cloud(n, 3, seed)
    sorted_gaps = gaps(points)
    used = min(k, max(1, n // 2))
    np.testing.assert_allclose(typicality(points, neighbors=k), 1 / (sorted_gaps[:, :used].mean(1) + 1e-5))
    np.testing.assert_allclose(outlier(points, neighbors=k), sorted_gaps[:, min(k, n - 1) - 1])


@quick
@given(st.integers(2, 50), st.integers(1, 4), st.integers(0, 2**32))
def test_duplicate_is_the_largest_cosine_with_another_image(n: int, d: int, seed: int) -> None:
    points = cloud(n, d, seed)
    cosines = unit(points) @ unit(points).T
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_allclose(duplicate(points), cosines.max(axis=1), atol=1e-5)


def test_duplicates_tie_exactly_and_zeros_are_like_zeros_alone() -> None:
    points = cloud(40, 16)
    again = np.concatenate([points, 2 * points[:10], np.zeros((2, 16), np.float32)])
    similarities = duplicate(again)
    assert (similarities[[*range(10), *range(40, 52)]] == 1).all() and (similarities[10:40] < 1).all()
    alone = duplicate(np.concatenate([points, np.zeros((1, 16), np.float32)]))
    assert alone[-1] == 0 and np.array_equal(alone[:-1], duplicate(points))


@quick
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32))
def test_prototypicality_is_minus_the_distance_to_the_nearest_centroid(n: int, clusters: int, seed: int) -> None:
    points = cloud(n, 3, seed)
    centroids = kmeans(points, min(clusters, n), np.random.default_rng(seed)).centroids
    apart = np.linalg.norm(points[:, None].astype(np.float64) - centroids[None], axis=-1)
    values = prototypicality(points, np.random.default_rng(seed), clusters=clusters)
    np.testing.assert_allclose(values, -apart.min(axis=1), atol=1e-6)


def test_what_is_typical_prototypical_and_an_outlier() -> None:
    """A tight cluster, a wide one, and five images that are alike and unlike all others."""
    rng = np.random.default_rng(0)
    tight, wide = rng.normal(0, 0.1, (100, 2)), rng.normal([20, 0], 1, (100, 2))
    points = np.concatenate([tight, wide, rng.normal([0, 40], 0.01, (5, 2))]).astype(np.float32)
    assert typicality(points)[:100].min() > np.median(typicality(points)[100:200])
    assert set(np.argsort(-outlier(points))[:5]) == set(range(200, 205))
    central = prototypicality(points[:200], np.random.default_rng(0), clusters=2)
    assert np.corrcoef(central[:100], -np.linalg.norm(tight - tight.mean(0), axis=1))[0, 1] > 0.99


# ---- in closed form


def test_forgetting_events_of_a_written_matrix() -> None:
    written = ["11111", "01111", "10101", "00100", "00001", "11110", "00000"]
    correct = np.array([[letter == "1" for letter in row] for row in written]).T
    # Never predicted: as many as there are epochs, more than any other can have.
    assert forgetting(correct).tolist() == [0, 0, 2, 1, 0, 1, 5]
    assert forgetting(correct[:1]).tolist() == [0, 1, 0, 1, 1, 0, 1]


@quick
@given(st.integers(1, 9), st.integers(0, 2**32))
def test_a_learned_image_is_never_as_forgotten_as_one_never_learned(epochs: int, seed: int) -> None:
    correct = np.random.default_rng(seed).random((epochs, 30)) < 0.5
    learned = correct.any(axis=0)
    counts = forgetting(correct)
    assert (counts[~learned] == epochs).all() and (counts[learned] <= epochs // 2).all()


def test_cartography_and_early_scores_are_means_over_epochs() -> None:
    probs = np.array([[0.2, 1.0, 0.5], [0.4, 1.0, 0.0]], np.float32)
    np.testing.assert_allclose(confidence(probs), [0.3, 1, 0.25], atol=1e-7)
    np.testing.assert_allclose(variability(probs), [0.1, 0, 0.25], atol=1e-7)
    assert correctness(probs > 0.3).tolist() == [0.5, 1, 0.5]
    for early in (el2n, grand):
        np.testing.assert_allclose(early(probs, early=1), probs[0], atol=1e-7)
        np.testing.assert_allclose(early(probs, early=9), probs.mean(axis=0), atol=1e-7)


@quick
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_running_moments_equal_numpys(epochs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moments, seen = RunningStats(12), np.full((epochs, 12), np.nan)
    for epoch in range(epochs):
        ids = rng.permutation(12)[: rng.integers(1, 12)]
        seen[epoch, ids] = 1e6 + rng.random(len(ids))
        moments.add(torch.from_numpy(ids), torch.from_numpy(seen[epoch, ids]))
    table = moments.table()
    there = ~np.isnan(seen).all(axis=0)
    assert np.array_equal(table[:, 0], (~np.isnan(seen)).sum(axis=0))
    np.testing.assert_allclose(table[there, 1], np.nanmean(seen[:, there], axis=0), rtol=1e-12)
    np.testing.assert_allclose(table[there, 2], np.nanstd(seen[:, there], axis=0), atol=1e-9)


def test_scores_of_contrast_read_mean_and_deviation_and_put_unseen_images_in_the_middle() -> None:
    dynamics = np.array([[3, 0.9, 0.1], [0, 0, 0], [2, 0.5, 0.3], [3, 0.1, 0.0]])
    assert easy_to_contrast(dynamics).tolist() == [0.9, 0.5, 0.5, 0.1]
    np.testing.assert_allclose(hard_to_contrast(dynamics), [0.1, 0.5, 0.5, 0.9])
    assert ambiguous_to_contrast(dynamics).tolist() == [0.1, 0.1, 0.3, 0.0]
    assert hard_to_contrast(np.zeros((3, 3))).tolist() == [0, 0, 0]


# ---- labeled training


def toy_images(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    noise = rng.integers(0, 60, (n, 8, 8, 1))
    return (noise + 180 * labels[:, None, None, None]).astype(np.uint8), labels


def test_gradient_of_the_last_layer_is_that_of_autograd() -> None:
    network = Network(build_encoder("convnet", channels=1, size=8, width=0.25, seed=0), 3, 0).eval()
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    features = network.encoder(images).detach()
    outputs = per_image(features, network.head(features).detach(), targets)
    for row in range(6):
        network.zero_grad()
        F.cross_entropy(network.head(features[row : row + 1]), targets[row : row + 1]).backward()
        norm = torch.cat([parameter.grad.flatten() for parameter in network.head.parameters()]).norm()
        assert float(outputs["grand"][row]) == pytest.approx(float(norm), rel=1e-4)
    probs = network.head(features).softmax(1).detach()
    picked = probs[torch.arange(6), targets]
    torch.testing.assert_close(outputs["true_probs"].float(), picked)
    torch.testing.assert_close(outputs["el2n"].float(), (probs - F.one_hot(targets, 3)).norm(dim=1))
    assert torch.equal(outputs["correct"], probs.argmax(1) == targets)


def test_watching_sees_every_image_learned_and_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    images, labels = toy_images()
    labels[3] = 1 - labels[3]
    knobs = learners.get("scratch").validate({"width": 0.25, "batch": 8})

    def watch(name: str, stop_after: int = 99) -> dict[str, np.ndarray]:
        def stop(epoch: int, accuracy: float) -> None:
            if epoch == stop_after:
                raise KeyboardInterrupt

        return record_dynamics(
            images, labels, 2, epochs=8, seed=0, device=CPU, checkpoint=tmp_path / name, knobs=knobs, on_epoch=stop
        )

    straight = watch("straight")
    with pytest.raises(KeyboardInterrupt):
        watch("stopped", stop_after=3)
    resumed = watch("stopped")
    for name, values in straight.items():
        assert values.shape == (8, 40) and np.isfinite(values).all()
        assert values.tobytes() == resumed[name].tobytes(), name
    # The one wrong label is what the network is least sure of.
    assert confidence(straight["true_probs"]).argmin() == 3
    assert straight["correct"][-1].mean() > 0.9


# ---- the registry


def inputs_for(embeddings: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    n, rng = len(embeddings), np.random.default_rng(seed)
    probs = rng.random((6, n)).astype(np.float32)
    dynamics = np.column_stack([rng.integers(0, 3, n), rng.random(n), rng.random(n) / 2])
    return {
        "embeddings": embeddings,
        "dynamics": dynamics,
        "true_probs": probs,
        "correct": probs > 0.5,
        "el2n": probs,
        "grand": 3 * probs,
    }


HARD = {
    "one image": cloud(1),
    "two images": cloud(2),
    "all duplicates": np.ones((30, 4), np.float32),
    "zero vectors": np.zeros((30, 4), np.float32),
    "many duplicates": np.repeat(cloud(6), 10, axis=0),
    "one dimension": cloud(50, 1),
    "large offset": cloud(40) + 1000,
    "float64": cloud(40).astype(np.float64),
    "not contiguous": cloud(80, 10)[::2, ::2],
}


def score_of(method: Method, embeddings: np.ndarray, normalize: bool = True) -> np.ndarray:
    return evaluate(method, inputs_for(embeddings), method.validate({}), normalize, seed=0)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("method", METHODS)
def test_every_score_is_one_finite_number_an_image(method: Method, case: str, normalize: bool) -> None:
    values = score_of(method, HARD[case], normalize)
    assert values.dtype == np.float64 and values.shape == (len(HARD[case]),) and np.isfinite(values).all()
    assert values.tobytes() == score_of(method, HARD[case], normalize).tobytes()
    if "duplicates" in case and "embeddings" in method.inputs and not method.traits.separates_copies:
        # Equal images, equal scores.
        _, copies = np.unique(HARD[case], axis=0, return_inverse=True)
        assert all(len(np.unique(values[copies.ravel() == copy])) == 1 for copy in np.unique(copies))


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_threads_score_the_same(method: Method) -> None:
    embeddings = cloud(3000, 24)
    values = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            values.append(score_of(method, embeddings))
    assert values[0].tobytes() == values[1].tobytes()


@pytest.mark.parametrize(
    "method", [m for m in METHODS if "embeddings" in m.values[0].inputs and not m.values[0].traits.separates_copies]
)
def test_constant_features_say_nothing_and_are_refused(method: Method) -> None:
    with pytest.raises(UserError, match=r"constant within rounding|have the same value"):
        refuse_constant(score_of(method, np.ones((30, 4), np.float32)))
    with pytest.raises(UserError, match="NaN or infinity in 4"):
        score_of(method, np.where(np.eye(30, 4), np.nan, 1.0))


def test_what_is_registered_is_described_and_hides_no_strategy() -> None:
    strategy_names = {name for method in strategies for name in (method.name, *method.aliases)}
    assert not strategy_names & set(score_names())
    for method in scores:
        assert method.traits.high and method.summary.endswith(".")
        labeled = bool({"true_probs", "correct", "el2n", "grand"} & set(method.inputs))
        assert method.traits.oracle is labeled
        assert "order" not in method.knobs


# ---- whole commands


def test_scores_select_rank_and_query_under_their_names(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    kept, embedded = np.load(run / "data/kept.npy"), np.load(run / "embed/simclr/train.npy")
    scored = initpools("score", "typicality", "--set", "neighbors=10", "-o", "t.npy")
    assert scored.code == 0, scored.err
    values = np.load("t.npy")
    plain = 1 / (gaps(unit(embedded[kept]))[:, :10].mean(axis=1) + 1e-5)
    np.testing.assert_allclose(values[kept], plain, rtol=1e-4)
    assert (values[~kept] == np.median(values[kept])).all()
    facts = tomli.loads((run / "score/typicality/step.toml").read_text())
    assert facts["table"]["source"] == "embed/simclr" and set(facts["reads"]) == {
        "data/items.csv", "embed/simclr/train.npy",
    }  # fmt: skip

    highest = initpools("select-pool", "typicality", "--budget", 6, "--set", "neighbors=10")
    order = np.flatnonzero(kept)[np.argsort(-values[kept], kind="stable")]
    assert [int(word) for word in highest.out.split()] == order[:6].tolist()
    lowest = initpools("rank", "typicality", "--set", "neighbors=10", "--set", "order=lowest", "-o", "low.npy")
    assert lowest.code == 0, lowest.err
    assert np.load("low.npy").tolist() == np.flatnonzero(kept)[np.argsort(values[kept], kind="stable")].tolist()
    # What the command line does not say is a default, whatever was made before.
    assert "made first" in initpools("select-pool", "typicality", "--budget", 6).err

    swept = initpools(
        "al-run", "--init", "hard-to-contrast,outlier", "--query", "ambiguous-to-contrast,duplicate", "--budget", 5,
        "--rounds", 1, "--seeds", 1, "--set", "al.params.outlier={neighbors=3}", "--threads", 1,
    )  # fmt: skip
    assert swept.code == 0, swept.err
    table = tomli.loads((run / "score/outlier/step.toml").read_text())["table"]
    assert table["params"] == {"neighbors": 3, "probes": 0}
    assert pd.read_csv(run / "al/main/rounds.csv")["leaks"].eq(0).all()


def test_dynamics_are_those_of_the_pretrain(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    dynamics, kept = np.load(run / "pretrain/simclr/dynamics.npy"), np.load(run / "data/kept.npy")
    scored = initpools("score", "hard-to-contrast", "-o", "h.npy")
    assert scored.code == 0, scored.err
    seen = kept & (dynamics[:, 0] > 0)
    np.testing.assert_allclose(np.load("h.npy")[seen], 1 - dynamics[seen, 1])
    assert initpools("select-pool", "easy-to-contrast", "--budget", 3, "--from", "simclr").code == 0
    refused = initpools("score", "hard-to-contrast", "--from", "pca")
    assert refused.code == 2 and "'pca'" in refused.err and "initpools pretrain simclr" in refused.err
    refused = initpools("score", "simclr", "--from", "pca")
    assert refused.code == 2 and "no pretrain of simclr named 'pca'" in refused.err


def test_an_oracle_is_marked_wherever_it_is_used(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    few = ["--set", "score.epochs=2", "--threads", 1]
    picked = initpools("select-pool", "el2n", "--budget", 4, *few, "--quiet")
    assert picked.code == 0 and "warning: el2n is an oracle" in picked.err
    ranked = initpools("rank", "confidence", "--depth", 5, *few)
    assert ranked.code == 0 and "confidence is an oracle" in ranked.err and "training on" not in ranked.err
    twice = initpools("score", "grand", *few, "--set", "runs=2")
    assert twice.code == 0 and "dynamics/labels-s1" in twice.err
    for step in ("pool/el2n-b4-s0", "rank/confidence", "score/grand", "dynamics/labels-s1"):
        assert tomli.loads((run / step / "step.toml").read_text())["table"]["oracle"] is True, step
    each = [np.load(run / f"dynamics/labels-s{seed}/grand.npy") for seed in (0, 1)]
    kept = np.load(run / "data/kept.npy")
    assert all(values.shape == (2, len(kept)) and np.isnan(values[:, ~kept]).all() for values in each)
    plain = np.mean([values[:, kept].mean(axis=0, dtype=np.float64) for values in each], axis=0)
    np.testing.assert_allclose(np.load(run / "score/grand/scores.npy")[kept], plain)

    words = ["al-run", "--budget", 4, "--rounds", 1, "--seeds", 1, *few]
    assert initpools(*words, "--init", "el2n,random", "--query", "random,forgetting").code == 0
    rounds = pd.read_csv(run / "al/main/rounds.csv")
    leaks = {(row.init, row.query if row.round else ""): row.leaks for row in rounds.itertuples()}
    count = int(kept.sum())
    # Each time an oracle chooses, it reads what is not bought.
    assert leaks["random", ""] == leaks["random", "random"] == 0
    assert leaks["el2n", ""] == leaks["el2n", "random"] == count and leaks["random", "forgetting"] == count - 4
    assert leaks["el2n", "forgetting"] == 2 * count - 4
    assert tomli.loads((run / "al/main/step.toml").read_text())["table"]["oracle"] == ["el2n", "forgetting"]

    rows = {row["name"]: row for row in json.loads(initpools("list", "scores", "--json").out)}
    assert rows["el2n"]["oracle"] and rows["el2n"]["knobs"] == {"early": 10} and "arXiv" in rows["el2n"]["paper"]
    assert not rows["typicality"]["oracle"] and rows["typicality"]["inputs"] == ["embeddings"]
    assert "oracle" in next(line for line in initpools("list", "strategies").out.splitlines() if "el2n" in line)


def test_oracles_need_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("bare.npz", train_images=np.random.default_rng(0).integers(0, 255, (30, 8, 8), dtype=np.uint8))
    refused = initpools("score", "el2n", "--dataset", "bare.npz")
    assert refused.code == 2 and "The score el2n needs labels" in refused.err
    assert not Path("runs").exists()


def test_scores_from_a_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    points = cloud(60)
    np.save("emb.npy", points)
    for method in scores:
        alone = initpools("score", method.name, "--embeddings", "emb.npy", "-o", "s.npy")
        if method.inputs != ("embeddings",):
            assert alone.code == 2 and method.name in alone.err and "--run" in alone.err
            continue
        assert alone.code == 0, alone.err
        values = np.load("s.npy")
        assert np.array_equal(values, score_of(method, points))
        printed = initpools("score", method.name, "--embeddings", "emb.npy").out.split()
        assert [float(word) for word in printed] == values.tolist()
        ranked = initpools("rank", method.name, "--embeddings", "emb.npy", "-o", "r.npy")
        assert ranked.code == 0, ranked.err
        best = np.argsort(-values, kind="stable")
        assert np.load("r.npy").tolist() == best.tolist()
        assert initpools_cli.select(points, method.name, 7).tolist() == best[:7].tolist()
    few = initpools("select-pool", "outlier", "--embeddings", "emb.npy", "--budget", 3, "--set", "neighbors=2").out
    assert [int(word) for word in few.split()] == initpools_cli.select(points, "outlier", 3, neighbors=2).tolist()
    assert not Path("runs").exists()


def test_what_scores_are_made_of_is_renewed_and_recorded(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    assert initpools("select-pool", "outlier", "--budget", 3, "--set", "neighbors=2").code == 0
    file = run / "score/outlier/scores.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    damaged = initpools("select-pool", "outlier", "--budget", 4, "--set", "neighbors=2")
    command = re.search(r"`initpools (score .*)`", damaged.err)
    assert damaged.code == 2 and command is not None and "score.params.neighbors=2" in command[1]
    assert initpools(*shlex.split(command[1])).code == 0
    assert file.read_bytes() == whole
    assert initpools("embed", "simclr", "--force", "--set", "layer=projector").code == 0
    assert initpools("embed", "pca").code == 0
    other = initpools("score", "outlier", "--set", "neighbors=2")
    assert other.code == 0 and "embeddings: embed/pca" in other.err
    assert len(list((run / "score").glob("outlier-*"))) == 1
    assert initpools("score", "outlier", "--set", "neighbors=2", "--from", "simclr").err.count("already done") == 1


REFUSED = [
    (["score", "typicalty"], "'typicalty'", "'typicality'"),
    (["score", "typicality", "--set", "neighbours=3"], "'neighbours'", "'neighbors'"),
    (["score", "typicality", "--set", "neighbors=0"], "neighbors = 0", "neighbors"),
    (["select-pool", "outlier", "--budget", "3", "--set", "neighbors=0"], "neighbors = 0", "neighbors"),
    (["score", "el2n", "--from", "simclr"], "--from simclr", "Leave out --from"),
    (["score", "outlier", "--embeddings", "short.npy", "--run", "runs/digits"], "3 rows", "one row"),
    (["score", "simclr", "--set", "score.params.neighbors=3"], "'neighbors'", "score.views"),
]


@pytest.mark.parametrize(("words", "fact", "remedy"), REFUSED, ids=[" ".join(words) for words, *_ in REFUSED])
def test_what_the_user_can_mend(
    words: list[str], fact: str, remedy: str, copied_run: Path, initpools: Initpools
) -> None:
    np.save("short.npy", np.zeros((3, 2), np.float32))
    ended = initpools(*words)
    assert ended.code == 2, ended.err
    error = ended.err[ended.err.index("error:") :]
    assert fact in error and remedy in error and "Traceback" not in ended.err
    assert not (copied_run / "runs/digits/score").exists()
