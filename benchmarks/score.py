"""Claim: `score` of a pretext reaches >= 0.9 of the images/s of its bare forward passes, on a processor.

A bare pass is one over ready views, of the same blocks of 256 images, with all threads. Both take turns, three rounds,
and the best of each counts. Views and networks are those of each pretext by default.

    python benchmarks/score.py [FILE.npz]      (train_images; default: random pixels of 32 x 32 x 3; two minutes)

Adds lines to benchmarks/results/score.csv.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from record import record, show

from initpools_cli.augment.draws import Draws
from initpools_cli.core.cpu import available_cores, machine
from initpools_cli.pretext.registry import pretexts
from initpools_cli.steps.encoder import build
from initpools_cli.steps.score import BATCH
from initpools_cli.training.device import as_tensor
from initpools_cli.training.infer import scores

TASKS = ("simclr", "byol", "rotation", "vae", "mae")
IMAGES, REFERENCE, ROUNDS, CLAIM = 4 * BATCH, 512, 3, 0.9
CPU = torch.device("cpu")


def untrained(name, images):
    method = pretexts.get(name)
    table = {
        "method": name,
        "network": method.build.network,
        "width": 1.0,
        "seed": 0,
        "augment": method.build.recipe_default,
        "params": method.validate({}),
    }
    return build(table, images.shape[3], images.shape[1]).eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def bare(pretext, inputs):
    start = time.perf_counter()
    for _ in range(IMAGES // BATCH):
        pretext(*inputs)
    return IMAGES / (time.perf_counter() - start)


def score(pretext, images):
    """Images/s of three more views, so that the reference, which is passed forward once, does not count."""

    def seconds(views):
        start = time.perf_counter()
        threads = available_cores()
        scores(pretext, images, views=views, reference=REFERENCE, batch=BATCH, seed=0, device=CPU, threads=threads)
        return time.perf_counter() - start

    first = seconds(1)
    return 3 * IMAGES / (seconds(4) - first)


def main():
    if len(sys.argv) > 1:
        images = np.ascontiguousarray(np.load(sys.argv[1])["train_images"][:IMAGES])
        images = images if images.ndim == 4 else images[..., None]
    else:
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    torch.set_num_threads(available_cores())
    for name in TASKS:
        pretext = untrained(name, images)
        with torch.inference_mode():
            ids = torch.arange(BATCH)
            draws = Draws(0, 0, ids)
            inputs = pretext.inputs(as_tensor(images[pretext.rows(draws).numpy()], CPU), draws)
        speeds_of = [(bare(pretext, inputs), score(pretext, images)) for _ in range(ROUNDS)]
        passes, ours = (max(speeds) for speeds in zip(*speeds_of, strict=True))
        row = {
            **machine(),
            "torch": torch.__version__,
            "pretext": name,
            "shape": "x".join(map(str, images.shape[1:])),
            "images_per_second": f"{ours:.1f}",
            "bare_images_per_second": f"{passes:.1f}",
            "to_bare": f"{ours / passes:.3f}",
            "met": "yes" if ours >= CLAIM * passes else "no",
        }
        record("score", row)
        show(row)


if __name__ == "__main__":
    main()
