"""Claim: the default strategy and query lose least against the best choice on data sets that did not decide about them.

Reads finished sweeps of several runs, one per data set (`make laptop-study`):

- first pools: every sweep of `SWEEPS` without rounds; its cells are (data set, encoder, learner, labels);
- first pools with queries: every sweep with rounds; its cells are (data set, encoder, learner).

The value of a strategy in a cell is its mean accuracy over seeds; of a first pool with a query, the mean over its
learning curve. Its regret is the best value in the cell minus its own. `held out` is the regret on a data set of the
strategy with the smallest mean regret on all other data sets. docs/parts/regret.py computes both.

    python benchmarks/regret.py SUITE DIR

Writes benchmarks/results/regret.csv; `python docs/generate.py` puts its tables on docs/default-strategy.md.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from initpools_cli.bench.suite import load_suite
from initpools_cli.core.rundir import Run
from initpools_cli.sweeps.results import rounds_of

HERE = Path(__file__).parent
#: Names of the sweeps, without those of other settings of a strategy, of other suites, and of added strategies.
SWEEPS = ("lite0-linear-*", "simclr-linear-*", "lite0-knn-*", "lite0-queries", "simclr-queries")


def values(run):
    """Rows (kind, data, encoder, learner, labels, choice, value) of all finished sweeps of a run."""
    rows = []
    steps = Run(Path(run)).steps("al")
    for step in (step for step in steps if any(fnmatch(step.name, pattern) for pattern in SWEEPS)):
        rounds = rounds_of(step)
        rounds = rounds[rounds["status"] == "ok"]
        has_queries = (rounds["round"] > 0).any()
        keys = ["init", "learner", "encoder", "seed"]
        if has_queries:
            first = rounds[rounds["round"] == 0].drop(columns="query")
            queries = rounds.loc[rounds["round"] > 0, "query"].unique()
            rounds = pd.concat([rounds[rounds["round"] > 0], *(first.assign(query=query) for query in queries)])
            keys.append("query")
        curves = rounds.groupby(keys)["accuracy"].mean().reset_index()
        curves["choice"] = curves["init"] + (" + " + curves["query"] if has_queries else "")
        labels = rounds["labeled"].max() if has_queries else rounds["labeled"].min()
        for (choice, learner, encoder), of in curves.groupby(["choice", "learner", "encoder"]):
            kind = "queries" if has_queries else "first pools"
            rows.append((kind, Path(run).name, encoder, learner, labels, choice, len(of), of["accuracy"].mean()))
    return rows


def main():
    suite, folder = sys.argv[1:]
    runs = [Path(folder) / data.name for data in load_suite(suite).suite.data]
    rows = [row for run in runs for row in values(run)]
    columns = ["kind", "data", "encoder", "learner", "labels", "choice", "seeds", "value"]
    table = pd.DataFrame(rows, columns=columns)
    table.round(5).to_csv(HERE / "results" / "regret.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
