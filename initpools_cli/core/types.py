"""Type names of heavy libraries for annotations that are evaluated at run time, without importing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image
    from plotly.graph_objects import Figure
else:
    DataFrame = Figure = Image = Any

__all__ = ["DataFrame", "Figure", "Image"]
