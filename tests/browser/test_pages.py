"""Every kind of plot in a real browser: drawn, whole at any width, in both themes, by keyboard, with hostile names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import process
from PIL import Image
from visits import NARROW, WIDE, Visiting, expect, wait_until

from initpools_cli.figures.registry import plots

pytestmark = pytest.mark.browser
GALLERY = Path(__file__).parents[2] / "docs" / "gallery.py"
#: As hostile as names of files and folders can be.
NAMES = (
    "<img src=x onerror=window.hacked=1>.png",
    "<script>window.hacked=1<script>.png",
    "a \"quoted\" 'name' & more.png",
    "%{meta} %{x}.png",
    "\u202egnp.exe \u200f.png",
)
CLASSES = ("<b onclick=window.hacked=1>cat", 'dog" onmouseover="window.hacked=1')


@pytest.fixture(scope="session")
def pages(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of every kind; not made where there is no browser to look at it."""
    folder = tmp_path_factory.mktemp("gallery")
    ended = subprocess.run([sys.executable, GALLERY, folder], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("kind", plots.names())
def test_every_kind_is_drawn_and_fits(pages: Path, visit: Visiting, kind: str) -> None:
    seen = visit(pages / f"{kind}.html", width=WIDE)
    for width in (WIDE, NARROW):
        seen.page.set_viewport_size({"width": width, "height": 900})
        figures = seen.figures()
        assert figures or kind == "gallery"
        for figure in figures:
            wait_until(lambda figure=figure: seen.colors(figure) > 20)
        for image in seen.page.locator("main img").all():
            assert image.evaluate("(shown) => shown.complete ? shown.naturalWidth : shown.loading === 'lazy'")
        wait_until(seen.overflows, False)


def test_a_report_opens_on_a_phone(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "report.html", width=NARROW, touch=True)
    assert seen.figures()
    wait_until(seen.overflows, False)


@pytest.mark.parametrize("kind", ["datamap", "report"])
def test_the_theme_is_the_reader_s(pages: Path, visit: Visiting, kind: str) -> None:
    seen = visit(pages / f"{kind}.html", theme="dark")
    figure = seen.page.locator(".plot").first
    figure.scroll_into_view_if_needed()
    for theme, color in (("auto", "rgb(20, 23, 28)"), ("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 28)")):
        seen.page.locator("#theme").select_option(theme)
        shown = "light" if theme == "light" else "dark"
        expect(figure).to_have_attribute("data-drawn", shown)
        expect(seen.page.locator("body")).to_have_css("background-color", color)
        wait_until(lambda: figure.locator(".main-svg").first.evaluate("(svg) => svg.style.background"), color)


def test_a_zoom_outlasts_a_change_of_theme(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "curves.html")
    (figure,) = seen.figures()
    figure.evaluate("(plot) => Plotly.relayout(plot, {'xaxis.range': [12, 18]})")
    seen.page.locator("#theme").select_option("dark")
    seen.page.wait_for_selector(".plot[data-drawn=dark]")
    wait_until(lambda: figure.evaluate("(plot) => plot._fullLayout.xaxis.range"), [12, 18])


def test_pointing_tells_the_numbers(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "curves.html")
    (figure,) = seen.figures()
    lines = "(plot) => plot._fullData.findIndex((trace) => trace.mode === 'lines+markers')"
    seen.point(figure, figure.evaluate(lines), 1)
    expect(figure.locator(".hovertext").first).to_contain_text("seeds")


@pytest.mark.parametrize("kind", ["scatter", "datamap"])
def test_pointing_shows_the_image(pages: Path, visit: Visiting, kind: str) -> None:
    seen = visit(pages / f"{kind}.html")
    (figure,) = seen.figures()
    chosen = "(plot) => plot._fullData.findLastIndex((trace) => trace.customdata)"
    seen.point(figure, figure.evaluate(chosen), 0)
    seen.page.locator(".thumb-card canvas").first.wait_for()


@pytest.mark.parametrize("kind", ["report", "scatter"])
def test_the_keyboard_reaches_everything(pages: Path, visit: Visiting, kind: str) -> None:
    seen = visit(pages / f"{kind}.html")
    reached = set()
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        reached.add(
            seen.page.evaluate("(({ tagName, className }) => `${tagName} ${className}`)(document.activeElement)")
        )
    assert {"A skip", "SELECT ", "SUMMARY "} <= reached
    assert any(name.startswith(("DIV plot", "DIV js-plotly-plot")) for name in reached)
    assert kind != "report" or {"A ", "DIV scroll"} <= reached


def test_what_is_folded_opens_by_key(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "curves.html")
    words = seen.page.locator("summary", has_text="The figure in words")
    words.focus()
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#figure-1-words li").first).to_be_visible()


def test_the_report_leads_to_its_chapters(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "report.html")
    for link in seen.page.locator("nav a").all():
        assert seen.page.locator(f"section{link.get_attribute('href')}").count() == 1
    text = seen.page.locator("main").inner_text()
    assert "comparisons with random" in text
    assert "Every step" not in text and "pretrain/simclr" in text


def test_a_printed_report_has_its_figures(pages: Path, visit: Visiting) -> None:
    seen = visit(pages / "report.html", theme="dark")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    for figure in seen.page.locator(".plot").all():
        expect(figure).to_have_attribute("data-drawn", "light")
    expect(seen.page.locator("details:not([open]) > [id$=-words]")).to_have_count(0)
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    seen.page.wait_for_selector(".plot[data-drawn=dark]")


@pytest.fixture(scope="session")
def hostile(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages about images and classes with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for each in CLASSES:
        (folder / "images" / each).mkdir(parents=True)
        for name in NAMES:
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / each / name, format="PNG")
    for words in (
        ["embed", "pixels", "--dataset", "images", "--set", "dataset.labels=folders"],
        ["select-pool", "kcenter", "--budget", "6"],
        # Scatter, gallery and histogram are all on it.
        ["plot", "report", "--output", "report.html"],
    ):
        ended = process(*words, "--quiet", cwd=folder)
        _, stderr = ended.communicate()
        assert ended.returncode == 0, stderr
    return folder / "report.html"


def test_hostile_names_are_only_names(hostile: Path, visit: Visiting) -> None:
    seen = visit(hostile)
    for figure in seen.figures():
        of_images = "(plot) => plot._fullData.flatMap((trace, i) => trace.customdata && trace.x?.length ? [i] : [])"
        for trace in figure.evaluate(of_images):
            seen.point(figure, trace, 0)
            seen.page.wait_for_timeout(100)
    for summary in seen.page.locator("summary").all():
        summary.click()
    assert seen.page.evaluate("window.hacked") is None
    assert (
        seen.page.locator("main [onerror], main [onclick], main [onmouseover], main b b, main img[src=x]").count() == 0
    )
    assert "<img src=x onerror=window.hacked=1>.png" in seen.page.locator("main").inner_text()
