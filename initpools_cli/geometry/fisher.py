"""Fisher information of a classifier's last layer per image, without building the full matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

ROWS = 512
# Relative rounding error of a bound.
ROUNDING = 1e-9

T = TypeVar("T")
Floats = NDArray[np.float64]


def project_principal(features: NDArray[np.float32], components: int) -> Floats:
    """Project features on their `components` leading principal directions, uncentered, (n, ≤ components)."""
    wide = np.asarray(features, np.float64)
    if wide.shape[1] <= components:
        return wide
    squares = np.sum(map_blocks(lambda span: wide[span].T @ wide[span], len(wide), 8 * ROWS), axis=0)
    directions = one_thread(lambda: np.linalg.eigh(squares)[1])[:, : -components - 1 : -1]
    return np.concatenate(map_blocks(lambda span: wide[span] @ directions, len(wide), 8 * ROWS))


def sandwich_product(outside: Floats, inside: Floats) -> Floats:
    """Compute ``outside @ inside @ outside`` of symmetric matrices."""
    return one_thread(lambda: outside @ inside @ outside)


def one_thread(function: Callable[[], T]) -> T:
    """Call `function` with single-threaded BLAS, so that it rounds alike for any number of threads."""
    return map_blocks(lambda span: function(), 1, 1)[0]


class Fisher:
    """Fisher information of each image, V Vᵀ with V = √p (e − p) ⊗ h for each class e, kept in factored form.

    Weights are in the order (class, feature). Products of two features and of two classes are symmetric, so only the
    upper triangles are computed.
    """

    def __init__(self, features: Floats, probs: Floats) -> None:
        self.features, self.probs = features, probs
        self.d, self.c = features.shape[1], probs.shape[1]
        self.left, self.right = np.triu_indices(self.d)
        self.upper = np.triu_indices(self.c)
        self.place = np.empty((self.c, self.c), np.int64)
        self.place[self.upper] = self.place.T[self.upper] = np.arange(len(self.upper[0]))

    def total(self, rows: NDArray[np.int64]) -> Floats:
        """Sum the Fisher information of `rows`, (c d, c d)."""

        def add(span: slice) -> Floats:
            products: Floats = self._covariances(rows[span]).T @ self._pairs(rows[span])
            return products

        size = self.c * self.d
        compact = sum(map_blocks(add, len(rows), ROWS), np.zeros((len(self.upper[0]), len(self.left))))
        whole = np.empty((self.c, self.c, self.d, self.d))
        whole[..., self.left, self.right] = whole[..., self.right, self.left] = compact[self.place]
        return whole.transpose(0, 2, 1, 3).reshape(size, size)

    def best(self, rows: NDArray[np.int64], inverse: Floats, sandwich: Floats) -> tuple[int, float]:
        """Find the image whose addition to M lowers tr(M⁻¹ F) most, and by how much; ties go to the lowest row.

        The trace of Vᵀ M⁻¹ F M⁻¹ V is an upper bound, so few changes have to be computed.

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
        """Compute how much tr(M⁻¹ F) falls if each image alone joins M (sign 1), or rises if it leaves M (−1)."""
        inner, outer = self._summary(inverse), self._summary(sandwich)

        def change(span: slice) -> Floats:
            pairs = self._pairs(rows[span])
            probs = self.probs[rows[span]]
            core = np.eye(self.c) + sign * class_sandwich(probs, (pairs @ inner)[:, self.place])
            outer_core = class_sandwich(probs, (pairs @ outer)[:, self.place])
            return np.trace(np.linalg.solve(core, outer_core), axis1=1, axis2=2)

        return np.concatenate(map_blocks(change, len(rows), ROWS))

    def update_inverse(self, inverse: Floats, row: int, sign: float) -> Floats:
        """Compute M⁻¹ after an image joined M (sign 1) or left it (−1)."""
        p = self.probs[row]
        vectors = np.kron((np.eye(self.c) - p[:, None]) * np.sqrt(p), self.features[row][:, None])

        def update() -> Floats:
            solution = inverse @ vectors
            core = sign * np.eye(self.c) + vectors.T @ solution
            new: Floats = inverse - solution @ np.linalg.solve(core, solution.T)
            return (new + new.T) / 2

        return one_thread(update)

    def _covariances(self, rows: NDArray[np.int64]) -> Floats:
        """Compute the upper triangle of the class covariances of each image, (m, c (c + 1) / 2)."""
        probs, (a, b) = self.probs[rows], self.upper
        covariances: Floats = (a == b) * probs[:, a] - probs[:, a] * probs[:, b]
        return covariances

    def _pairs(self, rows: NDArray[np.int64]) -> Floats:
        """Compute the products of all pairs of features, (m, d (d + 1) / 2)."""
        features = self.features[rows]
        return features[:, self.left] * features[:, self.right]

    def _summary(self, matrix: Floats) -> Floats:
        """Arrange a symmetric matrix by pairs of features and pairs of classes, (d (d + 1) / 2, c (c + 1) / 2)."""
        blocks = matrix.reshape(self.c, self.d, self.c, self.d)[self.upper[0], :, self.upper[1], :]
        twice = blocks[:, self.left, self.right] + blocks[:, self.right, self.left]
        return (twice * np.where(self.left == self.right, 0.5, 1.0)).T


def class_sandwich(probs: Floats, matrices: Floats) -> Floats:
    """Compute Aᵀ K A with columns √p (e − p) of A, for each row of `probs` (m, c) and its matrix K (m, c, c)."""
    rows = np.einsum("mab,mb->ma", matrices, probs)
    both = np.einsum("ma,ma->m", rows, probs)
    products = matrices - rows[:, :, None] - rows[:, None, :] + both[:, None, None]
    roots = np.sqrt(probs)
    result: Floats = roots[:, :, None] * products * roots[:, None, :]
    return result
