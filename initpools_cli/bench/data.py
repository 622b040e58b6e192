"""Find or download the data sets of a suite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.bench.suite import Data, Subset
from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import ITEMS, Run


def dataset_settings(entry: Data, folder: Path | None, out: Path, report: Reporter) -> dict[str, Any]:
    """Return the settings [dataset] of a new run of a data set; download its file if it has an address.

    Parameters
    ----------
    entry : Data
    folder : Path, optional
        Folder of the user's files, ``--data``.
    out : Path
        Folder of the results; subsets and downloads are written there.
    report : Reporter

    Raises
    ------
    UserError
        The data set is missing and can't be downloaded, or a file has another checksum than in the suite.
    """
    path = _file_of(entry, folder, out, report)
    if path is None:
        return {"dataset.name": entry.registered}
    if entry.subset is not None:
        path = _subset(path, entry.subset, out / f"{entry.name}.npz")
    settings: dict[str, Any] = {"dataset.name": str(path)}
    if entry.labels:
        assert folder is not None, "a folder of images is found in --data only"
        table = folder / entry.labels
        if not table.is_file():
            raise UserError(
                f"{folder} has no {entry.labels}, the labels of {entry.name}.", "Put the file there.", entry.labels
            )
        settings["dataset.labels"] = str(table)
    return settings


def require_items(entry: Data, run: Run) -> str:
    """Return the SHA-256 of a run's items.csv, which has those of all images; refuse other images than the suite's.

    Raises
    ------
    UserError
        The run has other images, another split or other labels.
    """
    sha256 = hashlib.sha256(run.read(ITEMS)).hexdigest()
    if entry.items and sha256 != entry.items:
        raise UserError(
            f"The images of {run.path} are not those of the suite: {ITEMS} has the SHA-256 {sha256}, not "
            f"{entry.items}.",
            "Use another folder for the results: -o DIR.",
            sha256,
        )
    return sha256


def _file_of(entry: Data, folder: Path | None, out: Path, report: Reporter) -> Path | None:
    """Return the path of the data set's file or folder; None for a registered data set."""
    path = None if folder is None or not entry.file else folder / entry.file
    if path is not None and path.exists():
        if path.is_file() and entry.checksums:
            _require_checksum(path, entry.checksums)
        return path
    if entry.registered:
        return None
    if entry.url:
        return fetch(RemoteFile((entry.url,), entry.file, entry.checksums[0]), out / "downloads", report)
    about = f": {entry.source}" if entry.source else ""
    where = "no --data DIR is given" if folder is None else f"it is not in {folder}"
    raise UserError(
        f"{entry.name} needs {entry.file}, and {where}.",
        f"Name the folder that has it with --data DIR{about}.",
        entry.file,
    )


def _require_checksum(path: Path, checksums: Sequence[str]) -> None:
    if any(_hash(path, "md5" if len(expected_sum) == 32 else "sha256") == expected_sum for expected_sum in checksums):
        return
    sha256 = _hash(path, "sha256")
    raise UserError(
        f"{path} is not the file of the suite: its SHA-256 is {sha256}.",
        f"Put the file with the checksum {' or '.join(checksums)} there, or use another folder with --data DIR.",
        sha256,
    )


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _subset(file: Path, part: Subset, target: Path) -> Path:
    """Write a part of a data set in MedMNIST's layout, with the same number of images of each class, and return it."""
    if target.exists():
        return target
    data, rng = np.load(file, allow_pickle=False), np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", part.train), ("test", part.test)):
        labels = data[f"{split}_labels"].ravel()
        rows_of_class = [rng.choice(np.flatnonzero(labels == one), count, replace=False) for one in np.unique(labels)]
        rows = np.sort(np.concatenate(rows_of_class))
        arrays |= {f"{split}_{what}": data[f"{split}_{what}"][rows] for what in ("images", "labels")}
    with atomic_file(target) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return target
