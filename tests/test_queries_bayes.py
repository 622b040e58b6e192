"""Queries that ask passes with dropout, ensembles, a discriminator, or where the labeled images lie."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tomli
import torch
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import crowds, pick
from scipy.stats import entropy as scipy_entropy

from initpools_cli import training
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.bald import information
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.typiclust import typiclust
from initpools_cli.training.vaal import vaal_scores

quick = settings(max_examples=100, deadline=None)
CPU = torch.device("cpu")


@st.composite
def passes(draw):
    """Predictions (t, n, c), some certain and some equal in all passes."""
    t, n, c = draw(st.integers(2, 5)), draw(st.integers(2, 9)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probs = rng.dirichlet(np.full(c, 0.4), size=(t, n))
    probs[:, rng.random(n) < 0.3] = rng.dirichlet(np.ones(c))
    certain = rng.random((t, n)) < 0.2
    probs[certain] = np.eye(c)[rng.integers(0, c, certain.sum())]
    return probs


def plain_bald(probs):
    return scipy_entropy(probs.mean(axis=0), axis=-1) - scipy_entropy(probs, axis=-1).mean(axis=0)


# ---- passes with dropout


@quick
@given(passes())
def test_bald_and_dbal_equal_their_plain_definitions(probs):
    n = probs.shape[1]
    for name, plain in (("bald", plain_bald(probs)), ("dbal", scipy_entropy(probs.mean(axis=0), axis=-1))):
        selection = choose(name, {"mc_probs": probs}, n)
        np.testing.assert_allclose(selection.scores, plain[selection.indices], atol=1e-12)
        assert (np.diff(selection.scores) <= 0).all() and (selection.scores >= 0).all()


@quick
@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 2**32))
def test_bald_is_exactly_0_where_all_passes_agree(t, c, seed):
    one = np.random.default_rng(seed).dirichlet(np.full(c, 0.3), size=50)
    assert not information(np.repeat(one[None], t, axis=0)).any()


def test_bald_in_closed_form():
    # Sure and opposed; sure and agreed; unsure and agreed; opposed halfway.
    probs = np.array([[[1, 0], [1, 0], [0.5, 0.5], [0.75, 0.25]], [[0, 1], [1, 0], [0.5, 0.5], [0.25, 0.75]]])
    halfway = np.log(2) - scipy_entropy([0.25, 0.75])
    np.testing.assert_allclose(information(probs), [np.log(2), 0, 0, halfway], atol=1e-15)
    with pytest.raises(UserError, match="has 1 pass, but at least 2 are needed"):
        choose("bald", {"mc_probs": probs[:1]}, 1)


def test_powerbald_draws_in_proportion_to_a_power_of_bald():
    a = np.array([0.5, 0.7, 0.9, 1.0, 0.5])
    probs = np.stack([np.stack([a, 1 - a], axis=1), np.stack([1 - a, a], axis=1)])
    bald = information(probs)
    assert bald[0] == bald[4] == 0
    for power in (1.0, 2.0):
        first = [
            choose("powerbald", {"mc_probs": probs}, 5, seed=seed, knobs={"power": power}).indices
            for seed in range(1000)
        ]
        expected = bald**power / (bald**power).sum()
        shares = np.bincount([order[0] for order in first], minlength=5) / 1000
        np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.25 / 1000))
        # What tells nothing comes last, either first of the two.
        assert {tuple(order[3:]) for order in first} == {(0, 4), (4, 0)}


def joint_information(probs):
    """What all labels of the images (t, k, c) tell together, over every way in which they can turn out."""
    k, c = probs.shape[1:]
    likelihoods = np.array(
        [
            np.prod([probs[:, i, y] for i, y in enumerate(labels)], axis=0)
            for labels in itertools.product(range(c), repeat=k)
        ]
    )
    conditional_entropy = sum(scipy_entropy(probs[:, i], axis=-1).mean() for i in range(k))
    return scipy_entropy(likelihoods.mean(axis=1)) - conditional_entropy


@quick
@given(passes())
def test_batchbald_is_the_greedy_choice_by_joint_entropies(probs):
    n, budget = probs.shape[1], min(4, probs.shape[1])
    selection = choose("batchbald", {"mc_probs": probs}, budget, knobs={"least": 1e-6, "samples": 3**4})
    total, picks = 0.0, []
    for row, gain in zip(selection.indices.tolist(), selection.scores, strict=True):
        all_gains = np.array(
            [-1.0 if i in picks else joint_information(probs[:, [*picks, i]]) - total for i in range(n)]
        )
        if gain == 0:
            assert all_gains.max() <= 1e-6 + 1e-9
            break
        assert gain == pytest.approx(all_gains.max(), abs=1e-9) and all_gains[row] >= all_gains.max() - 1e-8
        picks.append(row)
        total += gain


def test_batchbald_does_not_buy_the_same_twice():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=(8, 20)) * 0.5 + np.full(3, 0.5 / 3)
    probs[:, 10:] = rng.dirichlet(np.full(3, 0.1), size=(8, 1))
    assert choose("bald", {"mc_probs": probs}, 4).indices.tolist() == [10, 11, 12, 13]
    twins = choose("batchbald", {"mc_probs": probs}, 4).indices
    assert (twins >= 10).sum() < 4
    # Only what is looked at is chosen jointly, and what tells nothing more follows by BALD.
    few = choose("batchbald", {"mc_probs": probs}, 5, knobs={"top": 3})
    assert few.indices[3:].tolist() == [13, 14] and not few.scores[3:].any()
    sure = choose("batchbald", {"mc_probs": np.full((3, 6, 2), 0.5)}, 4)
    assert sure.indices.tolist() == [0, 1, 2, 3] and not sure.scores.any()


def test_drawn_outcomes_come_close_to_all_of_them():
    probs = np.random.default_rng(1).dirichlet(np.full(3, 0.3), size=(10, 40))
    exact, drawn = (choose("batchbald", {"mc_probs": probs}, 6, knobs={"samples": samples}) for samples in (3**6, 150))
    np.testing.assert_array_equal(exact.indices[:4], drawn.indices[:4])
    assert drawn.scores.sum() == pytest.approx(exact.scores.sum(), rel=0.05)
    assert exact.scores.sum() == pytest.approx(joint_information(probs[:, exact.indices]))


# ---- members, centers, cosines, typical images


@quick
@given(passes())
def test_the_variation_ratio_counts_votes(probs):
    votes = probs.argmax(axis=2).T
    plain = np.array([1 - max(np.mean(row == c) for c in row) for row in votes])
    selection = choose("var-ratio", {"member_probs": probs}, len(votes))
    np.testing.assert_allclose(selection.scores, plain[selection.indices], atol=1e-15)
    assert selection.indices.tolist() == sorted(range(len(votes)), key=lambda row: (-round(plain[row], 9), row))


@quick
@given(crowds())
def test_cog_and_vaal_cosine_equal_their_plain_definitions(case):
    points, labeled, budget = case
    wide = points.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    cosines = units @ units[labeled if labeled else slice(None)].T
    far = np.linalg.norm(wide - wide.mean(axis=0), axis=1)
    for name, plain in (("cog", far), ("vaal-cosine", (1 - cosines).sum(axis=1))):
        selection = pick(name, {"embeddings": points}, labeled, budget)
        np.testing.assert_allclose(selection.scores, plain[selection.indices], atol=1e-5)
        free = np.setdiff1d(np.arange(len(points)), labeled)
        np.testing.assert_allclose(selection.scores, np.sort(plain[free])[::-1][:budget], atol=1e-5)


def test_tcm_turns_from_typiclust_to_margin():
    rng = np.random.default_rng(0)
    inputs = {"embeddings": rng.normal(size=(60, 4)).astype(np.float32), "probs": rng.dirichlet(np.ones(3), 60)}
    for labeled, knobs, other in (
        (5, {}, "typiclust"),
        (6, {}, "margin"),
        (6, {"switch": 7}, "typiclust"),
        (1, {"switch": 1}, "margin"),
    ):
        known = list(range(labeled))
        ours = choose("tcm", inputs, 2, labeled=known, knobs=knobs)
        if other == "typiclust":
            unit = inputs["embeddings"] / np.linalg.norm(inputs["embeddings"], axis=1, keepdims=True)
            theirs = typiclust(unit, np.array(known), 2, generator(0, "tcm"))
        else:
            theirs = choose("margin", inputs, 2, labeled=known)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
    without = choose("tcm", {"embeddings": inputs["embeddings"]}, 2, labeled=list(range(30)))
    assert without.clusters is not None


# ---- VAAL


def squares(n=240):
    """Dark and bright images, with noise; which are bright."""
    rng = np.random.default_rng(0)
    bright = np.arange(n) % 2 == 1
    images = rng.integers(0, 60, (n, 8, 8, 1)) + np.where(bright, 150, 0)[:, None, None, None]
    return images.astype(np.uint8), bright


def test_vaal_takes_what_looks_unlabeled():
    images, bright = squares()
    labeled = np.flatnonzero(~bright)[:40]
    few = {"steps": 60, "batch": 32, "width": 0.25, "latent": 8}
    scores = vaal_scores(images, labeled, 0, CPU, **few)
    assert scores.shape == (240,) and scores.dtype == np.float64 and 0 <= scores.min() <= scores.max() <= 1
    assert bright[choose("vaal", {"vaal_scores": scores}, 50, labeled=labeled).indices].mean() > 0.9
    np.testing.assert_array_equal(scores, vaal_scores(images, labeled, 0, CPU, **few))
    assert not np.array_equal(scores, vaal_scores(images, labeled, 1, CPU, **few))


def test_vaal_of_large_and_oblong_images_and_of_one_label():
    images = np.random.default_rng(0).integers(0, 256, (12, 40, 34, 3)).astype(np.uint8)
    assert np.isfinite(vaal_scores(images, np.array([3]), 0, CPU, steps=2, batch=4, width=0.25)).all()
    for labeled in (np.arange(0), np.arange(12)):
        with pytest.raises(UserError, match=f"{len(labeled)} of 12 are labeled"):
            vaal_scores(images, labeled, 0, CPU)


# ---- whole commands


@pytest.mark.usefixtures("quick_classifier")
def test_rank_has_every_answer_from_the_reference_classifier(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.vaal, "vaal_scores", partial(vaal_scores, steps=5))
    run = copied_run / "runs/digits"
    kept = np.flatnonzero(np.load(run / "data/kept.npy"))
    few = ["--threads", 1, "--depth", 40, "--set", "rank.passes=3", "--set", "rank.members=2"]
    for strategy in ("bald", "batchbald", "vaal", "vaal-cosine", "badge", "tcm"):
        ranked = initpools("rank", strategy, *few, "-o", "order.npy")
        assert ranked.code == 0, (strategy, ranked.err)
        assert ("leaking" in ranked.err) is (strategy != "tcm"), strategy
        order = np.load("order.npy")
        assert order.dtype == np.int64 and np.array_equal(np.sort(order), kept), strategy
        table = tomli.loads((run / "rank" / strategy / "step.toml").read_text())["table"]
        assert table["passes"] == (3 if "bald" in strategy else 0)
    bald = np.load(run / "rank/bald/scores.npy")[np.load(run / "rank/bald/sorted_idx.npy")]
    assert bald[0] > 0 and (np.diff(bald) <= 0).all()
    votes = initpools("rank", "var-ratio", *few)
    # Two members that agree on nearly all images say nothing, and that is said.
    assert votes.code == 0 or "have the same value" in votes.err
    assert "training classifier 2 of 2" in votes.err
    np.save("labeled.npy", kept[:40])
    beside = initpools("rank", "vaal", *few, "--labeled", "labeled.npy")
    assert "40 labeled images" in beside.err and len(beside.out.split()) == len(kept) - 40


def test_what_a_strategy_does_not_order_itself_follows(tmp_path: Path, monkeypatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("emb.npy", rng.normal(size=(1100, 4)))
    np.save("probs.npy", rng.dirichlet(np.ones(3), 1100))
    np.save("labeled.npy", np.arange(6))
    files = ["--embeddings", "emb.npy", "--threads", 1, "-o", "order.npy"]
    for strategy, more, own in (("kmeans", [], 1000), ("kmeans", ["--depth", 7], 7), ("disparity", ["--depth", 7], 7)):
        assert initpools("rank", strategy, *files, *more).code == 0
        order = np.load("order.npy")
        assert sorted(order) == list(range(1100)) and (np.diff(order[own:]) > 0).all()
        picked = choose(strategy, {"embeddings": np.load("emb.npy")}, own)
        np.testing.assert_array_equal(order[:own], picked.indices)
    # One that scores them all goes on by that, and what is labeled is not ranked.
    more = ["--probs", "probs.npy", "--labeled", "labeled.npy", "--depth", 2]
    assert initpools("rank", "tcm", *files, *more).code == 0
    by_margin = choose("margin", {"probs": np.load("probs.npy")}, 1094, labeled=np.arange(6))
    np.testing.assert_array_equal(np.load("order.npy"), by_margin.indices)


def test_another_classifiers_answers_do_not_go_with_brought_probabilities(
    copied_run: Path, initpools: Initpools
) -> None:
    np.save("probs.npy", np.full((1797, 10), 0.1))
    for strategy, missing in (("bald", "mc_probs"), ("badge", "features"), ("var-ratio", "member_probs")):
        refused = initpools("rank", strategy, "--run", "runs/digits", "--probs", "probs.npy")
        assert refused.code == 2 and f"'{strategy}' needs {missing}" in refused.err
