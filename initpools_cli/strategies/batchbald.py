"""BatchBALD: images whose labels together would tell most about the model."""

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

# Numbers in float64 that are held at once, and gains that are the same but for rounding, in nats.
HELD = 2**21
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
    """Take the image that adds most to what all labels of the batch would tell about the model, given those before it.

    Exact while the labels of the picks can turn out in at most `samples` ways; from there on over that many drawn from
    their joint distribution. Deviations: the ways are drawn all at once at even steps of their distribution, one pick
    after the other; only the images with the highest BALD scores are looked at; once none of these adds more than
    `least`, the others follow by their BALD scores.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Of t ≥ 2 passes with dropout; rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    samples : int
    top : int
        How many images are looked at.
    least : float
        In nats. All labels together tell at most ln t.

    Returns
    -------
    Selection
        Scores: what each adds, in nats; 0 for those that follow by BALD.
    """
    alone = information(mc_probs)
    by_bald = best_first(alone, labeled, len(alone) - len(labeled))
    rows = np.sort(by_bald.indices[:top])
    picks, gains = _together(mc_probs[:, rows], min(budget, len(rows)), samples, least, rng)
    picks = rows[picks]
    rest = by_bald.indices[~np.isin(by_bald.indices, picks)][: budget - len(picks)]
    scores = np.concatenate([gains, np.zeros(len(rest))])
    return Selection(np.concatenate([picks, rest]), scores=scores, candidate_scores=by_bald.candidate_scores)


@dataclass(frozen=True)
class Outcomes:
    """The ways in which the labels of the picks can turn out.

    Attributes
    ----------
    shares : (k,) float64
        The probability of each; they sum to 1.
    beliefs : (k, t) float64
        How likely each pass is to be the right one then; rows sum to 1.
    """

    shares: NDArray[np.float64]
    beliefs: NDArray[np.float64]

    def gains(self, probs: NDArray[np.float64], each: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the label of each image would tell besides, (m,) in nats, from (t, m, c) and the passes' entropies."""
        count, (passes, m, classes) = len(self.shares), probs.shape

        def unsure(span: slice) -> NDArray[np.float64]:
            width = span.stop - span.start
            foretold = self.beliefs @ probs[:, span].reshape(passes, -1)
            of_each = entropies(foretold.reshape(-1, classes)).reshape(count, width)
            expected: NDArray[np.float64] = self.shares @ of_each
            return expected

        # The chances of the passes among these outcomes, so that passes that agree tell nothing, drawn or not.
        sure = (self.shares @ self.beliefs) @ each
        block = max(1, HELD // (count * classes))
        gained: NDArray[np.float64] = np.concatenate(map_blocks(unsure, m, block)) - sure
        return gained

    def after(self, probs: NDArray[np.float64], samples: int, rng: np.random.Generator) -> Outcomes:
        """With one more label, of an image with the predictions (t, c); at most `samples` of them."""
        given = self.beliefs @ probs
        shares = (self.shares[:, None] * given).ravel()
        there = np.flatnonzero(shares)
        shares = shares[there]
        if len(there) > samples:
            ladder = np.cumsum(shares)
            places = np.searchsorted(ladder, ladder[-1] * (rng.random() + np.arange(samples)) / samples, side="right")
            drawn, counts = np.unique(np.minimum(places, len(there) - 1), return_counts=True)
            there, shares = there[drawn], counts.astype(np.float64)
        outcome, label = np.divmod(there, probs.shape[1])
        beliefs = self.beliefs[outcome] * probs.T[label] / given[outcome, label, None]
        return Outcomes(shares / shares.sum(), beliefs)


def _together(
    probs: NDArray[np.float64], budget: int, samples: int, least: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    passes, m, _ = probs.shape
    each = np.stack([entropies(one) for one in probs])
    outcomes = Outcomes(np.ones(1), np.full((1, passes), 1 / passes))
    free = np.ones(m, bool)
    picks: list[int] = []
    gained: list[float] = []
    while len(picks) < budget:
        rows = np.flatnonzero(free)
        gains = outcomes.gains(probs[:, rows], each[:, rows])
        if gains.max() <= least:
            break
        place = int(np.argmax(gains >= gains.max() - SAME))
        pick = int(rows[place])
        picks.append(pick)
        gained.append(float(gains[place]))
        free[pick] = False
        outcomes = outcomes.after(probs[:, pick], samples, rng)
    return np.array(picks, np.int64), np.array(gained, np.float64)
