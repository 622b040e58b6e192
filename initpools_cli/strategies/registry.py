"""Registry of strategies."""

from __future__ import annotations

from initpools_cli.core.plugins import from_file, is_file_name
from initpools_cli.core.registry import Method, Registry, method_of
from initpools_cli.strategies.arrays import ONE_CLASS
from initpools_cli.strategies.plugin import strategy_of_plugin
from initpools_cli.strategies.traits import StrategyTraits

strategies = Registry(
    "strategy",
    "initpools_cli.strategies",
    "initpools list strategies",
    StrategyTraits,
    "initpools.strategies",
    strategy_of_plugin,
)


def for_multilabel(method: Method[StrategyTraits]) -> Method[StrategyTraits] | None:
    """Return the method that a strategy runs with several labels per image; None if it needs one class per image."""
    if method.traits.multilabel is not None:
        return method_of(method.name, method.traits.multilabel, method.traits)
    return None if method.traits.oracle or ONE_CLASS & {*method.inputs} else method


def find_strategy(name: str) -> Method[StrategyTraits] | None:
    """Find a strategy of this package by its name, or one of a file by ``PATH.py:function``; None if there is none.

    Raises
    ------
    UserError
        If the file cannot be loaded, or the function is not a strategy.
    """
    return strategy_of_plugin(from_file(name)) if is_file_name(name) else strategies.own(name)
