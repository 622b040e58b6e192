"""Types of settings that are numbers. Each has an upper bound, so that no slip of the finger exhausts a machine.

The bounds are far above what is useful; what a number takes together with the data is estimated where it is known.
NaN and infinity are outside every bound.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

#: Images, draws, neighbors, clusters; 0 often stands for a default.
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
#: At least one of them.
PositiveCount = Annotated[int, Field(ge=1, le=1_000_000_000)]
#: Passes over data, or rounds, or repetitions.
Passes = Annotated[int, Field(ge=1, le=100_000)]
#: The same, where 0 stands for a default.
OptionalPasses = Annotated[int, Field(ge=0, le=100_000)]
#: Views, passes or models that are compared with each other.
Several = Annotated[int, Field(ge=2, le=10_000)]
#: Units of a layer of a network.
Units = Annotated[int, Field(ge=1, le=1 << 16)]
#: A weight, a length, an exponent.
Factor = Annotated[float, Field(ge=0, le=1e9)]
#: One that is divided by.
PositiveFactor = Annotated[float, Field(gt=0, le=1e9)]
