"""The registry of encoders: ``(channels, size, *, width, ...) -> Encoder``.

A network registered with ``general=False`` has parts that only certain pretext tasks train, and serves those alone.
"""

from __future__ import annotations

from initpools_cli.core.registry import Registry

networks = Registry("network", "initpools_cli.networks", "initpools list networks")
