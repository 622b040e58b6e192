"""The scores there are, by name: losses of pretext tasks and registered scores."""

from __future__ import annotations

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.registry import Method


def score_names() -> dict[str, str]:
    """The scores there are, by name, with what a high one means."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores

    losses = {pretext_score(method): method.build.high_score for method in pretexts if method.build.high_score}
    return losses | {method.name: method.traits.high for method in scores}


def unknown_score(name: str) -> UserError:
    """The error for a name that no score has."""
    from initpools_cli.scores.registry import scores

    return unknown_name("score", name, [*score_names(), *scores.plugin_names()], scores.listing)


def knobs_of(name: str) -> list[str]:
    """What may be set for a score by the name of the knob alone."""
    from initpools_cli.scores.registry import scores

    return list(scores.get(name).knobs) if name in scores else []


def pretext_score(method: Method) -> str:
    """The public name of a pretext task's score."""
    return str(method.build.score_name or method.name)


def is_oracle(method: Method) -> bool:
    """Whether a registered score or strategy looks at labels of the images it is to choose from."""
    return bool(method.traits.oracle)
