"""Claims on the speed of `initpools embed efficientnet-lite0` on a processor, at its input of 224 pixels.

1. images/s of the command >= 0.9 of the bare forward pass: the same network on a ready batch, as many passes at a time.
2. images/s of the command >= 1.5 times timm's loader loop: create_loader with its defaults and 2 workers, and timm's
   network with the same weights, in evaluation and inference mode; on the first 1,000 images.

The time of the command is that of its step, from the first image read to the last feature written; `command_seconds`
is that of the whole process with start, data set and feature quality. `timm_bare` is timm's network on a ready batch in
one pass with all threads. Bare passes are measured before and after the command; the better counts.

    python benchmarks/embed.py [FOLDER ...]      (folders of images; 2,000 generated JPEG files come first; 6 minutes)

Adds lines to benchmarks/results/embed.csv.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import timm
import tomli
import torch
from PIL import Image
from record import initpools, record, show

from initpools_cli.core.cpu import available_cores, machine
from initpools_cli.networks import from_timm
from initpools_cli.networks.backbones import load_backbone
from initpools_cli.networks.efficientnet_lite import DEFAULT, NETWORKS, published_weights
from initpools_cli.networks.weights import read_weights
from initpools_cli.training.device import DeviceConfig
from initpools_cli.training.frozen_features import backbone_batch
from initpools_cli.training.parallel import forward_workers, in_order

GENERATED, WIDTH, HEIGHT = 2000, 500, 400
SIDE, LOADER_BATCH, LOADER_IMAGES, BARE_IMAGES = 224, 64, 1000, 256
OF_BARE, OF_LOADER = 0.9, 1.5


def generate(folder, count):
    """JPEG files of crops of one texture whose spectrum falls with frequency as in photographs."""
    rng, side = np.random.default_rng(0), 2048
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1)) / frequency[..., None]
    texture = np.fft.irfft2(spectrum, axes=(0, 1))
    texture = (texture - texture.mean()) / texture.std()
    for number in range(count):
        top, left = rng.integers(side - HEIGHT), rng.integers(side - WIDTH)
        crop = texture[top : top + HEIGHT, left : left + WIDTH] * rng.uniform(30, 70) + rng.uniform(90, 160)
        Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def command(images, scratch):
    """Images/s of the step, and seconds of the whole command; the data set has been read before."""
    run = scratch / f"run-{images.name}"
    initpools("embed", "pca", "--dataset", images, "--run", run)
    start = time.perf_counter()
    initpools("embed", DEFAULT, "--run", run, "--device", "cpu", "--set", f"embed.size={SIDE}")
    seconds = time.perf_counter() - start
    facts = tomli.loads((run / "embed" / DEFAULT / "step.toml").read_text())
    began, end = (datetime.fromisoformat(str(facts[key])) for key in ("started", "finished"))
    count = sum(shape[0] for name, shape in facts["outcome"].items() if name in ("train", "test", "val"))
    return count / (end - began).total_seconds(), seconds, count


def bare(count):
    """Images/s of the command's passes on ready batches."""
    model, preprocess = load_backbone(DEFAULT, published_weights().place, size=SIDE)
    model.to(memory_format=torch.channels_last)
    device = DeviceConfig(torch.device("cpu"), available_cores())
    batch = backbone_batch(model, preprocess, device.device)
    ready = torch.rand(batch, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    passes = forward_workers(device, ready.nbytes)
    return timed(
        lambda repeats: list(in_order(torch.inference_mode()(model), [ready] * repeats, *passes)), batch, count
    )


def timm_bare(count):
    ready = torch.rand(LOADER_BATCH, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    model = timm_network().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(repeats):
        for _ in range(repeats):
            model(ready)

    return timed(run, LOADER_BATCH, count)


def timed(run, batch, count):
    repeats = max(1, count // batch)
    run(2)
    start = time.perf_counter()
    run(repeats)
    return repeats * batch / (time.perf_counter() - start)


def timm_network():
    file = published_weights().place
    return from_timm.load(NETWORKS[DEFAULT], read_weights(file), file, SIDE, "auto")[0].body.eval()


@torch.inference_mode()
def loader_loop(images, count):
    from timm.data import create_dataset, create_loader, resolve_model_data_config

    model = timm_network()
    config = resolve_model_data_config(model)
    loader = create_loader(
        create_dataset("", root=str(images)),
        input_size=(3, SIDE, SIDE),
        batch_size=LOADER_BATCH,
        use_prefetcher=False,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        crop_pct=config["crop_pct"],
        num_workers=2,
    )
    count_done, start = 0, None
    for batch, _ in loader:
        model(batch)
        # The start of the workers does not count.
        if start is None:
            start = time.perf_counter()
        else:
            count_done += len(batch)
        if count_done >= count:
            break
    return count_done / (time.perf_counter() - start)


def compare(images, scratch):
    rounds = [(bare(BARE_IMAGES), timm_bare(BARE_IMAGES))]
    ours, seconds, count = command(images, scratch)
    loader = loader_loop(images, min(count, LOADER_IMAGES))
    rounds.append((bare(BARE_IMAGES), timm_bare(BARE_IMAGES)))
    same, plain = (max(speeds) for speeds in zip(*rounds, strict=True))
    row = {
        **machine(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "pillow": Image.__version__,
        "images": images.name,
        "count": count,
        "images_per_second": f"{ours:.1f}",
        "bare_images_per_second": f"{same:.1f}",
        "timm_bare_images_per_second": f"{plain:.1f}",
        "loader_images_per_second": f"{loader:.1f}",
        "to_bare": f"{ours / same:.3f}",
        "to_timm_bare": f"{ours / plain:.3f}",
        "to_loader": f"{ours / loader:.2f}",
        "command_seconds": f"{seconds:.0f}",
    }
    claims = {f"at least {OF_BARE} of the bare pass": ours >= OF_BARE * same}
    claims[f"at least {OF_LOADER} times the loader loop"] = ours >= OF_LOADER * loader
    row["missed"] = "; ".join(claim for claim, holds in claims.items() if not holds)
    return row


def main():
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        generated_folder = scratch / "generated"
        generated_folder.mkdir()
        generate(generated_folder, GENERATED)
        for images in (generated_folder, *map(Path, sys.argv[1:])):
            row = compare(images.resolve(), scratch)
            record("embed", row)
            show(row)


if __name__ == "__main__":
    main()
