"""The labeling page in a real browser: keys, touch, trouble, two windows, a phone."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from visits import expect, open_context, serving, wait_until, wait_until_saved

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.labeler.state import LabelingState
from initpools_cli.cli.options import Common
from initpools_cli.labeling.page import open_labeling
from initpools_cli.labeling.session import LabelingSession

pytestmark = pytest.mark.browser

NAMES = ["<script>document.title='run'</script>.png", "with 'quotes' & \".png", "%{x} \u202egnp.png", "日本語.png"]
CLASSES = ["cat", "dog", "<b>bold</b>"]


@dataclass
class Served:
    """A batch, and where it is labeled."""

    labeling: LabelingSession
    address: str

    @property
    def saved(self) -> list[str]:
        with self.labeling.file.open(newline="") as stream:
            return ["skipped" if row["skipped"] == "1" else row["label"] for row in csv.DictReader(stream)]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in NAMES:
        file = Path("photos") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(file)
    command = ["select-pool", "random", "-n", "4", "--dataset", "photos", "--threads", "1", "--quiet"]
    assert run_command_line(command) == 0
    context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
    labeling = open_labeling(context, None, CLASSES, None)
    with serving(labeling, context) as address:
        yield Served(labeling, address)


Opens = Callable[..., Any]


@pytest.fixture
def opens(browser: Any, served: Served) -> Iterator[Opens]:
    """Open the page in a window of its own; what it asks for and complains of is checked at the end."""
    contexts: list[Any] = []
    urls: list[str] = []
    complaints: list[str] = []

    def open_page(width: int = 1280, theme: str = "light", **how: Any) -> Any:
        contexts.append(open_context(browser, width=width, theme=theme, **how))
        page = contexts[-1].new_page()
        page.on("request", lambda request: urls.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # A refused or unanswered request is a message of the browser's own.
        page.on(
            "console", lambda message: complaints.append(message.text) if "Failed to load" not in message.text else None
        )
        page.goto(served.address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    outside = [url for url in urls if not url.startswith((served.address, "data:"))]
    assert not outside


def at(page: Any, place: int) -> None:
    """Wait until that image is to be seen."""
    page.locator("#place", has_text=f"{place} of 4").wait_for()
    page.locator("body[data-shown]").wait_for()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (400, "dark")])
def test_a_batch_is_labeled_by_keys(served: Served, opens: Opens, width: int, theme: str) -> None:
    page = opens(width, theme)
    at(page, 1)
    assert page.evaluate("document.querySelector('#image').naturalWidth") == 60
    expect(page.locator("#path")).to_have_text(served.labeling.paths[0])
    page.keyboard.press("2")
    at(page, 2)
    page.keyboard.press("Space")
    at(page, 3)
    page.keyboard.press("n")
    page.keyboard.type("  a   new one ")
    page.keyboard.press("Enter")
    at(page, 4)
    wait_until_saved(page)
    assert served.saved == ["dog", "skipped", "a new one", ""]
    page.keyboard.press("u")
    at(page, 3)
    page.keyboard.press("3")
    at(page, 4)
    page.keyboard.press("1")
    page.locator("#done").wait_for()
    wait_until_saved(page)
    assert served.saved == ["dog", "skipped", "<b>bold</b>", "cat"]
    expect(page.locator("#left")).to_have_text("3 labeled, 1 skipped, 0 left")
    expect(page.locator("#next-command")).to_have_text("initpools al-run")
    assert page.title() == "random-b4-s0 · labeling"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#look-again")
    at(page, 2)
    expect(page.locator("#mark")).to_have_text("skipped")


def test_a_key_right_after_undo_is_for_the_image_that_comes_back(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.keyboard.press("1")
    at(page, 2)
    wait_until_saved(page)
    # Both keys before the server can answer.
    page.evaluate(
        """() => {
          for (const key of ["u", "2"]) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
          }
        }"""
    )
    # The second key waits until the image is back, and everything is saved in between.
    wait_until(lambda: served.saved, ["dog", "", "", ""])
    at(page, 2)
    wait_until_saved(page)
    assert served.saved == ["dog", "", "", ""]


def test_a_key_right_after_a_new_class_is_for_the_next_image(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.keyboard.press("n")
    page.fill("#new-name", "bird")
    page.evaluate(
        """() => {
          document.querySelector("#add").click();
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
        }"""
    )
    at(page, 3)
    wait_until_saved(page)
    assert served.saved == ["bird", "", "", ""]


def test_a_label_given_while_the_page_is_loaded_again_stays(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.keyboard.press("1")
    at(page, 2)
    wait_until_saved(page)
    file = served.labeling.file
    file.write_text(file.read_text().replace(",cat,0", ",dog,0"))

    def late(route: Any) -> None:
        answer = route.fetch()
        at(page, 3)
        page.keyboard.press("2")
        wait_until_saved(page)
        route.fulfill(response=answer)

    page.route("**/claim", late, times=1)
    page.keyboard.press("1")
    page.locator("#trouble", has_text="its labels were loaded").wait_for()
    expect(page.locator("#left")).to_have_text("3 labeled, 1 left")
    assert served.saved == ["dog", "cat", "dog", ""]


def test_by_touch_and_by_tab(served: Served, opens: Opens) -> None:
    page = opens(400, has_touch=True, is_mobile=True)
    at(page, 1)
    page.locator("#classes button").nth(1).tap()
    at(page, 2)
    page.locator("#strip button").first.tap()
    at(page, 1)
    expect(page.locator("#mark")).to_have_text("dog")
    page.locator("#classes button").first.focus()
    page.keyboard.press("Enter")
    at(page, 2)
    # Enter and space are the button's own while it has the focus.
    page.keyboard.press("Space")
    at(page, 3)
    wait_until_saved(page)
    assert served.saved == ["cat", "cat", "", ""]
    page.reload()
    at(page, 3)
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.locator("#single").uncheck()
    page.keyboard.press("1")
    page.locator("#single").check()
    page.keyboard.press("ArrowRight")
    at(page, 4)
    wait_until_saved(page)
    assert served.saved == ["cat", "cat", "", ""]


def test_what_is_clicked_while_the_program_is_away_is_saved_later(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.locator("#trouble", has_text="1 not saved").wait_for()
    expect(page.locator("#saved")).to_contain_text("not saved yet")
    expect(page.locator("#trouble")).to_contain_text("initpools label")
    assert not served.labeling.file.exists()
    page.context.set_offline(False)
    wait_until_saved(page)
    assert served.saved[0] == "cat"
    expect(page.locator("#trouble")).to_be_hidden()


def test_one_window_at_a_time(served: Served, opens: Opens) -> None:
    first, second = opens(), None
    at(first, 1)
    second = opens()
    second.locator("#taken[open]").wait_for()
    second.click("#take")
    at(second, 1)
    first.keyboard.press("1")
    first.locator("#taken-text", has_text="Your last label is not saved").wait_for()
    assert not served.labeling.file.exists()
    first.click("#take")
    wait_until_saved(first)
    assert served.saved[0] == "cat"
    first.close()
    second.reload()
    at(second, 2)


def test_a_window_does_not_wait_for_itself(served: Served, opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    release = LabelingState.release

    def late(state: LabelingState, message: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.5)
        return release(state, message)

    monkeypatch.setattr(LabelingState, "release", late)
    page = opens()
    at(page, 1)
    page.reload()
    at(page, 1)
    expect(page.locator("#taken")).to_be_hidden()


def test_a_lost_image_can_only_be_skipped(served: Served, opens: Opens) -> None:
    (Path("photos") / served.labeling.paths[0]).unlink()
    page = opens()
    page.locator("#gone", has_text="no longer in").wait_for()
    page.keyboard.press("1")
    page.keyboard.press("s")
    at(page, 2)
    wait_until_saved(page)
    assert served.saved == ["skipped", "", "", ""]
