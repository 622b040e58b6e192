"""Checkpoints of unfinished training, written atomically and verified by checksum."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to a file."""
    # Torch reports a full disk as its own error; the stream raises OSError.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    with atomic_file(path) as stream:
        stream.write(_first_line(content))
        stream.write(content)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Load a file of `save_checkpoint`, with its tensors on the device.

    Raises
    ------
    UserError
        If the checksum does not match; torch itself does not check.
    """
    content = path.read_bytes()
    first, newline, rest = content.partition(b"\n")
    whole = first + newline == _first_line(rest)
    # Version 0.1.0 wrote no such line.
    if not whole and not content.startswith(b"PK"):
        raise UserError(
            f"{path} was changed after it was written.",
            f"Move it away (`mv {path} {path}.damaged`); the same command then starts the training again.",
            path,
        )
    state: dict[str, Any] = torch.load(io.BytesIO(rest if whole else content), map_location=device, weights_only=True)
    return state


def _first_line(content: bytes | memoryview) -> bytes:
    return b"sha256 %s\n" % hashlib.sha256(content).hexdigest().encode()
