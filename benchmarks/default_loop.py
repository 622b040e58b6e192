"""Claim: the loop with the default strategy and query beats random throughout, by the area under the curve.

On each run (one per data set), with the default embeddings: a first pool of 20 labels and four rounds of 20, by the
defaults and at random, 20 seeds from root seed 1000, which decided nothing about the defaults; each seed chooses from
its own half of the images. One test, fixed before the sweeps ran: at each seed, the difference of the areas (mean
accuracy over the five sizes), averaged over the data sets; two-sided sign-flip test on these 20 numbers at 5 %.

    python benchmarks/default_loop.py RUN...

Writes benchmarks/results/default-loop.csv: a line for each data set, and one for the test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from record import RESULTS, initpools

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.networks.efficientnet_lite import DEFAULT
from initpools_cli.stats.paired import paired
from initpools_cli.strategies.defaults import FIRST_POOL, QUERY
from initpools_cli.sweeps.results import rounds_of

NAME = "default-loop"
SWEEP = ["--budget", 20, "--rounds", 4, "--seeds", 20, "--seed", 1000, "--set", "al.candidates=0.5"]


def areas(run):
    """The mean accuracy over the curve of every seed: with the defaults, and random throughout."""
    sweep = ["--init", f"random,{FIRST_POOL}", "--query", f"random,{QUERY}", "--from", DEFAULT, "--learner", "linear"]
    initpools("al-run", "--run", run, *sweep, *SWEEP, "--name", NAME)
    rounds = rounds_of(Run(Path(run)).find_step(f"al/{NAME}"))

    def area(init, query):
        of = rounds[(rounds["init"] == init) & rounds["query"].isin(["", query])]
        assert (of["status"] == "ok").all() and (of.groupby("seed").size() == 5).all()
        return of.groupby("seed")["accuracy"].mean()

    return area(FIRST_POOL, QUERY), area("random", "random")


def main():
    pairs = {Path(run).name: areas(run) for run in sys.argv[1:]}
    first = pd.concat([ours for ours, _ in pairs.values()], axis=1).mean(axis=1)
    against = pd.concat([random for _, random in pairs.values()], axis=1).mean(axis=1)
    rows = []
    for name, (one, other) in {**pairs, "mean": (first, against)}.items():
        test = paired(one.to_numpy(), other.to_numpy())
        numbers = {key: f"{getattr(test, key):.4g}" for key in ("mean", "against", "difference", "low", "high", "p")}
        rows.append({**machine(), "data": name, "strategy": FIRST_POOL, "query": QUERY, "seeds": test.pairs, **numbers})
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "default-loop.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
