"""Two processes compute the loss and the gradient of one."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import distributed
from torch.nn import functional as F

from initpools_cli.pretext.gather import gather
from initpools_cli.pretext.simclr import nt_xent

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
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    weight, ids = start(), torch.arange(ROWS).chunk(2)[rank]
    loss = loss_of(*embeddings(weight, ids), ids)
    loss.backward()
    # What data-parallel training does with gradients, and with the loss for the log.
    for value in (weight.grad, loss.detach()):
        distributed.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save({"loss": loss.detach(), "gradient": weight.grad}, f"{folder}/two.pt")
    distributed.destroy_process_group()


def test_negatives_are_gathered_with_their_gradients(tmp_path: Path) -> None:
    mp.spawn(half, (str(tmp_path),), nprocs=2)
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    weight, ids = start(), torch.arange(ROWS)
    loss = loss_of(*embeddings(weight, ids), ids)
    loss.backward()
    torch.testing.assert_close(two["loss"], loss.detach())
    torch.testing.assert_close(two["gradient"], weight.grad)
