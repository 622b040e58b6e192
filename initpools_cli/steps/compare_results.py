"""Comparison of a result with the same result computed again, byte by byte or within a tolerance."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: On another processor, or with other versions of libraries, values of arrays may differ by this much, relative to
#: the largest of the array, and still agree.
RTOL = 1e-3
#: The same of numbers in tables: a rounding error can change the class of a few test images.
TOLERANCE = 0.01
#: The same of indices, classes and other values that are equal or not: the share that must be equal.
EQUAL = 0.9
#: Columns of log.csv that are timings.
TIMINGS = ("seconds", "images_per_second")
#: Files of picks, and the file of an order of all images.
PICKS, RANKING = ("indices.npy", "picks.npz"), "sorted_idx.npy"


def first_difference(old_path: Path, new_path: Path) -> str:
    """Return the first difference of two files; empty if there is none.

    All bytes are compared, except for the timings in ``log.csv``.
    """
    if old_path.name == "log.csv":
        return _first_line(_without_timings(old_path), _without_timings(new_path))
    if _same_bytes(old_path, new_path):
        return ""
    readers = {".npy": _arrays, ".npz": _arrays, ".safetensors": _tensors}
    if old_path.suffix in readers:
        reader = readers[old_path.suffix]
        return _first_entry(reader(old_path), reader(new_path)) or "the arrays are equal, but not the bytes"
    if old_path.suffix in (".csv", ".toml"):
        return _first_line(old_path.read_bytes(), new_path.read_bytes())
    return "the bytes differ"


def difference_within(old_path: Path, new_path: Path) -> str:
    """Return how two files differ by more than the tolerances; empty if they don't.

    Floats of arrays are compared with `RTOL`, numbers of tables with `TOLERANCE`, and of everything else the share
    `EQUAL` must be equal: of indices regardless of their order, and of orders of all images the first half.
    """
    if old_path.name == "log.csv":
        return ""
    if old_path.suffix in (".npy", ".npz", ".safetensors"):
        reader = _tensors if old_path.suffix == ".safetensors" else _arrays
        old, new = reader(old_path), reader(new_path)
        if old.keys() != new.keys():
            return _first_entry(old, new)
        share = (
            _share_of_picks if old_path.name in PICKS else _share_of_top if old_path.name == RANKING else _share_equal
        )
        differences = (_beyond(name, old[name], new[name], share) for name in old)
        return next((each for each in differences if each), "")
    if old_path.suffix == ".csv":
        return _beyond_in_table(old_path, new_path)
    return ""


def _same_bytes(old_path: Path, new_path: Path, chunk: int = 1 << 20) -> bool:
    if old_path.stat().st_size != new_path.stat().st_size:
        return False
    with old_path.open("rb") as first, new_path.open("rb") as second:
        while part := first.read(chunk):
            if part != second.read(chunk):
                return False
    return True


def _without_timings(path: Path) -> bytes:
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.drop(columns=[name for name in TIMINGS if name in table]).to_csv(index=False).encode()


def _first_line(old: bytes, new: bytes) -> str:
    before, after = old.splitlines(), new.splitlines()
    for number, (one, other) in enumerate(zip(before, after, strict=False), start=1):
        if one != other:
            return f"line {number} is {_shown(one)}, and {_shown(other)} when it is replayed"
    if len(before) != len(after):
        return f"it has {len(before)} lines, and {len(after)} when it is replayed"
    return "" if old == new else "line ends differ"


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace")
    return f"'{text if len(text) <= 80 else f'{text[:80]}…'}'"


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .npy or .npz file by name."""
    content = np.load(path, allow_pickle=False)
    return {"": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _first_entry(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> str:
    for name in sorted({*old, *new}):
        array = f"array {name}: " if name else ""
        if name not in new or name not in old:
            return f"{array}only one of both has it"
        one, other = old[name], new[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{array}it is {_kind(one)}, and {_kind(other)} when it is replayed"
        place = _first_place(one, other)
        if place is not None:
            where = ", ".join(map(str, np.unravel_index(place, one.shape)))
            values = one.reshape(-1)[place], other.reshape(-1)[place]
            return f"{array}entry [{where}] is {values[0]!s}, and {values[1]!s} when it is replayed"
    return ""


def _first_place(one: np.ndarray, other: np.ndarray, block: int = 1 << 20) -> int | None:
    """Return the first place at which two flat arrays differ; NaNs are equal."""
    flat, again = one.reshape(-1), other.reshape(-1)
    for start in range(0, flat.size, block):
        first, second = flat[start : start + block], again[start : start + block]
        differ = first != second
        if one.dtype.kind == "f":
            differ &= ~(np.isnan(first) & np.isnan(second))
        if differ.any():
            return start + int(np.argmax(differ))
    return None


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _beyond(name: str, old: np.ndarray, new: np.ndarray, share: Callable[[np.ndarray, np.ndarray], float]) -> str:
    array = f"array {name}: " if name else ""
    if old.dtype != new.dtype or (old.shape != new.shape and share is _share_equal):
        return f"{array}it is {_kind(old)}, and {_kind(new)} when it is replayed"
    if old.size == 0:
        return ""
    if old.dtype.kind == "f":
        finite = np.abs(old[np.isfinite(old)])
        largest = float(finite.max()) if finite.size else 0.0
        if np.allclose(new, old, rtol=RTOL, atol=RTOL * largest, equal_nan=True):
            return ""
        gap = float(np.nanmax(np.abs(new.astype(np.float64) - old)))
        return f"{array}values differ by up to {gap:.3g}, and the largest is {largest:.3g}"
    equal = share(old, new)
    return "" if equal >= EQUAL else f"{array}{equal:.0%} are equal"


def _share_equal(old: np.ndarray, new: np.ndarray) -> float:
    return float((old == new).mean())


def _share_of_picks(old: np.ndarray, new: np.ndarray) -> float:
    """Return the share of equal picks, in any order."""
    return len(np.intersect1d(old, new)) / max(len(old), len(new), 1)


def _share_of_top(old: np.ndarray, new: np.ndarray) -> float:
    """Return the share of equal images in the first half of two orders."""
    return _share_of_picks(old[: math.ceil(len(old) / 2)], new[: math.ceil(len(new) / 2)])


def _beyond_in_table(old_path: Path, new_path: Path) -> str:
    old, new = _table(old_path), _table(new_path)
    if list(old.columns) != list(new.columns) or len(old) != len(new):
        return f"it has {old.shape[0]} rows and {old.shape[1]} columns, and {new.shape[0]} and {new.shape[1]} again"
    for name in old.columns:
        one, other = old[name], new[name]
        if one.dtype.kind == other.dtype.kind == "f":
            if not np.allclose(other, one, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                return f"column {name}: values differ by up to {np.nanmax(np.abs(one - other)):.3g}"
        elif len(one) and (share := float((one.astype(str) == other.astype(str)).mean())) < EQUAL:
            return f"column {name}: {share:.0%} are equal"
    return ""


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_csv(io.BytesIO(path.read_bytes()))
    # What a pool's rows say of the picks in their order follows from indices.npy.
    picks = {"order", "index"} <= set(table.columns)
    return table.iloc[:, :0] if picks else table
