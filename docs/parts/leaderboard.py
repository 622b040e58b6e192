"""Generated parts of the leaderboard: strategies against random ones, and what was not run."""

from __future__ import annotations

import math

import pandas as pd

from parts.statistics import RESULTS
from parts.text import number, table

TABLE = RESULTS / "grid.parquet"


def _rows(*columns: str) -> pd.DataFrame:
    return pd.read_parquet(TABLE, columns=[*columns, "status"])


def _points(difference: float) -> str:
    return "–" if math.isnan(difference) else f"{round(100 * difference, 1) + 0.0:+.1f}"


def leaderboard() -> str:
    """Tabulate every strategy: comparisons with random, mean differences over all budgets and at each, regret, cost."""
    rows = pd.read_csv(RESULTS / "leaderboard.csv").set_index(["budget", "strategy"])
    budgets = sorted(set(rows.index.get_level_values("budget")) - {0})
    overall = rows.loc[0].sort_values("difference", ascending=False, kind="stable")
    body = []
    for name, row in overall.iterrows():
        if not row["comparisons"]:
            continue
        at = [
            _points(rows.loc[(budget, name), "difference"]) if (budget, name) in rows.index else ""
            for budget in budgets
        ]
        body.append(
            [
                f"`{name}`",
                f"{row['better']} / {row['unclear']} / {row['worse']}",
                f"{_points(row['difference'])} ({_points(row['low'])} to {_points(row['high'])})",
                *at,
                f"{100 * row['regret']:.1f}",
                number(row["pool_seconds"]),
            ]
        )
    labels = [f"{budget} labels" for budget in budgets]
    header = ["strategy", "better / unclear / worse", "difference (95 %)", *labels, "regret", "seconds"]
    return table(header, body)


def summary() -> str:
    """Count what was compared, and the cells of each data set and encoder."""
    rows = _rows("data", "encoder", "strategy", "budget", "seed")
    results = rows[rows["status"] == "ok"]
    cells = results.groupby(["data", "encoder"], sort=False).size().unstack(fill_value=0)
    encoders = sorted(cells.columns)
    text = (
        f"{results['strategy'].nunique()} strategies on {results['data'].nunique()} data sets: {len(results):,} cells "
        f"of {len(rows):,}, each with its own seed, first pool and classifier. Cells that were run:"
    )
    body = [[name, *(f"{row[encoder]:,}" for encoder in encoders)] for name, row in cells.iterrows()]
    return f"{text}\n\n{table(['data set', *encoders], body)}"


def not_run() -> str:
    """List the strategies of which cells were not run, by the most frequent reason."""
    rows = pd.read_csv(RESULTS / "leaderboard-not-run.csv")
    return table(
        ["most frequent reason", "strategies, with the cells not run"],
        (
            [reason, ", ".join(f"`{row.strategy}` ({row.cells:,})" for row in own.itertuples())]
            for reason, own in rows.groupby("reason", sort=False)
        ),
    )


def computed_on() -> str:
    """Name the machine, the versions and the dates of the sweeps."""
    rows = _rows("cpu", "version", "finished", "libraries", "seconds", "data", "sweep")
    rows = rows[rows["status"] == "ok"]
    hours = rows["seconds"].sum() / 3600
    first, last = rows["finished"].min()[:10], rows["finished"].max()[:10]
    when = f"on {first}" if first == last else f"from {first} to {last}"
    cpus, versions = " and ".join(sorted(set(rows["cpu"]))), " and ".join(sorted(set(rows["version"])))
    return (
        f"Computed {when} with initpools {versions} on {cpus}, on one core for each sweep while "
        f"other jobs ran: {hours:.1f} hours of sweeps (`benchmarks/results/grid.parquet`)."
    )


PARTS = {
    "leaderboard": leaderboard,
    "leaderboard-summary": summary,
    "leaderboard-not-run": not_run,
    "leaderboard-computed-on": computed_on,
}
