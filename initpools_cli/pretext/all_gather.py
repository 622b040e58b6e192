"""All-gather over processes with gradients, for negatives in distributed training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _Gather(torch.autograd.Function):
    """All-gather; its gradient is the sum over processes of the gradients of this process's rows."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        return _all(tensor)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather(tensor: Tensor) -> Tensor:
    """Return the rows of all processes in order of rank; with one process, the tensor itself.

    Gradients flow back to the rank of each row, so that a loss averaged over ranks has the gradient of the loss on
    the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    return _Gather.apply(tensor) if tensor.is_floating_point() else _all(tensor)


def _all(tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
