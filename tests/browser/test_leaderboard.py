"""The leaderboard of a suite in a real browser: sorted by a click or a key, whole at any width, in both themes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_bench_statistics import random_table
from visits import NARROW, WIDE, Visiting, expect, wait_until

from initpools_cli.bench.report import leaderboard
from initpools_cli.bench.table import typed
from initpools_cli.figures.page import page_html

pytestmark = pytest.mark.browser
NAME = "<b onclick=window.hacked=1>mine"


@pytest.fixture(scope="session")
def board(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = random_table(np.random.default_rng(0), ["random", NAME, "other"], lost=0.0)
    lost = table[table["strategy"] == "other"].head(3).assign(status="not run", error="too slow", seed=99)
    page = tmp_path_factory.mktemp("board") / "board.html"
    page.write_text(page_html(leaderboard(typed(pd.concat([table, lost]))), "Leaderboard", {"table": "a table"}))
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_at_any_width(board: Path, visit: Visiting, theme: str) -> None:
    for width in (WIDE, NARROW):
        seen = visit(board, width=width, theme=theme)
        wait_until(seen.overflows, False)
        assert seen.page.locator("table.sortable").count() >= 4
        assert seen.page.evaluate("window.hacked") is None


def test_a_heading_sorts_by_click_and_by_key(board: Path, visit: Visiting) -> None:
    seen = visit(board)
    table = seen.page.locator("table.sortable").first
    heading = table.locator("th button", has_text="regret")

    def column() -> list[float]:
        return [float(text) for text in table.locator("tbody tr td:nth-child(8)").all_text_contents()]

    rising = sorted(column())
    assert len(set(rising)) > 1
    heading.click()
    wait_until(column, rising[::-1])
    heading.press("Enter")
    wait_until(column, rising)
    expect(table.locator("th[aria-sort]")).to_have_count(1)
    names = table.locator("tbody tr td:first-child")
    by_name = sorted(names.all_text_contents(), key=str.lower)
    assert NAME in by_name
    table.locator("th button", has_text="strategy").click()
    wait_until(names.all_text_contents, by_name)
    # The baseline has no interval: it stays at the end either way.
    for _ in range(2):
        table.locator("th button", has_text="95 % low").click()
        expect(table.locator("tbody tr").last.locator("td").first).to_have_text("random")
