"""Registry of scores; losses of pretext tasks are also scores, registered with their tasks."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.core.plugins import Plugin
from initpools_cli.core.registry import Method, Registry
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
    cost, factor : str, float
        As for strategies (`strategies.registry`).
    """

    high: str
    cost: str = ""
    factor: float = 0.0
    oracle: bool = False


def _adopt(plugin: Plugin) -> Method[ScoreTraits]:
    from initpools_cli.scores.plugin import score_of_plugin

    return score_of_plugin(plugin)


scores = Registry("score", "initpools_cli.scores", "initpools list scores", ScoreTraits, "initpools.scores", _adopt)
