"""The registered pretext tasks."""

from __future__ import annotations

from initpools_cli.core.registry import Registry

pretexts = Registry("pretext task", "initpools_cli.pretext", "initpools list pretexts")
