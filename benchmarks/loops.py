"""Simulated labeling loops with the learner `linear` on the embeddings of finished runs, for other benchmarks.

In each loop, 1,500 images drawn at random from the train images of a run are all there are (four fifths where a run has
fewer than 1,875). The first 20 labels are chosen by `maxherding` and later batches of 20 by QUERY (`tcm` is the default
loop), or all of them at random. AUDIT further images of each batch are drawn at random. Test images take no part in a
loop: the accuracy on them is the truth of forecasts.

    python benchmarks/loops.py FOLDER AUDIT LOOPS QUERY RUN/embed/NAME …    (FOLDER keeps the loops; the same command
                                                                              goes on where it ended)
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from fast_linear import SubsetFits, cross_validated

from initpools_cli.core.seeds import derive, generator
from initpools_cli.geometry.standardize import scaling
from initpools_cli.stats.temperature import fit_temperature
from initpools_cli.strategies.select import choose
from initpools_cli.training.crossvalidation import assign_folds
from initpools_cli.training.learners.registry import softmax

BATCH, ROUNDS, WORLD = 20, 14, 1_500
#: Shares of the labels that models are refitted on, each this many times.
PARTS, REFITS = (0.5, 0.75), 5


class State(NamedTuple):
    """One round: n labels, u images without a label.

    Attributes
    ----------
    right, confidence : (n,)
        Of the cross-validated predictions, in the order of labeling.
    parts : tuple of float
        Accuracy of models refitted on `PARTS` of the labels, on the others.
    rest, rest_confidence : float
        Accuracy and mean confidence on the images without a label.
    test : float
        Accuracy on the test images.
    foreseen, foreseen_confidence : (a,)
        Whether this model is right about the audit images of the next batch, and how confident it is.
    left : int
        u.
    temperature : float
    counts : (c,) int64
        Labels of each class.
    """

    right: np.ndarray
    confidence: np.ndarray
    parts: tuple[float, ...]
    rest: float
    rest_confidence: float
    test: float
    foreseen: np.ndarray
    foreseen_confidence: np.ndarray
    left: int
    temperature: float
    counts: np.ndarray


class Loop(NamedTuple):
    """A loop: whether each label is of an audit image, the round of each, and the states."""

    audit: np.ndarray
    rounds: np.ndarray
    states: list[State]


class Images:
    """Embeddings of a run and its labels, train and test."""

    def __init__(self, folder):
        run = folder.parent.parent
        self.name, self.encoder = run.name, folder.name
        items = pd.read_csv(run / "data" / "items.csv", dtype=str, keep_default_na=False)
        mask = np.load(run / "data" / "kept.npy")
        split = {name: items.loc[items["split"] == name, "label"].to_numpy() for name in ("train", "test")}
        apply = scaling(np.load(folder / "train.npy")[mask], "each")
        self.raw = np.load(folder / "train.npy")[mask].astype(np.float32)
        self.inputs, self.test = apply(self.raw), apply(np.load(folder / "test.npy").astype(np.float32))
        names = np.unique(split["train"])
        self.labels, self.truth = np.searchsorted(names, split["train"][mask]), np.searchsorted(names, split["test"])
        self.classes = len(names)


def simulate(images, query, audit, loop):
    """One loop."""
    seed = derive(loop, "loop")
    rng = generator(seed, "world")
    size = min(WORLD, len(images.labels) * 4 // 5)
    world = np.sort(rng.permutation(len(images.labels))[:size])
    raw, inputs, labels = images.raw[world], images.inputs[world], images.labels[world]
    order, origin, since, states = np.empty(0, np.int64), [], [], []
    probs = calibrated_probs = None
    for number in range(ROUNDS):
        rest = np.setdiff1d(np.arange(size), order)
        audit_rows = rng.choice(rest, audit, replace=False)
        candidates = np.setdiff1d(np.arange(size), audit_rows)
        # The query chooses among the others.
        name = "random" if query == "random" else "maxherding" if probs is None else query
        query_inputs = {"embeddings": raw[candidates]} if name in ("maxherding", "tcm") else {}
        if probs is not None and name in ("tcm", "margin"):
            query_inputs["probs"] = probs[candidates]
        label_rows = np.searchsorted(candidates, np.sort(order))
        picks = choose(
            name, query_inputs, BATCH, labeled=label_rows, n=len(candidates), seed=derive(seed, "ask", number)
        ).indices
        if states:
            audit_probs = probs[audit_rows]
            states[-1] = states[-1]._replace(
                foreseen=audit_probs.argmax(1) == labels[audit_rows],
                foreseen_confidence=calibrated_probs[audit_rows].max(1),
            )
        new = rng.permutation(np.concatenate([candidates[picks], audit_rows]))
        order = np.concatenate([order, new])
        origin += np.isin(new, audit_rows).tolist()
        since += [number] * len(new)
        state, probs, calibrated_probs = look(images, inputs, labels, order, derive(seed, "look", number))
        states.append(state)
    return Loop(np.array(origin), np.array(since), states)


def look(images, inputs, labels, order, seed):
    """State after these labels, and probabilities of all images, before and after calibration."""
    codes, n = labels[order], len(order)
    fits = SubsetFits(inputs[order], codes, images.classes)
    full = fits.solve(np.ones((1, n), bool))[0]
    logits = cross_validated(fits, full, assign_folds(codes, np.arange(n), derive(seed, "folds"))[None])[0][0]
    temperature = fit_temperature(logits, codes)
    held_out_probs = softmax(logits / temperature)
    rng, accuracies = generator(seed, "parts"), []
    for part in PARTS:
        inside = np.array([rng.permutation(n) < round(part * n) for _ in range(REFITS)])
        refits = fits.logits(fits.solve(inside, np.repeat(full[None], REFITS, 0))).argmax(2) == codes
        accuracies.append(float(refits[~inside].mean()))
    head = fits.heads(full[None])[0]
    logits_of_all = (inputs @ head[:-1].astype(np.float32)).astype(np.float64) + head[-1]
    test_right = (images.test @ head[:-1].astype(np.float32) + head[-1]).argmax(1) == images.truth
    calibrated_probs = softmax(logits_of_all / temperature)
    rest = np.setdiff1d(np.arange(len(labels)), order)
    state = State(
        held_out_probs.argmax(1) == codes,
        held_out_probs.max(1),
        tuple(accuracies),
        float((logits_of_all[rest].argmax(1) == labels[rest]).mean()),
        float(calibrated_probs[rest].max(1).mean()),
        float(test_right.mean()),
        np.empty(0),
        np.empty(0),
        len(rest),
        temperature,
        np.bincount(codes, minlength=images.classes),
    )
    return state, softmax(logits_of_all), calibrated_probs


def stored(folder):
    """Loops of a folder, by data, encoder, query and number of audit images."""
    loops_of = {}
    for file in sorted(folder.glob("*.pickle")):
        data, encoder, query, audit = file.stem.split("+")
        with file.open("rb") as stream:
            loops_of[data, encoder, query, int(audit)] = pickle.load(stream)
    return loops_of


def main():
    folder, audit, loops, query = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    folder.mkdir(parents=True, exist_ok=True)
    for path in map(Path, sys.argv[5:]):
        images = Images(path)
        file = folder / f"{images.name}+{images.encoder}+{query}+{audit}.pickle"
        loops_done = pickle.loads(file.read_bytes()) if file.exists() else []
        for loop in range(len(loops_done), loops):
            loops_done.append(simulate(images, query, audit, loop))
            if loop % 10 == 9 or loop == loops - 1:
                file.write_bytes(pickle.dumps(loops_done))
        print(file.stem, len(loops_done), flush=True)


if __name__ == "__main__":
    main()
