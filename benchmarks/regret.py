"""Claim: the default strategy and query lose least against the best choice on data sets that did not decide about them.

Reads finished sweeps of several runs, one per data set (`make laptop-study`):

- first pools: every sweep of `SWEEPS` without rounds; its cells are (data set, encoder, learner, labels);
- first pools with queries: every sweep with rounds; its cells are (data set, encoder, learner).

The value of a strategy in a cell is its mean accuracy over seeds; of a first pool with a query, the mean over its
learning curve. Its regret is the best value in the cell minus its own. `held out` is the regret on a data set of the
strategy with the smallest mean regret on all other data sets.

    python benchmarks/regret.py SUITE DIR

Writes benchmarks/results/regret.csv, and the tables of docs/default-strategy.md.
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
PAGE = HERE.parent / "docs" / "default-strategy.md"
#: Names of the sweeps, without those of other settings of a strategy, of other suites, and of added strategies.
SWEEPS = ("lite0-linear-*", "simclr-linear-*", "lite0-knn-*", "lite0-queries", "simclr-queries")
START, END = "<!-- regret -->", "<!-- end of regret -->"


def values(run):
    """Rows (kind, data, encoder, learner, labels, choice, value) of all finished sweeps of a run."""
    rows = []
    steps = Run(Path(run)).steps("al")
    for step in (step for step in steps if any(fnmatch(step.name, pattern) for pattern in SWEEPS)):
        rounds = rounds_of(step)
        rounds = rounds[rounds["status"] == "ok"]
        queried = (rounds["round"] > 0).any()
        keys = ["init", "learner", "encoder", "seed"]
        if queried:
            first = rounds[rounds["round"] == 0].drop(columns="query")
            queries = rounds.loc[rounds["round"] > 0, "query"].unique()
            rounds = pd.concat([rounds[rounds["round"] > 0], *(first.assign(query=query) for query in queries)])
            keys.append("query")
        curves = rounds.groupby(keys)["accuracy"].mean().reset_index()
        curves["choice"] = curves["init"] + (" + " + curves["query"] if queried else "")
        labels = rounds["labeled"].max() if queried else rounds["labeled"].min()
        for (choice, learner, encoder), of in curves.groupby(["choice", "learner", "encoder"]):
            kind = "queries" if queried else "first pools"
            rows.append((kind, Path(run).name, encoder, learner, labels, choice, len(of), of["accuracy"].mean()))
    return rows


def regrets(table):
    """The regret of every choice in every cell, points; choices that are missing in a cell are left out everywhere."""
    cells = table.pivot_table(index=["data", "encoder", "learner", "labels"], columns="choice", values="value")
    cells = cells.dropna(axis=1)
    return 100 * cells.rsub(cells.max(axis=1), axis=0)


def held_out(regret):
    """For each data set: the choice with the smallest mean regret on all others, and its mean regret on this one."""
    data = regret.index.get_level_values("data")
    chosen = {name: regret[data != name].mean().idxmin() for name in data.unique()}
    return {name: (choice, regret.loc[data == name, choice].mean()) for name, choice in chosen.items()}


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def section(kind, table):
    regret = regrets(table)
    mean, worst = regret.mean().sort_values(), regret.groupby("data").mean().max()
    by = regret.groupby("encoder").mean()
    size = regret.groupby("labels").mean()
    header = [
        "choice",
        "mean",
        *by.index,
        *(f"{labels} labels" for labels in size.index if len(size) > 1),
        "worst data set",
    ]
    rows = [
        (
            f"`{choice}`",
            f"**{mean[choice]:.1f}**",
            *(f"{by.loc[encoder, choice]:.1f}" for encoder in by.index),
            *(f"{size.loc[labels, choice]:.1f}" for labels in size.index if len(size) > 1),
            f"{worst[choice]:.1f}",
        )
        for choice in mean.index
    ]
    out = held_out(regret)
    left = ", ".join(f"{name}: `{choice}`, {points:.1f}" for name, (choice, points) in out.items())
    average = sum(points for _, points in out.values()) / len(out)
    return "\n\n".join(
        [
            f"### {kind.capitalize()}",
            f"Mean regret in points of accuracy, over {len(regret)} cells of {len(out)} data sets:",
            markdown(header, rows),
            f"Chosen on all other data sets, and the mean regret on the one left out: {left}. "
            f"Mean: {average:.1f} points.",
        ]
    )


def main():
    suite, folder = sys.argv[1:]
    runs = [Path(folder) / data.name for data in load_suite(suite).suite.data]
    rows = [row for run in runs for row in values(run)]
    columns = ["kind", "data", "encoder", "learner", "labels", "choice", "seeds", "value"]
    table = pd.DataFrame(rows, columns=columns)
    table.round(5).to_csv(HERE / "results" / "regret.csv", index=False, lineterminator="\n")
    text = "\n\n".join(section(kind, of) for kind, of in table.groupby("kind", sort=False))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
