"""What the work runs on: device, processes, threads and precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from initpools_cli.core.config import RunTable
from initpools_cli.core.errors import UserError


@dataclass(frozen=True)
class Machine:
    """The engine of one command.

    Attributes
    ----------
    fabric : Fabric
        Places modules on the device, runs the forward pass in its precision, averages gradients over processes.
    threads : int
        Processor threads.
    """

    fabric: Fabric
    threads: int

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device

    @property
    def facts(self) -> dict[str, Any]:
        """For ``step.toml``."""
        return {
            "device": str(self.device),
            "processes": self.fabric.world_size,
            "threads": self.threads,
            "torch": torch.__version__,
        }


def start_machine(table: RunTable, *, processes: bool = False) -> Machine:
    """Set up device, threads and precision.

    Parameters
    ----------
    table : RunTable
        "auto" takes a GPU where there is one; precision "auto" takes bfloat16 where the processor has instructions for
        it.
    processes : bool
        Join the processes that ``torchrun`` or Slurm started (training only).

    Raises
    ------
    UserError
        A device that this machine or this build of torch does not have.
    """
    kind = _device(table.device)
    threads = table.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    world = int(os.environ.get("WORLD_SIZE", "1")) if processes else 1
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes else 1
    fabric = Fabric(
        accelerator=kind,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if _bf16(table.precision, kind) else "32-true",
    )
    if world > 1:
        fabric.launch()
    return Machine(fabric, threads)


def _device(wanted: str) -> str:
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    if not has[wanted]:
        raise UserError(
            f"run.device = '{wanted}', but torch {torch.__version__} finds no such device here.",
            "Leave it out to take what there is, or install the build of torch for your device (see the README).",
        )
    return wanted


def _bf16(wanted: str, kind: str) -> bool:
    if wanted != "auto":
        return wanted == "bf16"
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
