"""Plug-in strategies: signature, call, and validation of their results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.plugin_signature import method_of_plugin
from initpools_cli.core.plugins import Plugin, failed_in, location, stdout_on_stderr
from initpools_cli.core.registry import SERVICES, Method
from initpools_cli.strategies.arrays import INPUTS, MODEL_OUTPUTS
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.traits import StrategyTraits


def strategy_of_plugin(plugin: Plugin) -> Method[StrategyTraits]:
    """Load a plug-in and make its function a strategy."""
    return strategy_of(plugin.load(), plugin.name, plugin)


def strategy_of(function: Callable[..., Any], name: str = "", plugin: Plugin | None = None) -> Method[StrategyTraits]:
    """Make a function a strategy.

    Parameters
    ----------
    function : callable
    name : str
        Default: ``module:function``, the module without its package.
    plugin : Plugin, optional
        File or package of the function.

    Raises
    ------
    UserError
        If its signature is not that of a strategy.
    """
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        kind = type(function).__name__
        raise UserError(f"The strategy is of type {kind}.", "Pass a name, such as 'typiclust', or a function.", kind)
    name = name or f"{function.__module__.rpartition('.')[2]}:{function.__name__}"
    call = PluginStrategy(function, name, plugin)
    parameters = call.parameters
    defaults = {
        "nested": False,
        "cost": "",
        "needs_model": bool(MODEL_OUTPUTS & call.required),
        "oracle": "labels" in call.required,
    }
    method = method_of_plugin(name, function, plugin, INPUTS, SERVICES, StrategyTraits, defaults, call)
    if "budget" not in parameters:
        raise UserError(
            f"'{name}' ({location(function, plugin)}) has no parameter 'budget'.",
            f"Write `def {function.__name__}({', '.join([*inspect.signature(function).parameters][:1])}, budget, *, …)`"
            " and return that many indices.",
            name,
        )
    return method


class PluginStrategy:
    """Callable strategy of a user's function, with validation of its result.

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
        self.parameters = {each.name for each in own}
        self.required = {each.name for each in own if each.default is each.empty}
        service_parameters = [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY)
            for each in ("n", "labeled", "budget")
            if each not in self.parameters
        ]
        own_parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty) for each in own
        ]
        #: Callers pass the services that a signature names; those that it lacks are added for validation.
        self.__signature__ = inspect.Signature([*own_parameters, *service_parameters])

    def __call__(self, *, n: int, labeled: NDArray[np.int64], budget: int, **arguments: Any) -> Selection:
        """Call the function and validate its result; arrays are read-only, because other strategies share them.

        Raises
        ------
        UserError
            If the function raises an exception, or does not return `budget` distinct unlabeled rows.
        """
        services = {"n": n, "labeled": _read_only(labeled), "budget": budget}
        arrays = {
            key: _read_only(value) if isinstance(value, np.ndarray) else value for key, value in arguments.items()
        }
        path = self.plugin.path if self.plugin else inspect.unwrap(self.function).__code__.co_filename
        try:
            with stdout_on_stderr():
                result = self.function(**arrays, **{key: services[key] for key in services if key in self.parameters})
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            display_name = self.plugin.display_name if self.plugin else path
            raise failed_in(self.name, display_name, path, error) from error
        return self._validate(result, n, labeled, budget)

    def _validate(self, result: Any, n: int, labeled: NDArray[np.int64], budget: int) -> Selection:
        selection = result if isinstance(result, Selection) else Selection(self._indices(result))
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
        repeats = indices[np.isin(indices, labeled)]
        if len(repeats):
            raise self._broken(
                f"returned row {repeats[0]}, which is already labeled",
                "Add the parameter `labeled`, and leave out these rows.",
            )
        scores = self._of_picks("scores", selection.scores, budget, np.float64)
        clusters = self._of_picks("clusters", selection.clusters, budget, np.int64)
        return replace(selection, indices=indices, scores=scores, clusters=clusters)

    def _indices(self, result: Any) -> NDArray[np.int64]:
        try:
            array = np.asarray(result)
        except ValueError:
            array = np.empty((0, 0))
        if array.size == 0 and array.ndim == 1:
            return np.empty(0, np.int64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            kind = f"{array.ndim}-D {array.dtype}" if isinstance(result, np.ndarray) else type(result).__name__
            raise self._broken(f"returned {kind}, not 1-D integers", "Return row numbers in order of selection.")
        return array.astype(np.int64)

    def _of_picks(self, what: str, values: Any, budget: int, kind: type) -> NDArray[Any] | None:
        if values is None:
            return None
        array = np.asarray(values)
        if array.shape != (budget,) or array.dtype.kind not in "fiu":
            raise self._broken(
                f"returned {what} of shape {array.shape} for {budget} picks", f"Return {what} of shape ({budget},)."
            )
        return array.astype(kind)

    def _broken(self, what: str, remedy: str) -> UserError:
        return UserError(f"'{self.name}' ({location(self.function, self.plugin)}) {what}.", remedy, self.name)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
