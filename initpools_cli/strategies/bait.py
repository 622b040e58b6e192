"""BAIT: the images that tell most about the weights of the last layer, as far as all images depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from initpools_cli.geometry.blocks import map_blocks
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows

ROWS = 512
# Chosen for each one wanted; the others are given back.
OVERSAMPLING = 2
# By how much a bound can be off, as a share.
ROUNDING = 1e-9

T = TypeVar("T")
Floats = NDArray[np.float64]


@strategies.register(paper="Ash et al. 2021, arXiv:2106.09675", nested=False, cost="b n c² h²", needs_model=True)
def bait(
    features: NDArray[np.float32],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    *,
    components: PositiveInt = 16,
    regularizer: Annotated[float, Field(ge=1e-6)] = 1.0,
) -> Selection:
    """Lower tr(M⁻¹ F) as far as it goes: greedily choose twice the budget, then give back what it misses least.

    F is the Fisher information of the last layer's weights, (diag p − p pᵀ) ⊗ h hᵀ, averaged over all images, as in the
    paper's code, and M its sum over the labelled and the chosen plus `regularizer` times the identity. The traces are
    exact, by the Woodbury identity. Deviations: features are first projected on their main directions, not centred,
    since M is (c h)²; what is labelled is summed like what is chosen, where the code weighs the two.

    Parameters
    ----------
    features : (n, h) float32
        What goes into the last layer.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    components : int
        How many directions of the features count; all of them where there are no more.
    regularizer : float
        In the unit of squared features; far below them M can't be told from a singular matrix.

    Returns
    -------
    Selection
        In the order in which they were chosen. Scores: by how much each then lowered the trace.
    """
    fisher = Fisher(main_directions(features, components), probs)
    rows = unlabeled_rows(len(features), labeled)
    target = fisher.total(np.arange(len(features))) / len(features)
    design = fisher.total(labeled) + regularizer * np.eye(len(target))
    inverse = one_thread(lambda: np.asarray(np.linalg.inv(design), np.float64))
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(min(OVERSAMPLING * budget, len(rows))):
        best, gain = fisher.best(rows, inverse, target)
        picks.append(best)
        gains.append(gain)
        rows = rows[rows != best]
        inverse = fisher.updated(inverse, best, 1.0)
    while len(picks) > budget:
        losses = fisher.changes(np.array(picks), inverse, target, -1.0)
        least = int(losses.argmin())
        inverse = fisher.updated(inverse, picks.pop(least), -1.0)
        gains.pop(least)
    return Selection(np.array(picks, np.int64), scores=np.array(gains))


def main_directions(features: NDArray[np.float32], components: int) -> Floats:
    """The features in the `components` orthogonal directions that hold most of their squares, (n, ≤ components)."""
    wide = np.asarray(features, np.float64)
    if wide.shape[1] <= components:
        return wide
    squares = np.sum(map_blocks(lambda span: wide[span].T @ wide[span], len(wide), 8 * ROWS), axis=0)
    directions = one_thread(lambda: np.linalg.eigh(squares)[1])[:, : -components - 1 : -1]
    return np.concatenate(map_blocks(lambda span: wide[span] @ directions, len(wide), 8 * ROWS))


def one_thread(function: Callable[[], T]) -> T:
    """Call `function` with a BLAS that rounds alike however many threads there are."""
    return map_blocks(lambda span: function(), 1, 1)[0]


class Fisher:
    """The Fisher information of each image, V Vᵀ with V = √p (e − p) ⊗ h for each class e, of which nothing is written.

    Weights are in the order of (class, feature). Products of two features are symmetric, and so is what they are summed
    to for two classes: only half of both is worked with.
    """

    def __init__(self, features: Floats, probs: Floats) -> None:
        self.features, self.probs = features, probs
        self.d, self.c = features.shape[1], probs.shape[1]
        self.left, self.right = np.triu_indices(self.d)
        self.upper = np.triu_indices(self.c)
        self.place = np.empty((self.c, self.c), np.int64)
        self.place[self.upper] = self.place.T[self.upper] = np.arange(len(self.upper[0]))

    def total(self, rows: NDArray[np.int64]) -> Floats:
        """The sum over these images, (c d, c d)."""

        def add(span: slice) -> Floats:
            products: Floats = self._covariances(rows[span]).T @ self._pairs(rows[span])
            return products

        size = self.c * self.d
        compact = sum(map_blocks(add, len(rows), ROWS), np.zeros((len(self.upper[0]), len(self.left))))
        whole = np.empty((self.c, self.c, self.d, self.d))
        whole[..., self.left, self.right] = whole[..., self.right, self.left] = compact[self.place]
        return whole.transpose(0, 2, 1, 3).reshape(size, size)

    def best(self, rows: NDArray[np.int64], inverse: Floats, target: Floats) -> tuple[int, float]:
        """Which of these images lowers tr(M⁻¹ F) most by joining M, the lowest of equal ones, and by how much.

        Vᵀ M⁻¹ F M⁻¹ V bounds it from above, by its trace, so that few have to be computed.
        """
        outer = self._summary(one_thread(lambda: inverse @ target @ inverse)).T
        twice = outer * np.where(self.upper[0] == self.upper[1], 1.0, 2.0)[:, None]

        def bound(span: slice) -> Floats:
            weights = self._covariances(rows[span]) @ twice
            bounds: Floats = np.einsum("mp,mp->m", weights, self._pairs(rows[span]))
            return bounds

        bounds = np.concatenate(map_blocks(bound, len(rows), ROWS))
        order = np.argsort(-bounds, kind="stable")
        changes = np.full(len(rows), -np.inf)
        for start in range(0, len(rows), ROWS):
            if bounds[order[start]] * (1 + ROUNDING) < changes.max():
                break
            some = order[start : start + ROWS]
            changes[some] = self.changes(rows[some], inverse, target, 1.0)
        return int(rows[changes.argmax()]), float(changes.max())

    def changes(self, rows: NDArray[np.int64], inverse: Floats, target: Floats, sign: float) -> Floats:
        """By how much tr(M⁻¹ F) falls if each image alone joins M (sign 1), or rises if it leaves M (−1)."""
        inner = self._summary(inverse)
        outer = self._summary(one_thread(lambda: inverse @ target @ inverse))

        def change(span: slice) -> Floats:
            pairs = self._pairs(rows[span])
            probs = self.probs[rows[span]]
            core = np.eye(self.c) + sign * seen_through(probs, (pairs @ inner)[:, self.place])
            moved = seen_through(probs, (pairs @ outer)[:, self.place])
            return np.trace(np.linalg.solve(core, moved), axis1=1, axis2=2)

        return np.concatenate(map_blocks(change, len(rows), ROWS))

    def updated(self, inverse: Floats, row: int, sign: float) -> Floats:
        """M⁻¹ once an image has joined M (sign 1) or left it (−1)."""
        p = self.probs[row]
        vectors = np.kron((np.eye(self.c) - p[:, None]) * np.sqrt(p), self.features[row][:, None])

        def update() -> Floats:
            reached = inverse @ vectors
            core = sign * np.eye(self.c) + vectors.T @ reached
            new: Floats = inverse - reached @ np.linalg.solve(core, reached.T)
            return (new + new.T) / 2

        return one_thread(update)

    def _covariances(self, rows: NDArray[np.int64]) -> Floats:
        """Of the classes of each image, the upper half, (m, c (c + 1) / 2)."""
        probs, (a, b) = self.probs[rows], self.upper
        covariances: Floats = (a == b) * probs[:, a] - probs[:, a] * probs[:, b]
        return covariances

    def _pairs(self, rows: NDArray[np.int64]) -> Floats:
        """Products of all pairs of features, (m, d (d + 1) / 2)."""
        features = self.features[rows]
        return features[:, self.left] * features[:, self.right]

    def _summary(self, matrix: Floats) -> Floats:
        """What a symmetric matrix is to pairs of features and of classes, (d (d + 1) / 2, c (c + 1) / 2)."""
        blocks = matrix.reshape(self.c, self.d, self.c, self.d)[self.upper[0], :, self.upper[1], :]
        twice = blocks[:, self.left, self.right] + blocks[:, self.right, self.left]
        return (twice * np.where(self.left == self.right, 0.5, 1.0)).T


def seen_through(probs: Floats, matrices: Floats) -> Floats:
    """Aᵀ K A with the columns √p (e − p) of A, for each row of `probs` (m, c) and its matrix (m, c, c)."""
    rows = np.einsum("mab,mb->ma", matrices, probs)
    both = np.einsum("ma,ma->m", rows, probs)
    centred = matrices - rows[:, :, None] - rows[:, None, :] + both[:, None, None]
    roots = np.sqrt(probs)
    result: Floats = roots[:, :, None] * centred * roots[:, None, :]
    return result
