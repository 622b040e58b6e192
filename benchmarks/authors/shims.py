"""What comparisons with the authors' code share: inputs, the import of a file, and what is found."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import numpy as np

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.strategies.registry import strategies

NOTHING = np.empty(0, np.int64)
#: Labeled images of comparisons with a model.
LABELED = 100


@dataclass(frozen=True)
class ResultRow:
    """A comparison as a row of replications.csv."""

    kind: str
    method: str
    what: str
    value: float
    low: float | str = ""
    high: float | str = ""
    data: str = ""
    encoder: str = ""
    labels: int | str = ""
    seeds: int | str = ""


@dataclass(frozen=True)
class Inputs:
    """Embeddings of length 1 and labels of images, and a linear model of some of the labels.

    `small` has embeddings with few dimensions, by another encoder; None without them.
    """

    name: str
    points: np.ndarray
    labels: np.ndarray
    small: np.ndarray | None = None

    def part(self, n):
        """The first n images."""
        return Inputs(self.name, self.points[:n], self.labels[:n])

    def narrow(self, dimensions):
        """The same images, with the first principal components of the embeddings."""
        centered = self.points - self.points.mean(axis=0)
        components = np.linalg.svd(centered, full_matrices=False)[2][:dimensions]
        name = f"{self.name} with {dimensions} principal components"
        return Inputs(name, unit_rows(np.ascontiguousarray(centered @ components.T)), self.labels)

    @property
    def about(self):
        return {"data": f"{self.name}, {len(self.points)} images", "encoder": "lite0"}

    @property
    def labeled(self):
        return np.arange(LABELED)

    @property
    def unlabeled(self):
        return np.arange(LABELED, len(self.points))

    @property
    def bought(self):
        """The labels of labeled images, -1 elsewhere."""
        return np.where(np.arange(len(self.labels)) < LABELED, self.labels, -1)

    @cached_property
    def head(self):
        """Weights and bias of logistic regression of the labeled images, (d + 1, c)."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=10, max_iter=1000).fit(self.points[self.labeled], self.labels[self.labeled])
        assert list(model.classes_) == list(range(10)), "a class has no label"
        return np.concatenate([model.coef_.T, model.intercept_[None]]).astype(np.float64)

    @cached_property
    def logits(self):
        return logits_of(self.points, self.head)

    @cached_property
    def probs(self):
        from scipy.special import softmax

        return softmax(self.logits, axis=1)


#: Folder of the clone, and function, of each method.
COMPARISONS: dict[str, tuple[str, Callable[[Path, Inputs], Iterator[ResultRow]]]] = {}


def compares(method, folder):
    """Register a comparison of a method with the code in a clone."""

    def register(function):
        COMPARISONS[method] = (folder, function)
        return function

    return register


def choose(name, *words, seed=None, **knobs):
    """Our picks, with their scores and clusters."""
    numbers = () if seed is None else (generator(0, seed),)
    return strategies.get(name).build(*words, *numbers, **knobs)


def same_picks(method, ours, theirs, *, ordered=True, **about):
    """The share of our picks that the authors' code makes, too."""
    ours, theirs = ([int(each) for each in picks] for picks in (ours, theirs))
    assert len(theirs) == len(ours) == len(set(theirs)) == len(set(ours)), (method, ours, theirs)
    same = len(set(ours) & set(theirs)) / len(ours)
    first = next((place for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), len(ours))
    what = f"the first {first} in the same order" if ordered else ""
    return ResultRow("picks", method, what, same, labels=len(ours), **about)


def source(path, name, text=None, **stubs):
    """Import a file of the authors' code; modules that it imports and that are not needed are stubs.

    `text` is the file's text, where it cannot be imported as it stands.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stubs)
    try:
        if text is None:
            spec.loader.exec_module(module)
        else:
            exec(compile(text, str(path), "exec"), vars(module))
    finally:
        for each in stubs:
            del sys.modules[each]
    return module


def stub(name, **attributes):
    """A module that has only these attributes."""
    module = types.ModuleType(name)
    module.__path__ = []
    vars(module).update(attributes)
    return module


class Settings(dict):
    """Settings of the authors' code, as keys and as attributes."""

    __getattr__ = dict.__getitem__


class KMeansOfOurs:
    """Our k-means in place of scikit-learn's, so that both have the same clusters."""

    def __init__(self, rng, k):
        self.rng, self.k = rng, k

    def fit(self, points, sample_weight=None):
        from initpools_cli.geometry.kmeans import kmeans

        points = np.ascontiguousarray(points, np.float32)
        clusters = kmeans(points, self.k, self.rng, weights=sample_weight)
        self.labels_, self.cluster_centers_ = clusters.labels, clusters.centroids
        return self

    def predict(self, _):
        return self.labels_


@contextlib.contextmanager
def on_cpu():
    """Code that is written for a GPU runs on the CPU."""
    import faiss
    import torch

    with contextlib.ExitStack() as stack:
        for owner in (torch.Tensor, torch.nn.Module):
            stack.enter_context(mock.patch.object(owner, "cuda", lambda self, *words, **options: self))
        stack.enter_context(mock.patch.object(torch.cuda, "empty_cache", lambda: None))
        stack.enter_context(mock.patch.object(faiss, "index_cpu_to_all_gpus", lambda index: index, create=True))
        yield
