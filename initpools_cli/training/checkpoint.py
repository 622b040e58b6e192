"""Unfinished training on disk: whole or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from initpools_cli.core.files import atomic_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values."""
    # Torch reports a full disk as an error of its own; the stream reports it as what it is.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What `save_checkpoint` wrote, its tensors on the device."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
