"""What registrations of scores state."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class ScoreTraits(Traits):
    """Traits of a score, stated at its registration.

    Attributes
    ----------
    high : str
        Meaning of a high score.
    oracle : bool
        Whether it reads the labels of the scored images; such scores are for the analysis of a data set, not for the
        selection of images to label.
    by_rows : bool
        Whether it reads embeddings in blocks only, so that they need not fit in memory.
    distributed : bool
        Whether it calls functions on blocks of rows, so that these can run on a cluster.
    separates_copies : bool
        Whether equal images may have different scores, because one of them is to be kept.
    cost, factor : str, float
        As for strategies (`strategies.registry`).
    """

    high: str
    cost: str = ""
    factor: float = 0.0
    oracle: bool = False
    by_rows: bool = False
    distributed: bool = False
    separates_copies: bool = False
