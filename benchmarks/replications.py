"""Published results beside ours: what docs/replications.md compares, as far as it is measured.

- `gain`: difference in accuracy between the first pool of a method and random ones, from finished sweeps of the laptop
  study (`make laptop-study`), and from a sweep of `usl` and `activeft` made here in a copy of a run.
- `classes`: classes among 40 picks of `usl`, and the largest and smallest number of picks of a class, over 3 seeds.
- `picks`: with --authors, share of our picks that the authors' code makes, too, on the same embeddings and from the
  same random start. FOLDER has clones of TypiClust, uherding, ActiveFT and badge; their code for a GPU runs on the CPU.

    python benchmarks/replications.py STUDY [--authors FOLDER]        (5 minutes on one core)

STUDY is the folder with the runs of the laptop study. Writes benchmarks/results/replications.csv.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import random
import shutil
import sys
import tempfile
import types
from datetime import date
from pathlib import Path
from unittest import mock

import numpy as np
from record import RESULTS, record

from initpools_cli.cli.app import run
from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.core.seeds import generator
from initpools_cli.core.version import version
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.steps.context import read_items
from initpools_cli.strategies.activeft import unlabeled_rows
from initpools_cli.strategies.probcover import pure_radius
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
NOTHING = np.empty(0, np.int64)
#: Random starts of `badge`.
SEEDS = 100


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


def source(path, name, **stubs):
    """Import a file of the authors' code; modules that it imports and that are not needed are stubs."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stubs)
    spec.loader.exec_module(module)
    for each in stubs:
        del sys.modules[each]
    return module


def stub(name, **attributes):
    """A module that has only these attributes."""
    module = types.ModuleType(name)
    module.__path__ = []
    vars(module).update(attributes)
    return module


def agreement(authors, points, small):
    """Shares of equal picks; `small` are embeddings with few dimensions."""
    import faiss
    import torch

    class Settings(dict):
        """Settings of the authors' code, as keys and as attributes."""

        __getattr__ = dict.__getitem__

    settings = Settings(DATASET={"NAME": "CIFAR10"}, RNG_SEED=1)
    settings["ACTIVE_LEARNING"] = Settings(UNC_FEATURE="simclr", FEATURE="simclr")
    features = stub("pycls.datasets.utils", load_features=lambda *words, **options: points)
    datasets = stub("pycls.datasets", utils=features)
    metrics = stub("pycls.utils.metrics", compute_coverage=lambda *words: 0.0)
    reading = stub("pycls.utils.io", compute_cand_size=lambda labeled, budget: len(points))
    pycls = {
        "pycls": stub("pycls", datasets=datasets),
        "pycls.datasets": datasets,
        "pycls.datasets.utils": features,
        "pycls.utils": stub("pycls.utils"),
        "pycls.utils.metrics": metrics,
        "pycls.utils.io": reading,
    }
    every = np.arange(len(points))

    def compare(method, ours, theirs, **about):
        same = len(set(map(int, ours)) & set(map(int, theirs))) / len(ours)
        first = next((place for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), len(ours))
        add("picks", method, f"the first {first} in the same order", same, labels=len(ours), **about)

    about = {"data": f"{DATA}, {len(points)} images", "encoder": "lite0"}
    on_cpu = (
        mock.patch.object(torch.Tensor, "cuda", lambda self, *words, **options: self),
        mock.patch.object(torch.nn.Module, "cuda", lambda self, *words, **options: self),
        mock.patch.object(faiss, "index_cpu_to_all_gpus", lambda index: index, create=True),
    )
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()):
        for each in on_cpu:
            stack.enter_context(each)
        theirs = source(authors / "TypiClust/deep-al/pycls/al/typiclust.py", "typiclust", **pycls)
        for budget in (10, 100):
            theirs.kmeans = lambda rows, num_clusters: kmeans(rows, num_clusters, generator(0, "clusters")).labels
            found = theirs.TypiClust(settings, NOTHING, every, budget).select_samples()[0]
            own = strategies.get("typiclust").build(points, NOTHING, budget, generator(0, "clusters"), distance="l2sq")
            compare("typiclust", own.indices, found, **about)
        theirs = source(authors / "TypiClust/deep-al/pycls/al/prob_cover.py", "prob_cover", **pycls)
        # Rounded, since a radius that is a distance between two images is in reach of one of them by rounding alone.
        delta = round(pure_radius(points, 10, 0.95, generator(0, "radius")), 3)
        own = strategies.get("probcover").build(points, NOTHING, 100, generator(0, "cover"), delta=delta)
        found = theirs.ProbCover(settings, NOTHING, every, 100, delta).select_samples()[0]
        compare("probcover", own.indices, found, **about)
        theirs = source(authors / "uherding/deep-al/pycls/al/herding.py", "herding", **pycls)
        for kernel in ("RBFKernel", "StudentTKernel"):
            # The device is written in their code.
            made = getattr(theirs, kernel)("cpu")
            with (
                mock.patch.object(theirs.Herding, "construct_kernel_fn", lambda self, made=made, **words: made),
                mock.patch.object(torch.cuda, "empty_cache", lambda: None),
            ):
                words = (settings, NOTHING, every, 100, 1.0, None)
                herding = theirs.Herding(*words, dataset=every, device="cpu", permute=False)
                found = herding.select_samples()[0]
            name = {"RBFKernel": "rbf", "StudentTKernel": "student"}[kernel]
            own = strategies.get("maxherding").build(points, NOTHING, 100, generator(0, "kernel"), kernel=name)
            compare(f"maxherding, kernel={name}", own.indices, found, **about)
        tools = authors / "ActiveFT/data_selection/sample_tools"
        utils = stub("utils", get_distance=None, farthest_distance_sample=None)
        theirs = source(tools / "ActiveFT_CIFAR.py", "active_ft", utils=utils)
        options = argparse.Namespace(
            temperature=0.07, init="random", distance="euclidean", balance=1.0, lr=0.001, scheduler="none", max_iter=300
        )
        start = generator(0, "start").permutation(unlabeled_rows(len(small), NOTHING))[:50].tolist()
        with mock.patch.object(random, "sample", lambda ids, count: start):
            found = theirs.optimize_dist(torch.from_numpy(small), 50, options)
        torch.autograd.set_detect_anomaly(False)
        own = strategies.get("activeft").build(small, NOTHING, 50, generator(0, "start"))
        about = {"data": f"{DATA}, {len(small)} images", "encoder": "simclr"}
        # Their picks are a set, without an order.
        add("picks", "activeft", "", len({*own.indices.tolist()} & {*found}) / 50, labels=50, **about)


def bald(authors):
    """Picks by BALD from the same predictions of 10 passes with dropout."""
    import torch

    package = stub("query_strategies")
    base = stub("query_strategies.strategy", Strategy=object)
    file = authors / "badge/query_strategies/bayesian_active_learning_disagreement_dropout.py"
    theirs = source(file, "query_strategies.bald", **{"query_strategies": package, "query_strategies.strategy": base})
    probs = np.random.default_rng(0).dirichlet(np.ones(10), (10, 2000))
    net = types.SimpleNamespace(
        n_pool=2000, idxs_lb=np.zeros(2000, bool), X=np.zeros(2000), Y=torch.zeros(2000), n_drop=10
    )
    net.predict_prob_dropout_split = lambda *words: torch.from_numpy(probs)
    found = theirs.BALDDropout.query(net, 100)
    own = strategies.get("bald").build(probs, NOTHING, 100).indices
    same = len({*own.tolist()} & {*map(int, found)}) / 100
    first = next((place for place, (a, b) in enumerate(zip(own, found, strict=True)) if a != b), 100)
    add("picks", "bald", f"the first {first} in the same order", same, labels=100, data="2000 random predictions")


def badge(authors):
    """Mean, over SEEDS seeds, of the sum of squared distances of gradients to 20 picks: theirs over ours."""
    from scipy import stats

    text = (authors / "badge/query_strategies/badge_sampling.py").read_text()
    names = {"np": np, "stats": stats}
    exec(text[text.index("def distance(") : text.index("class BadgeSampling")], names)
    rng = np.random.default_rng(0)
    features, probs = rng.normal(size=(1000, 16)).astype(np.float32), rng.dirichlet(np.ones(5) / 3, 1000)
    errors = -probs
    errors[np.arange(1000), probs.argmax(1)] += 1
    gradients = (errors[:, :, None] * features[:, None]).reshape(1000, -1)

    def potential(picks):
        gaps = ((gradients[:, None] - gradients[picks][None]) ** 2).sum(2)
        return gaps.min(1).sum()

    ours, theirs = [], []
    for seed in range(SEEDS):
        own = strategies.get("badge").build(features, probs, NOTHING, 20, generator(seed, "badge")).indices
        ours.append(potential(own))
        # Their code draws from the global generator.
        np.random.seed(seed)  # noqa: NPY002
        state = (set(), [], None, None)
        with contextlib.redirect_stdout(io.StringIO()):
            for _ in range(20):
                state = names["init_centers"]((errors, (errors**2).sum(1)), (features, (features**2).sum(1)), *state)
        theirs.append(potential(state[1]))
    ratio = np.mean(ours) / np.mean(theirs)
    error = ratio * np.hypot(*(np.std(each) / np.mean(each) / np.sqrt(SEEDS) for each in (ours, theirs)))
    ends = (ratio - 1.96 * error, ratio + 1.96 * error)
    add("objective", "badge", "ours over theirs", ratio, *ends, labels=20, seeds=SEEDS, data="1000 random predictions")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, metavar="STUDY")
    parser.add_argument("--authors", type=Path, metavar="FOLDER")
    words = parser.parse_args()
    (RESULTS / "replications.csv").unlink(missing_ok=True)
    gains(words.study)
    new_gains(words.study)
    study = Run(words.study / DATA)
    points, small = (
        unit_rows(np.asarray(study.find_step(f"embed/{name}").array("train.npy"), np.float32))
        for name in (ENCODER, "simclr")
    )
    classes_of_usl(points, labels_of(study))
    if words.authors is not None:
        agreement(words.authors, points[:1500], small[:1000])
        bald(words.authors)
        badge(words.authors)


def labels_of(study):
    """The labels of the train images of a run."""
    items = read_items(study)
    return items[items["split"] == "train"]["label"].to_numpy(np.int64)


if __name__ == "__main__":
    main()
