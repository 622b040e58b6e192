"""SCAN: both losses against naive twins and closed forms, accuracy against all permutations, and the commands."""

from __future__ import annotations

import itertools
import math
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
import torch
from conftest import Initpools, asked_by
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch.nn import functional as F

from initpools_cli import select
from initpools_cli.augment.draws import Draws
from initpools_cli.core.checked_toml import read_checked_toml, write_checked_toml
from initpools_cli.core.config import RunTable
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.scan import SCAN, disagreement, self_labeling, spread
from initpools_cli.stats.clustering import agreement, matched_accuracy
from initpools_cli.steps.encoder import build
from initpools_cli.strategies.call import round_robin
from initpools_cli.training.device import start_fabric
from initpools_cli.training.fit import Plan, fit
from initpools_cli.training.infer import scores

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), dtype=np.uint8)


def task(**knobs: object) -> SCAN:
    method = pretexts.get("scan")
    table = {"method": "scan", "network": "convnet", "width": 0.25, "seed": 0, "augment": "shift"}
    made = build({**table, "params": method.validate({"clusters": 3, **knobs})}, 1, 16, **asked_by(method, 24))
    assert isinstance(made, SCAN)
    return made


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(RunTable(precision="fp32", threads=1, device="cpu"))


def logits(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


# ---- the losses


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10**6))
def test_the_first_loss_equals_its_naive_twin(b: int, k: int, seed: int) -> None:
    first, second = (F.log_softmax(logits(b, k, seed=seed + view), dim=1) for view in (0, 1))
    losses = disagreement(first, second)
    for i in range(b):
        together = sum(math.exp(first[i, c]) * math.exp(second[i, c]) for c in range(k))
        assert float(losses[i]) == pytest.approx(-math.log(together), rel=1e-9)
    mean = [sum(math.exp(first[i, c]) for i in range(b)) / b for c in range(k)]
    assert float(spread(first)) == pytest.approx(-sum(p * math.log(p) for p in mean), rel=1e-9)


def test_the_first_loss_at_its_ends() -> None:
    sure = F.log_softmax(1e4 * torch.eye(4, dtype=torch.double), dim=1)
    assert disagreement(sure, sure).tolist() == [0, 0, 0, 0]
    assert float(spread(sure)) == pytest.approx(math.log(4))
    assert float(spread(sure[:1].repeat(6, 1))) == 0
    opposed = disagreement(sure, sure.roll(1, 0)).requires_grad_()
    assert torch.isfinite(opposed).all() and (opposed > 1000).all()
    even = torch.full((5, 4), -math.log(4))
    assert disagreement(even, even).tolist() == pytest.approx([math.log(4)] * 5)
    # Confident heads are where 0 * log 0 would be.
    free = (1e4 * torch.eye(4, dtype=torch.double)).requires_grad_()
    probs = F.log_softmax(free, dim=1)
    (disagreement(probs, probs.roll(1, 0)).sum() - 5 * spread(probs)).backward()
    assert torch.isfinite(free.grad).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.floats(0, 0.95), st.integers(0, 10**6))
def test_self_labeling_equals_its_naive_twin(b: int, threshold: float, seed: int) -> None:
    weak, strong = logits(b, 3, seed=seed), logits(b, 3, seed=seed + 1)
    by_cluster: dict[int, list[float]] = {}
    for i in range(b):
        probs = F.softmax(weak[i], dim=0)
        cluster = int(probs.argmax())
        if float(probs[cluster]) > threshold:
            strong_probs = F.softmax(strong[i], dim=0)
            by_cluster.setdefault(cluster, []).append(-math.log(strong_probs[cluster]))
    loss, sure = self_labeling(weak, strong, threshold)
    assert int(sure.sum()) == sum(map(len, by_cluster.values())) and len(sure) == b
    means = [sum(each) / len(each) for each in by_cluster.values()]
    assert float(loss) == pytest.approx(sum(means) / max(1, len(means)), rel=1e-9)


def test_without_a_sure_image_nothing_is_learned_and_that_is_said() -> None:
    strong = logits(6, 3).requires_grad_()
    loss, sure = self_labeling(torch.zeros(6, 3), strong, 0.99)
    loss.backward()
    assert loss.item() == 0 and not sure.any() and strong.grad.abs().max() == 0
    unsure = task()
    unsure.begins(2)
    assert unsure.warning_after_training() == ""
    unsure.after_step(torch.zeros(12, 5, 3), 1.0)
    assert unsure.outcome() == {"head": 0, "sure": 0.0}
    assert "no cluster probability exceeded the threshold 0.99" in unsure.warning_after_training()


# ---- training


def test_an_image_is_shown_with_one_of_its_neighbors_and_then_alone() -> None:
    scan = task()
    scan.begins(10)
    draws = Draws(0, 7, torch.tensor([3, 5, 23]))
    rows = scan.rows(draws)
    assert rows[:3].tolist() == [3, 5, 23]
    assert all(int(row - image) % 24 in (1, 2) for image, row in zip(rows[:3], rows[3:], strict=True))
    seen = {int(scan.rows(Draws(0, epoch, torch.tensor([3])))[1]) for epoch in range(1, 8)}
    assert seen == {4, 5}
    (views,) = scan.inputs(torch.from_numpy(IMAGES)[rows], draws)
    assert views.shape == (6, 1, 16, 16)
    second = Draws(0, 8, draws.ids)
    assert scan.rows(second).tolist() == [3, 5, 23]
    weak, strong = scan.inputs(torch.from_numpy(IMAGES)[draws.ids], second)
    assert weak.shape == strong.shape == (3, 1, 16, 16) and not torch.equal(weak, strong)


def test_the_head_with_the_lowest_loss_at_the_end_of_the_first_phase_is_kept() -> None:
    scan = task(heads=3)
    scan.begins(10)
    scan.optimizer(12)
    good = torch.eye(3).repeat(4, 1)[:12] * 9
    bad = torch.zeros(12, 3)
    early, late = torch.stack([good, bad, bad], 1), torch.stack([bad, bad, good], 1)
    scan.after_step(early, 0.4)
    scan.after_step(late, 0.6)
    scan.after_step(late, 0.7)
    scan.after_step(early, 0.8)
    assert scan.best == 2


def test_each_phase_has_a_rate_that_decays() -> None:
    scan = task(lr=0.01, selflabel_lr=1e-4)
    scan.begins(10)
    rates = [scan.rate((epoch - 1 + step / 3) / 10) for epoch in range(1, 11) for step in range(3)]
    assert rates[0] == 1 and rates[21] == pytest.approx(0.01)
    assert all(before > after for phase in (rates[:21], rates[21:]) for before, after in itertools.pairwise(phase))
    assert rates[20] < 0.01


def test_the_loss_is_the_mean_of_the_heads_losses() -> None:
    scan = task(heads=4, entropy_weight=2.0)
    draws = Draws(0, 1, torch.arange(8))
    inputs = scan.inputs(torch.from_numpy(IMAGES)[scan.rows(draws)], draws)
    outputs = scan(*inputs)
    each = []
    for head in range(4):
        shown, neighbors = F.log_softmax(outputs[:, head].double(), dim=1).chunk(2)
        each.append(disagreement(shown, neighbors).mean() - 2.0 * spread(shown))
    torch.testing.assert_close(scan.loss(inputs, outputs, draws.ids), torch.stack(each).mean())
    torch.testing.assert_close(
        scan.losses(inputs, outputs, draws.ids).mean() - 2.0 * spread(F.log_softmax(outputs[:8, 0].double(), dim=1)),
        each[0],
    )


@pytest.mark.parametrize("stop", [5 / 12, 10 / 12])
def test_an_interrupted_training_ends_in_the_same_bytes_in_both_phases(
    stop: float, fabric: Fabric, tmp_path: Path
) -> None:
    """The second of three steps of the second and of the fourth epoch; the last two epochs are the second phase."""

    def run(checkpoint: Path, stop: float = math.inf) -> SCAN:
        scan = task(selflabel=0.5, threshold=0.34)
        follow = scan.after_step

        def stopped(outputs: torch.Tensor, progress: float) -> None:
            follow(outputs, progress)
            if progress == pytest.approx(stop):
                signal.raise_signal(signal.SIGINT)

        scan.after_step = stopped  # type: ignore[method-assign]
        list(fit(scan, IMAGES, np.arange(24), Plan(4, 8, 0), fabric, checkpoint=checkpoint))
        return scan

    straight = run(tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.pt", stop)
    resumed = run(tmp_path / "b.pt")
    assert straight.outcome() == resumed.outcome() and straight.outcome()["sure"] > 0
    for (name, one), other in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_clusters_that_are_there_are_found(fabric: Fabric, tmp_path: Path) -> None:
    """Three kinds of images, and neighbors of the same kind."""
    kinds = np.arange(60) % 3
    images = np.random.default_rng(1).integers(0, 60, (60, 16, 16, 1), dtype=np.uint8)
    for kind, rows in enumerate((slice(0, 5), slice(5, 10), slice(10, 16))):
        images[kinds == kind, rows] += 180
    nearest = np.stack([np.flatnonzero((kinds == kind) & (np.arange(60) != i))[:10] for i, kind in enumerate(kinds)])
    method = pretexts.get("scan")
    table = {"method": "scan", "network": "convnet", "width": 0.25, "seed": 0, "augment": "none"}
    scan = build({**table, "params": method.validate({"clusters": 3, "strong": "none"})}, 1, 16, nearest=nearest)
    list(fit(scan, images, np.arange(60), Plan(40, 30, 0), fabric, checkpoint=tmp_path / "a.pt"))
    with torch.inference_mode():
        probs = scan.eval().assign(torch.from_numpy(images))
    assert matched_accuracy(kinds, probs.argmax(1).numpy()) == 1
    losses = scores(scan, images, views=2, reference=2, batch=60, seed=0, device=torch.device("cpu"))
    assert losses.shape == (60,) and (losses >= 0).all() and losses.mean() < 0.5


# ---- agreement with classes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12))
def test_accuracy_is_that_of_the_best_permutation(pairs: list[tuple[int, int]]) -> None:
    """Clusters 0 to 4 and classes 0 to 3: a class of its own, -1, stands for having no partner."""
    labels, clusters = np.array(pairs).T
    best = max(
        sum(matching[cluster] == label for label, cluster in pairs)
        for matching in itertools.permutations([0, 1, 2, 3, -1])
    )
    assert matched_accuracy(labels, clusters) == best / len(pairs)
    assert matched_accuracy(clusters, labels) == best / len(pairs)


def test_agreement_at_its_ends() -> None:
    labels = np.repeat([4, 7, 9], 10)
    assert agreement(labels, np.repeat([2, 0, 1], 10)) == {"acc": 1, "nmi": pytest.approx(1), "ari": 1}
    together = agreement(labels, np.zeros(30, np.int64))
    assert together == {"acc": pytest.approx(1 / 3), "nmi": 0, "ari": 0}


# ---- commands


def test_scan_goes_from_a_pretrain_to_a_pool(copied_run: Path, initpools: Initpools) -> None:
    missing = initpools("select-pool", "scan", "--budget", 20)
    assert missing.code == 2 and "initpools pretrain scan --run" in missing.err and "--clusters FILE.npy" in missing.err
    made = initpools("pretrain", "scan", "--epochs", 3, "--set", "threshold=0.2", "--threads", 1)
    assert made.code == 0, made.err
    assert "on top of: pretrain/simclr" in made.err and "only looked at: ACC 0." in made.err
    assert "did not fall" not in made.err
    folder = Path("runs/digits/pretrain/scan")
    facts = tomli.loads((folder / "step.toml").read_text())
    assert {"pretrain/simclr/encoder.safetensors", "embed/simclr/train.npy"} <= facts["reads"].keys()
    assert (facts["table"]["network"], facts["table"]["width"], facts["table"]["params"]["clusters"]) == (
        "convnet", 0.25, 10,
    )  # fmt: skip
    clusters, probs = np.load(folder / "clusters.npy"), np.load(folder / "cluster_probs.npy")
    assert clusters.dtype == np.int64 and probs.dtype == np.float32 and probs.shape == (len(clusters), 10)
    assert (probs.argmax(1) == clusters).mean() > 0.99
    items = pd.read_csv("runs/digits/data/items.csv")
    labels = items[items["split"] == "train"]["label"].to_numpy()
    kept = np.load("runs/digits/data/kept.npy")
    assert facts["outcome"]["train_acc"] == matched_accuracy(labels[kept], clusters[kept])
    neighbors = np.load(folder / "neighbors.npy")
    assert neighbors.shape == (len(kept), 20) and kept[neighbors[kept]].all()
    assert 0 <= facts["outcome"]["sure"] <= 1

    pool = initpools("select-pool", "scan", "--budget", 20, "-o", "pool.npy")
    assert pool.code == 0 and "clusters: pretrain/scan" in pool.err
    available = np.bincount(clusters[kept], minlength=10)
    counts = np.bincount(clusters[np.load("pool.npy")], minlength=10)
    assert (counts == round_robin(available, 20)).all()
    spread_out = initpools("select-pool", "random", "--budget", 20, "--balance", "clusters", "-o", "balanced.npy")
    assert spread_out.code == 0
    assert np.bincount(clusters[np.load("balanced.npy")], minlength=10).tolist() == counts.tolist()
    assert initpools("score", "scan-loss").code == 0
    assert initpools("embed", "scan").code == 0
    assert "already done" in initpools("pretrain", "scan", "--epochs", 3, "--set", "threshold=0.2", "--threads", 1).err

    other = initpools("pretrain", "scan", "--from", "simclr", "--epochs", 1, "--set", "clusters=7", "--set", "heads=1")
    assert other.code == 0, other.err
    sevenfold = next(path for path in Path("runs/digits/pretrain").glob("scan-*"))
    assert np.load(sevenfold / "cluster_probs.npy").shape[1] == 7
    again = initpools("select-pool", "scan", "--budget", 20, "--from", "scan", "-o", "again.npy")
    assert again.code == 0 and np.load("again.npy").tolist() == np.load("pool.npy").tolist()

    # As if the source had been trained anew since.
    source = Path("runs/digits/pretrain/simclr/step.toml")
    trained = read_checked_toml(source, "")
    trained["writes"]["encoder.safetensors"] = trained["writes"]["encoder.safetensors"][::-1]
    write_checked_toml(source, trained)
    stale = initpools("select-pool", "scan", "--budget", 5, "--from", "scan")
    assert stale.code == 2 and "made from an earlier" in stale.err
    assert "pretrain scan --epochs 3 --set threshold=0.2 --threads 1 --from simclr" in stale.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "nothing"], "There is no pretrain 'nothing'"),
        (["--from", "vae"], "`initpools pretrain vae"),
        (
            ["--set", "clusters=99999"],
            r"clusters = 99999 is not valid: it must be from 2 to 1\d*, the number of images",
        ),
        (["--set", "clusters=1"], "it must be from 2 to"),
        (["--set", "neighbors=5000"], "neighbors = 5000 must be less than"),
        (["--network", "resnet18"], "of pretrain/simclr, which the task starts from"),
        (["--set", "pretrain.width=2.0"], "of pretrain/simclr, which the task starts from"),
        (["--set", "strong=nonsense"], "no augmentation 'nonsense'"),
        (["--batch", "1"], "pretrain.batch = 1, with"),
    ],
)
def test_bad_input_is_the_users_to_mend(words: list[str], message: str, copied_run: Path, initpools: Initpools) -> None:
    refused = initpools("pretrain", "scan", "--epochs", 1, *words)
    assert refused.code == 2
    assert re.search(message, refused.err), refused.err
    assert not Path("runs/digits/pretrain/scan").exists()


def test_scan_needs_something_to_stand_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = initpools("pretrain", "scan", "--dataset", "digits")
    assert refused.code == 2 and "`initpools pretrain simclr --run runs/digits --dataset digits`" in refused.err
    assert not Path("runs/digits").exists()
    refused = initpools("pretrain", "simclr", "--dataset", "digits", "--from", "vae")
    assert refused.code == 2 and "starts from no other encoder" in refused.err


def test_equal_draws_come_from_one_place() -> None:
    clusters = np.array([0] * 50 + [1] * 3 + [2] * 47)
    picks = select(None, "scan", 20, clusters=clusters, seed=3)
    assert np.bincount(clusters[picks]).tolist() == [9, 3, 8]
    assert clusters[picks[:3]].tolist() == [0, 1, 2]
    assert not np.array_equal(picks, select(None, "scan", 20, clusters=clusters, seed=4))
