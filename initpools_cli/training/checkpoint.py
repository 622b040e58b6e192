"""Unfinished training on disk: whole or not there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values."""
    # Torch reports a full disk as an error of its own; the stream reports it as what it is.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    with atomic_file(path) as stream:
        stream.write(_first_line(content))
        stream.write(content)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What `save_checkpoint` wrote, its tensors on the device.

    Raises
    ------
    UserError
        Its bytes are not those that were written. Torch itself does not look.
    """
    content = path.read_bytes()
    first, newline, rest = content.partition(b"\n")
    whole = first + newline == _first_line(rest)
    # Version 0.1.0 wrote none of that line.
    if not whole and not content.startswith(b"PK"):
        raise UserError(
            f"{path} is not as it was made.",
            f"Move it away (`mv {path} {path}.damaged`); the same command then begins the training again.",
        )
    state: dict[str, Any] = torch.load(io.BytesIO(rest if whole else content), map_location=device, weights_only=True)
    return state


def _first_line(content: bytes | memoryview) -> bytes:
    return b"sha256 %s\n" % hashlib.sha256(content).hexdigest().encode()
