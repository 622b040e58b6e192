"""Convert CIFAR-10's parquet shards, in the layout of Hugging Face's `datasets`, to an .npz file in MedMNIST's layout.

Claim:    every image is decoded, in the order of the shards, with its label.
Command:  python benchmarks/cifar10_npz.py FOLDER OUTPUT.npz
"""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


def split(folder, name):
    """Decode the images (n, 32, 32, 3) uint8 and the labels (n, 1) of a split, in the order of its shards."""
    shards = sorted(folder.glob(f"{name}-*.parquet"))
    if not shards:
        raise SystemExit(f"{folder} has no file {name}-*.parquet.")
    images, labels = [], []
    for shard in shards:
        for batch in pq.ParquetFile(shard).iter_batches(columns=["image", "label"]):
            for row in batch.to_pylist():
                images.append(np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")))
                labels.append(row["label"])
    return np.stack(images), np.array(labels, np.uint8)[:, None]


def main():
    parser = argparse.ArgumentParser(description="Convert CIFAR-10's parquet shards to .npz.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    data = {}
    for name in ("train", "test"):
        data[f"{name}_images"], data[f"{name}_labels"] = split(args.folder, name)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.output, **data)
    digest = hashlib.sha256(args.output.read_bytes()).hexdigest()
    print(f"{args.output}: {', '.join(f'{name} {array.shape}' for name, array in data.items())}; sha256 {digest}")


if __name__ == "__main__":
    main()
