"""Published results beside ours: what docs/replications.md compares, as far as it is measured.

- `gain`: difference in accuracy between the first pool of a method and random ones, from finished sweeps of the laptop
  study (`make laptop-study`), and from a sweep of `usl` and `activeft` made here in a copy of a run.
- `classes`: classes among 40 picks of `usl`, and the largest and smallest number of picks of a class, over 3 seeds.
- `picks` and others: with --authors, what the authors' code does on the same inputs and from the same random start; see
  benchmarks/authors. FOLDER has clones of their repositories, which docs/replications.md lists.

    python benchmarks/replications.py STUDY [--authors FOLDER]        (20 minutes on one core)

STUDY is the folder with the runs of the laptop study. Adds what is missing to benchmarks/results/replications.csv: for
all of it, move that file away first.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import shutil
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
from authors import COMPARISONS, Inputs
from authors.shims import NOTHING, on_cpu
from record import RESULTS, record

from initpools_cli.cli.app import run
from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.core.seeds import generator
from initpools_cli.core.version import version
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.steps.run_data import read_items
from initpools_cli.strategies.registry import strategies
from initpools_cli.sweeps.verdicts import compare_sweeps

#: Data set, encoder, labels and methods of the study whose gains are recorded.
GAINS = (
    ("cifar10-12k", "lite0", 10, ("typiclust", "probcover", "maxherding")),
    ("cifar10-12k", "lite0", 100, ("typiclust", "probcover", "maxherding")),
    ("cifar10-12k", "simclr", 10, ("typiclust", "probcover", "maxherding", "hard-to-contrast")),
    ("cifar10-12k", "simclr", 100, ("typiclust", "probcover", "maxherding", "hard-to-contrast")),
    ("pathmnist-mini", "simclr", 20, ("hard-to-contrast", "hard-to-contrast@kmeans30")),
    ("pneumoniamnist", "simclr", 20, ("hard-to-contrast", "hard-to-contrast@kmeans30")),
)
#: Methods that the study does not have, and the data set of their sweep.
NEW, NEW_DATA = ("usl", "activeft"), "pathmnist-mini"
#: Data set and encoder of the picks.
DATA, ENCODER = "cifar10-12k", "efficientnet-lite0"


def add(kind, method, what, value, low="", high="", **about):
    """Add a line to replications.csv."""
    facts = {"date": date.today().isoformat(), "version": version(), **machine()}
    columns = dict.fromkeys(("data", "encoder", "labels", "seeds"), "") | about
    ends = {name: f"{end:.4f}" if end != "" else "" for name, end in (("low", low), ("high", high))}
    record(
        "replications",
        {"kind": kind, "method": method, "what": what, **columns, "value": f"{value:.4f}", **ends, **facts},
    )


def gains(study):
    """Differences between first pools and random ones in finished sweeps."""
    for data, encoder, labels, methods in GAINS:
        step = Run(study / data).find_step(f"al/{encoder}-linear-{labels}")
        _gains({data: step}, methods, data, encoder, labels)


def _gains(sweeps, methods, data, encoder, labels):
    rows = compare_sweeps(sweeps, metric="accuracy", measures=["first pool"]).verdicts.set_index("init")
    for method in methods:
        row = rows.loc[method]
        about = {"data": data, "encoder": encoder, "labels": labels, "seeds": int(row["seeds"])}
        add("gain", method, row["verdict"], row["difference"], row["low"], row["high"], **about)


def new_gains(study):
    """The same for methods that the study does not have."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / NEW_DATA
        for part in ("run.toml", "data", "embed/simclr"):
            original, target = study / NEW_DATA / part, copy / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(original, target) if original.is_dir() else shutil.copy(original, target)
        words = ["al-run", "--init", ",".join(("random", *NEW)), "--query", "random", "--budget", "40"]
        words += ["--rounds", "0", "--seeds", "20", "--run", str(copy), "--threads", "1", "-q"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(words) == 0, words
        _gains({NEW_DATA: Run(copy).find_step("al/main")}, NEW, NEW_DATA, "simclr", 40)


def classes_of_usl(points, labels):
    """The classes of 40 picks of `usl`."""
    for seed in range(3):
        picks = strategies.get("usl").build(points, NOTHING, 40, generator(seed, "usl")).indices
        counts = np.bincount(labels[picks], minlength=10)
        about = {"data": DATA, "encoder": "lite0", "labels": 40, "seeds": seed}
        add("classes", "usl", " ".join(map(str, counts)), (counts > 0).sum(), counts.min(), counts.max(), **about)


def recorded():
    """Kinds and methods in replications.csv; for rows with a variant, ``method, knob=value``, the method."""
    file = RESULTS / "replications.csv"
    if not file.exists():
        return set()
    with file.open(newline="") as stream:
        return {(row["kind"], row["method"].split(",")[0]) for row in csv.DictReader(stream)}


def beside(authors, inputs):
    """Run the authors' code beside ours, for methods that are not recorded."""
    methods = {method for kind, method in recorded() if kind not in ("gain", "classes")}
    for method, (folder, comparison) in COMPARISONS.items():
        if method in methods:
            continue
        if not (authors / folder).is_dir():
            print(f"{method}: no clone in {authors / folder}")
        elif method == "activeft" and inputs.small is None:
            print(f"{method}: needs the embeddings of SimCLR")
        else:
            # Their code prints; what was recorded before it fails is kept whole.
            with on_cpu(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                rows = list(comparison(authors / folder, inputs))
            for result in rows:
                add(**vars(result))


def embeddings(study, name):
    """Embeddings of train images, of length 1; None where the run has none."""
    step = study.find_step(f"embed/{name}")
    return None if step is None else unit_rows(np.asarray(step.array("train.npy"), np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, metavar="STUDY")
    parser.add_argument("--authors", type=Path, metavar="FOLDER")
    words = parser.parse_args()
    keys = recorded()
    if ("gain", "typiclust") not in keys:
        gains(words.study)
    if ("gain", "usl") not in keys:
        new_gains(words.study)
    study = Run(words.study / DATA)
    points, small, labels = embeddings(study, ENCODER), embeddings(study, "simclr"), labels_of(study)
    if ("classes", "usl") not in keys:
        classes_of_usl(points, labels)
    if words.authors is not None:
        few = None if small is None else small[:1000]
        beside(words.authors, Inputs(DATA, points[:1500], labels[:1500], few))


def labels_of(study):
    """The labels of the train images of a run."""
    items = read_items(study)
    return items[items["split"] == "train"]["label"].to_numpy(np.int64)


if __name__ == "__main__":
    main()
