"""Attention of a transformer's class token to the patches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class LastAttention(TorchFunctionMode):
    """Context in which the last scaled dot-product attention of a forward pass is recorded.

    Fused kernels do not return attention weights, but queries and keys are enough for those of one token. They are read
    where torch computes the attention, after norms and rotary positions, so that networks need no code of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, and record its arguments if it computes attention."""
        if func is F.scaled_dot_product_attention:
            self._record(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _record(
        self, query: Tensor, key: Tensor, _: Tensor, attn_mask: Tensor | None = None, *rest: Any, **options: Any
    ) -> None:
        self.query, self.key, self.mask = query[:, :, :1], key, attn_mask
        self.scale = options.get("scale") or query.shape[3] ** -0.5

    def of_first_token(self) -> Tensor | None:
        """Return the attention of the first token to all tokens, mean over heads, (b, tokens); None if none ran."""
        if self.query is None:
            return None
        # A matrix product would be rounded to bfloat16 under autocast.
        logits = (self.query.float() * self.key.float()).sum(3) * self.scale
        if self.mask is not None:
            logits = logits + self.mask[..., 0, :]
        return logits.softmax(2).mean(1)


def most_attended(attention: Tensor, share: float) -> Tensor:
    """Mark the fewest patches that together have at least a share of the attention to all patches.

    Parameters
    ----------
    attention : Tensor
        (b, positions).
    share : float
        In (0, 1].

    Returns
    -------
    Tensor
        (b, positions) bool. Of equal patches, the first is marked first.
    """
    # Not every device has float64.
    ordered, order = attention.cpu().double().sort(dim=1, descending=True, stable=True)
    larger = ordered.cumsum(1) - ordered
    marked = larger < share * ordered.sum(1, keepdim=True)
    return torch.zeros_like(marked).scatter(1, order, marked).to(attention.device)
