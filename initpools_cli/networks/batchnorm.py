"""Batch norm over the batches of all processes (torch's SyncBatchNorm has no CPU tensors), or merged into layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Sum(torch.autograd.Function):
    """Sum over processes; its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the mean and variance over the batches of all processes, in float32.

    In evaluation mode it is an ordinary batch norm. All processes must have the same number of images.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (b, c) or (b, c, h, w), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (b, c) or (b, c, h, w)."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.autocast(input.device.type, enabled=False):
            wide = input.float()
            axes = [axis for axis in range(wide.dim()) if axis != 1]
            shape = [1, -1] + [1] * (wide.dim() - 2)
            count = wide.numel() // wide.shape[1] * distributed.get_world_size()
            mean = _Sum.apply(wide.sum(axes)) / count
            centered = wide - mean.view(shape)
            variance = _Sum.apply(centered.square().sum(axes)) / count
            if self.track_running_stats:
                self._update_running_stats(mean.detach(), variance.detach() * count / max(1, count - 1))
            scale = torch.rsqrt(variance + self.eps)
            if self.weight is not None:
                scale = scale * self.weight
            output = centered * scale.view(shape)
            if self.bias is not None:
                output = output + self.bias.view(shape)
            return output.to(input.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def share_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm in `module` by one over all processes, in place; names and weights are kept."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            batch_norm = SharedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            batch_norm.load_state_dict(child.state_dict())
            for own, theirs in zip(batch_norm.parameters(), child.parameters(), strict=True):
                own.requires_grad_(theirs.requires_grad)
            batch_norm.train(child.training)
            setattr(module, name, batch_norm)
        else:
            share_batch_norm(child)


def merge_batch_norm(module: nn.Module) -> None:
    """Merge each batch norm into the convolution before it, in place, for evaluation; outputs change by rounding.

    Only for networks whose layers are called in the order in which they are defined. Of timm's batch norms with an
    activation, the activation is kept.
    """
    for parent in list(module.modules()):
        for (name, layer), (next_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(layer, norm))
                setattr(parent, next_name, getattr(norm, "act", nn.Identity()))
