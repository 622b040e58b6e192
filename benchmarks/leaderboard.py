"""Claim: with 10 to 100 labels the default strategy is better than random in most settings, and never worse.

Publishes the table of a suite: copies it to benchmarks/results/SUITE.parquet, and writes the standings of its
strategies to benchmarks/results/leaderboard.csv and what was not run to benchmarks/results/leaderboard-not-run.csv.

    make grid DATA=FOLDER   (initpools bench --suite grid --data FOLDER -o runs/laptop, and then)
    python benchmarks/leaderboard.py runs/laptop/grid.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from record import RESULTS

from initpools_cli.bench.jobs import AGAINST
from initpools_cli.bench.table import read_table, write_table
from initpools_cli.stats.benchmark import standings, values


def without_paths(rows, folder):
    """The rows with errors that name runs relative to the folder of results."""
    where = f"{folder.resolve()}/"
    return rows.assign(error=[error.replace(where, "") for error in rows["error"]])


def board(rows):
    """The standings over all budgets, marked 0, and of each budget."""
    cells = values(rows)
    budgets = [None, *sorted(cells["budget"].unique())]
    return pd.DataFrame(
        {"budget": int(budget or 0), **standing._asdict()}
        for budget in budgets
        for standing in standings(cells, AGAINST, budget)
    )


def not_run(rows):
    """The number of cells of each strategy that were not run, and the most frequent reason on any data set."""
    missing = rows[rows["status"] != "ok"]
    missing = missing.assign(error=missing["error"].str.replace(r"^The run \S+ has", "The run has", regex=True))
    return (
        missing.groupby("strategy")
        .agg(cells=("error", "size"), reason=("error", lambda errors: errors.mode().iloc[0]))
        .reset_index()
    )


def main():
    table = Path(sys.argv[1])
    rows = without_paths(read_table(table, table.stem), table.parent)
    write_table(RESULTS / table.name, rows)
    board(rows).to_csv(RESULTS / "leaderboard.csv", index=False, float_format="%.5f", lineterminator="\n")
    not_run(rows).to_csv(RESULTS / "leaderboard-not-run.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
