"""Commands on tiny data that faults are tried on, each with what has to be there before it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .label_requests import act

RUN = Path("runs/images")
#: The environment of a command, whose caches are below the folder of the try.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "INITPOOLS_RUN": "", "COLUMNS": "100"}
_TINY = ["--set", "pretrain.epochs=2", "--set", "pretrain.width=0.25", "--set", "hidden=16", "--set", "out=8"]
_SWEEP = ["--init", "random,kcenter", "--query", "random", "--budget", "3", "--rounds", "1"]


def _nothing() -> None:
    """Change nothing."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """A command and what has to be there before.

    Attributes
    ----------
    name : str
        The command in tables.
    words : sequence of str
        The command line.
    before : sequence of sequence of str
        Command lines run before it.
    change : callable
        What else happens in the working folder before it.
    patch : callable
        What is changed in the process of the command.
    slow : bool
        Takes more than a fraction of a second, so that fewer faults are tried.
    reads_messages : bool
        Whether `patch` waits for what the command says on standard error.
    """

    name: str
    words: Sequence[str]
    before: Sequence[Sequence[str]] = ()
    change: Callable[[], None] = _nothing
    patch: Callable[[], None] = _nothing
    slow: bool = False
    reads_messages: bool = False


def write_data(folder: Path) -> None:
    """Write the data set that all commands read, and labels of some of its images."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, classes = rng.integers(0, 255, (60, 8, 8), dtype=np.uint8), np.arange(60) % 2
    arrays = {"train_images": images[:48], "train_labels": classes[:48]}
    np.savez(folder / "images.npz", **arrays, test_images=images[48:], test_labels=classes[48:])
    rows = "".join(f"{index},{index % 2}\n" for index in range(12))
    (folder / "labels.csv").write_text("index,label\n" + rows)
    (folder / "more.csv").write_text("index,label\n" + rows + "12,0\n13,1\n")


def _photos(*names: str) -> Callable[[], None]:
    def write() -> None:
        from PIL import Image

        Path("photos").mkdir(exist_ok=True)
        for name in names:
            pixels = np.random.default_rng(ord(name)).integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(f"photos/{name}.png")

    return write


def workers_at_once() -> None:
    """Start worker processes however little work is left."""
    from initpools_cli.sweeps import executors

    executors.MIN_SECONDS = 0.0


def _leave_over() -> None:
    """Leave what killed commands leave."""
    for name in ("pool/half/digest", "pool/half/work/a.npz", "pool/half.lock"):
        path = RUN / ".partial" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (RUN / "data/.items.csv.tmp").touch()


def _lose_run_toml() -> None:
    (RUN / "run.toml").unlink()


def _click_through() -> None:
    """Label the batch on the page of this process from a thread, note what it said was saved, and stop the process."""
    notes = Path("/proc/self/fd/2").resolve()

    def click() -> None:
        address = None
        while address is None:
            time.sleep(0.01)
            address = re.search(r"http://127.0.0.1:(\d+)/([\w-]+)/", notes.read_text())
        try:
            rows = (RUN / "pool/random-b4-s0/items.csv").read_text().splitlines()[1:]
            for number, index in enumerate((int(row.split(",")[1]) for row in rows), 1):
                message = {"window": "a", "number": number, "do": "label", "index": index, "label": str(index % 2)}
                if act(int(address[1]), address[2], message) == 200:
                    with notes.with_name("saved").open("a") as stream:
                        stream.write(f"{index},{index % 2}\n")
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=click, daemon=True).start()


_EMBED = ["embed", "pixels", "--dataset", "images.npz"]
_POOL = ["select-pool", "kcenter", "--budget", "4"]
_RANDOM = ["select-pool", "random", "--budget", "4"]
_PRETRAIN = ["pretrain", "simclr", "--dataset", "images.npz", *_TINY]
_ROUND = ["al-run", "--labels", "labels.csv", "--next", "next.csv", "--query", "random", "--budget", "3"]
_NAMED_SWEEP = ["al-run", *_SWEEP, "--seeds", "6", "--threads", "1", "--name", "sweep"]

SCENARIOS = {
    each.name: each
    for each in (
        Scenario("select-pool, a new run", ["select-pool", "random", "--budget", "4", "--dataset", "images.npz"]),
        Scenario("select-pool", [*_POOL, "-o", "pool.csv"], [_EMBED]),
        Scenario("embed", _EMBED),
        Scenario("embed --force", [*_EMBED, "--force"], [_EMBED]),
        Scenario("embed, images added", ["embed", "pixels", "--dataset", "photos", "--force"],
                 [["embed", "pixels", "--dataset", "photos"]], _photos("c")),
        Scenario("score", ["score", "typicality", "-o", "scores.npy"], [_EMBED]),
        Scenario("rank", ["rank", "random", "-o", "sorted.npy"], [_EMBED]),
        Scenario("al-run --labels", _ROUND, [_EMBED]),
        Scenario("label", ["label", "--no-browser", "--classes", "0,1"],
                 [["select-pool", "random", "--budget", "4", "--dataset", "images.npz"]], patch=_click_through,
                 reads_messages=True),
        Scenario("export", ["export", "csv", "-o", "exported.csv"], [_EMBED, _ROUND]),
        Scenario("export to a folder", ["export", "class-copies", "-o", "exported"], [_EMBED, _ROUND]),
        Scenario("plot", ["plot", "histogram"], [_EMBED, _POOL, ["score", "typicality"]]),
        Scenario("plot a sweep", ["plot", "curves", "-o", "curves.html"], [_EMBED, _NAMED_SWEEP]),
        Scenario("compare pools", ["compare", "kcenter-b4-s0", "random-b4-s0"], [_EMBED, _POOL, _RANDOM]),
        Scenario("compare a sweep", ["compare", "sweep"], [_EMBED, _NAMED_SWEEP]),
        Scenario("list", ["list", "strategies"]),
        Scenario("clean", ["clean", "--unfinished"], [_EMBED, _POOL], _leave_over),
        Scenario("repair", ["repair", "--run", str(RUN)], [_EMBED], _lose_run_toml),
        Scenario("verify", ["verify"], [_EMBED, _POOL]),
        Scenario("status", ["status"], [_EMBED, _POOL]),
        Scenario("pretrain", _PRETRAIN, slow=True),
        Scenario("embed a pretrain", ["embed", "simclr"], [_PRETRAIN], slow=True),
        Scenario("score a pretrain", ["score", "simclr", "-o", "losses.npy"], [_PRETRAIN], slow=True),
        Scenario("al-run", ["al-run", *_SWEEP, "--seeds", "2", "--threads", "1"], [_EMBED], slow=True),
        Scenario("al-run, two processes", ["al-run", *_SWEEP, "--seeds", "4", "--threads", "2"], [_EMBED],
                 patch=workers_at_once, slow=True),
    )
}  # fmt: skip

_FINISHED = [
    _PRETRAIN,
    ["embed", "simclr"],
    ["score", "simclr"],
    _EMBED,
    _POOL,
    _RANDOM,
    ["score", "typicality"],
    ["rank", "random"],
    ["rank", "typiclust"],
    _ROUND,
    _NAMED_SWEEP,
]
#: Commands that read the files of a finished run.
READERS = {
    each.name: each
    for each in (
        Scenario("status", ["status"], _FINISHED),
        Scenario("list", ["list", "strategies"], _FINISHED),
        Scenario("verify", ["verify"], _FINISHED),
        Scenario("verify --replay", ["verify", "--replay", "pool/kcenter-b4-s0"], _FINISHED),
        Scenario("repair", ["repair", "--run", str(RUN)], _FINISHED),
        Scenario("clean", ["clean"], _FINISHED),
        Scenario("pretrain, done", _PRETRAIN, _FINISHED),
        Scenario("embed, done", ["embed", "pixels"], _FINISHED),
        Scenario("embed a pretrain, done", ["embed", "simclr"], _FINISHED),
        Scenario("embed a pretrain --force", ["embed", "simclr", "--force"], _FINISHED, slow=True),
        Scenario("score, done", ["score", "typicality"], _FINISHED),
        Scenario("score", ["score", "outlier"], _FINISHED),
        Scenario("select-pool", ["select-pool", "kmeans", "--budget", "3"], _FINISHED),
        Scenario("select-pool of a pretrain", ["select-pool", "typiclust", "--budget", "3", "--from", "simclr"],
                 _FINISHED),
        Scenario("select-pool by scores", ["select-pool", "typicality", "--budget", "3"], _FINISHED),
        Scenario("rank, done", ["rank", "random"], _FINISHED),
        Scenario("rank", ["rank", "typiclust", "--from", "simclr"], _FINISHED),
        Scenario("compare pools", ["compare", "kcenter-b4-s0", "random-b4-s0"], _FINISHED),
        Scenario("compare rankings", ["compare", "rank/random", "rank/typiclust"], _FINISHED),
        Scenario("compare a sweep", ["compare", "sweep"], _FINISHED),
        Scenario("export", ["export", "csv", "-o", "exported.csv"], _FINISHED),
        Scenario("label", ["label", "--no-browser", "--classes", "0,1", "--batch", "random-b4-s0"], _FINISHED,
                 patch=_click_through, reads_messages=True),
        Scenario("plot", ["plot", "histogram", "-o", "plot.html"], _FINISHED),
        Scenario("plot scores", ["plot", "scores", "-o", "plot.html"], _FINISHED, slow=True),
        Scenario("plot a sweep", ["plot", "curves", "-o", "plot.html"], _FINISHED, slow=True),
        Scenario("plot a report", ["plot", "report", "-o", "plot.html"], _FINISHED, slow=True),
        Scenario("al-run, done", _NAMED_SWEEP, _FINISHED),
        Scenario("al-run", ["al-run", *_SWEEP, "--seeds", "1", "--threads", "1", "--from", "simclr"], _FINISHED,
                 slow=True),
        Scenario("al-run --labels", [*_ROUND[:2], "more.csv", *_ROUND[3:]], _FINISHED, slow=True),
    )
}  # fmt: skip


def environment_of(root: Path) -> dict[str, str]:
    """The environment variables of commands in a try's folder."""
    return {**ENVIRONMENT, "INITPOOLS_DATA": str(root / "data"), "HOME": str(root / "home")}


def write_base(root: Path, scenario: Scenario, run: Callable[[Sequence[str], Path], int]) -> None:
    """Write the folder that a command begins with, where `run` runs a command line in a folder."""
    work = root / "work"
    write_data(work)
    before = Path.cwd()
    os.chdir(work)
    try:
        if "photos" in scenario.words:
            _photos("a", "b", "d", "e", "f")()
        for words in scenario.before:
            assert run(words, work) == 0, words
        scenario.change()
    finally:
        os.chdir(before)
