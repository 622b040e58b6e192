"""The registry of encoders: ``(channels, size, *, width, ...) -> Encoder``."""

from __future__ import annotations

from initpools_cli.core.registry import Registry

networks = Registry("network", "initpools_cli.networks", "initpools list networks")
