"""The labeling page in a real browser, where images can have several labels: keys switch classes on and off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_labeling import Opens, Served, at, opens
from visits import expect, serving, wait_until, wait_until_saved

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.options import Common
from initpools_cli.labeling.last_round import LastRound, Suggestion
from initpools_cli.labeling.page import open_labeling

__all__ = ["opens"]

pytestmark = pytest.mark.browser


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A batch of a run with several labels per image; the last image is predicted to be a cat and a dog."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for name in range(4):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(f"photos/{name}.png")
    several = ["--set", "dataset.multilabel=true"]
    command = ["select-pool", "random", "-n", "4", "--dataset", "photos", *several, "--threads", "1", "--quiet"]
    assert run_command_line(command) == 0
    context = Common(run=Path("runs/photos"), quiet=True).start("dataset")
    labeling = open_labeling(context, None, ["cat", "dog", "horse"], None)
    labeling.last = LastRound(1, suggestions={labeling.indices[3]: Suggestion("cat|dog", 0.7)})
    with serving(labeling, context) as address:
        yield Served(labeling, address)


def test_classes_are_switched_on_and_off(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    pressed = page.locator("#classes button[aria-pressed=true]")
    expect(page.locator("#grid-toggle")).to_be_hidden()
    expect(page.locator("#change")).to_be_hidden()
    for key, count in (("3", 1), ("1", 2), ("3", 1), ("2", 2)):
        page.keyboard.press(key)
        expect(pressed).to_have_count(count)
    # The image stays until Enter.
    wait_until_saved(page)
    expect(page.locator("#place")).to_have_text("1 of 4")
    expect(page.locator("#mark")).to_have_text("cat|dog")
    page.keyboard.press("Enter")
    at(page, 2)
    page.keyboard.press("2")
    page.keyboard.press("0")
    expect(pressed).to_have_count(0)
    expect(page.locator("#none-of")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    at(page, 3)
    page.get_by_role("button", name="horse").click()
    expect(pressed).to_have_count(1)
    page.keyboard.press("3")
    wait_until_saved(page)
    expect(pressed).to_have_count(0)
    expect(page.locator("#mark")).to_have_text("")
    page.keyboard.press("n")
    page.fill("#new-name", "bird")
    page.click("#add")
    expect(page.locator("#mark")).to_have_text("bird")
    page.keyboard.press("ArrowRight")
    at(page, 4)
    expect(page.locator("#classes button[data-suggested]")).to_have_count(2)
    page.keyboard.press("Enter")
    page.locator("#done").wait_for()
    wait_until_saved(page)
    assert served.saved == ["cat|dog", "none", "bird", "cat|dog"]
    page.keyboard.press("u")
    wait_until(lambda: served.saved, ["cat|dog", "none", "bird", ""])
