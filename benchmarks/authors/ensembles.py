"""Strategies that try others, beside the code of dal-toolbox; it needs the packages lightning and torchmetrics.

Their networks are trained by gradient descent. Here both train a linear classifier in closed form, so that what is
compared is the choice.
"""

from __future__ import annotations

import importlib
import random
import sys
import types
from unittest import mock

import numpy as np

from authors.shims import ResultRow, compares, source
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.ridge import ridge
from initpools_cli.strategies.auto import PENALTY, most_missed
from initpools_cli.strategies.registry import strategies

#: Random starts of `refine`, `boss` and `auto`.
FEW, MANY = 6, 20
BUDGET = 10
#: Principal components of the embeddings: gradients of BADGE are ten times as long.
DIMENSIONS = 64


def toolbox(folder):
    """The strategies of dal-toolbox."""
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):
        return importlib.import_module("dal_toolbox.active_learning")


def pool(module, inputs, rows):
    """Their data module, with our embeddings and labels, of which `rows` are labeled."""
    import torch

    images = torch.utils.data.TensorDataset(torch.from_numpy(inputs.points), torch.from_numpy(inputs.labels))
    # One batch: they leave out the last one if it is not full.
    sizes = {"train_batch_size": len(images), "predict_batch_size": len(images)}
    data = module.ActiveLearningDataModule(images, images, test_dataset=images, **sizes)
    data.update_annotations([int(row) for row in rows])
    return data


def linear_model(head):
    """A model of the kind that their strategies read; training it is ridge regression, which keeps nothing."""
    import torch

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(len(head) - 1, head.shape[1])
            self.set(head)

        def set(self, weights):
            with torch.no_grad():
                self.last.weight.copy_(torch.from_numpy(weights[:-1].T))
                self.last.bias.copy_(torch.from_numpy(weights[-1]))

        def forward_features(self, rows):
            return rows

        def forward_head(self, features):
            return self.last(features)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Layers()

        def forward(self, rows):
            return self.model.last(rows)

        def reset_states(self, reset_model_parameters=True):
            pass

        def get_model_outputs(self, loader, output_types, device="cpu"):
            rows, labels = zip(*((batch[0], batch[1]) for batch in loader), strict=True)
            rows = torch.cat(rows)
            every = {"features": rows, "logits": self(rows).detach(), "labels": torch.cat(labels)}
            return {name: every[name] for name in output_types}

    return Model()


class Trainer:
    """Fits the last layer by ridge regression."""

    def __init__(self, **options):
        pass

    def fit(self, model, loader):
        rows, labels = zip(*((batch[0].numpy(), batch[1].numpy()) for batch in loader), strict=True)
        targets = np.eye(model.model.last.out_features)[np.concatenate(labels)]
        model.model.set(ridge(np.concatenate(rows), targets, PENALTY))


def seeded(seed):
    """Seed the global generators, from which their code draws."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - their code draws from it
    torch.manual_seed(seed)


def overlap(sets, others):
    """Mean share of equal picks over pairs of different seeds."""
    shares = [len(set(a) & set(b)) / len(a) for i, a in enumerate(sets) for j, b in enumerate(others) if i != j]
    return float(np.mean(shares))


@compares("boss", "dal-toolbox")
def boss(folder, inputs):
    """Accuracy after the batch on all images, ours minus theirs, without BAIT and the variant of DropQuery."""
    inputs = inputs.part(1000).narrow(DIMENSIONS)
    module = toolbox(folder)
    theirs = importlib.import_module("dal_toolbox.active_learning.oracles.boss")
    names = ["random", "typiclust", "dropquery", "margin", "badge", "coreset", "alfamix", "typiclass"]
    targets = np.eye(10)[inputs.labels]

    def accuracy(picks):
        rows = np.concatenate([inputs.labeled, picks])
        predictions = logits_of(inputs.points, ridge(inputs.points[rows], targets[rows], PENALTY)).argmax(axis=1)
        return float((predictions == inputs.labels).mean())

    gaps = []
    for seed in range(FEW):
        seeded(seed)
        state = theirs.BoSS(strategies=names, vary_strat_subset_size=True, random_seed=seed)
        data, model = pool(module, inputs, inputs.labeled), linear_model(inputs.head)
        with mock.patch.object(theirs, "Trainer", Trainer):
            their_picks = state.query(model=model, al_datamodule=data, acq_size=BUDGET)
        words = (inputs.points, inputs.points, inputs.head, inputs.probs, inputs.labels, inputs.labeled, BUDGET)
        own = strategies.get("boss").build(*words, generator(seed, "boss")).indices
        gaps.append(accuracy(own) - accuracy(np.array(their_picks, np.int64)))
    error = 1.96 * np.std(gaps, ddof=1) / np.sqrt(FEW)
    middle = float(np.mean(gaps))
    yield ResultRow(
        "accuracy", "boss", "", middle, middle - error, middle + error, labels=BUDGET, seeds=FEW, **inputs.about
    )


@compares("auto", "dal-toolbox")
def auto(folder, inputs):
    """Equal choices of a strategy, over draws of the labels: ours and theirs, and theirs with two seeds."""
    inputs = inputs.part(1000).narrow(DIMENSIONS)
    module = toolbox(folder)
    theirs = source(folder / "publications/cleaning_the_pool/strategies.py", "cleaning_the_pool")
    names = ("random", "typiclust", "margin")

    def choice(rows, seed):
        seeded(seed)
        state = theirs.SelectAL(random_seed=seed)
        # The chosen strategy is not asked.
        state.strategies = [types.SimpleNamespace(query=lambda **words: []) for _ in names]
        state.query(model=linear_model(inputs.head), al_datamodule=pool(module, inputs, rows), acq_size=BUDGET)
        return names[list(state.query_history[-1].values()).index(1)]

    for labels in (20, 50, 200):
        same, alike = [], []
        for seed in range(MANY):
            rows = class_balanced(inputs.labels, labels, generator(seed, "labels"))
            with mock.patch.object(theirs, "Trainer", Trainer):
                their_choice, again = choice(rows, seed), choice(rows, MANY + seed)
            own = most_missed(inputs.points[rows], inputs.labels[rows], 0.05, generator(seed, "auto"))
            same += [own == their_choice, own == again]
            alike.append(their_choice == again)
        about = {"labels": labels, "seeds": MANY, **inputs.about}
        yield ResultRow("choices", "auto", "", float(np.mean(same)), float(np.mean(alike)), **about)


def class_balanced(labels, count, rng):
    """Equally many random rows of each class."""
    each = count // 10
    return np.concatenate([rng.choice(np.flatnonzero(labels == label), each, replace=False) for label in range(10)])


@compares("refine", "dal-toolbox")
def refine(folder, inputs):
    """Share of equal picks between seeds of both, and between seeds of each; without BAIT, at temperature 1.

    Their first subsets have 5,000 images, here all; once as in ours, 40 %.
    """
    inputs = inputs.part(1000).narrow(DIMENSIONS)
    module = toolbox(folder)
    theirs = source(folder / "publications/cleaning_the_pool/strategies.py", "cleaning_the_pool")
    names = ["random", "margin", "badge", "typiclust", "alfamix", "dropquery", "max_herding", "unc_herding"]

    def found(seed, first):
        seeded(seed)
        options = {"num_batches": 10 * len(names), "init_subset_size": first, "random_seed": seed}
        state = theirs.Refine(al_strategies=names, **options)
        for herding in (state.strategies["unc_herding"], state.select_strategy):
            herding._compute_temperature = lambda *words: np.float64(1)
        data, model = pool(module, inputs, inputs.labeled), linear_model(inputs.head)
        return [int(row) for row in state.query(model=model, al_datamodule=data, acq_size=BUDGET)]

    words = (inputs.points, inputs.points, inputs.head, inputs.probs, inputs.labeled, BUDGET)
    own = [
        strategies.get("refine").build(*words, generator(seed, "refine"), labels=inputs.bought).indices.tolist()
        for seed in range(FEW)
    ]
    about = {"labels": BUDGET, "seeds": FEW, **inputs.about}
    for name, first in (("refine", 5000), ("refine, first subsets of 40 %", int(0.4 * len(inputs.unlabeled)))):
        other = [found(seed, first) for seed in range(FEW)]
        yield ResultRow("overlap", name, "", overlap(own, other), overlap(other, other), overlap(own, own), **about)
