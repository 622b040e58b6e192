"""Collect the last rounds of the sweeps of configs/pitfalls into results/pitfalls.csv.

Claim:    none.
Command:  make pitfalls DATA=FOLDER   (it ends with `python benchmarks/pitfalls.py runs/pitfalls`)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from record import RESULTS

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.sweeps.results import rounds_of

SWEEPS = {
    "class-distribution": ("cifar10/balanced", "cifar10-lt/long-tail"),
    "start-budget": ("cifar10/start-10", "cifar10/start-100", "cifar10/start-500"),
    "query-size": ("cifar10/batch-10", "cifar10/batch-40", "cifar10/batch-160"),
    "tuning": ("digits/tuned", "digits/untuned"),
    "training-paradigm": ("digits/scratch", "digits/finetune", "digits/linear", "digits/label-spreading"),
}
COLUMNS = ["query", "learner", "encoder", "seed", "labeled", "accuracy", "balanced_accuracy", "status"]


def main():
    parser = argparse.ArgumentParser(description="Collect the results of configs/pitfalls.")
    parser.add_argument("runs", type=Path)
    args = parser.parse_args()
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__}
    parts = []
    for pitfall, sweeps in SWEEPS.items():
        for sweep in sweeps:
            folder, _, name = sweep.partition("/")
            step = Run(args.runs / folder).find_step(f"al/{name}")
            if step is None:
                print(f"not run: {folder}/al/{name}")
                continue
            rounds = rounds_of(step)
            last = rounds[rounds["round"] == rounds["round"].max()][COLUMNS]
            parts.append(last.assign(pitfall=pitfall, data=folder, variant=name, **machine(), **versions))
    table = pd.concat(parts)
    front = ["pitfall", "data", "variant"]
    table = table[[*front, *(column for column in table.columns if column not in front)]]
    table.to_csv(RESULTS / "pitfalls.csv", index=False, float_format="%.6g", lineterminator="\n")
    print(f"wrote {len(table)} rows")


if __name__ == "__main__":
    main()
