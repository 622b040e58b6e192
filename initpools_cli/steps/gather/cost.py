"""The cost is measured here and now, on embeddings of the run or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.report import Report
from initpools_cli.steps.cost import measure
from initpools_cli.steps.gather.sources import Asked, Gathered

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context


def gather(context: Context, asked: Asked) -> Gathered:
    """What the strategies cost on the embeddings; a name is a strategy's."""
    from initpools_cli.steps.embed import matrix, newest

    embedded = newest(context, asked.source)
    context.machine  # noqa: B018 -- sets the threads that the strategies are to use
    embeddings = np.asarray(matrix(embedded))[context.data.kept]
    return Gathered({"measured": _measured(embeddings, asked, context.seed, context.report)}, [embedded])


def gather_files(asked: Asked, seed: int) -> dict[str, Any] | None:
    """What they cost on brought embeddings."""
    from initpools_cli.strategies.inputs import INPUTS

    given = asked.brought.arrays().get("embeddings")
    if given is None:
        return None
    return {"measured": _measured(INPUTS["embeddings"].check(given), asked, seed, Report(quiet=True))}


def _measured(embeddings: np.ndarray, asked: Asked, seed: int, report: Report) -> pd.DataFrame:
    knobs = asked.knobs
    names = asked.names or [name.strip() for name in knobs["strategies"].split(",") if name.strip()]
    return measure(embeddings, list(dict.fromkeys(names)), knobs["budget"], knobs["seconds"], seed, report)
