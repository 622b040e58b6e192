"""The learner `linear` fitted on many subsets of a few labeled images, for simulations; needs a C compiler.

With n labeled images of d > n dimensions, the weights are combinations of the images. All fits are solved in n
coordinates, which is exact, each scaled by its curvature, so that L-BFGS needs fewer iterations.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

#: Of the gradient; the shipped learner has 1e-5 in other coordinates.
TOLERANCE = 1e-4
#: Typical variance p (1 - p) of a fitted probability.
CURVATURE = 0.03
#: As in the C code.
COLUMNS, MEMORY = 16, 6


def compiled():
    """The function `solve` of fast_linear.c."""
    source = Path(__file__).with_suffix(".c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fast_linear.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run(["cc", *flags, source, "-o", library, "-lm"], check=True)
        return ctypes.CDLL(str(library)).solve


SOLVE = compiled()


def _pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


class SubsetFits:
    """Fits on subsets of n labeled images with embeddings (n, d), centered and scaled."""

    def __init__(self, inputs, labels, classes, penalty=0.1):
        rows = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float64)
        squares, vectors = np.linalg.eigh(rows @ rows.T)
        nonzero = squares > squares[-1] * 1e-12
        sizes, vectors = np.sqrt(squares[nonzero]), vectors[:, nonzero]
        shrink = 1 / np.sqrt(CURVATURE * sizes**2 / len(rows) + penalty)
        self.points = np.ascontiguousarray(vectors * sizes * shrink, dtype=np.float32)
        self.back = self.points.T.copy()
        self.rows, self.combine = rows, vectors / sizes * shrink
        self.ridge = (penalty * shrink**2).astype(np.float32)
        self.labels, self.classes = labels.astype(np.int32), classes

    def solve(self, subsets, start=None):
        """Coordinates (s, r, c) of the models fitted on the subsets (s, n) bool."""
        n, width = self.points.shape
        solution = np.zeros((len(subsets), width, COLUMNS), np.float32)
        if start is not None:
            solution[..., : self.classes] = start
        weights = (subsets / subsets.sum(1, keepdims=True)).astype(np.float32)
        work = np.empty((5 + 2 * MEMORY) * max(n, width) * COLUMNS, np.float32)
        arrays = (self.points, self.back, self.labels, weights, self.ridge)
        sizes = (len(subsets), n, width, self.classes)
        SOLVE(*sizes, *map(_pointer, arrays), ctypes.c_float(TOLERANCE), _pointer(solution), _pointer(work))
        return solution[..., : self.classes].astype(np.float64)

    def logits(self, models):
        """Logits (s, n, c) of all labeled images."""
        return self.points @ models

    def heads(self, models):
        """Weights with the bias as the last row, (s, d + 1, c)."""
        return self.rows.T @ (self.combine @ models)


def cross_validated(fits, full, folds):
    """Logits of each image by each model without its fold, and the models (r, K, …), of r repetitions (r, n)."""
    count = int(folds.max()) + 1
    without = folds[:, None, :] != np.arange(count)[:, None]
    models = fits.solve(without.reshape(-1, folds.shape[1]), np.repeat(full[None], without.shape[0] * count, 0))
    models = models.reshape(*without.shape[:2], *full.shape)
    logits = fits.logits(models)
    own = np.take_along_axis(logits, folds[:, None, :, None], 1)[:, 0]
    return own, models


def nested_errors(fits, labels, full, models, folds):
    """Errors (r, n, K) for `stats.nested_cv.nested_interval`, from the models of `cross_validated`."""
    repetitions, count = models.shape[:2]
    first, second = np.triu_indices(count, 1)
    without = (folds[:, None] != first[:, None]) & (folds[:, None] != second[:, None])
    # What two folds contribute nearly adds up, which makes a good start.
    start = models[:, first] + models[:, second] - full
    pairs = fits.solve(without.reshape(-1, folds.shape[1]), start.reshape(-1, *full.shape))
    wrong_pairs = (fits.logits(pairs).argmax(-1) != labels).reshape(repetitions, len(first), -1)
    wrong = (fits.logits(models).argmax(-1) != labels).transpose(0, 2, 1).copy()
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        for column, own in ((a, b), (b, a)):
            wrong[:, :, column] = np.where(folds == own, wrong_pairs[:, pair], wrong[:, :, column])
    return wrong.astype(np.float64)
