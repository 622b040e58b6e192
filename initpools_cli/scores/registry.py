"""Registry of scores; losses of pretext tasks are also scores, registered with their tasks."""

from __future__ import annotations

from initpools_cli.core.plugins import Plugin
from initpools_cli.core.registry import Method, Registry
from initpools_cli.scores.traits import ScoreTraits


def _adopt(plugin: Plugin) -> Method[ScoreTraits]:
    from initpools_cli.scores.plugin import score_of_plugin

    return score_of_plugin(plugin)


scores = Registry("score", "initpools_cli.scores", "initpools list scores", ScoreTraits, "initpools.scores", _adopt)
