"""Digests of calls: of a function, what it captures, and its arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from initpools_cli.core.checksums import signature
from initpools_cli.geometry.rows import Rows, file_of


def call_digest(function: Any, job: Sequence[Any], digests: dict[int, tuple[Any, bytes]]) -> bytes:
    """Return a digest of everything that the result of ``function(*job)`` depends on, apart from this package.

    Files of `Rows` count by path, size, times and inode, arrays by their content.

    Parameters
    ----------
    digests : dict
        Digests of functions that several calls share; new ones are added.

    Raises
    ------
    TypeError
        An argument is neither a number, a text, an array, `Rows`, a function nor a collection of these.
    """
    digest = hashlib.blake2b(digest_size=20)
    for value in (function, *job):
        if not callable(value):
            _update(digest, value)
            continue
        if id(value) not in digests:
            own = hashlib.blake2b(digest_size=20)
            _update(own, value)
            # Keep the function itself, so that no other object gets its id.
            digests[id(value)] = value, own.digest()
        digest.update(digests[id(value)][1])
    return digest.digest()


def _update(digest: Any, value: Any) -> None:
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    """Yield bytes that differ for different values."""
    if value is None or isinstance(value, bool | int | float | str | bytes | np.dtype):
        yield f"{type(value).__name__} {value!r}".encode()
    elif isinstance(value, np.ndarray | np.generic):
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, Rows):
        yield from _parts(("Rows", _storage(value), value.rows, value.form, value.origin))
    elif isinstance(value, tuple | list):
        yield f"{len(value)} values".encode()
        for each in value:
            yield from _parts(each)
    elif isinstance(value, Mapping):
        yield from _parts([each for name in sorted(value) for each in (name, value[name])])
    elif isinstance(value, partial):
        yield from _parts(("partial", value.func, value.args, value.keywords))
    elif isinstance(value, FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        yield from _parts((_name(value), value.__defaults__, value.__kwdefaults__, closure))
    elif isinstance(value, MethodType) or not hasattr(value, "__qualname__"):
        raise TypeError(f"no digest of {type(value).__name__}")
    else:
        # A class, or a function of a library.
        yield _name(value).encode()


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _storage(rows: Rows) -> Any:
    place = file_of(rows.array)
    if place is None:
        return rows.array
    file, dtype, offset, shape = place
    # Without the device, whose number may change when the machine starts again.
    return str(Path(file).resolve()), signature(Path(file))[1:], dtype, offset, shape
