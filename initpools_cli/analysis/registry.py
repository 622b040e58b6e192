"""The registry of plots: one function a file in ``analysis/plots``, data frames in, a figure out."""

from __future__ import annotations

from initpools_cli.core.registry import Registry

plots = Registry("plot", "initpools_cli.analysis.plots", "initpools list plots")
