"""Write a part of a data set in MedMNIST's layout, with the same number of images of each class.

python docs/study/subset.py FILE.npz OUTPUT.npz --train 1000 --test 200
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np


def main() -> None:
    """Draw the images of each class and write them in their order in the file."""
    parser = argparse.ArgumentParser(description="Write a part of a data set, by class.")
    parser.add_argument("file", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", type=int, required=True, metavar="N", help="train images of each class")
    parser.add_argument("--test", type=int, required=True, metavar="N", help="test images of each class")
    args = parser.parse_args()
    data, rng = np.load(args.file), np.random.default_rng(0)
    part = {}
    for split, count in (("train", args.train), ("test", args.test)):
        labels = data[f"{split}_labels"].ravel()
        drawn = [rng.choice(np.flatnonzero(labels == one), count, replace=False) for one in np.unique(labels)]
        rows = np.sort(np.concatenate(drawn))
        part |= {f"{split}_{what}": data[f"{split}_{what}"][rows] for what in ("images", "labels")}
    np.savez_compressed(args.output, **part)


if __name__ == "__main__":
    main()
