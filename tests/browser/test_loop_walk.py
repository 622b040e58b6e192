"""The loop in a real browser: from no label to 80, with suggestions, an audit sample and the grid, to the report."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from visits import Visiting, expect, open_context, serving, wait_until, wait_until_saved

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.options import Common
from initpools_cli.labeling.page import open_labeling
from initpools_cli.labeling.session import LabelingSession

pytestmark = pytest.mark.browser
CLASSES = ["zero", "one", "two", "three"]
LOOP = ["--budget", "20", "--audit", "10%", "--query", "margin"]


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The classes of a folder of nested images of digits, by path."""
    monkeypatch.chdir(tmp_path)
    digits, truth = load_digits(n_class=4), {}
    for number, (pixels, target) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        path = f"day{number % 3}/{number:03}.png"
        file = Path("photos") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(file)
        truth[path] = CLASSES[target]
    return truth


def initpools(*words: str) -> None:
    assert run_command_line([*words, "--quiet", "--threads", "1"]) == 0


@pytest.fixture
def window(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Open an address; errors on the page fail at the end."""
    context = open_context(browser)
    problems: list[str] = []

    def open_page(address: str) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.goto(address)
        page.locator("body[data-shown]").wait_for()
        return page

    yield open_page
    context.close()
    assert problems == []


def label_one_by_one(page: Any, labeling: LabelingSession, truth: dict[str, str]) -> Counter[str]:
    """Press Enter where the suggestion is right, else the key of the class; count the suggestions shown."""
    shown: Counter[str] = Counter()
    for index in labeling.indices:
        page.locator(f"body[data-shown='{index}']").wait_for()
        name = truth[labeling.path_of(index)]
        button = page.locator("#accept")
        suggested = button.is_visible()
        shown["suggested" if suggested else "none"] += 1
        right = suggested and labeling.suggestion_of(index).label == name
        shown["right"] += right
        page.keyboard.press("Enter" if right else str(1 + labeling.vocabulary.names.index(name)))
    page.locator("#done").wait_for()
    return shown


def label_in_the_grid(page: Any, labeling: LabelingSession, truth: dict[str, str]) -> None:
    """Label the images of each class that is not the largest of its group, then the rest of the group."""
    page.keyboard.press("g")
    page.select_option("[name=sort]", "similar")
    page.locator("#grid-said", has_text=f"{len(labeling.indices)} images").wait_for()
    left = len(labeling.indices)
    while left:
        rows = page.locator(".tile").evaluate_all("all => all.map((tile) => Number(tile.dataset.index))")
        heading = page.locator(".grid-heading h3").first.inner_text()
        # The audit images have no prediction, and are the last group.
        predicted = {index: suggestion.label for index in rows if (suggestion := labeling.suggestion_of(index))}
        group = [index for index in rows if predicted.get(index, "No prediction") == heading]
        classes = Counter(truth[labeling.path_of(index)] for index in group).most_common()
        for name, count in classes[::-1]:
            if name == classes[0][0]:
                page.locator(".grid-heading button").first.click()
            else:
                for index in group:
                    if truth[labeling.path_of(index)] == name:
                        page.click(f"#tile-{index}")
            page.locator("#grid-said", has_text=f"{left} images, {count} selected").or_(
                page.locator("#grid-said", has_text="1 image, 1 selected")
            ).wait_for()
            if name == heading:
                page.keyboard.press("Enter")
            else:
                page.keyboard.press(str(1 + labeling.vocabulary.names.index(name)))
            left -= count
            expect(page.locator("#grid-said")).to_have_text(re.compile(f"^{left} images?$"))
    page.locator("#done").wait_for()


def test_from_the_first_label_to_the_report(
    truth: dict[str, str], window: Callable[[str], Any], visit: Visiting
) -> None:
    initpools("embed", "pca", "--dataset", "photos")
    initpools("select-pool", "typiclust", *LOOP[:4])
    files: list[str] = []
    for number in range(4):
        context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
        labeling = open_labeling(context, None, CLASSES, None)
        assert len(labeling.indices) == 22
        with serving(labeling, context) as address:
            page = window(address)
            if number < 2:
                shown = label_one_by_one(page, labeling, truth)
                # Before a round there are no suggestions; the two audit images never have one.
                assert (shown["suggested"], shown["none"]) == ((0, 22) if number == 0 else (20, 2))
                assert number == 0 or 5 <= shown["right"] < 20
            else:
                label_in_the_grid(page, labeling, truth)
            wait_until_saved(page)
            page.close()
        files.append(str(labeling.file))
        with labeling.file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert all(row["label"] == truth[row["path"]] for row in rows)
        assert Counter(row["origin"] for row in rows) == {"batch": 20, "audit": 2}
        assert all(bool(row["suggested"]) == (number > 0 and row["origin"] == "batch") for row in rows)
        initpools("al-run", *[word for file in files for word in ("--labels", file)], *LOOP, "--next", "next.csv")

    initpools("export", "csv", "-o", "labels.csv")
    exported = pd.read_csv("labels.csv")
    assert len(exported) == 88 and (exported["label"] == exported["path"].map(truth)).all()
    initpools("plot", "report", "-o", "report.html")
    report = visit(Path("report.html"))
    text = report.page.inner_text("main")
    # What is labeled, how good it is, what to do next, and what is wrong.
    assert "labeled\n88\n" in text and "estimated with 8 audit images" in text
    assert "Next: initpools label --batch round-4" in text and "50 more labels" in text
    for section in ("Recall: share", "Which classes are confused", "Most doubtful labels", "Round 4: 22 images"):
        assert section in text
    report.figures()
    wait_until(report.overflows, False)
