"""Data of the cost plot: run times of strategies on embeddings, measured when it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.figures.registry import plots
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, plot_embeddings
from initpools_cli.steps.runtime_benchmark import measure

if TYPE_CHECKING:
    import pandas as pd


#: Options that have an effect.
OPTIONS = frozenset({"--name", "--from", "--embeddings"})
#: Options that have an effect without a run, and the required input.
OPTIONS_WITHOUT_RUN, NEEDS = frozenset({"--embeddings", "--name"}), "embeddings"


def gather(request: PlotRequest) -> PlotData:
    """Measure the run time of strategies on the embeddings; ``--name`` names strategies."""
    embeddings, steps = plot_embeddings(request)
    provider, report = request.provider, Reporter(quiet=True)
    if provider.context is not None:
        provider.context.machine  # noqa: B018 -- sets the threads that the strategies are to use
        report = provider.report
    return PlotData({"measured": _measure(embeddings, request, provider.seed, report)}, steps)


def _measure(embeddings: np.ndarray, request: PlotRequest, seed: int, report: Reporter) -> pd.DataFrame:
    knobs = request.knobs
    if request.names and knobs["strategies"] != plots.get("cost").knobs["strategies"][1]:
        raise UserError(
            "--name and --set strategies= both select the strategies.",
            "Leave out --name or --set strategies=.",
            "--name",
        )
    names = request.names or [name.strip() for name in knobs["strategies"].split(",") if name.strip()]
    return measure(embeddings, list(dict.fromkeys(names)), knobs["budget"], knobs["seconds"], seed, report)
