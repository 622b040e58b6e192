"""Claim: `al.scale = "auto"` takes the scaling that is better for learners, but for differences of some three points.

Embeddings of pixels, PCA, an untrained network, a VAE, SimCLR, and SimCLR's projector after one epoch. For each, the
learners linear, mlp and knn see random labels, either with one common scale for all dimensions or with one for each.
Their knob (the penalty, the weight decay, the number of neighbors) is chosen anew for each scaling, budget and seed, by
cross-validation of the labels bought: the lowest mean log-loss over 5 folds (of mlp 2). The test split is for accuracy
alone. Both scalings have the same labels at each seed, so that differences are paired. `default_…` is the accuracy with
the learner's default, `…_knob` the geometric mean of the values chosen.

    python benchmarks/scale.py FOLDER LEARNER DATA …    (linear, mlp or knn; DATA: digits, or an .npz in MedMNIST's
                                                         layout, of which 10,000 train and 2,000 test images are drawn;
                                                         FOLDER keeps runs and embeddings)

Adds lines to benchmarks/results/scale.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from record import initpools, record, untrained_simclr

from initpools_cli.core.cpu import machine
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator
from initpools_cli.datasets.cache import data_home
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.spec import DatasetSpec
from initpools_cli.geometry.standardize import scaling
from initpools_cli.training.crossvalidation import assign_folds
from initpools_cli.training.frozen_features import pca, pixels
from initpools_cli.training.infer import features
from initpools_cli.training.learners.knn import knn
from initpools_cli.training.learners.linear import fit_together
from initpools_cli.training.learners.mlp import mlp
from initpools_cli.training.learners.registry import log_loss

TRAIN, TEST = 10_000, 2_000
#: Of the gradient of the linear learner.
TOLERANCE = 1e-4
#: Images that pretraining sees in all, and those of data sets of 5,000 and more.
SEEN = {"simclr": (50_000, 20_000), "vae": (50_000, 10_000)}
SCALES = ("common", "each")
#: Values of the knob that is chosen, and those with which the learner comes.
HOW = {
    "linear": {
        "budgets": (10, 20, 50, 100),
        "seeds": 20,
        "values": (1e-3, 1e-2, 1e-1, 1.0, 10.0),
        "default": 0.1,
        "folds": 5,
    },
    "mlp": {"budgets": (10, 50), "seeds": 10, "values": (1e-2, 10.0), "default": 1e-2, "folds": 2},
    "knn": {"budgets": (10, 20, 50, 100), "seeds": 20, "values": (1, 3, 5, 10, 20), "default": 20, "folds": 5},
}


def sample_rows(name, folder):
    """The file of a data set, of a large one some images drawn at random."""
    if not name.endswith(".npz"):
        return name
    data, file = np.load(name), folder / Path(name).name
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, most in (("train", TRAIN), ("test", TEST)):
        n = len(data[f"{split}_images"])
        rows = np.sort(generator(0, "scale", split).permutation(n)[:most])
        arrays |= {f"{split}_{what}": data[f"{split}_{what}"][rows] for what in ("images", "labels")}
    np.savez(file, **arrays)
    return file


def trained(file, folder, images):
    """The embeddings of encoders, from runs in the folder."""
    run = folder / "run"
    where = ["--dataset", file, "--run", run, "--threads", 1]
    for task, image_count in SEEN.items():
        initpools("pretrain", task, *where, "--set", f"pretrain.epochs={image_count[images >= 5_000] // images}")
        initpools("embed", task, *where)
    short = folder / "short"
    initpools("pretrain", "simclr", "--dataset", file, "--run", short, "--threads", 1, "--epochs", 1)
    initpools("embed", "simclr", "--run", short, "--threads", 1, "--set", "embed.layer=projector")
    places = {
        "vae": run / "embed/vae",
        "simclr": run / "embed/simclr",
        "simclr projector, 1 epoch": short / "embed/simclr-projector",
    }
    return {
        name: {split: np.load(place / f"{split}.npy") for split in ("train", "test")} for name, place in places.items()
    }


def without_training(data):
    """Pixels, their principal components, and the features of a network with random weights."""
    images = {name: data.splits[name].images for name in ("train", "test")}
    flat = {name: np.concatenate(list(pixels(split, 4096))) for name, split in images.items()}
    project = pca(images["train"], np.flatnonzero(data.kept), 0)
    task = untrained_simclr("convnet", images["train"].shape[3], images["train"].shape[1])
    device = torch.device("cpu")
    return {
        "pixels": flat,
        "pca": {name: project(rows) for name, rows in flat.items()},
        "untrained": {
            name: np.concatenate(list(features(task, split, layer="backbone", batch=256, device=device)))
            for name, split in images.items()
        },
    }


def sources(data, file, folder):
    yield from without_training(data).items()
    yield from trained(file, folder, len(data.splits["train"].images)).items()


def scaled(arrays, scale):
    apply = scaling(arrays["train"], scale)
    return apply(arrays["train"]), apply(arrays["test"])


def fitted(learner, rows, labels, classes, value, seeds):
    """A model for each seed; `rows` and `labels` are lists of arrays of one shape."""
    device = torch.device("cpu")
    if learner == "linear":
        return fit_together(np.stack(rows), np.stack(labels), classes, seeds, None, penalty=value, tolerance=TOLERANCE)
    build, knob = (mlp, "weight_decay") if learner == "mlp" else (knn, "k")
    return [
        build(*each, classes, seed, device, **{knob: value}) for *each, seed in zip(rows, labels, seeds, strict=True)
    ]


def answers(learner, rows, labels, tests, truth, classes, parts):
    """Of each seed and value of the knob the mean log-loss over the folds, and the accuracy on the test images."""
    values, seeds = HOW[learner]["values"], range(len(rows))
    losses, right = np.zeros((2, len(seeds), len(values)))
    for place, value in enumerate(values):
        for part in range(max(each.max() for each in parts) + 1):
            out = [each == part for each in parts]
            training = [[array[~mask] for array, mask in zip(arrays, out, strict=True)] for arrays in (rows, labels)]
            for seed, model in enumerate(fitted(learner, *training, classes, value, seeds)):
                held_out = out[seed]
                losses[seed, place] += (
                    log_loss(model.logits(rows[seed][held_out]), labels[seed][held_out]) * held_out.mean()
                )
        for seed, model in enumerate(fitted(learner, rows, labels, classes, value, seeds)):
            right[seed, place] = np.mean(model.logits(tests[seed]).argmax(1) == truth)
    return losses, right


def accuracies(learner, space, labels, truth, budget):
    """Of each seed the value chosen, its accuracy, and the accuracy with the default: (seeds, 3)."""
    how, (train, test) = HOW[learner], space
    samples = [generator(seed, "scale", "labels").permutation(len(labels))[:budget] for seed in range(how["seeds"])]
    rows, sample_labels, tests = (
        [train[each] for each in samples],
        [labels[each] for each in samples],
        [test] * len(samples),
    )
    if learner == "linear":
        # Weights that minimize the penalized loss are combinations of the rows: the rows' own span will do.
        bases, corners = zip(*(np.linalg.qr(each.T.astype(np.float64)) for each in rows), strict=True)
        rows, tests = [each.T for each in corners], [test @ each for each in bases]
    parts = [assign_folds(each, np.arange(budget), seed, how["folds"]) for seed, each in enumerate(sample_labels)]
    losses, right = answers(learner, rows, sample_labels, tests, truth, int(labels.max()) + 1, parts)
    best = losses.argmin(1)
    best_right = right[np.arange(len(best)), best]
    return np.stack([np.array(how["values"])[best], best_right, right[:, how["values"].index(how["default"])]], 1)


def compared(learner, name, source, arrays, labels, truth):
    deviation = arrays["train"].std(0, dtype=np.float64)
    deviation = np.sort(deviation[deviation > 1e-12])
    spaces = {scale: scaled(arrays, scale) for scale in SCALES}
    for budget in HOW[learner]["budgets"]:
        of = {scale: accuracies(learner, spaces[scale], labels, truth, budget) for scale in SCALES}
        gain = of["common"] - of["each"]
        row = {
            **machine(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "data": Path(name).stem,
            "source": source,
            "dimensions": arrays["train"].shape[1],
            "largest_deviation_over_median": f"{deviation[-1] / np.median(deviation):.2f}",
            "effective_dimensions": f"{(deviation**2).sum() ** 2 / (deviation**4).sum():.1f}",
            "learner": learner,
            "budget": budget,
            "seeds": len(gain),
            **{f"{scale}": f"{of[scale][:, 1].mean():.4f}" for scale in SCALES},
            "gain": f"{gain[:, 1].mean():.4f}",
            "gain_error": f"{gain[:, 1].std(ddof=1) / np.sqrt(len(gain)):.4f}",
            **{f"{scale}_knob": f"{np.exp(np.log(of[scale][:, 0]).mean()):.2g}" for scale in SCALES},
            **{f"default_{scale}": f"{of[scale][:, 2].mean():.4f}" for scale in SCALES},
            "default_gain": f"{gain[:, 2].mean():.4f}",
            "default_gain_error": f"{gain[:, 2].std(ddof=1) / np.sqrt(len(gain)):.4f}",
        }
        record("scale", row)
        print("  ".join(str(row[key]) for key in list(row)[5:]), flush=True)


def main():
    folder, learner = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    for name in sys.argv[3:]:
        there = folder / Path(name).stem
        file = sample_rows(name, there)
        data = open_dataset(DatasetSpec(str(file)), seed=0, cache=data_home(), report=Reporter(quiet=True))
        labels, truth = data.splits["train"].labels[data.kept], data.splits["test"].labels
        for source, arrays in sources(data, file, there):
            # Images of train that a split has set aside for test stay in its arrays.
            compared(learner, name, source, arrays | {"train": arrays["train"][data.kept]}, labels, truth)


if __name__ == "__main__":
    main()
