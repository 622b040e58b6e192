"""The registry of plots: one function a file in ``figures/plots``, data frames in, a figure out."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.core.registry import Registry
from initpools_cli.core.traits import Traits


@dataclass(frozen=True, kw_only=True)
class PlotTraits(Traits):
    """What a plot may state.

    Attributes
    ----------
    table : str
        Its parameter that holds measurements, to be written beside the page as .csv; empty for none.
    """

    table: str = ""


plots = Registry("plot", "initpools_cli.figures.plots", "initpools list plots", PlotTraits)
