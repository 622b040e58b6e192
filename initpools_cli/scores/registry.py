"""Registry of scores; losses of pretext tasks are also scores, registered with their tasks."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.core.plugins import Plugin
from initpools_cli.core.registry import Method, Registry
from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class ScoreTraits(Traits):
    """What a score states.

    Attributes
    ----------
    high : str
        What a high score says of an image.
    oracle : bool
        Whether it reads the labels of the images it scores: such a score is for studying a data set, not for choosing
        what to label.
    cost, factor : str, float
        As a strategy's (`strategies.registry`).
    """

    high: str
    cost: str = ""
    factor: float = 0.0
    oracle: bool = False


def _adopt(plugin: Plugin) -> Method[ScoreTraits]:
    from initpools_cli.scores.plugin import score_of_plugin

    return score_of_plugin(plugin)


scores = Registry("score", "initpools_cli.scores", "initpools list scores", ScoreTraits, "initpools.scores", _adopt)
