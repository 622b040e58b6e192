"""Learner `label-spreading`: labels spread over the graph of nearest neighbors of all images."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Count, PositiveCount, PositiveFactor
from initpools_cli.core.capacity import require_memory
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.geometry.knn import approximate_revision, knn
from initpools_cli.geometry.neighbors import nearest_k
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.training.learners.registry import Validation, learners, log_loss

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Numbers of neighbors tried with validation.
GRID = (5, 10, 20, 50)
#: The iteration ends when no entry changes by more.
TOLERANCE = 1e-10
#: Neighbors that are searched at a time.
PIECE = 2**20
#: Bytes of graphs that are kept: the images of a seed are the same for every first pool, query and round.
KEPT = 2**28


@dataclass(frozen=True)
class SpreadLabels:
    """Labels spread over a graph.

    Attributes
    ----------
    embeddings : (n, d) float32, unit rows
        All images, labeled or not.
    shares : (n, c) float64
        Share of each class in what reached an image, or of each label; zero for images that no label reaches.
    reached : (n,) float64
        1 for images that some label reaches, else 0.
    k : int
    smoothing : float
    multilabel : bool
    """

    embeddings: NDArray[np.float32]
    shares: NDArray[np.float64]
    reached: NDArray[np.float64]
    k: int
    smoothing: float
    multilabel: bool

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the logarithms of the smoothed mean share of the k nearest images, or of the odds of labels, (n, c).

        The rule is the same for every input. An image of the graph is one of its own nearest.
        """
        from scipy.sparse import csr_array

        k, classes = min(self.k, len(self.embeddings)), self.shares.shape[1]
        # Each label is a vote of two classes: yes or no.
        count = 2 if self.multilabel else classes
        logits = np.empty((len(inputs), classes))
        step = max(1, PIECE // k)
        for start in range(0, len(inputs), step):
            index, _ = nearest_k(unit_rows(inputs[start : start + step]), self.embeddings, k)
            shape = (len(index), len(self.embeddings))
            near = csr_array((np.ones(index.size), index.ravel(), k * np.arange(len(index) + 1)), shape=shape)
            total, voters = np.asarray(near @ self.shares), np.asarray(near @ self.reached)[:, None]
            mean = np.divide(total, voters, out=np.full_like(total, 1 / count), where=voters > 0)
            probs = (k * mean + self.smoothing) / (k + count * self.smoothing)
            logits[start : start + len(index)] = np.log(probs / (1 - probs) if self.multilabel else probs)
        return logits

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the L2-normalized inputs."""
        return unit_rows(inputs)


@learners.register(
    paper="Zhou et al. 2004, NeurIPS 16 (Learning with Local and Global Consistency)",
    gives=("probs", "features"),
    presets={"quick": {}, "reference": {"k": 6, "alpha": 0.2}},
    unlabeled=True,
    revision=approximate_revision,
)
def label_spreading(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    device: object,
    validation: Validation | None = None,
    *,
    k: PositiveCount = 10,
    alpha: Annotated[float, Field(gt=0, le=0.99)] = 0.5,
    smoothing: PositiveFactor = 0.3,
    probes: Count = 0,
) -> SpreadLabels:
    """Labels spread over the k-NN graph of all images, labeled or not; a new image gets the mean of its k nearest.

    Iterates F ← alpha S F + (1 − alpha) Y with S = D^-½ W D^-½ until no entry changes by more than 1e-10. Y has the
    labels; rows of F are then divided by their sum. Deviations from the paper: W is 1 between two images if either is
    among the k nearest of the other by cosine, else 0, in place of a Gaussian of all distances; images outside the
    graph, such as test images, are predicted as in scikit-learn's `LabelSpreading`; and shares are smoothed as in
    `knn`.

    Parameters
    ----------
    embeddings : ndarray
        (n, d) float, of all images.
    labels : ndarray
        (n,) int64, or (n, c) int8; -1 for images without a label.
    classes : int
        c.
    seed, device
        Unused.
    validation : (embeddings, labels), optional
        If present, k is the value of a fixed grid with the lowest validation log-loss.
    k : int
        Number of neighbors, at most all other images.
    alpha : float
        Weight of the neighbors; the rest is that of the label itself. The closer to 1, the longer it takes.
    probes : int
        0: exact neighbors. Else approximate, from this many lists of an inverted file.
    """
    rows = unit_rows(embeddings)
    multilabel, label_rows = labels.ndim == 2, labeled_rows(labels)
    require_memory(
        5 * len(rows) * (classes + multilabel) * 8,
        f"Labels of {classes:,} classes spread to {len(rows):,} images take",
        "Use another --learner, such as linear, or fewer images.",
    )
    targets = np.zeros((len(rows), classes + multilabel))
    if multilabel:
        targets[label_rows, :classes], targets[label_rows, classes] = labels[label_rows], 1.0
    else:
        targets[label_rows, labels[label_rows]] = 1.0

    def fit(count: int) -> SpreadLabels:
        mass = spread(neighbor_graph(rows, min(count, len(rows) - 1), probes), targets, alpha)
        total = mass[:, classes:] if multilabel else mass.sum(axis=1, keepdims=True)
        shares = np.divide(mass[:, :classes], total, out=np.zeros_like(mass[:, :classes]), where=total > 0)
        return SpreadLabels(rows, shares, (total[:, 0] > 0).astype(np.float64), count, smoothing, multilabel)

    if validation is None:
        return fit(k)
    return min(map(fit, GRID), key=lambda model: log_loss(model.logits(validation[0]), validation[1]))


def spread(graph: csr_array, targets: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Iterate F ← alpha S F + (1 − alpha) Y from F = Y, (n, c), with S = D^-½ W D^-½.

    Parameters
    ----------
    graph : (n, n) csr_array
        W, not negative, without loops.
    targets : (n, c) float64
        Y.
    alpha : float
        In (0, 1).

    Returns
    -------
    (n, c) float64
        F, converged up to `TOLERANCE` in each entry and step.
    """
    degree = np.asarray(graph.sum(axis=0))
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1.0))
    step = graph.copy()
    step.data = alpha * graph.data * np.repeat(scale, np.diff(graph.indptr)) * scale[graph.indices]
    source, mass = (1 - alpha) * targets, targets
    while True:
        following: NDArray[np.float64] = step @ mass + source
        if np.abs(following - mass).max(initial=0) <= TOLERANCE:
            return following
        mass = following


_graphs: OrderedDict[tuple[str, int, int], csr_array] = OrderedDict()


def neighbor_graph(points: NDArray[np.float32], k: int, probes: int = 0) -> csr_array:
    """Build the symmetric k-NN graph: 1 where either row is among the k nearest of the other, else 0.

    The last graphs are kept, by the contents of the rows.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        0 ≤ k < n.
    probes : int
        As for `geometry.knn.knn`.
    """
    from scipy.sparse import csr_array

    key = (hashlib.blake2b(np.ascontiguousarray(points).data).hexdigest(), k, probes)
    if key not in _graphs:
        n = len(points)
        index = (knn(points, k, probes=probes)[0] if k else np.empty((n, 0))).astype(np.int32)
        near = csr_array((np.ones(n * k), index.ravel(), k * np.arange(n + 1)), shape=(n, n))
        _graphs[key] = near.maximum(near.T).tocsr()
        while len(_graphs) > 1 and sum(each.data.nbytes + each.indices.nbytes for each in _graphs.values()) > KEPT:
            _graphs.popitem(last=False)
    _graphs.move_to_end(key)
    return _graphs[key]
