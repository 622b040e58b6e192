"""The readers of files that users bring. Only a UserError may come out of them, whatever the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bad_arrays import GOOD, IMAGES, LABELS, POINTS, N, images_file, npy, parquet, saved, torch_file
from bad_tables import GOOD as TABLE
from bad_tables import IMAGES as TAGS
from bad_tables import PNG, TASKS, in_tar, table, zipped

from initpools_cli.bench.suite import load_suite
from initpools_cli.core.checked_toml import read_checked_toml
from initpools_cli.core.files import read_array
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.settings import load_settings
from initpools_cli.datasets.annotations.check import read_annotations
from initpools_cli.datasets.classes import KnownClasses
from initpools_cli.datasets.decode import decode_files, read_image
from initpools_cli.datasets.embedding_formats.registry import READERS as FORMATS
from initpools_cli.datasets.groups import read_groups
from initpools_cli.datasets.headers import read_headers
from initpools_cli.datasets.npz import read_npz
from initpools_cli.datasets.path_table import read_path_table
from initpools_cli.datasets.row_ids import read_ids
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.spec import DatasetSpec
from initpools_cli.datasets.stored import parquet as stored_parquet
from initpools_cli.datasets.stored import tar
from initpools_cli.networks.weights import read_weights
from initpools_cli.steps.user_files import read_rows

ITEMS = pd.DataFrame(
    {
        "index": np.arange(N),
        "path": [f"{row}.png" for row in range(N)],
        "split": "train",
        "sha256": [f"{row:064}" for row in range(N)],
    }
)


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes
    ----------
    ending : str
        Of its files.
    good : tuple of bytes
        Files that it reads, which a fuzzer changes.
    read : callable
        Reads a file to its end.
    """

    ending: str
    good: tuple[bytes, ...]
    read: Callable[[Path], object]


def _embeddings(ending: str) -> Reader:
    def read(path: Path) -> None:
        for block in FORMATS[ending](path, "", "").blocks():
            assert len(block)

    more = {".pt": (torch_file(lambda torch: {"embeddings": torch.ones(N, 4), "ids": [*map(str, range(N))]}),)}
    return Reader(ending, (GOOD.get(ending, saved(POINTS)), *more.get(ending, ())), read)


def _images(path: Path) -> None:
    headers = read_headers(path.parent, [path.name])
    if headers.images:
        with tempfile.TemporaryDirectory() as folder:
            decode_files(path.parent, [path.name], 8, 3, Scale(), Path(folder), Reporter(True))
    read_image(path, Scale())


def _pixels(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read_npz(path, Path(folder))


def _shards(path: Path) -> None:
    columns = stored_parquet.columns_of([path], "", labeled=True)
    stored_parquet.index_of(path, columns)


def _annotations(path: Path) -> None:
    read_annotations(path, ITEMS, KnownClasses(()), None, "--labels")


IDS = table("path,x", *(f"{row}.png,1" for row in range(N)))
TOML = b'[select]\nbudget = 3\nparams = {delta = 0.5}\n[run]\nseed = 1\n[al]\ninit = ["random"]\n'
SUITE = (Path(__file__).parents[2] / "initpools_cli/bench/suites/quick.toml").read_bytes()
#: Endings that have the reader of another one.
SAME = (".pth", ".tsv", ".hdf5")
READERS: dict[str, Reader] = {
    **{
        f"embeddings-{ending[1:]}": _embeddings(ending) for ending in FORMATS if ending not in (".pth", ".tsv", ".hdf5")
    },
    "array": Reader(".npy", (saved(POINTS), npy("(4, 4)", 64)), lambda path: read_array(path, "--scores", mapped=True)),
    "rows": Reader(".csv", (TABLE,), lambda path: read_rows(path, "--labeled", None)),
    "rows-of-run": Reader(".csv", (TABLE, IDS), lambda path: read_rows(path, "--labeled", ITEMS)),
    "ids": Reader(".csv", (IDS,), lambda path: read_ids(path, N)),
    "ids-text": Reader(".txt", (b"".join(b"%d.png\n" % row for row in range(N)),), lambda path: read_ids(path, N)),
    "groups": Reader(
        ".csv",
        (table("index,group", *(f"{row},{row % 3}" for row in range(N))),),
        lambda path: read_groups(str(path), ITEMS),
    ),
    "labels": Reader(".csv", (TABLE,), _annotations),
    "tasks": Reader(".json", (TASKS,), _annotations),
    "tags": Reader(".xml", (TAGS.encode(),), _annotations),
    "tags-zip": Reader(".zip", (zipped(annotations_xml=TAGS.encode()),), _annotations),
    "settings": Reader(".toml", (TOML,), lambda path: load_settings("select", file=path)),
    "suite": Reader(".toml", (SUITE,), lambda path: load_suite(str(path))),
    "step": Reader(".toml", (b"schema = 1\n" + TOML,), lambda path: read_checked_toml(path, "Run the step again.")),
    "paths": Reader(
        ".csv", (table("path,split", "x.png,train"),), lambda path: read_path_table(path, DatasetSpec(str(path)))
    ),
    "pixels": Reader(".npz", (images_file(train_images=IMAGES, train_labels=LABELS),), _pixels),
    "image": Reader(".png", (PNG,), _images),
    "tar": Reader(".tar", (in_tar(("a.png", PNG), ("a.cls", b"1"), ("b.json", b'{"label": "x"}')),), tar.index_of),
    "images-parquet": Reader(".parquet", (parquet(image=[PNG, PNG], label=[0, 1]),), _shards),
    "weights-pt": Reader(".pt", (torch_file(lambda torch: {"a": torch.zeros(3)}),), read_weights),
    "weights-safetensors": Reader(".safetensors", (GOOD[".safetensors"],), read_weights),
}
