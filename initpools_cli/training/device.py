"""Device, threads, precision and distributed processes."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from initpools_cli.core.config import RunTable
from initpools_cli.core.cpu import thread_count
from initpools_cli.core.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy `array`, which may be memory-mapped read-only, to a tensor on the device."""
    return torch.from_numpy(np.array(array)).to(device)


@dataclass(frozen=True)
class DeviceConfig:
    """Device and number of threads of a command.

    Attributes
    ----------
    device : torch.device
    threads : int
        CPU threads.
    """

    device: torch.device
    threads: int

    @property
    def facts(self) -> dict[str, Any]:
        """Entries for ``step.toml``."""
        return {"device": str(self.device), "threads": self.threads, "torch": torch.__version__}


def setup_device(table: RunTable) -> DeviceConfig:
    """Choose the device and set the number of threads.

    Parameters
    ----------
    table : RunTable
        Device "auto" uses a GPU if there is one; 0 threads use all cores.

    Raises
    ------
    UserError
        If the device is not available.
    """
    device = torch.device(resolve_device(table.device))
    threads = thread_count(table.threads)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    return DeviceConfig(device, threads)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Context manager that computes on a single thread, so that results do not depend on the number of threads."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the system.

    Activations of tens of megabytes are otherwise allocated page by page in every step: keeping them made training
    steps 8 to 11 % faster (`benchmarks/pretrain.py`), at up to 15 % more memory. Only glibc has this option.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_MMAP_THRESHOLD, 2**30)
        adjust(_M_TRIM_THRESHOLD, 2**31 - 1)


def start_fabric(table: RunTable) -> Fabric:
    """Start Lightning Fabric for training.

    It places modules on devices, runs their forward pass in its precision, and averages gradients over the processes
    started by ``torchrun`` or Slurm. Their process group ends with the process.
    """
    from lightning_fabric import Fabric

    setup_device(table)
    # Its messages on precision and process groups are recorded in step.toml.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    kind = resolve_device(table.device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=kind,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=resolve_precision(table),
    )
    if world > 1:
        fabric.launch()
        atexit.register(_end_process_group)
    return fabric


def _end_process_group() -> None:
    """Destroy the process group, and wait for its threads.

    A thread of gloo that frees a tensor of Python while the interpreter is ending aborts the process (SIGABRT,
    pytorch issue 190489). The threads end with the last reference to their group, and modules that were set up by
    Fabric hold references in cycles.
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
    gc.collect()


def resolve_device(name: str) -> str:
    """Resolve ``run.device`` to "cuda", "mps" or "cpu".

    Raises
    ------
    UserError
        If the device is not available.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    if not has[name]:
        raise UserError(
            f"run.device = '{name}' is not available: torch {torch.__version__} finds no such device.",
            "Use --set run.device=auto, or install the build of torch for your device: "
            "https://pytorch.org/get-started/locally/.",
            name,
        )
    return name


def resolve_precision(table: RunTable) -> Literal["bf16-mixed", "32-true"]:
    """Resolve the precision of forward passes in training; "auto" is bfloat16 if the hardware supports it."""
    return "bf16-mixed" if _bf16(table.precision, resolve_device(table.device)) else "32-true"


def _bf16(precision: str, kind: str) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
