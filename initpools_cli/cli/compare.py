"""`initpools compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools compare typiclust-b20-s0 random-b20-s0"


def command(
    common: Common,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Pools or rankings of the run, or .npy and .csv files of indices."),
    ],
    accuracy: Annotated[
        str, typer.Option("--accuracy", metavar="SWEEP", help="Correlate the rankings with the accuracies of al/SWEEP.")
    ] = "",
) -> None:
    """Set pools or rankings beside each other: what they share, how alike they are, how they go with accuracy."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.compare import compare, with_accuracy

    if len(names) < 2 and not accuracy:
        raise UserError(f"There is nothing to compare {names[0]} with.", "Name two or more.")
    files = all(name.endswith((".npy", ".csv")) for name in names)
    run = None if files and common.run is None and common.dataset is None and not accuracy else common.locate()
    rows = with_accuracy(run, names, accuracy) if run is not None and accuracy else compare(run, names)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["\t".join(columns), *("\t".join(_cell(row.get(key)) for key in columns) for row in rows)]
    common.result(lines, rows)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
