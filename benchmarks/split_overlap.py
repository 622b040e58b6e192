"""Near-duplicates across a split (`steps.split_overlap`): the share of test images that have one in train.

Without groups: every run that is named, with its own split, by each of its embeddings, by pixels and by `pca`. With
groups that a random split divides: 24 patients of 25 textures with noise, and frames cut from 24 or 120 photographs of
a folder, 25 or 5 of each: `static` (a camera that shakes), `handheld` (it moves, turns and zooms) and `pan` (it moves
from one side to the other). Adds lines to benchmarks/results/split-overlap.csv: the share, among how many train images
it was found, and whether it is a warning.

    python benchmarks/split_overlap.py PHOTOGRAPHS CACHE RUN …      (CACHE keeps the embeddings of frames)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import record

from initpools_cli.core.cpu import machine
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.datasets.cache import data_home
from initpools_cli.datasets.open import open_dataset
from initpools_cli.networks.backbones import find_weights, load_backbone
from initpools_cli.networks.efficientnet_lite import DEFAULT
from initpools_cli.steps.run_data import read_identity, read_items_and_mask
from initpools_cli.steps.split_overlap import WARNING, find_overlap
from initpools_cli.training.frozen_features import pca

GROUPS = ((24, 25), (120, 5))
SIDE, SMALL, BATCH = 96, 32, 50


def write(data, embeddings, groups, train, test, classes, facts):
    """Record one comparison."""
    overlap = find_overlap(np.asarray(test), np.asarray(train), classes, 0)
    row = {"data": data, "embeddings": embeddings, "groups": groups, "train": len(train), "test": len(test)}
    row |= {"share": f"{overlap.share:.3f}", "among": overlap.among, "warning": overlap.share >= WARNING}
    record("split-overlap", row | facts)
    print(row)


def by_pixels(data, groups, train, test, classes, facts):
    """Record pixels and principal components of images (n, h, w, c) uint8."""
    flat = [images.reshape(len(images), -1).astype(np.float32) / 255 for images in (train, test)]
    write(data, "pixels", groups, *flat, classes, facts)
    project = pca(train, np.arange(len(train)), 0)
    write(data, "pca", groups, *map(project, flat), classes, facts)


def real(folder, facts):
    """A run: its embeddings, pixels and principal components."""
    run = Run(folder)
    identity = read_identity(run)
    items, mask, _ = read_items_and_mask(run)
    data = open_dataset(
        identity.spec, seed=identity.seed, cache=data_home(), report=Reporter(True), stored_items=items, mask=mask
    )
    for step in run.steps("embed"):
        train, test = (np.load(step.folder / f"{split}.npy", mmap_mode="r") for split in ("train", "test"))
        write(folder.name, step.name, "", train[data.kept], test, len(data.classes), facts)
    by_pixels(
        folder.name, "", data.splits["train"].images[data.kept], data.splits["test"].images, len(data.classes), facts
    )


def patients():
    """24 patients of 25 nearly equal textures."""
    rng = np.random.default_rng(0)
    textures = np.repeat(rng.integers(0, 255, (24, 28, 28)), 25, axis=0)
    images = np.clip(textures + rng.normal(0, 12, textures.shape), 0, 255)
    return images.astype(np.uint8)[..., None]


def frame(image, kind, place, rng):
    """A part of a photograph as a camera sees it; `place` in [0, 1] is the time."""
    width, height = image.size
    side = 0.7 * min(width, height)
    moves = {"static": (0.02, 0.01, 0), "handheld": (0.06, 0.05, 5), "pan": (0.005, 0, 0)}[kind]
    along = place if kind == "pan" else 0.5
    x, y = (along * (length - side) + rng.normal(0, moves[0] * side) for length in (width, height))
    side *= 1 + rng.normal(0, moves[1])
    cut = image.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(cut.rotate(rng.normal(0, moves[2]))).astype(float)
    return (pixels * (1 + rng.normal(0, 0.05)) + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)


def frames(files, kind, count, each):
    """Frames of `count` photographs, `each` of each, (count · each, h, w, 3) uint8."""
    rng = np.random.default_rng(1)
    photographs = [Image.open(file).convert("RGB") for file in rng.choice(files, count, replace=False)]
    return np.stack([frame(image, kind, t / (each - 1), rng) for image in photographs for t in range(each)])


def embedded(images, file):
    """Features of efficientnet-lite0, kept in `file`."""
    if not file.exists():
        weights = find_weights(DEFAULT, None, report=Reporter(), download=False)
        model, preprocess = load_backbone(DEFAULT, weights, size=SIDE, pooling="auto")
        blocks = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        with torch.inference_mode():
            inputs = (torch.stack([preprocess(Image.fromarray(each)) for each in block]) for block in blocks)
            np.save(file, np.concatenate([model.eval()(each).numpy() for each in inputs]))
    return np.load(file)


def main():
    photographs, cache, *runs = map(Path, sys.argv[1:])
    facts = {"machine": machine()}
    cache.mkdir(parents=True, exist_ok=True)
    for run in runs:
        real(run, facts)
    images = patients()
    test = np.random.default_rng(1).permutation(len(images)) < len(images) // 5
    by_pixels("patients", "24 x 25", images[~test], images[test], 2, facts)
    files = sorted(photographs.rglob("*.jpg"))
    for kind in ("static", "handheld", "pan"):
        for count, each in GROUPS:
            images = frames(files, kind, count, each)
            features = embedded(images, cache / f"{kind}-{count}x{each}.npy")
            test = np.random.default_rng(1).permutation(len(images)) < len(images) // 5
            name = f"frames, {kind}"
            write(name, DEFAULT, f"{count} x {each}", features[~test], features[test], 6, facts)
            small = images[:, :: SIDE // SMALL, :: SIDE // SMALL]
            by_pixels(name, f"{count} x {each}", small[~test], small[test], 6, facts)


if __name__ == "__main__":
    main()
