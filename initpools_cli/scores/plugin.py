"""Scores that installed packages bring: the call, and the check of what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.plugin_signature import method_of_plugin
from initpools_cli.core.plugins import Plugin, failed_in, location, stdout_on_stderr
from initpools_cli.core.registry import Method
from initpools_cli.scores.registry import ScoreTraits


def score_of_plugin(plugin: Plugin) -> Method[ScoreTraits]:
    """The score that a function of a package is.

    Raises
    ------
    UserError
        It can't be loaded, or its signature is not that of a score.
    """
    function = plugin.load()
    defaults = {"high": "as its author defines it"}
    call = PluginScore(function, plugin)
    return method_of_plugin(plugin.name, function, plugin, ("embeddings",), ("rng",), ScoreTraits, defaults, call)


class PluginScore:
    """A function of a package, called as a score is; what it returns is checked.

    Parameters
    ----------
    function : callable
    plugin : Plugin
    """

    def __init__(self, function: Callable[..., Any], plugin: Plugin) -> None:
        self.function = function
        self.plugin = plugin
        self.__signature__ = inspect.signature(function)

    def __call__(self, embeddings: NDArray[np.float32], **given: Any) -> NDArray[np.float64]:
        """The scores, (n,) float64.

        Raises
        ------
        UserError
            The function raised an exception, or returned other than one finite number for each image.
        """
        shown = embeddings.view()
        shown.flags.writeable = False
        try:
            with stdout_on_stderr():
                found = np.asarray(self.function(shown, **given))
        except UserError:
            raise
        except Exception as error:
            raise failed_in(self.plugin.name, self.plugin.shown, self.plugin.path, error) from error
        if found.shape != (len(embeddings),) or found.dtype.kind not in "fiub":
            raise self._broken(f"returned {found.dtype} of shape {found.shape} for {len(embeddings)} images")
        bad = np.flatnonzero(~np.isfinite(found))
        if len(bad):
            raise self._broken(f"returned {found[bad[0]]} for image {bad[0]}")
        return found.astype(np.float64)

    def _broken(self, what: str) -> UserError:
        where = location(self.function, self.plugin)
        return UserError(
            f"'{self.plugin.name}' ({where}) {what}.", "Return one finite number for each image.", self.plugin.name
        )
