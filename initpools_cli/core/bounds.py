"""Numeric types of settings, each with an upper bound.

The bounds are far above useful values: they catch typing errors that would exhaust the machine. Memory that depends on
the data is estimated later. NaN and infinity are outside every bound.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

#: A number of images, draws, neighbors or clusters; 0 often means a default.
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
#: The same, at least 1.
PositiveCount = Annotated[int, Field(ge=1, le=1_000_000_000)]
#: A number of epochs, rounds or repetitions, at least 1.
Passes = Annotated[int, Field(ge=1, le=100_000)]
#: The same, where 0 means a default.
OptionalPasses = Annotated[int, Field(ge=0, le=100_000)]
#: A number of views, passes or models to compare, at least 2.
Several = Annotated[int, Field(ge=2, le=10_000)]
#: The width of a network layer.
Units = Annotated[int, Field(ge=1, le=1 << 16)]
#: A weight, a length or an exponent, at least 0.
Factor = Annotated[float, Field(ge=0, le=1e9)]
#: The same, greater than 0.
PositiveFactor = Annotated[float, Field(gt=0, le=1e9)]
