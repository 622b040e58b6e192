"""What the benchmarks share: on what they ran, where results go, and the task that is timed and probe_rows."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pandas as pd

from initpools_cli.pretext.registry import pretexts
from initpools_cli.steps.encoder import build

RESULTS = Path(__file__).parent / "results"


def record(name, row):
    """Add a line to ``results/<name>.csv``."""
    file = RESULTS / f"{name}.csv"
    new = not file.exists()
    RESULTS.mkdir(exist_ok=True)
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def recorded(name, cell):
    """The status of a cell in ``results/<name>.csv``; None where it has not been run."""
    file = RESULTS / f"{name}.csv"
    if not file.exists():
        return None
    rows = pd.read_csv(file)
    rows = rows[(rows[[*cell]] == pd.Series(cell)).all(axis=1)]
    return rows["status"].iloc[-1] if len(rows) else None


def show(row):
    print("\n".join(f"{name:26} {value}" for name, value in row.items()), flush=True)


def initpools(*words):
    """Run a command line in a process of its own; it must end well."""
    subprocess.run([sys.executable, "-m", "initpools_cli.cli.app", *map(str, words), "--quiet"], check=True)


def untrained_simclr(network, channels, size):
    """SimCLR before training, with its defaults."""
    method = pretexts.get("simclr")
    table = {
        "method": "simclr",
        "network": network,
        "width": 1.0,
        "seed": 0,
        "augment": method.build.recipe_default,
        "params": method.validate({}),
    }
    return build(table, channels, size)
