"""The cost is measured here and now, on embeddings of the run or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.figures.registry import plots
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, points_of
from initpools_cli.steps.runtime_benchmark import measure

if TYPE_CHECKING:
    import pandas as pd


#: Options that it goes by.
TAKES = frozenset({"--name", "--from", "--embeddings"})
#: The same without a run.
TAKES_ALONE, NEEDS = frozenset({"--embeddings", "--name"}), "embeddings"


def gather(asked: PlotRequest) -> PlotData:
    """What the strategies cost on the embeddings; a name is a strategy's."""
    embeddings, steps = points_of(asked)
    provider, report = asked.provider, Reporter(quiet=True)
    if provider.context is not None:
        provider.context.machine  # noqa: B018 -- sets the threads that the strategies are to use
        report = provider.report
    return PlotData({"measured": _measured(embeddings, asked, provider.seed, report)}, steps)


def _measured(embeddings: np.ndarray, asked: PlotRequest, seed: int, report: Reporter) -> pd.DataFrame:
    knobs = asked.knobs
    if asked.names and knobs["strategies"] != plots.get("cost").knobs["strategies"][1]:
        raise UserError("--name and --set strategies= both say what is measured.", "Leave one of them out.")
    names = asked.names or [name.strip() for name in knobs["strategies"].split(",") if name.strip()]
    return measure(embeddings, list(dict.fromkeys(names)), knobs["budget"], knobs["seconds"], seed, report)
