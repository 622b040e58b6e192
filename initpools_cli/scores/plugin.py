"""Plug-in scores of installed packages: call, and validation of their results."""

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
from initpools_cli.scores.traits import ScoreTraits


def score_of_plugin(plugin: Plugin) -> Method[ScoreTraits]:
    """Load a plug-in and make its function a score.

    Raises
    ------
    UserError
        If it cannot be loaded, or its signature is not that of a score.
    """
    function = plugin.load()
    defaults = {"high": "as its author defines it"}
    call = PluginScore(function, plugin)
    return method_of_plugin(plugin.name, function, plugin, ("embeddings",), ("rng",), ScoreTraits, defaults, call)


class PluginScore:
    """Callable score of a package's function, with validation of its result.

    Parameters
    ----------
    function : callable
    plugin : Plugin
    """

    def __init__(self, function: Callable[..., Any], plugin: Plugin) -> None:
        self.function = function
        self.plugin = plugin
        self.__signature__ = inspect.signature(function)

    def __call__(self, embeddings: NDArray[np.float32], **arguments: Any) -> NDArray[np.float64]:
        """Compute scores, (n,) float64.

        Raises
        ------
        UserError
            If the function raises an exception, or does not return one finite number for each image.
        """
        read_only = embeddings.view()
        read_only.flags.writeable = False
        try:
            with stdout_on_stderr():
                scores = np.asarray(self.function(read_only, **arguments))
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise failed_in(self.plugin.name, self.plugin.display_name, self.plugin.path, error) from error
        if scores.shape != (len(embeddings),) or scores.dtype.kind not in "fiub":
            raise self._broken(f"returned {scores.dtype} of shape {scores.shape} for {len(embeddings)} images")
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise self._broken(f"returned {scores[bad[0]]} for image {bad[0]}")
        return scores.astype(np.float64)

    def _broken(self, what: str) -> UserError:
        where = location(self.function, self.plugin)
        return UserError(
            f"'{self.plugin.name}' ({where}) {what}.", "Return one finite number for each image.", self.plugin.name
        )
