"""What the work runs on: device, processes, threads and precision."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from initpools_cli.core.config import RunTable
from initpools_cli.core.cpu import threads_of
from initpools_cli.core.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A tensor with a copy of `array`, which may be memory-mapped read-only, on the device."""
    return torch.from_numpy(np.array(array)).to(device)


@dataclass(frozen=True)
class DeviceConfig:
    """What one command computes on.

    Attributes
    ----------
    device : torch.device
    threads : int
        Processor threads.
    """

    device: torch.device
    threads: int

    @property
    def facts(self) -> dict[str, Any]:
        """For ``step.toml``."""
        return {"device": str(self.device), "threads": self.threads, "torch": torch.__version__}


def start_machine(table: RunTable) -> DeviceConfig:
    """Choose the device and set the number of threads.

    Parameters
    ----------
    table : RunTable
        Device "auto" takes a GPU where there is one; 0 threads are all cores.

    Raises
    ------
    UserError
        A device that this machine or this build of torch does not have.
    """
    device = torch.device(device_of(table.device))
    threads = threads_of(table.threads)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    return DeviceConfig(device, threads)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on a single thread, whatever the process is set to: the bytes do not depend on how many there are."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Let the C library reuse what a step has freed instead of handing it back to the system.

    Activations of tens of megabytes are otherwise fetched anew, page by page, in every step: keeping them made training
    steps 8 to 11 % faster (`benchmarks/pretrain.py`), at up to 15 % more memory. Only glibc has the switch.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_MMAP_THRESHOLD, 2**30)
        adjust(_M_TRIM_THRESHOLD, 2**31 - 1)


def start_fabric(table: RunTable) -> Fabric:
    """The engine that training runs through.

    It places modules, runs their forward pass in its precision, and averages gradients over the processes that
    ``torchrun`` or Slurm started.
    """
    from lightning_fabric import Fabric

    start_machine(table)
    # Its remarks on precision and process groups are for its own users; what they say is in step.toml.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    kind = device_of(table.device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=kind,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=precision_of(table),
    )
    if world > 1:
        fabric.launch()
    return fabric


def device_of(wanted: str) -> str:
    """The kind of device that ``run.device`` means here.

    Raises
    ------
    UserError
        One that this machine or this build of torch does not have.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    if not has[wanted]:
        raise UserError(
            f"run.device = '{wanted}', but torch {torch.__version__} finds no such device here.",
            "Leave it out to take what there is, or install the build of torch for your device (see the README).",
        )
    return wanted


def precision_of(table: RunTable) -> Literal["bf16-mixed", "32-true"]:
    """The precision of the forward pass in training: "auto" is bfloat16 where the processor has instructions for it."""
    return "bf16-mixed" if _bf16(table.precision, device_of(table.device)) else "32-true"


def _bf16(wanted: str, kind: str) -> bool:
    if wanted != "auto":
        return wanted == "bf16"
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
