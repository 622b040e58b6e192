"""Small crowds of points, and plain definitions over all their pairs, for the tests of strategies."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from initpools_cli.strategies.call import StrategyCall
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import prepare


def pairwise(points):
    return ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=-1)


#: Knobs with which a strategy that takes seconds, whatever the number of images, takes none.
QUICK = {
    "zcore": {"n_samples": 5000},
    "activeft": {"iterations": 30},
    "refine": {"rounds": 1, "batches": 1},
    "boss": {"batches": 8},
}


@st.composite
def crowds(draw):
    """Points on a grid (ties and duplicates) or not, some labeled, and a budget up to all the others."""
    n, d = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    on_a_grid = rng.integers(0, 4, (n, d)).astype(np.float32)
    points = draw(st.sampled_from([on_a_grid, rng.normal(size=(n, d)).astype(np.float32)]))
    labeled = np.flatnonzero(rng.random(n) < draw(st.sampled_from([0.0, 0.3])))[: n - 1].tolist()
    return points, labeled, draw(st.integers(1, n - len(labeled)))


def go_on(points, labeled, picks, budget):
    """The picks filled up by the largest distance to all labeled and picked; the first by the nearest to the mean."""
    squared = pairwise(points)
    while len(picks) < budget:
        known = labeled + picks
        gaps = squared[:, known].min(axis=1) if known else ((points - points.mean(axis=0)) ** 2).sum(axis=1) * -1.0
        gaps[known] = -np.inf
        picks.append(int(gaps.argmax()))
    return picks


def pick(name, inputs, labeled, budget, seed=0, **knobs):
    """What the strategy itself chooses of inputs as they are, without the rules for copies and rows of length zero."""
    method = strategies.get(name)
    values, arrays = method.validate(knobs), prepare(inputs, normalize=False)
    if method.traits.check is not None:
        method.traits.check(arrays, values)
    everything = np.arange(len(next(iter(arrays.values()))))
    return StrategyCall(method, arrays, values, seed).on(everything, np.array(labeled, np.int64), budget)
