"""What registrations of strategies state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class StrategyTraits(Traits):
    """Traits of a strategy, stated at its registration.

    Attributes
    ----------
    nested : bool
        Whether the picks for a larger budget begin with those for a smaller one.
    cost : str
        In big-O notation: n images, d dimensions, b budget, k clusters, c classes, t views or iterations, p patches, q
        images of a query set, h inputs of the last layer, s images of a subset; empty if unknown.
    factor : float
        Measured runtime per unit of cost, in multiply-adds of a matrix product; 0 for strategies that never take more
        than a minute.
    needs_model : bool
        Whether it reads the outputs of a trained model.
    oracle : bool
        Whether it reads the labels of unlabeled images.
    by_rows : bool
        Whether it reads embeddings in blocks only, so that they need not fit in memory.
    partitions : bool
        Whether it compares all pairs of images, and may select from random partitions of them first (`partitions`). If
        it takes a `sample`, the second round measures its objective on a sample of all images.
    ranks_logits : bool
        Whether `rank` computes its distances on the logits of the reference classifier if there are labels.
    check : callable or None
        Called once with the arrays and the knobs, also with a balance; refuses knobs that do not fit the embeddings.
    multilabel : callable or None
        The same strategy for several labels per image, with the same knobs. A strategy without it that reads classes
        or their probabilities needs one class per image.
    rest : callable or None
        Distances by which images follow those that a ranking orders, the farthest first: called with the embeddings,
        their rows, the rows that are labeled or ordered, and the knobs.
    only_with : mapping of str to (str, value), or None
        Optional inputs that take long to compute, and the knob and its value with which they are read.
    """

    nested: bool
    cost: str
    factor: float = 0.0
    needs_model: bool = False
    oracle: bool = False
    by_rows: bool = False
    partitions: bool = False
    ranks_logits: bool = False
    check: Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None] | None = None
    multilabel: Callable[..., Any] | None = None
    rest: Callable[[NDArray[Any], NDArray[np.int64], NDArray[np.int64], Mapping[str, Any]], NDArray[Any]] | None = None
    only_with: Mapping[str, tuple[str, Any]] | None = None

    @property
    def distributed(self) -> bool:
        """Whether it calls functions on blocks of rows, so that these can run on a cluster."""
        return self.by_rows

    def reads(self, name: str, knobs: Mapping[str, Any]) -> bool:
        """Return whether the strategy reads an input of `only_with` with these knobs."""
        condition = (self.only_with or {}).get(name)
        return condition is not None and knobs.get(condition[0]) == condition[1]
