"""Names of scores: losses of pretext tasks and registered scores."""

from __future__ import annotations

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.registry import Method


def score_names() -> dict[str, str]:
    """All scores by name, with the meaning of a high one."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores

    losses = {pretext_score(method): method.build.high_score for method in pretexts if method.build.high_score}
    return losses | {method.name: method.traits.high for method in scores}


def unknown_score(name: str) -> UserError:
    """The error for an unknown score."""
    from initpools_cli.scores.registry import scores

    return unknown_name("score", name, [*score_names(), *scores.plugin_names()], scores.listing)


def knobs_of(name: str) -> list[str]:
    """The knobs of a score that can be set by name alone."""
    from initpools_cli.scores.registry import scores

    return list(scores.get(name).knobs) if name in scores else []


def pretext_score(method: Method) -> str:
    """The public name of a pretext task's score."""
    return str(method.build.score_name or method.name)


def is_oracle(method: Method) -> bool:
    """Whether a registered score or strategy reads labels of the images to choose from."""
    return bool(method.traits.oracle)
