"""Two processes compute what one does: the loss, its gradient, and whole trainings."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from conftest import untrained
from torch import distributed
from torch.nn import functional as F

from initpools_cli.core.config import RunTable
from initpools_cli.networks.batchnorm import share_batch_norm
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.simclr import nt_xent
from initpools_cli.training.device import start_fabric
from initpools_cli.training.fit import Plan, fit
from initpools_cli.training.running_stats import RunningStats

ROWS = 6


def loss_of(first: torch.Tensor, second: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    bank, owners = torch.cat([gather(first), gather(second)]), gather(ids).repeat(2)
    return nt_xent(first, second, bank, ids[:, None] == owners, 0.5).mean()


def embeddings(weight: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(2, ROWS, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    first, second = (F.normalize(images[view][ids] @ weight, dim=1) for view in (0, 1))
    return first, second


def start() -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double).requires_grad_()


def half(rank: int, folder: str) -> None:
    weight, ids = start(), torch.arange(ROWS).chunk(2)[rank]
    loss = loss_of(*embeddings(weight, ids), ids)
    loss.backward()
    # What data-parallel training does with gradients, and with the loss for the log.
    for value in (weight.grad, loss.detach()):
        distributed.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save({"loss": loss.detach(), "gradient": weight.grad}, f"{folder}/loss.pt")


def test_negatives_are_gathered_with_their_gradients(halves: Path) -> None:
    two = torch.load(halves / "loss.pt", weights_only=True)
    weight, ids = start(), torch.arange(ROWS)
    loss = loss_of(*embeddings(weight, ids), ids)
    loss.backward()
    torch.testing.assert_close(two["loss"], loss.detach())
    torch.testing.assert_close(two["gradient"], weight.grad)


#: Between them they gather negatives, keep a queue and a moving average of weights, and share batch terms.
FEW = ("simclr", "moco", "vicreg")
OTHERS = tuple(method.name for method in pretexts if method.name not in FEW)


def train(folder: str, names: tuple[str, ...]) -> dict[str, dict[str, torch.Tensor]]:
    """Train pretext tasks for three steps on sixteen images; return weights, losses and what they recorded."""
    fabric = start_fabric(RunTable(precision="fp32", threads=1, device="cpu"))
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1), dtype=np.uint8)
    states = {}
    for name in names:
        pretext, dynamics = untrained(name, images=16), RunningStats(16)
        path = Path(folder) / f"{name}-{fabric.world_size}.pt"
        rows = list(fit(pretext, images, np.arange(12), Plan(3, 12, 0), fabric, checkpoint=path, dynamics=dynamics))
        losses = torch.tensor([row["loss"] for row in rows])
        states[name] = {**pretext.state_dict(), "losses": losses, "dynamics": torch.tensor(dynamics.table())}
    return states


def half_a_training(rank: int, folder: str, names: tuple[str, ...]) -> None:
    states = train(folder, names)
    if rank == 0:
        torch.save(states, f"{folder}/training.pt")


def test_two_processes_train_what_one_does(halves: Path, tmp_path: Path) -> None:
    """Batch norm, negatives, queues, teachers and batch terms are those of the whole batch."""
    assert_same_trainings(halves, tmp_path, FEW)


@pytest.mark.slow
def test_two_processes_train_what_one_does_in_every_other_task(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("others")
    mp.spawn(one_of_two, (str(folder), OTHERS), nprocs=2)
    assert_same_trainings(folder, tmp_path, OTHERS)


def assert_same_trainings(halves: Path, folder: Path, names: tuple[str, ...]) -> None:
    one = train(str(folder), names)
    two = torch.load(halves / "training.pt", weights_only=True)
    assert one.keys() == two.keys()
    for name, state in one.items():
        for key, value in state.items():
            torch.testing.assert_close(
                two[name][key], value, rtol=1e-3, atol=1e-4, msg=lambda message, at=f"{name} {key}": f"{at}: {message}"
            )


def normalized(inputs: torch.Tensor, *, shared: bool) -> list[torch.Tensor]:
    """The output of a batch norm and the gradients of a loss of it, and its running statistics."""
    layer = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    if shared:
        share_batch_norm(layer)
    inputs = inputs.clone().requires_grad_()
    out = layer(inputs)
    (out.pow(3).sum() + out[:, 0].exp().sum()).backward()
    weight, bias = layer[0].weight.grad, layer[0].bias.grad
    return [out.detach(), inputs.grad, weight, bias, layer[0].running_mean, layer[0].running_var]


def half_a_batch_norm(rank: int, folder: str) -> None:
    out, inputs, *rest = normalized(batch().chunk(2)[rank], shared=True)
    for gradient in rest[:2]:
        distributed.all_reduce(gradient)
    torch.save([gather(out), gather(inputs), *rest], f"{folder}/{rank}.pt")


def batch() -> torch.Tensor:
    return torch.randn(8, 3, 5, 4, generator=torch.Generator().manual_seed(2)) * 2 + 1


def test_batch_norm_is_that_of_the_whole_batch(halves: Path) -> None:
    for rank in (0, 1):
        two = torch.load(halves / f"{rank}.pt", weights_only=True)
        for actual, expected in zip(two, normalized(batch(), shared=False), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def one_of_two(rank: int, folder: str, names: tuple[str, ...]) -> None:
    """Compute this process's half of every test, with the trainings of some tasks."""
    # Two processes on one core, to which a test process is kept, wait for each other in busy loops.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    # As in `start_fabric`: modules of torch.distributed that are imported later keep a reference to the group.
    import lightning_fabric  # noqa: F401

    # Called last, after what `start_fabric` registers.
    atexit.register(write_gloo_threads, Path(folder) / f"threads-{rank}.txt")
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "GROUP_RANK": "0"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half(rank, folder)
    half_a_batch_norm(rank, folder)
    half_a_training(rank, folder, names)


def write_gloo_threads(file: Path) -> None:
    """Write the names of the threads of gloo that still run."""
    tasks = Path("/proc/self/task")
    names = [(task / "comm").read_text() for task in tasks.iterdir()] if tasks.exists() else []
    file.write_text("".join(name for name in names if name.startswith("pt_gloo")), encoding="utf-8")


def test_no_thread_of_gloo_outlives_the_process_group(halves: Path) -> None:
    """One that frees a tensor while the interpreter ends aborts the process."""
    assert [(halves / f"threads-{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)] == ["", ""]


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes computed; starting them takes most of the time."""
    folder = tmp_path_factory.mktemp("halves")
    mp.spawn(one_of_two, (str(folder), FEW), nprocs=2)
    return folder
