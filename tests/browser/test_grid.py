"""The grid of the labeling page: keys, mouse, filters, groups, 50,000 images, a phone, names."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from visits import NARROW, WIDE, expect, open_context, serving, wait_until, wait_until_saved

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.options import Common
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.page import open_labeling
from initpools_cli.labeling.session import LabelingSession

pytestmark = pytest.mark.browser
HOSTILE = ["<img src=x onerror=document.title='hacked'>.png", "\u202egnp \"quoted\" & 'more'.png"]
#: A click in the grid that the mouse does not make.
TILE = "#tile-{}"


@dataclass
class Served:
    """A batch of 40 images with predictions, of 120 in the run, and where it is labeled."""

    labeling: LabelingSession
    address: str

    @property
    def saved(self) -> dict[int, str]:
        """Labels in the file by image; skipped images have the label "skipped"."""
        with self.labeling.file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        labels = {int(row["index"]): "skipped" if row["skipped"] == "1" else row["label"] for row in rows}
        return {index: label for index, label in labels.items() if label}

    @property
    def predicted(self) -> dict[int, str]:
        suggestions = {index: self.labeling.suggestion_of(index) for index in self.labeling.indices}
        return {index: each.label for index, each in suggestions.items() if each}


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with digits as nested images and a run after one round; never written to again."""
    folder = tmp_path_factory.mktemp("grid")
    digits = load_digits(n_class=4)
    for number, pixels in enumerate(digits.images[:120]):
        name = HOSTILE[number] if number < len(HOSTILE) else f"{number:03}.png"
        file = folder / "photos" / f"day{number % 3}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(file)
    common = ["--quiet", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command_line(["embed", "pca", "--dataset", "photos", *common]) == 0
        items = pd.read_csv("runs/photos/data/items.csv", keep_default_na=False)
        labeled = items[items["split"] == "train"].iloc[:30][["path"]]
        # Three classes of the four, so that predictions are wrong for one.
        truth = [int(digits.target[_number(path)]) for path in labeled["path"]]
        labeled["label"] = [["zero", "one", "two", "zero"][each] for each in truth]
        labeled.to_csv("labeled.csv", index=False)
        words = ["al-run", "--labels", "labeled.csv", "--budget", "40", "--query", "random", "--next", "next.csv"]
        assert run_command_line([*words, "--from", "pca", *common]) == 0
    return folder


def _number(path: str) -> int:
    name = Path(path).name
    return HOSTILE.index(name) if name in HOSTILE else int(Path(name).stem)


@pytest.fixture
def served(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    shutil.copytree(digits_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
    labeling = open_labeling(context, None, [], None)
    with serving(labeling, context) as address:
        yield Served(labeling, address)


Opening = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, served: Served) -> Iterator[Opening]:
    """Open the page, and the grid by its key; errors and requests to other places fail at the end."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_grid(width: int = WIDE, theme: str = "light", **how: Any) -> Any:
        contexts.append(open_context(browser, width=width, theme=theme, **how))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: request.url.startswith(served.address) or problems.append(request.url))
        page.goto(served.address)
        page.locator("body[data-shown]").wait_for()
        page.keyboard.press("g")
        page.locator(".tile").first.wait_for()
        return page

    yield open_grid
    for context in contexts:
        context.close()
    assert [each for each in problems if not each.startswith("data:")] == []


def wait_for_message(page: Any, text: str) -> None:
    page.locator("#grid-said", has_text=text).wait_for()


def shown(page: Any) -> list[int]:
    """The images of the drawn tiles, in their order."""
    script = "all => all.sort((a, b) => a.ariaPosInSet - b.ariaPosInSet).map((tile) => Number(tile.dataset.index))"
    return list(page.locator(".tile").evaluate_all(script))


def chosen(page: Any) -> list[int]:
    """The selected ones of the drawn tiles."""
    script = "all => all.map((tile) => Number(tile.dataset.index))"
    return sorted(page.locator(".tile[aria-selected=true]").evaluate_all(script))


def everything(page: Any) -> None:
    """Show the batch in its order, small enough to be drawn whole."""
    page.locator("#grid-controls summary").click()
    page.select_option("[name=size]", "small")
    page.select_option("[name=group]", "none")
    page.locator("#tiles").focus()
    expect(page.locator(".tile")).to_have_count(40)
    page.keyboard.press("Home")


def test_a_group_is_labeled_by_one_key_and_undone_at_once(served: Served, opened: Opening) -> None:
    page = opened()
    name = sorted(served.predicted.values(), key=served.labeling.vocabulary.names.index)[0]
    expect(page.locator(".grid-heading h3").first).to_have_text(name)
    group = sorted(index for index, each in served.predicted.items() if each == name)
    page.keyboard.press("Control+a")
    wait_for_message(page, f"40 images, {len(group)} selected")
    other = next(each for each in served.labeling.vocabulary.names if each != name)
    page.keyboard.press(str(1 + served.labeling.vocabulary.names.index(other)))
    wait_for_message(page, f"{40 - len(group)} images")
    wait_until_saved(page)
    assert served.saved == dict.fromkeys(group, other)
    expect(page.locator("#left")).to_have_text(re.compile(f"^{len(group)} labeled"))
    page.keyboard.press("u")
    wait_for_message(page, "40 images")
    wait_until_saved(page)
    assert served.saved == {}
    # As predicted.
    page.keyboard.press("Control+a")
    page.keyboard.press("Enter")
    wait_for_message(page, f"{40 - len(group)} images")
    wait_until_saved(page)
    assert served.saved == dict.fromkeys(group, name)
    with served.labeling.file.open(newline="") as stream:
        rows = {int(row["index"]): row for row in csv.DictReader(stream)}
    assert {rows[index]["suggested"] for index in group} == {name}
    # The second time, everything that is shown is selected.
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+a")
    page.keyboard.press("s")
    page.locator("#grid-empty").wait_for()
    page.locator("#done").wait_for()
    wait_until_saved(page)
    assert len(served.saved) == 40 and {*served.saved.values()} == {"skipped", name}
    # The page shows the same.
    page.keyboard.press("g")
    page.locator("#image").wait_for()
    expect(page.locator("#grid")).to_be_hidden()


def test_keys_select(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)
    order = served.labeling.indices
    wait_until(lambda: shown(page), order)
    columns = page.evaluate("new Set([...document.querySelectorAll('.tile')].map((tile) => tile.style.left)).size")

    def focused() -> int:
        return order.index(int(page.get_attribute("#tiles", "aria-activedescendant").removeprefix("tile-")))

    for key, place in [
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("ArrowLeft", 0),
        ("End", 39),
        ("ArrowRight", 39),
        ("Home", 0),
    ]:
        page.keyboard.press(key)
        wait_until(lambda key=key: (key, focused()), (key, place))
    page.keyboard.press("PageDown")
    wait_until(lambda: focused() >= columns)
    page.keyboard.press("PageUp")
    wait_until(focused, 0)
    assert not chosen(page)

    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    wait_until(lambda: chosen(page), sorted([order[0], *order[2:5]]))
    page.keyboard.press("Space")
    wait_until(lambda: chosen(page), sorted([order[0], *order[2:4]]))
    page.keyboard.press("Escape")
    wait_until(lambda: chosen(page), [])
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    wait_until(lambda: len(chosen(page)), 40)
    page.keyboard.press("Escape")
    # Without a selection, a key labels the image in focus, and the focus goes on.
    page.keyboard.press("Home")
    page.keyboard.press("1")
    page.keyboard.press("2")
    wait_for_message(page, "38 images")
    page.keyboard.press("Backspace")
    wait_for_message(page, "39 images")
    page.keyboard.press("s")
    wait_until_saved(page)
    assert served.saved == {order[0]: served.labeling.vocabulary.names[0], order[1]: "skipped"}
    # Single keys can be switched off; the mouse and the others still work.
    page.locator("#single").uncheck()
    page.locator("#tiles").focus()
    page.keyboard.press("1")
    page.keyboard.press("g")
    page.keyboard.press(".")
    page.keyboard.press("Control+z")
    wait_until_saved(page)
    wait_until(lambda: len(served.saved), 1)
    expect(page.locator("#grid")).to_be_visible()


def test_the_mouse_selects(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)
    order = shown(page)
    page.click(TILE.format(order[1]))
    page.click(TILE.format(order[4]))
    page.click(TILE.format(order[6]), modifiers=["Shift"])
    wait_until(lambda: chosen(page), sorted([order[1], *order[4:7]]))
    page.click(TILE.format(order[1]))
    wait_until(lambda: chosen(page), sorted(order[4:7]))
    page.click("#grid-clear")
    wait_until(lambda: chosen(page), [])

    # A rectangle from the middle of one tile to the middle of another.
    boxes = [page.locator(TILE.format(order[place])).bounding_box() for place in (1, 3)]
    below = page.evaluate("new Set([...document.querySelectorAll('.tile')].map((tile) => tile.style.left)).size")
    boxes.append(page.locator(TILE.format(order[3 + below])).bounding_box())
    page.mouse.move(boxes[0]["x"] + 30, boxes[0]["y"] + 30)
    page.mouse.down()
    page.mouse.move(boxes[2]["x"] + 30, boxes[2]["y"] + 30, steps=4)
    expect(page.locator("#grid-band")).to_be_visible()
    page.mouse.up()
    inside = [*order[1:4], *order[1 + below : 4 + below]]
    wait_until(lambda: chosen(page), sorted(inside))
    expect(page.locator("#grid-band")).to_be_hidden()
    page.locator("#classes button").first.click()
    wait_for_message(page, "34 images")
    wait_until_saved(page)
    assert served.saved == dict.fromkeys(inside, served.labeling.vocabulary.names[0])

    # A whole group by its button.
    page.select_option("[name=group]", "predicted")
    button = page.locator(".grid-heading button").first
    expect(button).to_have_text("Select")
    name = page.locator(".grid-heading h3").first.inner_text()
    group = sorted(index for index, each in served.predicted.items() if each == name and index not in served.saved)
    button.click()
    wait_until(lambda: chosen(page), group)
    expect(button).to_have_text("Clear")
    button.click()
    wait_until(lambda: chosen(page), [])


def test_filters_and_orders(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)
    confidence = {index: served.labeling.suggestion_of(index).confidence for index in served.labeling.indices}
    for sort, expected in [
        ("low", sorted(confidence, key=lambda index: round(confidence[index], 4))),
        ("high", sorted(confidence, key=lambda index: -round(confidence[index], 4))),
        ("path", sorted(confidence, key=served.labeling.path_of)),
        ("predicted", sorted(confidence, key=lambda index: served.predicted[index])),
        ("order", served.labeling.indices),
    ]:
        page.select_option("[name=sort]", sort)
        wait_until(lambda sort=sort: (sort, shown(page)), (sort, expected))

    name = served.predicted[served.labeling.indices[0]]
    page.select_option("[name=name]", name)
    predicted = sorted(index for index, each in served.predicted.items() if each == name)
    wait_until(lambda: sorted(shown(page)), predicted)
    page.select_option("[name=name]", "")
    page.fill("[name=low]", "60")
    page.fill("[name=high]", "90")
    between = sorted(index for index, each in confidence.items() if 0.6 <= each <= 0.9)
    wait_until(lambda: sorted(shown(page)), between)
    expect(page.locator("#grid-filters")).to_have_text("Filters (1)")
    page.fill("[name=low]", "")
    page.fill("[name=high]", "")
    page.fill("[name=path]", "DAY1")
    here = [index for index in served.labeling.indices if "day1" in served.labeling.path_of(index)]
    wait_until(lambda: shown(page), here)
    # What a filter hides is not selected, and not labeled.
    page.locator("#tiles").focus()
    page.keyboard.press("Control+a")
    page.fill("[name=path]", served.labeling.path_of(here[0]))
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    wait_until_saved(page)
    assert served.saved == {here[0]: served.labeling.vocabulary.names[0]}
    page.fill("[name=path]", "")
    for show, count in [("labeled", 1), ("skipped", 0), ("all", 40), ("open", 39)]:
        page.select_option("[name=show]", show)
        expect(page.locator(".tile")).to_have_count(count)
    expect(page.locator("#grid-empty")).to_be_hidden()


def test_groups_similar_images_and_labels_outside_the_batch(served: Served, opened: Opening) -> None:
    page = opened()
    for group in ("cluster", "near"):
        page.select_option("[name=group]", group)
        page.locator(
            ".grid-heading h3", has_text="luster 1" if group == "cluster" else "ear-duplicate"
        ).first.wait_for()
    everything(page)
    page.select_option("[name=sort]", "similar")
    images = RunImages(Common(run=Path("runs/photos"), quiet=True).start("dataset"))
    places = images.similarity_places(np.array(served.labeling.indices), compute=True)
    expected = np.array(served.labeling.indices)[np.argsort(places)].tolist()
    wait_until(lambda: shown(page), expected)
    page.select_option("[name=sort]", "order")
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press(".")
    wait_for_message(page, "40 images, most similar to")
    first = served.labeling.indices[0]
    nearest, _ = images.similar(first, 39, np.array(served.labeling.indices))
    wait_until(lambda: shown(page), [first, *nearest])
    page.keyboard.press("Escape")
    wait_until(lambda: shown(page), served.labeling.indices)
    page.select_option("[name=scope]", "all")
    wait_for_message(page, "90 images")
    outside = next(index for index in shown(page) if index not in served.labeling.indices)
    page.click(TILE.format(outside))
    page.keyboard.press("2")
    wait_for_message(page, "89 images")
    wait_until_saved(page)
    with served.labeling.file.open(newline="") as stream:
        origins = {int(row["index"]): row["origin"] for row in csv.DictReader(stream)}
    assert served.saved == {outside: served.labeling.vocabulary.names[1]} and origins[outside] == "own choice"
    expect(page.locator("#left")).to_have_text(re.compile("^0 labeled"))
    page.keyboard.press("Control+z")
    wait_for_message(page, "90 images")
    wait_until_saved(page)
    assert served.saved == {}


def test_one_image_is_opened_enlarged_and_labeled(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)
    order = shown(page)
    page.dblclick(TILE.format(order[2]))
    page.locator("#viewer[open]").wait_for()
    image, frame = page.locator("#viewer img"), page.locator("#viewer .frame")
    expect(image).to_have_attribute("src", f"image/{order[2]}")
    page.keyboard.press("+")
    expect(frame).to_have_attribute("data-scale", "1.25")
    page.keyboard.press("ArrowLeft")
    expect(image).to_have_attribute("src", f"image/{order[1]}")
    expect(frame).to_have_attribute("data-scale", "1.00")
    page.keyboard.press("2")
    expect(image).to_have_attribute("src", f"image/{order[2]}")
    page.keyboard.press("Escape")
    page.locator("#viewer[open]").wait_for(state="detached")
    expect(page.locator("#tiles")).to_be_focused()
    assert not chosen(page)
    page.keyboard.press("+")
    page.locator("#viewer[open]").wait_for()
    page.click("#viewer-close")
    wait_until_saved(page)
    assert served.saved == {order[1]: served.labeling.vocabulary.names[1]}


def test_audit_images_and_a_page_without_suggestions_show_no_prediction(served: Served, opened: Opening) -> None:
    audit = [*served.predicted][:3]
    served.labeling.audit |= {*audit}
    page = opened()
    page.keyboard.press("End")
    page.locator(".grid-heading", has_text="No prediction").get_by_role("button").click()
    wait_for_message(page, "40 images, 3 selected")
    expect(page.locator("#grid-accept")).to_be_hidden()
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    wait_for_message(page, "37 images")
    wait_until_saved(page)
    assert served.saved == dict.fromkeys(sorted(audit), served.labeling.vocabulary.names[0])
    with served.labeling.file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["index"]) in audit]
    assert {(row["origin"], row["suggested"], row["confidence"]) for row in rows} == {("audit", "", "")}
    page.locator("#suggestions").uncheck()
    expect(page.locator(".tile").first).to_have_attribute("aria-label", re.compile("not labeled$"))
    expect(page.locator(".tile[aria-label*=predicted]")).to_have_count(0)
    expect(page.locator(".grid-heading")).to_have_count(0)


def test_a_phone(served: Served, opened: Opening) -> None:
    page = opened(NARROW, "dark", has_touch=True, is_mobile=True)
    for tile in (0, 1):
        page.locator(".tile").nth(tile).tap()
    wait_for_message(page, "40 images, 2 selected")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    indices = chosen(page)
    page.locator("#classes button").nth(1).tap()
    wait_for_message(page, "38 images")
    wait_until_saved(page)
    assert served.saved == dict.fromkeys(indices, served.labeling.vocabulary.names[1])
    page.locator("#undo").tap()
    wait_for_message(page, "40 images")
    page.locator("#grid-toggle").tap()
    page.locator("#image").wait_for()


def test_names_for_screen_readers_and_hostile_names(served: Served, opened: Opening) -> None:
    page = opened()
    page.select_option("[name=scope]", "all")
    page.select_option("[name=show]", "all")
    wait_for_message(page, "120 images")
    everything_else = page.locator("#grid :is(button, select, input):visible")
    unnamed = everything_else.evaluate_all(
        "all => all.filter((one) => !(one.ariaLabel || one.labels?.length || one.innerText))"
    )
    assert unnamed == []
    page.select_option("[name=group]", "none")
    first = next(index for index in served.labeling.indices if served.labeling.path_of(index))
    page.locator("#grid-controls summary").click()
    page.fill("[name=path]", served.labeling.path_of(first))
    page.get_by_role("option", name=f"{served.labeling.path_of(first)}, not labeled, predicted").wait_for()
    expect(page.get_by_role("listbox", name="Images")).to_have_count(1)
    page.fill("[name=path]", "<img")
    wait_for_message(page, "1 image")
    page.click(".tile")
    page.keyboard.press("+")
    expect(page.locator("#viewer-caption")).to_contain_text(HOSTILE[0])
    page.keyboard.press("Escape")
    page.locator("#viewer[open]").wait_for(state="detached")
    expect(page.locator("#tiles")).to_be_focused()
    page.keyboard.press(".")
    wait_for_message(page, HOSTILE[0])
    assert page.title().endswith("labeling")


def test_what_another_program_writes_is_shown(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)
    order = shown(page)
    page.keyboard.press("1")
    wait_until_saved(page)
    text = served.labeling.file.read_text()
    row = next(line for line in text.splitlines() if f",{order[5]}," in line)
    fields = next(csv.reader([row]))
    line = ["", str(order[5]), fields[2], served.labeling.vocabulary.names[1], "0"]
    with served.labeling.file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["order", "index", "path", "label", "skipped"], line])
    page.keyboard.press("2")
    page.locator(TILE.format(order[5])).wait_for(state="detached")
    wait_until_saved(page)
    assert served.saved[order[5]] == served.labeling.vocabulary.names[1]


def test_a_label_given_while_images_are_read_stays(served: Served, opened: Opening) -> None:
    page = opened()
    everything(page)

    def late(route: Any) -> None:
        answer = route.fetch()
        page.locator("#tiles").focus()
        page.keyboard.press("1")
        wait_until_saved(page)
        route.fulfill(response=answer)

    page.route("**/rows", late, times=1)
    page.select_option("[name=scope]", "all")
    wait_for_message(page, "89 images")
    assert served.saved == {served.labeling.indices[0]: served.labeling.vocabulary.names[0]}


def test_of_50_000_images_only_the_visible_ones_are_elements(opened: Opening) -> None:
    page = opened()

    # More rows than the run has.
    def many(route: Any) -> None:
        count = 50_000
        route.fulfill(
            json={
                "index": list(range(count)),
                "path": [f"day{i % 7}/{i:05}.png" for i in range(count)],
                "label": [""] * count,
                "skipped": [False] * count,
                "predicted": [["zero", "one"][i % 2] for i in range(count)],
                "confidence": [i % 100 / 100 for i in range(count)],
                "cluster": [None] * count,
                "group": [None] * count,
                "similar": [None] * count,
            }
        )

    page.route("**/rows", many)
    page.route("**/small/*", lambda route: route.fulfill(body=b"", content_type="image/png"))
    page.select_option("[name=scope]", "all")
    wait_for_message(page, "50,000 images")
    most = page.evaluate(
        """async () => {
          const scroller = document.querySelector("#grid-scroll");
          let most = 0;
          const step = scroller.scrollHeight / 40;
          for (let top = 0; top <= scroller.scrollHeight; top += step) {
            scroller.scrollTop = top;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const box = scroller.getBoundingClientRect();
            const tiles = [...document.querySelectorAll(".tile")].map((tile) => tile.getBoundingClientRect());
            if (!tiles.some((tile) => tile.bottom > box.top && tile.top < box.bottom)) return -1;
            most = Math.max(most, tiles.length);
          }
          return most;
        }"""
    )
    assert 0 < most < 200
    page.locator("#tiles").focus()
    page.keyboard.press("End")
    last = page.locator(".tile.focused")
    expect(last).to_have_attribute("aria-posinset", "50000")
    expect(last).to_have_attribute("aria-setsize", "50000")
    page.keyboard.press("Control+a")
    wait_for_message(page, "50,000 images, 25,000 selected")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    wait_for_message(page, "50,000 images, 50,000 selected")
    wait_until(lambda: page.locator(".tile").count() < 200)
