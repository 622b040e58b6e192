"""The registry of plots: one function a file in ``figures/plots``, data frames in, a figure out."""

from __future__ import annotations

from initpools_cli.core.registry import Registry

plots = Registry("plot", "initpools_cli.figures.plots", "initpools list plots")
