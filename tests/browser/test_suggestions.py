"""Suggestions, changes of classes, conflicts and copies on the labeling page in a real browser."""

from __future__ import annotations

import csv
import re

import pytest
from test_labeling import Opens, Served, at, opens, served
from visits import expect, wait_until_saved

from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.last_round import LastRound, Suggestion

__all__ = ["opens", "served"]

pytestmark = pytest.mark.browser


@pytest.fixture
def suggesting(served: Served) -> Served:
    """A batch whose images are predicted to be dogs; the second one is of the audit sample."""
    labeling = served.labeling
    labeling.last = LastRound(1, suggestions={index: Suggestion("dog", 0.914) for index in labeling.indices})
    labeling.audit = frozenset(labeling.indices[1:2])
    return served


def rows(served: Served) -> list[dict[str, str]]:
    with served.labeling.file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (400, "dark")])
def test_enter_accepts_what_is_suggested(suggesting: Served, opens: Opens, width: int, theme: str) -> None:
    page = opens(width, theme)
    at(page, 1)
    button = page.get_by_role("button", name="Accept the suggestion: dog, 91 percent confident")
    expect(button).to_be_visible()
    expect(page.locator("#confidence")).to_have_text("91 %")
    expect(page.locator("#classes button[data-suggested]")).to_have_text(re.compile(r"\bdog$"), use_inner_text=True)
    page.keyboard.press("Enter")
    at(page, 2)
    # The audit image has none, and the buttons stay where they are.
    expect(button).to_be_hidden()
    expect(page.locator("#no-suggestion")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    at(page, 3)
    page.locator("#suggestions").uncheck()
    expect(page.locator("#suggestion")).to_be_hidden()
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    at(page, 4)
    # The image changes before the label is saved.
    wait_until_saved(page)
    page.reload()
    at(page, 4)
    expect(page.locator("#suggestions")).not_to_be_checked()
    page.locator("#suggestions").check()
    button.click()
    page.locator("#done").wait_for()
    wait_until_saved(page)
    assert suggesting.saved == ["dog", "cat", "dog", "dog"]
    records = rows(suggesting)
    assert [row["suggested"] for row in records] == ["dog", "", "", "dog"]
    assert [row["origin"] for row in records] == ["batch", "audit", "batch", "batch"]
    assert all(float(row["seconds"]) >= 0 for row in records)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_conflicts_show_both_labels_and_one_is_chosen(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.keyboard.press("1")
    at(page, 2)
    wait_until_saved(page)
    text = served.labeling.file.read_text()
    served.labeling.file.write_text(text.replace(",cat,0", ",dog,0"))
    page.keyboard.press("1")
    # The page is loaded anew, and its buttons with it.
    page.locator("#trouble", has_text="its labels were loaded").wait_for()
    expect(page.locator("#conflicts li")).to_contain_text("yours “cat”, theirs “dog”")
    assert page.title() == "random-b4-s0 · labeling"
    page.get_by_role("button", name="Use yours").click()
    page.locator("#conflicts").wait_for(state="hidden")
    wait_until_saved(page)
    assert served.saved[:2] == ["cat", "cat"]


def test_classes_are_changed_in_a_dialog(served: Served, opens: Opens) -> None:
    page = opens()
    at(page, 1)
    page.keyboard.press("1")
    at(page, 2)
    page.keyboard.press("?")
    at(page, 3)
    # Classes are changed only once every label is saved.
    wait_until_saved(page)
    page.click("#change")
    page.locator("[name=to]").fill("dog")
    page.locator("[name=from]").select_option("cat")
    page.click("#changing [type=submit]")
    page.locator("#changing [role=alert]", has_text="There is a class 'dog' already").wait_for()
    page.locator("[name=to]").fill("<i>feline</i>")
    page.click("#changing [type=submit]")
    page.locator("#changing").wait_for(state="hidden")
    expect(page.locator("#classes")).to_contain_text("<i>feline</i>")
    assert served.saved[0] == "<i>feline</i>"
    page.click("#change")
    page.locator("[name=do]").select_option("split")
    page.locator("[name=from]").select_option("<i>feline</i>")
    page.locator("[name=to]").fill("cat\nlynx")
    page.click("#changing [type=submit]")
    page.locator("#changing").wait_for(state="hidden")
    assert served.saved == ["", "skipped", "", ""]
    page.keyboard.press("Home")
    at(page, 1)
    expect(page.locator("#before")).to_contain_text("was “<i>feline</i>”, which was split")


def test_a_second_look_keeps_labels_by_enter_and_counts_them(served: Served, opens: Opens) -> None:
    labeling = served.labeling
    for index in labeling.indices:
        labeling.marks[index] = Mark("cat")
        labeling.doubts[index] = f"The model finds dog {index + 2} times as likely as cat."
    page = opens()
    at(page, 1)
    expect(page.locator("#done")).to_be_hidden()
    expect(page.locator("#left")).to_have_text("0 checked, 4 left")
    expect(page.locator("#before")).to_have_text(labeling.doubts[labeling.indices[0]])
    page.keyboard.press("Enter")
    at(page, 2)
    page.keyboard.press("2")
    at(page, 3)
    wait_until_saved(page)
    assert served.saved == ["cat", "dog", "cat", "cat"]
    expect(page.locator("#left")).to_have_text("2 checked, 2 left")
    page.keyboard.press("u")
    at(page, 2)
    wait_until_saved(page)
    expect(page.locator("#left")).to_have_text("1 checked, 3 left")
    page.reload()
    at(page, 2)
    page.keyboard.press("g")
    page.locator("#grid-said", has_text="4 images").wait_for()
    page.keyboard.press("g")
    for place in (2, 3, 4):
        at(page, place)
        page.keyboard.press("s" if place == 4 else "Enter")
    page.locator("#done").wait_for()
    wait_until_saved(page)
    expect(page.locator("#done-title")).to_have_text("All labels checked")
    expect(page.locator("#left")).to_have_text("3 checked, 1 skipped, 0 left")
    assert served.saved == ["cat", "cat", "cat", "skipped"]
