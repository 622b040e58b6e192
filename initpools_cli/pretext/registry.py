"""The registered pretext tasks."""

from __future__ import annotations

from initpools_cli.core.registry import Registry
from initpools_cli.core.traits import Traits

pretexts = Registry("pretext task", "initpools_cli.pretext", "initpools list pretexts", Traits)
