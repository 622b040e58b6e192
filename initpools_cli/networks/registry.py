"""The registry of encoders: ``(channels, size, *, width, ...) -> Encoder``."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.core.registry import Registry
from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class NetworkTraits(Traits):
    """What a network may state.

    Attributes
    ----------
    general : bool
        Whether any pretext task can train it; False for one with parts that only certain tasks train.
    """

    general: bool = True


networks = Registry("network", "initpools_cli.networks", "initpools list networks", NetworkTraits)
