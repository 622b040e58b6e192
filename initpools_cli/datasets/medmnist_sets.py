"""MedMNIST (Yang et al. 2023, arXiv:2110.14795), from the table of the medmnist package."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.npz import read_npz
from initpools_cli.datasets.sources import Arrays, DatasetFacts, Entry

#: Published sides of the images, pixels, and the suffix of their keys in the table.
SIZES = {28: "", 64: "_64", 128: "_128", 224: "_224"}


def entries(info: Mapping[str, Mapping[str, Any]] | None = None) -> list[Entry]:
    """Return one entry per data set of the table `info` (default: that of medmnist)."""
    return [_entry(name, facts) for name, facts in (_table() if info is None else info).items()]


def remote_of(info: Mapping[str, Any], size: int) -> RemoteFile:
    """Return the smallest file with images of at least `size` pixels (0: 28), or the largest file."""
    at_least = [side for side in SIZES if side >= (size or min(SIZES))]
    mark = SIZES[min(at_least, default=max(SIZES))]
    url = info[f"url{mark}"]
    return RemoteFile((url,), PurePosixPath(urlsplit(url).path).name, info[f"MD5{mark}"])


def _entry(name: str, info: Mapping[str, Any]) -> Entry:
    sides = "/".join(str(side) for side, mark in SIZES.items() if f"url{mark}" in info)
    facts = DatasetFacts(
        name=name,
        title=f"{info['python_class']}, {info['task']}, {sum(info['n_samples'].values())} images, sizes {sides}",
        classes=len(info["label"]),
        channels=info["n_channels"],
        source=info["url"],
        license=info["license"],
        download=True,
    )
    return Entry(facts, partial(_load, info), _refusal(name, info))


def _refusal(name: str, info: Mapping[str, Any]) -> str:
    if not all(f"url{mark}" in info for mark in SIZES.values()):
        return f"{name} has volumes (3-D), but initpools needs images."
    return ""


def _load(info: Mapping[str, Any], home: Path, size: int, scratch: Path, report: Reporter) -> Arrays:
    file = fetch(remote_of(info, size), home / "medmnist", report)
    return read_npz(file, scratch, tuple(info["label"][key] for key in sorted(info["label"], key=int)))


def _table() -> Mapping[str, Mapping[str, Any]]:
    """Load the table alone: importing the package would import torch, which a list of names does not need."""
    package = importlib.util.find_spec("medmnist")
    assert package is not None and package.origin is not None
    spec = importlib.util.spec_from_file_location("medmnist.info", Path(package.origin).with_name("info.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The module creates a folder in the home directory, and warns if it can't.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    table: Mapping[str, Mapping[str, Any]] = module.INFO
    return table
