"""Run the commands that the files of configs/paper and configs/coldstart name, whole or small.

Claim:    every arm of both folders runs to its end with SIZE=small.
Command:  make paper SIZE=small DATA=FOLDER   (python benchmarks/paper.py --size small --data FOLDER --runs runs/paper)

With `--size small`, networks are small and trained for a short time, and sweeps have one seed: enough to see that every
arm runs, not for a verdict. Sweeps of configs/paper have a tenth of the candidates, and those that buy thousands of
labels a tenth of the labels. A data set is read from NAME.npz in DATA; where that is missing, its sweeps are not run,
and said so. `--size full` runs the commands as they stand.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import tomli

CONFIGS = Path(__file__).parent.parent / "configs"
#: Names of the files in DATA, where they are not that of the data set.
FILES = {"pathmnist": "pathmnist-mini"}
#: A sweep whose first pool is at least as large has a tenth of it.
MANY = 1000
QUICK = ("preset=quick", "epochs=1", "steps=40")
KNOBS = {
    "scratch": (*QUICK, "network=convnet", "width=0.25", "lr=0.003", "batch=32"),
    "finetune": QUICK,
    "linear": (),
}
SMALL = {
    "simclr": ["--epochs", "2", "--batch", "256", "--set", "pretrain.network=convnet", "--set", "pretrain.width=0.5"],
    "vae": ["--epochs", "2", "--set", "pretrain.width=0.5"],
    "scan": ["--epochs", "2", "--batch", "256"],
}


def commands(file):
    """Yield the words of each command in the header of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# Command:"))
    for line in lines[start:]:
        words = re.sub(r"^#( Command:)? *", "", line)
        if not line.startswith("#") or not words.startswith("initpools "):
            return
        yield shlex.split(words)[1:]


def with_option(words, flag, value):
    """Return the words with an option set: its value is replaced, or it is appended."""
    if flag in words:
        at = words.index(flag)
        return [*words[: at + 1], value, *words[at + 2 :]]
    return [*words, flag, value]


def small(words, file):
    """Return a command at small size."""
    if words[0] == "pretrain":
        options = SMALL[words[1]]
        for flag, value in zip(options[::2], options[1::2], strict=True):
            words = [*words, flag, value] if flag == "--set" else with_option(words, flag, value)
        return words
    if words[0] != "al-run":
        return words
    table = tomli.loads(file.read_text(encoding="utf-8"))["al"]
    (learner,) = table["learner"]
    words = [*words, "--seeds", "1"]
    for knob in KNOBS[learner]:
        words += ["--set", f"al.params.{learner}.{knob}"]
    if file.parent.name == "paper":
        words += ["--set", f"al.candidates={table['candidates'] / 10:g}"]
    if table["init_budget"] < MANY:
        return words
    tenth = {"--init-budget": table["init_budget"] // 10, "--budget": table["budget"] // 10}
    for flag, value in tenth.items():
        words = with_option(words, flag, str(value))
    return words


def main():
    parser = argparse.ArgumentParser(description="Run configs/paper and configs/coldstart.")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"))
    parser.add_argument("--list", action="store_true", help="print the commands")
    args = parser.parse_args()
    for file in sorted([*CONFIGS.glob("paper/*.toml"), *CONFIGS.glob("coldstart/*.toml")]):
        content = tomli.loads(file.read_text(encoding="utf-8"))
        if "al" not in content:
            continue
        # Settings of a pretext task belong to the sweeps that name them.
        name = content.get("dataset", {}).get("name", "digits")
        data = args.data / f"{FILES.get(name, name)}.npz"
        if name != "digits" and args.size == "small" and not data.exists():
            print(f"not run: {file.parent.name}/{file.name}, there is no {data}", flush=True)
            continue
        run = args.runs.resolve() / file.parent.name / file.stem
        for words in commands(file):
            words = with_option(words, "--run", str(run))
            if {"--dataset", "--config"} & {*words} and name != "digits" and args.size == "small":
                words = with_option(words, "--dataset", str(data.resolve()))
            if args.size == "small":
                words = small(words, file)
            print("initpools", shlex.join(words), flush=True)
            if not args.list:
                command = [sys.executable, "-m", "initpools_cli", *words, "--quiet"]
                # `rank` prints the number of every image.
                subprocess.run(command, check=True, cwd=CONFIGS.parent, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
