"""Zoom and pan of an image on the labeling page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from visits import NARROW, WIDE, Visit, expect, open_context, serving, wait_until

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.options import Common
from initpools_cli.labeling.page import open_labeling

pytestmark = pytest.mark.browser
SHOWN = "['#image', '#frame'].map((name) => document.querySelector(name).getBoundingClientRect())"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the page for two photographs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for name in ("one.png", "two.png"):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(Path("photos") / name)
    command = ["select-pool", "random", "-n", "2", "--dataset", "photos", "--threads", "1", "--quiet"]
    assert run_command_line(command) == 0
    context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
    with serving(open_labeling(context, None, ["cat"], None), context) as address:
        yield address


def boxes(page: Any) -> list[dict[str, float]]:
    """The boxes of the image and its frame."""
    return list(page.evaluate(SHOWN))


def scale(page: Any) -> float:
    return float(page.get_attribute("#frame", "data-scale"))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_an_image_is_enlarged_and_moved(browser: Any, address: str, width: int) -> None:
    context = open_context(browser, width=width)
    seen = Visit(context.new_page())
    page = seen.page
    page.on("pageerror", lambda error: seen.problems.append(str(error)))
    page.goto(address)
    page.locator("body[data-shown]").wait_for()
    image, frame = boxes(page)
    assert scale(page) == 1 and image == frame

    # By keys: the center stays, Shift and an arrow pan, 0 shows the whole image.
    page.keyboard.press("+")
    page.keyboard.press("+")
    wait_until(lambda: scale(page), pytest.approx(1.25**2, abs=0.01))
    image, _ = boxes(page)
    assert image["x"] + image["width"] / 2 == pytest.approx(frame["x"] + frame["width"] / 2, abs=1)
    page.keyboard.press("Shift+ArrowRight")
    wait_until(lambda: boxes(page)[0]["x"], pytest.approx(image["x"] - 60, abs=1))
    expect(page.locator("#place")).to_have_text("1 of 2")
    page.keyboard.press("-")
    page.keyboard.press("0")
    wait_until(lambda: boxes(page), [frame, frame])

    # By wheel: what is below the pointer stays. By drag: never beyond the edge of the image.
    point = (frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 4)
    page.mouse.move(*point)
    page.mouse.wheel(0, -400)
    expect(page.locator("#frame")).to_have_attribute("data-scale", "2.44")
    image, _ = boxes(page)
    assert (point[0] - image["x"]) / image["width"] == pytest.approx(1 / 4, abs=0.01)
    page.mouse.down()
    page.mouse.move(point[0] + 20, point[1], steps=2)
    wait_until(lambda: boxes(page)[0]["x"], pytest.approx(image["x"] + 20, abs=1))
    page.mouse.move(point[0] + 5000, point[1], steps=2)
    page.mouse.up()
    wait_until(lambda: boxes(page)[0]["x"], pytest.approx(frame["x"], abs=1))

    # The next image is whole again.
    page.keyboard.press("ArrowRight")
    page.locator("#place", has_text="2 of 2").wait_for()
    wait_until(lambda: scale(page), 1)
    page.mouse.dblclick(*point)
    wait_until(lambda: scale(page), 4)
    page.mouse.dblclick(*point)
    wait_until(lambda: scale(page), 1)
    wait_until(seen.overflows, False)
    assert not seen.problems
    context.close()


def test_two_fingers_enlarge(browser: Any, address: str) -> None:
    context = open_context(browser, width=NARROW, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    page.locator("body[data-shown]").wait_for()
    box = boxes(page)[1]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = context.new_cdp_session(page)

    def touch(kind: str, apart: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for apart in (30, 40, 50, 60):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    wait_until(lambda: scale(page), pytest.approx(3, rel=0.2))
    context.close()
