"""Registration: what a method states is checked at its decorator."""

from __future__ import annotations

import pytest

from initpools_cli.core.registry import Registry
from initpools_cli.figures.registry import plots
from initpools_cli.networks.registry import networks
from initpools_cli.pretext.registry import pretexts
from initpools_cli.scores.registry import scores
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.traits import StrategyTraits
from initpools_cli.training.learners.registry import learners

REGISTRIES = [strategies, scores, pretexts, learners, networks, plots]


def empty():
    """A registry of strategies without any."""
    return Registry("strategy", "initpools_cli.core", "", StrategyTraits)


def halves(n, budget):
    """Every other image."""


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"nested": True}, r"'halves' must state cost: register\(cost=…\)"),
        ({}, r"'halves' must state nested, cost"),
        ({"nestd": True, "cost": "n"}, r"'halves' states 'nestd', which is not a trait\. Did you mean 'nested'\?"),
        ({"nested": True, "cost": "n", "color": 1}, r"states 'color', which is not a trait.* Valid: .*ranks_logits"),
        ({"nested": "yes", "cost": "n"}, r"states nested='yes', which is not valid: it should be a valid boolean"),
        ({"nested": True, "cost": "n", "aliases": "half"}, r"states aliases='half', which is not valid"),
        ({"nested": True, "cost": "n", "check": 3}, r"states check=3, which is not valid: it should be callable"),
    ],
)
def test_a_trait_that_is_missing_or_wrong_fails_at_the_decorator(traits, message):
    registry = empty()
    with pytest.raises(TypeError, match=message):
        registry.register(**traits)(halves)
    assert registry.names() == []


def test_a_name_is_registered_once():
    registry = empty()
    registry.register("every-other", nested=True, cost="n", aliases=("half",))(halves)
    for name in ("every-other", "half"):
        with pytest.raises(ValueError, match=f"can't be called '{name}': 'every-other' is"):
            registry.register(name, nested=True, cost="n")(halves)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_registry_refuses_a_trait_it_does_not_have(registry):
    with pytest.raises(TypeError, match="Did you mean 'paper'"):
        registry.register("new", papr="")(halves)
    assert "new" not in registry
