"""Recall and precision of near-duplicates (`geometry.near_duplicates`) by the embeddings of efficientnet-lite0.

Recall: of 300 train images of a finished run, drawn at random, copies are planted among all train images: shifted by
4 % or 8 % of the width, as JPEG of quality 75 or 50, darker or brighter by a fifth. Found is a copy that is in the
group of its image. Adds lines to benchmarks/results/near-duplicates-recall.csv.

Precision: up to 30 flagged pairs of each run and encoder, drawn at random, are put on a contact sheet in FOLDER, and
listed in FOLDER/pairs.csv. benchmarks/results/near-duplicates-pairs.csv has them as they were judged by eye, once:
`near` is 1 for one picture with a small change (shift, crop, mirror, brightness) or two shots of one object in nearly
one pose; for drawn digits, for strokes that differ by about a pixel. In doubt it is 0.

    python benchmarks/near_duplicates.py FOLDER RUN …      (FOLDER keeps embeddings of copies)
"""

from __future__ import annotations

import io
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import tomli
import torch
from PIL import Image
from record import record

from initpools_cli.core.cpu import machine
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.near_duplicates import groups_of, near_pairs
from initpools_cli.networks.backbones import find_weights, load_backbone
from initpools_cli.networks.efficientnet_lite import DEFAULT

PLANTED, JUDGED, BATCH, SIDE, COLUMNS = 300, 30, 50, 72, 6


def shift(image, share):
    """Move to the right; the left edge is repeated."""
    pixels = np.asarray(image)
    by = max(1, round(share * pixels.shape[1]))
    return Image.fromarray(np.concatenate([np.repeat(pixels[:, :1], by, 1), pixels[:, :-by]], 1))


def jpeg(image, quality):
    """Compress."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue()))


def brightness(image, factor):
    """Multiply all values."""
    return Image.fromarray((np.asarray(image).astype(float) * factor).clip(0, 255).astype(np.uint8))


KINDS = {
    "shift 4 %": (shift, 0.04),
    "shift 8 %": (shift, 0.08),
    "jpeg 75": (jpeg, 75),
    "jpeg 50": (jpeg, 50),
    "brightness 0.8": (brightness, 0.8),
    "brightness 1.2": (brightness, 1.2),
}


def reader(run):
    """A function that reads a train image of a run."""
    source = tomli.loads((run / "run.toml").read_text())["dataset"]["source"]
    items = pd.read_csv(run / "data" / "items.csv")
    paths = items.loc[items["split"] == "train", "path"].tolist()
    if source.endswith(".npz"):
        images = np.load(source)["train_images"]
        return lambda row: Image.fromarray(images[row].squeeze())
    return lambda row: Image.open(Path(source) / paths[row]).convert("RGB")


def planted(run, folder, count):
    """Rows, and the embeddings of their copies by kind."""
    file = folder / f"plant-{run.name}.npz"
    if not file.exists():
        rows = np.sort(np.random.default_rng(0).choice(count, PLANTED, replace=False))
        size = tomli.loads((run / "embed" / DEFAULT / "step.toml").read_text())["table"]["size"]
        weights = find_weights(DEFAULT, None, report=Reporter(), download=False)
        model, preprocess = load_backbone(DEFAULT, weights, size=size, pooling="auto")
        read = reader(run)
        images = [read(row) for row in rows]
        embeddings_of = {}
        with torch.inference_mode():
            for kind, (change, by) in KINDS.items():
                blocks = [images[start : start + BATCH] for start in range(0, PLANTED, BATCH)]
                inputs = (torch.stack([preprocess(change(each, by)) for each in block]) for block in blocks)
                embeddings_of[kind] = np.concatenate([model.eval()(each).numpy() for each in inputs])
        np.savez(file, rows=rows, **embeddings_of)
    return np.load(file)


def recall(run, folder, facts):
    """Plant copies of one kind at a time and count those that are found."""
    train = np.load(run / "embed" / DEFAULT / "train.npy")
    copies = planted(run, folder, len(train))
    for kind in KINDS:
        groups = groups_of(near_pairs(np.concatenate([train, copies[kind]]))[0], len(train) + PLANTED)
        share = (groups[len(train) :] == groups[copies["rows"]]).mean()
        row = {"data": run.name, "images": len(train), "kind": kind, "planted": PLANTED, "recall": f"{share:.3f}"}
        record("near-duplicates-recall", row | facts)


def sheet(run, pairs, file):
    """Draw pairs side by side, in the order of pairs.csv."""
    read, page = reader(run), Image.new("RGB", (COLUMNS * (2 * SIDE + 9), -(-len(pairs) // COLUMNS) * (SIDE + 8)))
    for number, pair in enumerate(pairs):
        for side, row in enumerate(pair):
            down, across = divmod(number, COLUMNS)
            place = across * (2 * SIDE + 9) + side * (SIDE + 1), down * (SIDE + 8)
            page.paste(read(row).convert("RGB").resize((SIDE, SIDE)), place)
    page.save(file)


def sample(run, folder):
    """Pairs to judge by encoder."""
    rows = []
    for encoder in (DEFAULT, "simclr"):
        pairs, distances = near_pairs(np.load(run / "embed" / encoder / "train.npy"))
        rows_to_judge = np.sort(generator(0, "near-duplicates").permutation(len(pairs))[:JUDGED])
        sheet(run, pairs[rows_to_judge], folder / f"pairs-{run.name}-{encoder}.png")
        for number, ((first, second), gap) in enumerate(
            zip(pairs[rows_to_judge], distances[rows_to_judge], strict=True)
        ):
            facts = {"data": run.name, "encoder": encoder, "flagged": len(pairs), "number": number}
            rows.append(facts | {"first": first, "second": second, "similarity": f"{1 - gap**2 / 2:.4f}", "near": ""})
    return rows


def main(folder, *runs):
    """Measure recall, and draw pairs to judge."""
    folder = Path(folder)
    facts = {"date": date.today().isoformat(), "machine": machine(), "numpy": np.__version__}
    facts |= {"torch": torch.__version__}
    rows = []
    for run in map(Path, runs):
        rows += sample(run, folder)
        recall(run, folder, facts)
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
