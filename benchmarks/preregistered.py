"""Run the four studies of docs/preregistration.md.

Claim:    none; docs/findings.md says what was found.
Command:  python benchmarks/cifar10_npz.py FOLDER DATA/cifar10.npz
          python benchmarks/preregistered.py DATA RUNS

DATA has cifar10.npz, pneumoniamnist.npz and pathmnist-mini.npz. Commands whose results are there are found done, so an
interrupted run continues. `--list` prints the commands, `--study N` takes one study, `--threads N` sets the processor
threads of each command.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

SEEDS = (0, 1, 2)
POOLS = 12
LONG_TAIL = ("--set", "dataset.imbalance=exp", "--set", "dataset.ratio=0.02")
CONVNET = ("--set", "pretrain.network=convnet", "--set", "pretrain.width=0.5")
HALF = ("--set", "pretrain.width=0.5")
LITE0 = "efficientnet-lite0"
RANKED = ("entropy", "margin", "bald", "consistency", "vaal-cosine", "kcenter")
CONTRAST = ("hard-to-contrast", "easy-to-contrast", "ambiguous-to-contrast")
ORDERS = ("highest", "middle", "lowest", "stratified")
BUDGETS = (500, 1000, 5000)


def begin(run, file, *options):
    """Start a run with the root seed 0, so that encoders of other seeds meet the same candidates."""
    return ("select-pool", "random", "--budget", 1, "--run", run, "--dataset", file, *options)


def pretrain(method, run, epochs, seed, *options):
    return ("pretrain", method, "--run", run, "--epochs", epochs, "--seed", seed, *options)


def sweep(run, name, init, *options, rounds=0, seeds=POOLS):
    return ("al-run", "--run", run, "--name", name, "--init", init, "--rounds", rounds, "--seeds", seeds, *options)


def encoders(data, runs):
    """Yield the commands that train and apply every encoder."""
    cifar10 = data / "cifar10.npz"
    yield begin(runs / "cifar10", cifar10)
    yield ("embed", LITE0, "--run", runs / "cifar10")
    yield begin(runs / "lt", cifar10, *LONG_TAIL)
    yield ("embed", LITE0, "--run", runs / "lt")
    for seed in SEEDS:
        for kind, options in (("vae", ()), ("tanh", ("--set", "output=tanh"))):
            yield begin(runs / f"cifar10-{kind}{seed}", cifar10)
            yield pretrain("vae", runs / f"cifar10-{kind}{seed}", 4, seed, *HALF, *options)
        yield begin(runs / f"lt-vae{seed}", cifar10, *LONG_TAIL)
        yield pretrain("vae", runs / f"lt-vae{seed}", 10, seed, *HALF)
        for name, file, epochs, options in (
            ("cifar10", cifar10, 5, ()),
            ("lt", cifar10, 12, LONG_TAIL),
            ("pathmnist", data / "pathmnist-mini.npz", 60, ()),
            ("pneumonia", data / "pneumoniamnist.npz", 20, ()),
        ):
            yield begin(runs / f"{name}-simclr{seed}", file, *options)
            yield pretrain("simclr", runs / f"{name}-simclr{seed}", epochs, seed, *CONVNET)


def study1(runs):
    """Yield the sweeps on reconstruction losses.

    Pools of `random` and of `typiclust` are those of study 2, which have the same seeds and candidates.
    """
    views = ("--set", "score.views=3")
    for seed in SEEDS:
        for kind in ("vae", "tanh"):
            for budget in BUDGETS:
                for order in ORDERS:
                    options = ("--set", f"select.order={order}", "--from", LITE0, *views)
                    yield sweep(
                        runs / f"cifar10-{kind}{seed}", f"{order}-{budget}", "vae", "--budget", budget, *options
                    )
        for budget in (10, 50, 100, 500):
            options = ("--budget", budget, "--from", LITE0, *views)
            yield sweep(runs / f"cifar10-vae{seed}", f"spread-{budget}", "random,vae,vae@kmeans10", *options)
    scratch = ("--budget", 500, "--learner", "scratch", "--set", "al.params.scratch.width=0.5")
    yield sweep(runs / "cifar10", "scratch-500", "random", *scratch)
    for kind in ("vae", "tanh"):
        for order in ORDERS:
            options = ("--set", f"select.order={order}", *scratch, *views)
            yield sweep(runs / f"cifar10-{kind}0", f"scratch-{order}-500", "vae", *options)


def study2(runs):
    """Yield the sweeps at the paper's budgets."""
    ten = ("--set", "al.params.kmeans-random.n_clusters=10", "--set", "score.views=3")
    for run, source, own in (
        (runs / "cifar10", LITE0, ""),
        *((runs / f"cifar10-simclr{seed}", "newest", ",simclr") for seed in SEEDS),
        *((runs / f"cifar10-vae{seed}", "newest", ",vae") for seed in SEEDS),
    ):
        pools = f"random,kmeans-random,typiclust{own}"
        for budget in BUDGETS:
            learners = ("--learner", "linear,knn", "--budget", budget, "--from", source, *ten)
            yield sweep(run, f"first-{budget}", pools, *learners)
        if own != ",vae":
            query = ("--query", "random,margin", "--budget", 500, "--from", source, *ten)
            yield sweep(run, "rounds", pools, *query, rounds=4)


def study3(runs):
    """Yield the sweeps on a long tail."""
    views = ("--set", "score.views=3")
    for run, source, own in (
        *((runs / f"lt-simclr{seed}", "newest", ",simclr") for seed in SEEDS),
        *((runs / f"lt-vae{seed}", LITE0, ",vae") for seed in SEEDS),
        (runs / "lt", LITE0, ""),
    ):
        # On the same features, `random` with the autoencoders is that of the run `lt`.
        pools = "vae" if own == ",vae" else f"random,kmeans-random,typiclust,kcenter{own}"
        ten = () if own == ",vae" else ("--set", "al.params.kmeans-random.n_clusters=10")
        yield sweep(run, "first-1400", pools, "--budget", 1400, "--from", source, *ten, *views)
        query = ("--query", "random,margin", "--budget", 140, "--from", source, *ten, *views)
        yield sweep(run, "rounds", pools, *query, rounds=4)


def study4(runs):
    """Yield the rankings and sweeps of the cold start."""
    pools = ",".join(("random", *(f"rank/{name}" for name in RANKED), *CONTRAST))
    for name in ("pathmnist", "pneumonia"):
        for seed in SEEDS:
            run = runs / f"{name}-simclr{seed}"
            for ranking in RANKED:
                yield ("rank", ranking, "--run", run, "--reference", "test")
            budgets = ("--init-budget", 20, "--budget", 10, "--query", "random")
            for learner in (("finetune", "steps=60"), ("scratch", "steps=60", "width=0.25")):
                knobs = [word for knob in learner[1:] for word in ("--set", f"al.params.{learner[0]}.{knob}")]
                yield sweep(run, learner[0], pools, *budgets, "--learner", learner[0], *knobs, rounds=10)


STUDIES = (study1, study2, study3, study4)


def share_embeddings(runs):
    """Copy the embeddings of efficientnet-lite0 to the runs that measure on them; they are the same for all."""
    for source, kinds in (("cifar10", ("cifar10-vae", "cifar10-tanh")), ("lt", ("lt-vae",))):
        embeddings = runs / source / "embed" / LITE0
        for target in (runs / f"{kind}{seed}" / "embed" / LITE0 for kind in kinds for seed in SEEDS):
            if embeddings.exists() and target.parents[1].exists() and not target.exists():
                shutil.copytree(embeddings, target)


def with_source(words):
    """Replace --from newest by the name of the run's own pretrain."""
    words = [str(word) for word in words]
    if "newest" in words:
        run = Path(words[words.index("--run") + 1])
        (name,) = sorted(folder.name for folder in (run / "pretrain").iterdir())
        words[words.index("newest")] = name
    return words


def main():
    parser = argparse.ArgumentParser(description="Run the preregistered studies.")
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--study", type=int, choices=range(1, 5), action="append")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print the commands")
    args = parser.parse_args()
    commands = [] if args.study else [*encoders(args.data, args.runs)]
    for number in args.study or range(1, 5):
        commands += STUDIES[number - 1](args.runs)
    for words in commands:
        if args.list:
            print("initpools", shlex.join(str(word) for word in words))
            continue
        if words[0] == "al-run":
            share_embeddings(args.runs)
        line = [*with_source(words), "--quiet", *(("--threads", str(args.threads)) if args.threads else ())]
        print("initpools", shlex.join(line), flush=True)
        subprocess.run([sys.executable, "-m", "initpools_cli", *line], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
