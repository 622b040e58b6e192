"""Tiny ImageNet: 200 classes at 64×64; its validation split is the test split, as its test split has no labels."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.sources import Assignment, DatasetFacts, Entry, Files

ARCHIVE = RemoteFile(
    ("https://cs231n.stanford.edu/tiny-imagenet-200.zip",),
    "tiny-imagenet-200.zip",
    "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
)
FOLDER = "tiny-imagenet-200"


def entries() -> list[Entry]:
    """Return the entry of `tinyimagenet`."""
    facts = DatasetFacts(
        name="tinyimagenet",
        title="Tiny ImageNet, 110000 photos, 64×64; its validation split is the test split",
        classes=200,
        channels=3,
        source=ARCHIVE.urls[0],
        license="ImageNet's terms: non-commercial research and education",
        download=True,
    )
    return [Entry(facts, partial(load, ARCHIVE))]


def load(archive: RemoteFile, home: Path, size: int, scratch: Path, report: Reporter) -> Files:
    """Download and unpack the archive unless that is done."""
    root = home / "tinyimagenet" / FOLDER
    if not root.is_dir():
        file = fetch(archive, root.parent, report)
        report.say(f"unpacking {file}")
        with place_errors(home), zipfile.ZipFile(file) as content:
            content.extractall(scratch)
            (scratch / FOLDER).rename(root)
    return Files(root, partial(assign, root), ("train", "val"))


def assign(root: Path, paths: Sequence[str]) -> Assignment:
    """Assign ``train/<wnid>/images/…`` to train and ``val/images/…`` to test, with classes in order of wnids."""
    names = _class_names(root)
    rows = [line.split("\t") for line in _lines(root / "val" / "val_annotations.txt")]
    wnid_of = {f"val/images/{row[0]}": row[1] for row in rows if len(row) > 1}
    splits, labels = [], []
    for path in paths:
        parts = path.split("/")
        wnid = parts[1] if parts[0] == "train" and len(parts) > 2 else wnid_of.get(path, "")
        known = wnid in names
        splits.append(("train" if parts[0] == "train" else "test") if known else "")
        labels.append(names[wnid] if known else "")
    return Assignment(splits, labels, tuple(names.values()))


def _class_names(root: Path) -> dict[str, str]:
    """Return the first word of each wnid, followed by the wnid if two classes share the word."""
    words = dict(line.split("\t", 1) for line in _lines(root / "words.txt") if "\t" in line)
    wnids = sorted(line.strip() for line in _lines(root / "wnids.txt") if line.strip())
    short = {wnid: words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids}
    counts = Counter(short.values())
    return {wnid: name if counts[name] == 1 else f"{name} ({wnid})" for wnid, name in short.items()}


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()
