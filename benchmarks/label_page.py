"""Claims on the labeling page: the grid with suggestions needs at most half the actions of labeling one by one.

A script labels 600 images in headless Chromium as somebody who always recognizes the class of an image: as one batch,
or in four batches of 150 with a round after each. Before, the loop has trained on 60 labels; an audit sample of 10 % is
mixed in, which shows no prediction.

- One by one: a key for each image (Enter where the suggestion is right).
- Grid: grouped by predicted class, sorted by similarity, small thumbnails. In each group, the images of each other
  class are selected (neighbors in a row by a drag, other runs by a click and a shift-click) and labeled by one key;
  then the rest of the group is selected by its button and labeled.

An action is a key press, a click or a drag, and in the grid also a scroll by one screen. Errors are labels in the file
that differ from the true class: they can only come from the page, as this annotator makes none.

First paint: milliseconds from choosing all images of a run of at least 50,000 to the first drawn tiles, and to all
visible thumbnails; then the slowest of 100 frames while scrolling a screen per frame, and the most tiles in the page.

    python benchmarks/label_page.py RUN LABELS.csv [RUN LABELS.csv ...]     (runs with embeddings; 4 minutes each)
    python benchmarks/label_page.py --paint IMAGES.npz

Adds lines to benchmarks/results/label_page.csv and label_page_paint.csv.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import shutil
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright
from record import initpools, record, show

from initpools_cli.cli.labeler.server import Server
from initpools_cli.cli.labeler.state import LabelingState
from initpools_cli.cli.options import Common
from initpools_cli.core.cpu import machine
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.page import open_labeling

FIRST, TOTAL, BATCHES, AUDIT, GOAL = 60, 600, (600, 150), "10%", 0.5
ACTIONS = ("keys", "clicks", "drags", "scrolls")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEPT = ("run.toml", "data", "embed")


def prepare(source, truth, run, size=TOTAL):
    """A copy of a run after one round with 60 labels, with a next batch."""
    run.mkdir(parents=True)
    for name in KEPT:
        (shutil.copytree if (source / name).is_dir() else shutil.copy)(source / name, run / name)
    batch, labeled = run.parent / "batch.csv", run.parent / "labeled.csv"
    initpools("select-pool", "--run", run, "--budget", FIRST, "-o", batch)
    rows = pd.read_csv(batch)[["index", "path"]]
    rows.assign(label=rows["path"].map(truth)).to_csv(labeled, index=False)
    next_round(run, [labeled], size)


def next_round(run, files, size):
    """Train on labels, and choose a batch."""
    words = [word for file in files for word in ("--labels", file)]
    initpools(
        "al-run",
        "--run",
        run,
        *words,
        "--budget",
        size,
        "--audit",
        AUDIT,
        "--next",
        run.parent / f"{files[-1].stem}-next.csv",
    )


@contextlib.contextmanager
def opened(browser, run, output):
    """The page of the newest batch, and its session."""
    context = Common(run=run, quiet=True).start("dataset")
    labeling = open_labeling(context, None, [], output)
    images = RunImages(context)
    server = Server(LabelingState(labeling, {"dataset": "", "next": "", "again": ""}, images), "secret", 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(server.address)
    page.locator("body[data-shown]").wait_for()
    yield page, labeling, images
    page.close()
    server.shutdown()
    server.server_close()


def one_by_one(page, labeling, _, truth):
    """Label each image by a key; returns the actions."""
    names = labeling.vocabulary.names
    for index in labeling.indices:
        page.locator(f"body[data-shown='{index}']").wait_for()
        name, suggestion = truth[labeling.path_of(index)], labeling.suggestion_of(index)
        key = page.locator(f"#classes button >> nth={names.index(name)}").get_attribute("aria-keyshortcuts")
        page.keyboard.press("Enter" if suggestion and suggestion.label == name else key)
    return dict.fromkeys(ACTIONS, 0) | {"keys": len(labeling.indices)}


class GridUser:
    """Labels the grid group by group."""

    def __init__(self, page, labeling, images, truth):
        self.page, self.images, self.names = page, images, labeling.vocabulary.names
        self.indices = labeling.indices
        self.truth = {index: truth[labeling.path_of(index)] for index in labeling.indices}
        self.count = dict.fromkeys(ACTIONS, 0)
        suggestions = {index: labeling.suggestion_of(index) for index in labeling.indices}
        self.predicted = {index: each.label if each else "" for index, each in suggestions.items()}

    def key(self, key):
        self.page.keyboard.press(key)
        self.count["keys"] += 1

    def click(self, index, **how):
        """Click a tile, after scrolling to it by screens."""
        self.scroll(index)
        self.page.locator(f"#tile-{index}").click(**how)
        self.count["clicks"] += 1

    def scroll(self, index):
        place = [each for group in self.groups for each in group].index(index) + 1
        self.count["scrolls"] += self.page.evaluate(SCROLL, place)

    def select(self, run):
        """Select images that follow each other: in one row by a drag, else by a click and a shift-click."""
        self.scroll(run[0])
        tiles = [self.page.locator(f"#tile-{index}") for index in (run[0], run[-1])]
        boxes = [tile.bounding_box() if tile.count() else None for tile in tiles]
        if len(run) == 1 or boxes[1] is None or boxes[0]["y"] != boxes[1]["y"]:
            self.click(run[0])
            if len(run) > 1:
                self.click(run[-1], modifiers=["Shift"])
            return
        tiles[0].scroll_into_view_if_needed()
        boxes = [tile.bounding_box() for tile in tiles]
        mouse = self.page.mouse
        mouse.move(boxes[0]["x"] + 10, boxes[0]["y"] + 30)
        mouse.down()
        mouse.move(boxes[1]["x"] + boxes[1]["width"] - 10, boxes[1]["y"] + 40, steps=3)
        mouse.up()
        self.count["drags"] += 1

    def label(self, group, images, name):
        self.key(self.page.locator("#classes button").nth(self.names.index(name)).get_attribute("aria-keyshortcuts"))
        for index in images:
            group.remove(index)
        count = f"{sum(map(len, self.groups)):,}"
        self.page.locator("#grid-said", has_text=f"{count} image").wait_for()

    def work(self):
        page = self.page
        self.key("g")
        page.locator(".tile").first.wait_for()
        page.select_option("[name=sort]", "similar")
        page.locator("#grid-said", has_not_text="…").wait_for()
        page.locator("#grid-controls summary").click()
        page.select_option("[name=size]", "small")
        page.locator("#grid-controls summary").click()
        self.count["clicks"] += 4
        places = self.images.similarity_places(np.array(self.indices), compute=False)
        order = [self.indices[each] for each in np.argsort(places, kind="stable")]
        # In the order of the classes, images without a prediction last.
        self.groups = [[index for index in order if self.predicted[index] == name] for name in [*self.names, ""]]
        for group in self.groups:
            if group:
                # Look at all of it first.
                self.scroll(group[0])
                self.scroll(group[-1])
                self.finish(group)
        return self.count

    def finish(self, group):
        classes = pd.Series([self.truth[index] for index in group]).value_counts()
        for name in classes.index[1:]:
            wrong = [index for index in group if self.truth[index] == name]
            for run in runs(group, name, self.truth):
                self.select(run)
            self.label(group, wrong, name)
        number = [each for each in self.groups if each].index(group)
        self.scroll(group[0])
        self.page.locator(f".grid-heading button[data-group='{number}']").click()
        self.count["clicks"] += 1
        self.label(group, list(group), classes.index[0])


#: Scroll by screens until the tile at a place (counted from 1) is drawn; returns the number of screens.
SCROLL = """async (place) => {
  const scroller = document.querySelector("#grid-scroll");
  for (let screens = 0; ; screens += 1) {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const box = scroller.getBoundingClientRect();
    const seen = [...document.querySelectorAll(".tile")].filter((tile) => {
      const { top, bottom } = tile.getBoundingClientRect();
      return bottom > box.top && top < box.bottom;
    });
    const places = seen.map((tile) => Number(tile.ariaPosInSet));
    if (places.includes(place) || screens > 500) return screens;
    scroller.scrollTop += (place < Math.min(...places) ? -1 : 1) * (box.height - 150);
  }
}"""
#: Milliseconds to the first drawn tiles and to all visible thumbnails of all images, and the slowest frame of a scroll.
PAINT = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const tiles = () => [...document.querySelectorAll(".tile")];
  const select = document.querySelector("[name=scope]");
  const started = performance.now();
  select.value = "all";
  select.dispatchEvent(new Event("input", { bubbles: true }));
  while (!(tiles()[0]?.ariaSetSize >= 50000)) await frame();
  await frame();
  const first = performance.now() - started;
  while (!tiles().every((tile) => tile.firstChild.complete && tile.firstChild.naturalWidth)) await frame();
  const thumbnails = performance.now() - started;
  const scroller = document.querySelector("#grid-scroll");
  let [slowest, most, before] = [0, 0, performance.now()];
  for (let step = 0; step < 100; step += 1) {
    scroller.scrollTop += scroller.clientHeight;
    await frame();
    slowest = Math.max(slowest, performance.now() - before);
    before = performance.now();
    most = Math.max(most, tiles().length);
  }
  return [first, thumbnails, slowest, most, Number(tiles()[0].ariaSetSize)];
}"""


def runs(group, name, truth):
    """Parts of a group that follow each other and have a class."""
    return [list(each) for same, each in itertools.groupby(group, lambda index: truth[index] == name) if same]


def outcome(labeling, truth):
    """Counts of labels and errors, of all images and of those of the audit, from the file."""
    with labeling.file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = [row["origin"] == "audit" for row in rows if row["label"] != truth[row["path"]]]
    audit = sum(row["origin"] == "audit" for row in rows)
    return {
        "images": len(rows),
        "audit": audit,
        "errors": len(wrong),
        "audit_errors": sum(wrong),
    }


def label_batch(browser, run, file, work, truth):
    """Label the newest batch; returns counts of actions and of labels, and how many suggestions were right."""
    with opened(browser, run, file) as (page, labeling, images):
        suggestions = {index: labeling.suggestion_of(index) for index in labeling.indices}
        suggestion_of = {index: each.label for index, each in suggestions.items() if each}
        start = time.perf_counter()
        count = work(page, labeling, images, truth)
        page.locator("#saved:not(.waiting)", has_text="saved").wait_for()
        seconds = time.perf_counter() - start
        right = sum(label == truth[labeling.path_of(index)] for index, label in suggestion_of.items())
        return {
            **outcome(labeling, truth),
            "suggested": len(suggestion_of),
            "accepted": right,
            **count,
            "seconds": seconds,
        }


def label_all(browser, run, batch, work, truth):
    """Label 600 images in batches, with a round after each; returns sums."""
    files, results = [run.parent / "labeled.csv"], []
    for number in range(TOTAL // batch):
        if number:
            next_round(run, files, batch)
        files.append(run.parent / f"batch-{number}.csv")
        results.append(label_batch(browser, run, files[-1], work, truth))
    return pd.DataFrame(results).sum()


def compare(browser, source, labels, folder, batch):
    truth = pd.read_csv(labels, dtype=str).set_index("path")["label"]
    arms = {"one by one": one_by_one, "grid": lambda *arguments: GridUser(*arguments).work()}
    total = {}
    for arm, work in arms.items():
        run = folder / f"{batch}-{arm}" / source.name
        prepare(source, truth, run, batch)
        sums = label_all(browser, run, batch, work, truth)
        total[arm] = int(sums[[*ACTIONS]].sum())
        counts = ("images", "audit", "errors", "audit_errors", *ACTIONS)
        row = {
            **machine_and_browser(browser),
            "data": source.name,
            "batch": batch,
            "labeling": arm,
            **{name: int(sums[name]) for name in counts},
            "right": round(1 - sums["errors"] / sums["images"], 4),
            "suggestions_right": round(sums["accepted"] / sums["suggested"], 3),
            "actions": total[arm],
            "to_one_by_one": round(total[arm] / total["one by one"], 3),
            "script_seconds": round(sums["seconds"]),
        }
        row["missed"] = "half the actions" if arm == "grid" and row["to_one_by_one"] > GOAL else ""
        record("label_page", row)
        show(row)


def paint(browser, images, folder):
    run = folder / "runs" / "paint"
    initpools("select-pool", "random", "--dataset", images, "--run", run, "--budget", 20)
    with opened(browser, run, None) as (page, _, _):
        page.keyboard.press("g")
        page.locator(".tile").first.wait_for()
        first, thumbnails, slowest, most, count = page.evaluate(PAINT)
    row = {
        **machine_and_browser(browser),
        "data": Path(images).stem,
        "images": count,
        "first_paint_ms": round(first),
        "thumbnails_ms": round(thumbnails),
        "slowest_frame_ms": round(slowest),
        "most_tiles": most,
        "missed": "" if first < 2000 else "first paint within 2 s",
    }
    record("label_page_paint", row)
    show(row)


def machine_and_browser(browser):
    return {**machine(), "chromium": browser.version, "playwright": version("playwright")}


def main(words):
    path = next(candidate for name in NAMES if (candidate := shutil.which(name)))
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as scratch:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        if words[0] == "--paint":
            paint(browser, Path(words[1]).resolve(), Path(scratch))
        else:
            for source, labels in zip(words[::2], words[1::2], strict=True):
                for batch in BATCHES:
                    compare(browser, Path(source), labels, Path(scratch) / Path(source).name, batch)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
