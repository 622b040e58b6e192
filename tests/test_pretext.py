"""Pretext tasks: losses against naive twins, scores agree with training, an interrupted fit ends in the same bytes."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import untrained
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.core.config import RunTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.interrupts import deferred_stop
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.simclr import nt_xent
from initpools_cli.training.device import start_fabric
from initpools_cli.training.fit import Plan, fit
from initpools_cli.training.infer import features, scores
from initpools_cli.training.monitor import measure
from initpools_cli.training.running_stats import RunningStats

CPU = torch.device("cpu")
SCORED = [method.name for method in pretexts if method.build.high_score]


def images(n: int = 24, size: int = 16, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def task(name: str, channels: int = 1, size: int = 16) -> Pretext:
    return untrained(name, channels=channels, size=size)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(RunTable(precision="fp32", threads=1, device="cpu"))


def unit(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed)).double(), dim=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.floats(0.05, 2), st.integers(0, 10**6))
def test_nt_xent_equals_its_naive_twin(b: int, temperature: float, seed: int) -> None:
    first, second = unit(b, seed), unit(b, seed + 1)
    bank, owners = torch.cat([first, second]), torch.arange(b).repeat(2)
    losses = nt_xent(first, second, bank, torch.arange(b)[:, None] == owners, temperature)
    for i in range(b):
        positive = math.exp(float(first[i] @ second[i]) / temperature)
        negative = sum(
            math.exp(float(first[i] @ other) / temperature)
            for other, owner in zip(bank, owners, strict=True)
            if owner != i
        )
        assert float(losses[i]) == pytest.approx(-math.log(positive / (positive + negative)), rel=1e-9, abs=1e-12)


def test_a_batch_of_one_has_no_loss_and_ours_has() -> None:
    """The predecessor scored one pair at a time, where the positive is all there is in the denominator."""
    first, second = unit(200, 0), unit(200, 1)
    alone = torch.cat(
        [
            nt_xent(a[None], p[None], torch.stack([a, p]), torch.tensor([[True, True]]), 0.1)
            for a, p in zip(first, second, strict=True)
        ]
    )
    assert torch.equal(alone, torch.zeros(200, dtype=torch.double))
    simclr = task("simclr")
    losses = scores(simclr, images(), views=2, reference=16, batch=8, seed=0, device=CPU)
    assert losses.min() > 0
    assert len(np.unique(losses)) == len(losses)


@pytest.mark.parametrize("name", SCORED)
def test_scoring_agrees_with_training(name: str) -> None:
    """The mean score against a batch is the training loss of that batch, network and draws being the same."""
    pretext = task(name).eval()
    draws = Draws(3, 0, torch.arange(8))
    shown = torch.from_numpy(images())[pretext.rows(draws)]
    with torch.inference_mode():
        inputs = pretext.inputs(shown, draws)
        outputs = pretext(*inputs)
        trained = pretext.losses(inputs, outputs, draws.ids)
        scored = pretext.losses(inputs, outputs, draws.ids, pretext.reference(shown, draws))
    assert trained.dtype == torch.double
    torch.testing.assert_close(trained, scored)


@pytest.mark.parametrize("name", pretexts.names())
def test_the_contract_of_a_pretext(name: str, fabric: Fabric, tmp_path: Path) -> None:
    for channels in (1, 3):
        pretext = task(name, channels)
        rows = list(
            fit(
                pretext,
                images(channels=channels),
                np.arange(24),
                Plan(2, 8, 0),
                fabric,
                checkpoint=tmp_path / f"{channels}.pt",
            )
        )
        assert [row["epoch"] for row in rows] == [1, 2]
        assert all(math.isfinite(row["loss"]) for row in rows)
        embeddings = np.concatenate(
            list(features(pretext, images(channels=channels), layer="backbone", batch=7, device=CPU))
        )
        assert embeddings.shape[0] == 24 and embeddings.dtype == np.float32 and np.isfinite(embeddings).all()


@pytest.mark.parametrize("name", SCORED)
def test_scores_do_not_depend_on_batch_or_threads_and_depend_on_the_seed(name: str) -> None:
    pretext = task(name)
    first = scores(pretext, images(), views=2, reference=8, batch=24, seed=0, device=CPU)
    parts = scores(pretext, images(), views=2, reference=8, batch=5, seed=0, device=CPU)
    np.testing.assert_allclose(parts, first, rtol=1e-4)
    seen: list[int] = []
    threaded = scores(
        pretext, images(), views=2, reference=8, batch=5, seed=0, device=CPU, threads=3, on_block=seen.append
    )
    assert threaded.tobytes() == parts.tobytes() and sum(seen) == 2 * 24
    assert not np.allclose(scores(pretext, images(), views=2, reference=8, batch=24, seed=1, device=CPU), first)


@pytest.mark.parametrize(
    ("name", "stop", "epoch"), [*((name, 7 / 12, 3) for name in pretexts.names()), ("simclr", 6 / 12, 2)]
)
def test_an_interrupted_fit_goes_on_to_the_same_bytes(
    name: str, stop: float, epoch: int, fabric: Fabric, tmp_path: Path
) -> None:
    """Stopped after the first step of the third of four epochs, or after the last of the second."""

    def run(checkpoint: Path, stop: float = math.inf) -> tuple[Pretext, np.ndarray, list[dict], list[int]]:
        pretext, dynamics, reached = task(name), RunningStats(24), []
        follow = pretext.after_step

        def stopped(outputs: object, progress: float) -> None:
            follow(outputs, progress)
            if progress == pytest.approx(stop):
                signal.raise_signal(signal.SIGINT)

        pretext.after_step = stopped  # type: ignore[method-assign]
        plan = Plan(4, 8, 0)
        loop = fit(
            pretext,
            images(),
            np.arange(24),
            plan,
            fabric,
            checkpoint=checkpoint,
            dynamics=dynamics,
            on_resume=reached.append,
        )
        return pretext, dynamics.table(), list(loop), reached

    straight, moments, rows, _ = run(tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.pt", stop)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, again, others, reached = run(tmp_path / "b.pt")
    assert reached == [epoch]
    assert [row["loss"] for row in others] == [row["loss"] for row in rows]
    assert np.array_equal(moments, again)
    for (key, one), other in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), key


def test_a_second_request_to_stop_is_granted_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_stop() as stop_requested:
        assert not stop_requested()
        signal.raise_signal(signal.SIGINT)
        assert stop_requested()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on after the second request")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 7))
def test_moments_equal_those_of_all_values_together(epochs: list[list[float]], seen: int) -> None:
    """The images of the bits of `seen` are shown in every epoch, the others never."""
    ids = np.flatnonzero([seen >> bit & 1 for bit in range(3)])
    moments, values = RunningStats(3), np.array(epochs)
    for row in values:
        moments.add(torch.from_numpy(ids), torch.from_numpy(row[ids]))
    expected = np.zeros((3, 3))
    expected[ids] = np.stack([np.full(3, len(values)), values.mean(0), values.std(0)], axis=1)[ids]
    np.testing.assert_allclose(moments.table(), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["simclr", "moco"])
def test_dynamics_are_the_probability_of_the_positive_in_the_batch(name: str) -> None:
    pretext = task(name)
    draws = Draws(3, 1, torch.arange(8))
    outputs = pretext(*pretext.inputs(torch.from_numpy(images(8)), draws))
    first, second = (
        F.normalize(part.detach(), dim=1) for part in (outputs.chunk(2) if name == "simclr" else outputs[:2])
    )
    confidence = pretext.confidence(outputs, draws.ids)
    for i in range(8):
        others = [second[j] for j in range(8) if j != i]
        ways = [(first[i], second[i], others)]
        if name == "simclr":
            others += [first[j] for j in range(8) if j != i]
            ways = [(first[i], second[i], others), (second[i], first[i], others)]
        expected = []
        for anchor, positive, negatives in ways:
            likely = [math.exp(float(anchor @ other) / 0.05) for other in (positive, *negatives)]
            expected.append(likely[0] / sum(likely))
        assert float(confidence[i]) == pytest.approx(np.mean(expected), rel=1e-4)


def test_training_learns_something(fabric: Fabric, tmp_path: Path) -> None:
    pretext = task("vae")
    rows = list(fit(pretext, images(), np.arange(24), Plan(15, 8, 0), fabric, checkpoint=tmp_path / "a.pt"))
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]


def test_bad_plans_are_the_users_to_mend(fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain.batch = 25 is more than the 24 training images"):
        list(fit(task("simclr"), images(), np.arange(24), Plan(1, 25, 0), fabric, checkpoint=tmp_path / "a.pt"))
    with pytest.raises(UserError, match="diverged"):
        broken = task("vae")
        broken.lr = 1e12  # type: ignore[assignment]
        list(fit(broken, images(), np.arange(24), Plan(40, 8, 0), fabric, checkpoint=tmp_path / "b.pt"))
    with pytest.raises(UserError, match="rank of the features became nan in epoch 1"):
        plan, rank = Plan(1, 8, 0), {"rank": math.nan}
        path = tmp_path / "d.pt"
        list(fit(task("vae"), images(), np.arange(24), plan, fabric, checkpoint=path, monitor=lambda _: rank))
    with torch.no_grad():
        for weight in (broken := task("vae")).parameters():
            weight.fill_(math.inf)
    assert math.isnan(measure(broken, images(), None, device=CPU)["rank"])
    with pytest.raises(UserError, match="needs square images"):
        wide = np.zeros((4, 8, 16, 1), np.uint8)
        list(fit(task("rotation"), wide, np.arange(4), Plan(1, 2, 0), fabric, checkpoint=tmp_path / "c.pt"))
