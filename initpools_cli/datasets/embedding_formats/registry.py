"""The readers of files of embeddings, by suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from initpools_cli.datasets.embedding_formats import csv, h5, npy, npz, parquet, pt, safetensors
from initpools_cli.datasets.embedding_formats.stored import StoredEmbeddings

#: Each opens a file, given an array or column of it and its column of ids, or "" for the usual ones.
READERS: dict[str, Callable[[Path, str, str], StoredEmbeddings]] = {
    ".npy": npy.read,
    ".npz": npz.read,
    ".safetensors": safetensors.read,
    ".pt": pt.read,
    ".pth": pt.read,
    ".parquet": parquet.read,
    ".csv": csv.read,
    ".tsv": csv.read,
    ".h5": h5.read,
    ".hdf5": h5.read,
}
#: Formats that can never be memory-mapped, so that a converted file is looked for before they are opened.
CONVERTED = (".pt", ".pth", ".parquet", ".csv", ".tsv", ".h5", ".hdf5")
