"""Tasks on pairs of views: losses against naive twins, what a collapse costs, the state that teachers keep."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import untrained
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.core.config import RunTable
from initpools_cli.core.errors import UserError
from initpools_cli.pretext.barlow import EPSILON as BARLOW_EPSILON
from initpools_cli.pretext.barlow import redundancy
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.byol import crossed_cosine
from initpools_cli.pretext.dino import window
from initpools_cli.pretext.ema import Teacher, momentum_at
from initpools_cli.pretext.moco import NOBODY
from initpools_cli.pretext.two_views import mlp
from initpools_cli.pretext.vicreg import EPSILON as VICREG_EPSILON
from initpools_cli.pretext.vicreg import vicreg_terms
from initpools_cli.training.device import start_fabric
from initpools_cli.training.fit import Plan, fit

TAUGHT = ("byol", "dino", "moco")


def images(n: int = 24, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 1), dtype=np.uint8)


def step(pretext: Pretext, ids: Tensor, epoch: int, progress: float) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """One step as `fit` makes it, with the batch's inputs and outputs."""
    optimizer = pretext.optimizer(512)
    inputs = pretext.inputs(torch.from_numpy(images())[ids], Draws(0, epoch, ids))
    outputs = pretext(*inputs)
    pretext.loss(inputs, outputs, ids).backward()
    optimizer.step()
    pretext.after_step(outputs, progress)
    return inputs, outputs


def pair(b: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(2, b, d, generator=torch.Generator().manual_seed(seed)).unbind())  # type: ignore[return-value]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(RunTable(precision="fp32", threads=1, device="cpu"))


# ---- losses


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_barlow_equals_its_naive_twin(b: int, d: int, seed: int) -> None:
    first, second = (view.double().numpy() for view in pair(b, d, seed))
    loss = 0.0
    for i in range(d):
        for j in range(d):
            c = 0.0
            for n in range(b):
                left = (first[n, i] - first[:, i].mean()) / math.sqrt(first[:, i].var() + BARLOW_EPSILON)
                right = (second[n, j] - second[:, j].mean()) / math.sqrt(second[:, j].var() + BARLOW_EPSILON)
                c += left * right / b
            loss += (1 - c) ** 2 if i == j else 0.3 * c**2
    assert float(redundancy(*pair(b, d, seed), 0.3)) == pytest.approx(loss / d, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_vicreg_equals_its_naive_twin(b: int, d: int, seed: int) -> None:
    views = [view.double().numpy() for view in pair(b, d, seed)]
    invariance = sum((views[0][n, i] - views[1][n, i]) ** 2 for n in range(b) for i in range(d)) / (b * d)
    variance = covariance = 0.0
    for view in views:
        for i in range(d):
            variance += max(0.0, 1 - math.sqrt(view[:, i].var(ddof=1) + VICREG_EPSILON)) / d / 2
            for j in range(d):
                if i != j:
                    c = sum((view[n, i] - view[:, i].mean()) * (view[n, j] - view[:, j].mean()) for n in range(b))
                    covariance += (c / (b - 1)) ** 2 / d
    actual = vicreg_terms(*pair(b, d, seed))
    assert [float(term) for term in actual] == pytest.approx([invariance, variance, covariance], rel=1e-9, abs=1e-12)


def test_byol_and_simsiam_equal_their_naive_twin() -> None:
    predicted, target = torch.cat(pair(3, 4, 0)), torch.cat(pair(3, 4, 1))
    ids = torch.arange(3)
    byol = untrained("byol").losses((), (predicted, target), ids)
    simsiam = untrained("simsiam").losses((), (predicted, target), ids)
    assert byol.dtype == simsiam.dtype == torch.double
    for i in range(3):
        crossed = [(predicted[i], target[3 + i]), (predicted[3 + i], target[i])]
        cosines = [float(p.double() @ t.double() / (p.double().norm() * t.double().norm())) for p, t in crossed]
        assert float(byol[i]) == pytest.approx(2 - 2 * sum(cosines) / 2)
        assert float(simsiam[i]) == pytest.approx(-sum(cosines) / 2)
        apart = sum(float((F.normalize(p, dim=0) - F.normalize(t, dim=0)).square().sum()) for p, t in crossed) / 2
        assert float(byol[i]) == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("local_views", [0, 2])
def test_dino_equals_its_naive_twin(local_views: int) -> None:
    b, k, generator = 3, 5, torch.Generator().manual_seed(0)
    dino = untrained("dino", local_views=local_views, prototypes=k)
    dino.centre = torch.randn(k, generator=generator)
    student = torch.randn((2 + local_views) * b, k, generator=generator)
    teacher = torch.randn(2 * b, k, generator=generator)
    losses = dino.losses((), (student, teacher), torch.arange(b))
    assert losses.dtype == torch.double
    for i in range(b):
        terms = []
        for t in range(2):
            target = np.exp((teacher[t * b + i].double() - dino.centre.double()).numpy() / 0.04)
            for s in range(2 + local_views):
                output = np.exp(student[s * b + i].double().numpy() / 0.1)
                if s != t:
                    terms.append(-float(target / target.sum() @ np.log(output / output.sum())))
        assert len(terms) == 2 * (1 + local_views)
        assert float(losses[i]) == pytest.approx(sum(terms) / len(terms))


def test_moco_equals_its_naive_twin() -> None:
    moco = untrained("moco", queue=4, out=3, temperature=0.2)
    moco.owners = torch.tensor([7, 0, NOBODY, 1])
    (queries, keys), ids = pair(2, 3, 0), torch.tensor([0, 1])
    expected = []
    for i in range(2):
        query, key = (F.normalize(part[i], dim=0).double() for part in (queries, keys))
        positive = math.exp(float(query @ key) / 0.2)
        negative = sum(
            math.exp(float(query @ row.double()) / 0.2)
            for row, owner in zip(moco.queue, moco.owners, strict=True)
            if owner != ids[i]
        )
        expected.append(-math.log(positive / (positive + negative)))
    assert float(moco.loss((), (queries, keys, ids), ids)) == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_what_a_collapsed_network_loses_is_known() -> None:
    """All embeddings alike: the value each loss takes there, to compare a training log with."""
    b, ids = 4, torch.arange(4)
    same = torch.ones(2 * b, 8)
    half = same[:b]
    moco = untrained("moco", queue=16, out=8)
    moco.queue.copy_(F.normalize(torch.ones(16, 8), dim=1))
    assert float(moco.loss((), (half, half, ids), ids)) == pytest.approx(math.log(17))
    assert untrained("byol").losses((), (same, same), ids).tolist() == pytest.approx([0] * b, abs=1e-12)
    assert untrained("simsiam").losses((), (same, same), ids).tolist() == pytest.approx([-1] * b)
    assert float(untrained("barlow").loss((), same, ids)) == pytest.approx(1)
    assert float(untrained("vicreg").loss((), same, ids)) == pytest.approx(25 * (1 - math.sqrt(VICREG_EPSILON)))
    dino = untrained("dino", prototypes=8)
    assert dino.losses((), (same, same), ids).tolist() == pytest.approx([math.log(8)] * b)


def test_identical_and_independent_dimensions_cost_barlow_and_vicreg_nothing() -> None:
    view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * 3
    assert float(redundancy(view, view, 1.0)) == pytest.approx(0, abs=1e-9)
    assert [float(term) for term in vicreg_terms(view, view)] == [0, 0, 0]


def test_crossed_cosine_compares_each_view_with_the_other() -> None:
    first, second = pair(3, 4, 0)
    assert torch.allclose(
        crossed_cosine(torch.cat([first, second]), torch.cat([second, first])), torch.ones(3).double()
    )


# ---- state that no gradient moves


@pytest.mark.parametrize("name", TAUGHT)
def test_the_teacher_takes_no_gradient(name: str) -> None:
    pretext = untrained(name).train()
    before = [weight.clone() for weight in pretext.teacher.parameters()]
    ids = torch.arange(8)
    inputs = pretext.inputs(torch.from_numpy(images())[:8], Draws(0, 1, ids))
    outputs = pretext(*inputs)
    assert not outputs[1].requires_grad
    pretext.loss(inputs, outputs, ids).backward()
    assert all(weight.grad is None for weight in pretext.teacher.parameters())
    student = [weight for name, weight in pretext.named_parameters() if not name.startswith("teacher.")]
    assert all(weight.grad is not None for weight in student)
    optimizer = pretext.optimizer(512)
    assert [id(w) for group in optimizer.param_groups for w in group["params"]] == [id(w) for w in student]
    optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(before, pretext.teacher.parameters(), strict=True))


def test_simsiam_takes_no_gradient_through_its_target() -> None:
    simsiam = untrained("simsiam").train()
    predicted, target = simsiam(*simsiam.inputs(torch.from_numpy(images()), Draws(0, 1, torch.arange(24))))
    assert predicted.requires_grad and not target.requires_grad


@pytest.mark.parametrize("name", TAUGHT)
def test_after_two_steps_the_teacher_is_the_average_in_closed_form(name: str) -> None:
    pretext = untrained(name, momentum=0.9).train()
    students = [_student(pretext)]
    for number, progress in ((1, 0.25), (2, 0.5)):
        step(pretext, torch.arange(8), number, progress)
        students.append(_student(pretext))
    one, two = (0.9, 0.9) if name == "moco" else (momentum_at(0.25, 0.9), momentum_at(0.5, 0.9))
    for own, start, first, second in zip(pretext.teacher.parameters(), *students, strict=True):
        torch.testing.assert_close(own, one * two * start + two * (1 - one) * first + (1 - two) * second)


def _student(pretext: Pretext) -> list[Tensor]:
    parts = [pretext.encoder, pretext.projector, *([pretext.prototypes] if hasattr(pretext, "prototypes") else [])]
    return [weight.detach().clone() for weight in nn.Sequential(*parts).parameters()]  # type: ignore[arg-type]


def test_the_momentum_rises_to_one_along_half_a_cosine() -> None:
    assert [momentum_at(x, 0.9) for x in (0, 0.5, 1)] == pytest.approx([0.9, 0.95, 1])
    network = nn.Linear(2, 2)
    teacher = Teacher(network)
    with torch.no_grad():
        network.weight.add_(1)
    before = teacher.networks[0].weight.clone()
    teacher.follow(network, momentum=1.0)
    assert torch.equal(teacher.networks[0].weight, before)
    teacher.follow(network, momentum=0.0)
    assert torch.equal(teacher.networks[0].weight, network.weight)


@pytest.mark.parametrize("queue", [5, 8, 20, 64])
def test_the_queue_holds_exactly_the_last_keys(queue: int) -> None:
    """Whether or not batches divide it, and where a batch is longer than it."""
    moco = untrained("moco", queue=queue).train()
    start = moco.queue.clone()
    keys, owners = [], []
    for number, first in enumerate((0, 8, 16, 4)):
        ids = torch.arange(first, first + 8)
        _, (_, made, _) = step(moco, ids, number, 1.0)
        keys.append(F.normalize(made, dim=1))
        owners.append(ids)
    last, whose = torch.cat(keys)[-queue:], torch.cat(owners)[-queue:]
    newest_first = (moco.pointer - 1 - torch.arange(len(last))) % queue
    assert torch.equal(moco.queue[newest_first], last.flip(0))
    assert torch.equal(moco.owners[newest_first], whose.flip(0))
    untouched = [place for place in range(queue) if place not in set(newest_first.tolist())]
    assert torch.equal(moco.queue[untouched], start[untouched])
    assert (moco.owners[untouched] == NOBODY).all()


def test_the_queue_starts_from_the_seed() -> None:
    first, again = untrained("moco", queue=16), untrained("moco", queue=16)
    assert torch.equal(first.queue, again.queue)
    torch.testing.assert_close(first.queue.norm(dim=1), torch.ones(16))


def test_dinos_center_follows_the_mean_of_the_teachers_logits() -> None:
    dino = untrained("dino", prototypes=8).train()
    means = [step(dino, torch.arange(8), number, 0.5)[1][1].mean(0) for number in (1, 2)]
    torch.testing.assert_close(dino.centre, 0.9 * 0.1 * means[0] + 0.1 * means[1])


@pytest.mark.parametrize("name", TAUGHT)
def test_the_state_is_in_what_a_checkpoint_holds(name: str) -> None:
    pretext = untrained(name).train()
    step(pretext, torch.arange(8), 1, 0.5)
    other = untrained(name)
    other.load_state_dict(pretext.state_dict())
    ids = torch.arange(8)
    inputs = pretext.inputs(torch.from_numpy(images())[:8], Draws(0, 2, ids))
    assert torch.equal(pretext.loss(inputs, pretext(*inputs), ids), other.train().loss(inputs, other(*inputs), ids))


# ---- views and heads


def test_local_views_are_windows_of_half_the_side() -> None:
    view = torch.arange(2 * 3 * 16 * 18.0).view(2, 3, 16, 18)
    crops = window(view, Draws(0, 1, torch.arange(2)))
    assert crops.shape == (2, 3, 8, 9)
    for image in range(2):
        matches = [
            torch.equal(crops[image], view[image, :, top : top + 8, left : left + 9])
            for top in range(9)
            for left in range(10)
        ]
        assert sum(matches) == 1


def test_dino_trains_with_local_views(fabric: Fabric, tmp_path: Path) -> None:
    dino = untrained("dino", local_views=2)
    rows = list(fit(dino, images(), np.arange(24), Plan(1, 8, 0), fabric, checkpoint=tmp_path / "a.pt"))
    assert math.isfinite(rows[0]["loss"])
    with pytest.raises(UserError, match="Local views have 4 x 4 pixels"):
        dino.inputs(torch.from_numpy(images(size=8)), Draws(0, 1, torch.arange(24)))


@pytest.mark.parametrize("name", ["barlow", "dino", "moco", "vicreg"])
def test_one_image_a_batch_is_the_users_to_mend(name: str, fabric: Fabric, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs at least 2 images per batch"):
        list(fit(untrained(name), images(), np.arange(2), Plan(1, 1, 0), fabric, checkpoint=tmp_path / "a.pt"))


def test_heads_of_a_task_differ_and_leave_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    one, other, again = (mlp(4, 4, 4, seed=0, label=label) for label in ("a", "b", "a"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one[0].weight, again[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert [type(layer).__name__ for layer in mlp(2, 3, 3, 4, seed=0, label="a")] == [
        *("Linear", "BatchNorm1d", "ReLU") * 2,
        "Linear",
    ]
