"""Registry of strategies."""

from __future__ import annotations

from initpools_cli.core.plugins import from_file, is_file_name
from initpools_cli.core.registry import Method, Registry
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


def find_strategy(name: str) -> Method[StrategyTraits] | None:
    """Find a strategy of this package by its name, or one of a file by ``PATH.py:function``; None if there is none.

    Raises
    ------
    UserError
        If the file cannot be loaded, or the function is not a strategy.
    """
    return strategy_of_plugin(from_file(name)) if is_file_name(name) else strategies.own(name)
