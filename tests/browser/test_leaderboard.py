"""The leaderboard of a suite in a real browser: sorted by a click or a key, whole at any width, in both themes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_bench_statistics import made
from visits import NARROW, WIDE, Visiting

from initpools_cli.bench.report import leaderboard
from initpools_cli.bench.table import typed
from initpools_cli.figures.page import page_html

pytestmark = pytest.mark.browser
NAME = "<b onclick=window.hacked=1>mine"


@pytest.fixture(scope="session")
def board(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = made(np.random.default_rng(0), ["random", NAME, "other"], lost=0.0)
    lost = table[table["strategy"] == "other"].head(3).assign(status="not run", error="too slow", seed=99)
    page = tmp_path_factory.mktemp("board") / "board.html"
    page.write_text(page_html(leaderboard(typed(pd.concat([table, lost]))), "Leaderboard", {"table": "a table"}))
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_at_any_width(board: Path, visit: Visiting, theme: str) -> None:
    for width in (WIDE, NARROW):
        seen = visit(board, width=width, theme=theme)
        assert not seen.overflows()
        assert seen.page.locator("table.sortable").count() >= 4
        assert seen.page.evaluate("window.hacked") is None


def test_a_heading_sorts_by_click_and_by_key(board: Path, visit: Visiting) -> None:
    seen = visit(board)
    table = seen.page.locator("table.sortable").first
    heading = table.locator("th button", has_text="regret")

    def column() -> list[float]:
        return [float(text) for text in table.locator("tbody tr td:nth-child(8)").all_text_contents()]

    heading.click()
    falling = column()
    assert falling == sorted(falling, reverse=True) and len(set(falling)) > 1
    heading.press("Enter")
    assert column() == falling[::-1]
    assert table.locator("th[aria-sort]").count() == 1
    table.locator("th button", has_text="strategy").click()
    names = table.locator("tbody tr td:first-child").all_text_contents()
    assert names == sorted(names, key=str.lower) and NAME in names
    # The baseline has no interval: it stays at the end either way.
    for _ in range(2):
        table.locator("th button", has_text="95 % low").click()
        assert table.locator("tbody tr").last.locator("td").first.text_content() == "random"
