"""Claims on large inputs and long sessions: time that grows in proportion, memory and open files that do not grow.

- memmap: `select-pool kcenter` takes 100 of 5,000,000 rows of 64 float16 values from a memory-mapped file.
- folder: a folder of 200,000 images of 16 x 16 pixels becomes a run in at most 5 minutes, and opens no image twice.
- sweep: `compare`, `plot curves` and `plot report` of a sweep of 10,000 cells take at most 30 seconds together.
- loop: 1,000 rounds of labeling in one process, with labels that an oracle gives.
- page: 20,000 actions on the labeling page, by HTTP in one process.

For the loop and the page, memory and open files are measured after a tenth, at the middle and at the end, and
processor seconds are those of 100 rounds, or 1,000 actions, before each. They depend little on what else the
machine does; clock seconds do. Memory is what is not backed by a file (RssAnon).

The memory of the loop grows by what a process keeps of its history: the content of the ``step.toml`` of each round
(8 kB a round by tracemalloc; 16 kB before equal strings were shared) and a checksum of each file that is read again
(0.4 kB). Both caches are emptied at 4,096 files (`core.checksums.FileCache`). From round 100 to 800, `gc.get_objects`
grew by 18 objects a round, the tables and lists of a ``step.toml``, and by 95 others in all. What the allocators hold
besides goes up and down by several MiB between two counts; `malloc_trim` took 7 to 9 MiB off.

    python benchmarks/load.py FOLDER [memmap folder sweep loop page]      (all parts: an hour)

A part that is recorded is not run again; its files in FOLDER are removed when it ends. Linux only. Adds lines to
benchmarks/results/load.csv.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from process import resident
from record import RESULTS, record, show

from initpools_cli.core.cpu import machine
from initpools_cli.core.version import version

ROWS, DIMENSIONS, BUDGET = 5_000_000, 64, 100
IMAGES, IMAGES_PER_FOLDER, SIDE = 200_000, 1_000, 16
INITS = (
    "random",
    "kmeans",
    "kmeans++",
    "kmeans-random",
    "kcenter",
    "typiclust",
    "maxherding",
    "usl",
    "activeft",
    "facility-location",
)
QUERIES = (
    "random",
    "margin",
    "entropy",
    "least-confidence",
    "tcm",
    "kcenter",
    "kmeans",
    "typiclust",
    "badge",
    "cdal",
)
SEEDS = 100
ROUNDS, ACTIONS = 1_000, 20_000
#: Runs a command line, and counts how often each file below a folder is opened.
COUNTED = """
import atexit, collections, json, os, sys
below, answer = sys.argv[1], sys.argv[2]
opened = collections.Counter()
def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened[os.fsdecode(arguments[0])] += 1
sys.addaudithook(audit)
def told():
    counts = [count for path, count in opened.items() if path.startswith(below)]
    with open(answer, "w") as stream:
        json.dump({"files_opened": len(counts), "files_opened_twice": sum(count > 1 for count in counts)}, stream)
atexit.register(told)
sys.argv = ["initpools", *sys.argv[3:]]
from initpools_cli.cli.app import main
main()
"""
COMMAND = [sys.executable, "-m", "initpools_cli"]


def timed(words):
    """Run a command; its clock and processor seconds, and the most memory it had, in MiB."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL)
    while True:
        with contextlib.suppress(StopIteration, OSError):
            peak = max(peak, resident("RssAnon", process.pid))
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {code}")
    return {
        "clock_seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": peak >> 20,
    }


def memmap(folder):
    """Select from a memory-mapped file."""
    file = folder / "points.npy"
    draw = np.random.default_rng(0)
    stored = np.lib.format.open_memmap(file, "w+", np.float16, (ROWS, DIMENSIONS))
    for start in range(0, ROWS, 100_000):
        stored[start : start + 100_000] = draw.standard_normal((100_000, DIMENSIONS), np.float32)
    del stored
    words = ["select-pool", "kcenter", "--budget", BUDGET, "--embeddings", file, "-o", folder / "pool.npy", "--quiet"]
    yield {"step": "select-pool kcenter", "size": ROWS, "file_mib": file.stat().st_size >> 20} | timed(
        [*COMMAND, *words]
    )


def write_images(folder):
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(IMAGES // IMAGES_PER_FOLDER):
        place = folder / f"{number:03}"
        place.mkdir(parents=True)
        pixels = draw.integers(0, 256, (IMAGES_PER_FOLDER, SIDE, SIDE, 3), dtype=np.uint8)
        for row, each in enumerate(pixels):
            Image.fromarray(each).save(place / f"{row:04}.{'jpg' if row % 2 else 'png'}")


def folder(place):
    """Open a folder of images for the first time, and again."""
    images, run, answer = place / "images", place / "run", place / "opened.json"
    write_images(images)
    for step in ("a new run", "again"):
        words = ["select-pool", "random", "--budget", BUDGET, "--run", run, "--set", f"dataset.size={SIDE}", "--quiet"]
        if step == "a new run":
            words += ["--dataset", images]
        else:
            words += ["--seed", 1]
        timing = timed([sys.executable, "-c", COUNTED, images, answer, *words])
        yield {"step": f"select-pool, {step}", "size": IMAGES} | timing | json.loads(answer.read_text())


def sweep(place):
    """Judge and draw a sweep."""
    run = place / "run"
    where = ["--run", run, "--quiet"]
    timed([*COMMAND, "embed", "pixels", "--dataset", "digits", *where])
    words = ["al-run", "--init", ",".join(INITS), "--query", ",".join(QUERIES), "--seeds", SEEDS]
    words += ["--budget", 10, "--rounds", 2, "--name", "load", *where]
    cells = len(INITS) * len(QUERIES) * SEEDS
    yield {"step": "al-run", "size": cells} | timed([*COMMAND, *words])
    for step in (["compare", "load"], ["plot", "curves"], ["plot", "report"]):
        yield {"step": " ".join(step), "size": cells} | timed([*COMMAND, *step, *where])


class Watch:
    """Memory, open files and processor seconds along many equal steps."""

    def __init__(self, steps, part):
        self.marks = {steps // 10: "start", steps // 2: "middle", steps: "end"}
        self.part, self.measured, self.began = part, {}, 0.0
        self.started, self.used = time.perf_counter(), time.process_time()

    def step(self, number):
        """Note what is used after a step, counted from 1."""
        if number + self.part in self.marks:
            self.began = time.process_time()
        if name := self.marks.get(number):
            self.measured[f"processor_seconds_{name}"] = round(time.process_time() - self.began, 2)
            gc.collect()
            self.measured[f"mib_{name}"] = round(resident("RssAnon") / (1 << 20), 1)
            self.measured[f"open_files_{name}"] = len(list(Path("/proc/self/fd").iterdir()))

    def total(self):
        """The seconds of all steps, and what was noted."""
        clock, used = time.perf_counter() - self.started, time.process_time() - self.used
        return {"clock_seconds": round(clock, 1), "processor_seconds": round(used, 1)} | self.measured


def command(*words):
    from initpools_cli.cli.app import run

    if run([*map(str, words)]):
        raise SystemExit(f"{' '.join(map(str, words))} failed")


def loop(place, rounds=ROUNDS):
    """Rounds of one label each, in one process."""
    run, batch = place / "run", place / "next.csv"
    where = ["--run", run, "--quiet", "--threads", 1]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        command("embed", "pixels", "--dataset", "digits", *where)
        truth = pd.read_csv(run / "data/items.csv").query("split == 'train'").set_index("index")["class"]
        command("select-pool", "random", "--budget", 10, "-o", batch, *where)
        watch = Watch(rounds, rounds // 10)
        for number in range(1, rounds + 1):
            labels = pd.read_csv(batch)[["index"]]
            labels.assign(label=truth[labels["index"]].to_numpy()).to_csv(place / "labels.csv", index=False)
            words = ["--labels", place / "labels.csv", "--query", "margin", "--budget", 1, "--next", batch]
            command("al-run", *words, *where)
            watch.step(number)
    yield {"step": "al-run --labels", "size": rounds} | watch.total()


def page(place, actions=ACTIONS):
    """Actions of one window: labels, now and then skipped images and undo."""
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.cli.options import Common
    from initpools_cli.labeling.images import RunImages
    from initpools_cli.labeling.page import open_labeling

    run = place / "run"
    where = ["--run", run, "--quiet", "--threads", 1]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        command("embed", "pixels", "--dataset", "digits", *where)
        command("select-pool", "random", "--budget", 500, *where)
    context = Common(run=run, quiet=True).start("dataset")
    labeling = open_labeling(context, None, ["0", "1", "2"], None)
    state = LabelingState(labeling, {}, RunImages(context), context.run)
    with Server(state, "secret", 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        headers = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
        watch = Watch(actions, actions // 20)
        for number in range(1, actions + 1):
            message = {"window": "a", "number": number, "do": "undo" if number % 10 == 0 else "label"}
            if message["do"] == "label":
                images = labeling.indices
                message |= {"images": [images[number % len(images)]], "label": str(number % 3), "seconds": 1.0}
            connection.request("POST", "/secret/act", json.dumps(message), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"action {number} ended with {answer.status}: {body[:200]}")
            watch.step(number)
        server.shutdown()
    yield {"step": "an action", "size": actions} | watch.total()


PARTS = {each.__name__: each for each in (memmap, folder, sweep, loop, page)}
COLUMNS = (
    *("cpu", "cores", "python", "initpools", "part", "step", "size", "clock_seconds", "processor_seconds", "peak_mib"),
    *("file_mib", "files_opened", "files_opened_twice"),
    *(f"{what}_{when}" for what in ("processor_seconds", "mib", "open_files") for when in ("start", "middle", "end")),
)


def done():
    file = RESULTS / "load.csv"
    return set(pd.read_csv(file)["part"]) if file.exists() else set()


def main():
    parser = argparse.ArgumentParser(description="Measure large inputs and long sessions.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    args = parser.parse_args()
    for name in args.parts or PARTS:
        if name in done():
            continue
        place = args.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        os.environ["INITPOOLS_DATA"] = str(place / "data")
        rows = [{**machine(), "initpools": version(), "part": name, **columns} for columns in PARTS[name](place)]
        for row in rows:
            record("load", {column: row.get(column, "") for column in COLUMNS})
            show(row)
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
