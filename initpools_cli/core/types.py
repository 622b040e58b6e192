"""Names of heavy classes for signatures that are read while the program runs, without their import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image
    from plotly.graph_objects import Figure
else:
    DataFrame = Figure = Image = Any

__all__ = ["DataFrame", "Figure", "Image"]
