"""Strategy `batchbald`: highest joint mutual information between the labels of the batch and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Factor, PositiveCount
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.bald import information
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

# Float64 numbers per block, and differences of gains within rounding, in nats.
BLOCK = 2**21
SAME = 1e-9


@strategies.register(
    paper="Kirsch, van Amersfoort & Gal 2019, arXiv:1906.08158", nested=True, cost="b t c", needs_model=True
)
def batchbald(
    mc_probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    samples: Annotated[int, Field(ge=1, le=1_000_000)] = 1000,
    top: PositiveCount = 1000,
    least: Factor = 1e-3,
) -> Selection:
    """Take the image that most increases the joint mutual information between the labels of the batch and the model.

    Exact while there are at most `samples` combinations of labels of the picks. After that, as many combinations are
    sampled from their joint distribution.

    Differences from the paper and its code:

    - Combinations are drawn by systematic sampling after each pick.
    - Only the images with the highest BALD scores are candidates.
    - Once none of these adds more than `least`, images are taken by their BALD scores.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Predictions of t ≥ 2 dropout passes; rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    samples : int
        Maximum number of label combinations.
    top : int
        Number of candidates.
    least : float
        In nats. The joint information is at most ln t.

    Returns
    -------
    Selection
        Scores: increase of the information by each pick, in nats; 0 for those taken by BALD scores.
    """
    alone = information(mc_probs)
    by_bald = best_first(alone, labeled, len(alone) - len(labeled))
    rows = np.sort(by_bald.indices[:top])
    picks, gains = _greedy(mc_probs[:, rows], min(budget, len(rows)), samples, least, rng)
    picks = rows[picks]
    rest = by_bald.indices[~np.isin(by_bald.indices, picks)][: budget - len(picks)]
    scores = np.concatenate([gains, np.zeros(len(rest))])
    return Selection(np.concatenate([picks, rest]), scores=scores, candidate_scores=by_bald.candidate_scores)


@dataclass(frozen=True)
class Outcomes:
    """Combinations of labels of the picks.

    Attributes
    ----------
    shares : (k,) float64
        Probability of each combination; they sum to 1.
    beliefs : (k, t) float64
        Posterior probability of each dropout pass given the combination; rows sum to 1.
    """

    shares: NDArray[np.float64]
    beliefs: NDArray[np.float64]

    def gains(self, probs: NDArray[np.float64], each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the information gain of each image, (m,) in nats, from (t, m, c) and the entropies of the passes."""
        count, (passes, m, classes) = len(self.shares), probs.shape

        def predictive_entropy(span: slice) -> NDArray[np.float64]:
            width = span.stop - span.start
            predictions = self.beliefs @ probs[:, span].reshape(passes, -1)
            of_each = entropies(predictions.reshape(-1, classes)).reshape(count, width)
            entropy: NDArray[np.float64] = self.shares @ of_each
            return entropy

        # Weighted by the passes' probabilities in these combinations, so that passes that agree give a gain of 0.
        conditional_entropy = (self.shares @ self.beliefs) @ each
        block = max(1, BLOCK // (count * classes))
        gains: NDArray[np.float64] = np.concatenate(map_blocks(predictive_entropy, m, block)) - conditional_entropy
        return gains

    def after(self, probs: NDArray[np.float64], samples: int, rng: np.random.Generator) -> Outcomes:
        """Add the label of an image with predictions (t, c); returns at most `samples` combinations."""
        predictions = self.beliefs @ probs
        shares = (self.shares[:, None] * predictions).ravel()
        possible = np.flatnonzero(shares)
        shares = shares[possible]
        if len(possible) > samples:
            ladder = np.cumsum(shares)
            places = np.searchsorted(ladder, ladder[-1] * (rng.random() + np.arange(samples)) / samples, side="right")
            sample, counts = np.unique(np.minimum(places, len(possible) - 1), return_counts=True)
            possible, shares = possible[sample], counts.astype(np.float64)
        outcome, label = np.divmod(possible, probs.shape[1])
        beliefs = self.beliefs[outcome] * probs.T[label] / predictions[outcome, label, None]
        return Outcomes(shares / shares.sum(), beliefs)


def _greedy(
    probs: NDArray[np.float64], budget: int, samples: int, least: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    passes, m, _ = probs.shape
    each = np.stack([entropies(one) for one in probs])
    outcomes = Outcomes(np.ones(1), np.full((1, passes), 1 / passes))
    free = np.ones(m, bool)
    picks: list[int] = []
    pick_gains: list[float] = []
    while len(picks) < budget:
        rows = np.flatnonzero(free)
        gains = outcomes.gains(probs[:, rows], each[:, rows])
        if gains.max() <= least:
            break
        place = int(np.argmax(gains >= gains.max() - SAME))
        pick = int(rows[place])
        picks.append(pick)
        pick_gains.append(float(gains[place]))
        free[pick] = False
        outcomes = outcomes.after(probs[:, pick], samples, rng)
    return np.array(picks, np.int64), np.array(pick_gains, np.float64)
