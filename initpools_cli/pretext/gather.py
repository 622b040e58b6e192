"""Negatives from every process, with gradients, when training is spread over several."""

from __future__ import annotations

import torch
from torch import Tensor


def gather(tensor: Tensor) -> Tensor:
    """The rows of all processes, in order of rank; the tensor itself where there is one process.

    Gradients flow back to the rank a row came from, so that a loss averaged over ranks has the gradient of the loss on
    the whole batch.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    if not tensor.is_floating_point():
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        return torch.cat(parts)
    from torch.distributed.nn.functional import all_gather

    return torch.cat(tuple(all_gather(tensor)))
