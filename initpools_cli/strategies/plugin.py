"""Strategies that users bring: their signature, the call, and the check of what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.plugin_signature import method_of_plugin
from initpools_cli.core.plugins import Plugin, failed_in, from_file, is_file_name, location, stdout_on_stderr
from initpools_cli.core.registry import SERVICES, Method
from initpools_cli.strategies.arrays import INPUTS, MODEL_OUTPUTS
from initpools_cli.strategies.registry import StrategyTraits, strategies
from initpools_cli.strategies.selection import Selection


def find_strategy(name: str) -> Method[StrategyTraits] | None:
    """The strategy of that name: registered, of an installed package, or ``PATH.py:function``; None if there is none.

    Raises
    ------
    UserError
        The file or the package can't be loaded, or the function is not a strategy.
    """
    if is_file_name(name):
        return strategy_of_plugin(from_file(name))
    return strategies.get(name) if name in strategies else None


def strategy_of_plugin(plugin: Plugin) -> Method[StrategyTraits]:
    """The strategy that a function of a file or package is."""
    return strategy_of(plugin.load(), plugin.name, plugin)


def strategy_of(function: Callable[..., Any], name: str = "", plugin: Plugin | None = None) -> Method[StrategyTraits]:
    """A function as a strategy.

    Parameters
    ----------
    name : str
        Default: ``module:function``, the module without its package.
    plugin : Plugin, optional
        Where it is from.

    Raises
    ------
    UserError
        Its signature is not that of a strategy.
    """
    name = name or f"{function.__module__.rpartition('.')[2]}:{function.__name__}"
    call = PluginStrategy(function, name, plugin)
    asked = call.asked
    defaults = {
        "nested": False,
        "cost": "",
        "needs_model": bool(MODEL_OUTPUTS & asked),
        "oracle": "labels" in asked,
    }
    method = method_of_plugin(name, function, plugin, INPUTS, SERVICES, StrategyTraits, defaults, call)
    if "budget" not in asked:
        raise UserError(
            f"'{name}' ({location(function, plugin)}) has no parameter 'budget'.",
            f"Write `def {function.__name__}({', '.join([*inspect.signature(function).parameters][:1])}, budget, *, …)`"
            " and return that many indices.",
            name,
        )
    return method


class PluginStrategy:
    """A function of a user, called as a strategy is; what it returns is checked.

    Parameters
    ----------
    function : callable
    name : str
    plugin : Plugin or None
    """

    def __init__(self, function: Callable[..., Any], name: str, plugin: Plugin | None) -> None:
        self.function = function
        self.name = name
        self.plugin = plugin
        try:
            own = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError, NameError):
            own = []  # `method_of_plugin` refuses it.
        self.asked = {each.name for each in own}
        checked = [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY)
            for each in ("n", "labeled", "budget")
            if each not in self.asked
        ]
        named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty) for each in own]
        #: Callers give the services that a signature names: these are for the check.
        self.__signature__ = inspect.Signature([*named, *checked])

    def __call__(self, *, n: int, labeled: NDArray[np.int64], budget: int, **given: Any) -> Selection:
        """Let the function choose; arrays are given read-only, as other strategies read them too.

        Raises
        ------
        UserError
            The function raised an exception, or returned other than `budget` distinct unlabeled rows.
        """
        services = {"n": n, "labeled": _read_only(labeled), "budget": budget}
        arrays = {key: _read_only(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
        path = self.plugin.path if self.plugin else inspect.unwrap(self.function).__code__.co_filename
        try:
            with stdout_on_stderr():
                found = self.function(**arrays, **{key: services[key] for key in services if key in self.asked})
        except UserError:
            raise
        except Exception as error:
            shown = self.plugin.shown if self.plugin else path
            raise failed_in(self.name, shown, path, error) from error
        return self._checked(found, n, labeled, budget)

    def _checked(self, found: Any, n: int, labeled: NDArray[np.int64], budget: int) -> Selection:
        selection = found if isinstance(found, Selection) else Selection(self._indices(found))
        indices = self._indices(selection.indices)
        if len(indices) != budget:
            raise self._broken(f"returned {len(indices)} of {budget} picks", "Return `budget` row numbers.")
        outside = indices[(indices < 0) | (indices >= n)]
        if len(outside):
            raise self._broken(
                f"returned row {outside[0]} of {n} rows", f"Return row numbers from 0 to n - 1, here {n - 1}."
            )
        values, counts = np.unique(indices, return_counts=True)
        if len(values) < budget:
            raise self._broken(
                f"returned row {values[counts.argmax()]} {counts.max()} times", "Return each row at most once."
            )
        taken = indices[np.isin(indices, labeled)]
        if len(taken):
            raise self._broken(
                f"returned row {taken[0]}, which is labeled already",
                "Take a parameter `labeled` and leave those rows out.",
            )
        scores = self._of_picks("scores", selection.scores, budget, np.float64)
        clusters = self._of_picks("clusters", selection.clusters, budget, np.int64)
        return replace(selection, indices=indices, scores=scores, clusters=clusters)

    def _indices(self, found: Any) -> NDArray[np.int64]:
        try:
            array = np.asarray(found)
        except ValueError:
            array = np.empty((0, 0))
        if array.size == 0 and array.ndim == 1:
            return np.empty(0, np.int64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            of = f"{array.ndim}-D {array.dtype}" if isinstance(found, np.ndarray) else type(found).__name__
            raise self._broken(f"returned {of}, not 1-D whole numbers", "Return row numbers in order of choice.")
        return array.astype(np.int64)

    def _of_picks(self, what: str, given: Any, budget: int, kind: type) -> NDArray[Any] | None:
        if given is None:
            return None
        array = np.asarray(given)
        if array.shape != (budget,) or array.dtype.kind not in "fiu":
            raise self._broken(
                f"returned {what} of shape {array.shape} for {budget} picks", f"Return one of its {what} for each pick."
            )
        return array.astype(kind)

    def _broken(self, what: str, remedy: str) -> UserError:
        return UserError(f"'{self.name}' ({location(self.function, self.plugin)}) {what}.", remedy, self.name)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
