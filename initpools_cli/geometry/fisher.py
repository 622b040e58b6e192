"""Fisher information of the last layer of a classifier, image by image, without writing it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

ROWS = 512
# By how much a bound can be off, as a share.
ROUNDING = 1e-9

T = TypeVar("T")
Floats = NDArray[np.float64]


def main_directions(features: NDArray[np.float32], components: int) -> Floats:
    """The features in the `components` orthogonal directions that hold most of their squares, (n, ≤ components)."""
    wide = np.asarray(features, np.float64)
    if wide.shape[1] <= components:
        return wide
    squares = np.sum(map_blocks(lambda span: wide[span].T @ wide[span], len(wide), 8 * ROWS), axis=0)
    directions = one_thread(lambda: np.linalg.eigh(squares)[1])[:, : -components - 1 : -1]
    return np.concatenate(map_blocks(lambda span: wide[span] @ directions, len(wide), 8 * ROWS))


def sandwiched(outside: Floats, inside: Floats) -> Floats:
    """``outside @ inside @ outside``, of symmetric matrices."""
    return one_thread(lambda: outside @ inside @ outside)


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

    def best(self, rows: NDArray[np.int64], inverse: Floats, sandwich: Floats) -> tuple[int, float]:
        """Which of these images lowers tr(M⁻¹ F) most by joining M, the lowest of equal ones, and by how much.

        The trace of Vᵀ M⁻¹ F M⁻¹ V bounds it from above, so that few have to be computed.

        Parameters
        ----------
        rows : (m,) int64
        inverse, sandwich : (c d, c d) float64
            M⁻¹ and M⁻¹ F M⁻¹.
        """
        outer = self._summary(sandwich).T
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
            changes[some] = self.changes(rows[some], inverse, sandwich, 1.0)
        return int(rows[changes.argmax()]), float(changes.max())

    def changes(self, rows: NDArray[np.int64], inverse: Floats, sandwich: Floats, sign: float) -> Floats:
        """By how much tr(M⁻¹ F) falls if each image alone joins M (sign 1), or rises if it leaves M (−1), as `best`."""
        inner, outer = self._summary(inverse), self._summary(sandwich)

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
    centered = matrices - rows[:, :, None] - rows[:, None, :] + both[:, None, None]
    roots = np.sqrt(probs)
    result: Floats = roots[:, :, None] * centered * roots[:, None, :]
    return result
