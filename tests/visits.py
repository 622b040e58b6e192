"""A real browser for tests marked `browser`: what a page runs into, asks for and shows."""

from __future__ import annotations

import contextlib
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from initpools_cli.cli.labeler.server import Server
from initpools_cli.cli.labeler.state import LabelingState
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.session import LabelingSession
from initpools_cli.steps.context import Context

WIDE, NARROW = 1280, 400
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Where a page may take anything from: itself.
OWN = ("file:", "data:", "blob:")
#: Milliseconds after which an action or an assertion on a page fails.
TIMEOUT = 30_000


@dataclass
class Visit:
    """A page that is open, and everything wrong that has happened on it."""

    page: Any
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Keep errors, dialogs, and requests to anywhere else."""
        page = self.page
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda message: message.type == "error" and self.problems.append(f"console: {message.text}"))
        page.on(
            "request", lambda request: request.url.startswith(OWN) or self.problems.append(f"request: {request.url}")
        )
        page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def figures(self) -> list[Any]:
        """Every figure of the page, scrolled to and drawn."""
        plots = self.page.locator(".plot").all()
        for figure in plots:
            figure.scroll_into_view_if_needed()
            self.drawn(figure)
        return plots

    def drawn(self, figure: Any) -> None:
        """Wait until a figure is drawn."""
        self.page.locator(f"#{figure.get_attribute('id')}[data-drawn]").wait_for()

    def colors(self, figure: Any) -> int:
        """How many different colors a figure's picture has."""
        from PIL import Image

        shown = Image.open(io.BytesIO(figure.screenshot())).convert("RGB")
        return len(shown.getcolors(maxcolors=1 << 24))

    def overflows(self) -> bool:
        """Whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))

    def point(self, figure: Any, trace: int, number: int) -> None:
        """Move the pointer to a point of a trace, once what was under it before is gone."""
        place = figure.evaluate(
            """(plot, [trace, number]) => {
              const { x, y, xaxis, yaxis } = plot._fullData[trace];
              const [across, down] = [xaxis || "x", yaxis || "y"].map((name) =>
                plot._fullLayout[name[0] + "axis" + name.slice(1)]);
              const box = plot.getBoundingClientRect();
              return [box.x + across._offset + across.c2p(across.d2c(x[number])),
                      box.y + down._offset + down.c2p(down.d2c(y[number]))];
            }""",
            [trace, number],
        )
        self.page.mouse.move(place[0] - 200, place[1] - 200)
        self.page.mouse.move(*place, steps=3)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one, the test is skipped and says why."""
    reason = "Playwright is not installed: pip install 'initpools[browser]'"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    sync_api.expect.set_options(timeout=TIMEOUT)
    with sync_api.sync_playwright() as driver:
        path = next((program for name in NAMES if (program := shutil.which(name))), None)
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("No Chrome or Chromium is found: install one, or run `playwright install chromium`")
        # As root, which continuous integration often is, Chromium starts only without its sandbox.
        try:
            launched = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except sync_api.Error as error:
            pytest.skip(f"Chromium does not start: {error.message.splitlines()[0]}")
        yield launched
        launched.close()


@contextlib.contextmanager
def serving(labeling: LabelingSession, context: Context) -> Iterator[str]:
    """Serve the labeling page in a thread; yields its address."""
    facts = {"dataset": "photos", "next": "initpools al-run", "again": "initpools label"}
    server = Server(LabelingState(labeling, facts, RunImages(context), context.run), "secret", 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.address
    server.shutdown()
    server.server_close()


def open_context(browser: Any, *, width: int = WIDE, height: int = 800, theme: str = "light", **how: Any) -> Any:
    """Open a browser context of a given size and theme, with the time limit `TIMEOUT`."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **how)
    context.set_default_timeout(TIMEOUT)
    return context


def wait_until_saved(page: Any) -> None:
    """Wait until the labeling page says that every label is saved."""
    page.locator("#saved:not(.waiting)", has_text="saved").wait_for()


def wait_until(read: Callable[[], Any], expected: Any = True) -> None:
    """Call `read` until it returns the expected value; fail if it does not within `TIMEOUT`."""
    end = time.monotonic() + TIMEOUT / 1000
    while (value := read()) != expected and time.monotonic() < end:
        time.sleep(0.02)
    assert value == expected


def expect(locator: Any) -> Any:
    """Return Playwright's assertions on a locator, which are repeated until they hold or `TIMEOUT` has passed."""
    from playwright import sync_api

    return sync_api.expect(locator)


Visiting = Callable[..., Visit]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visiting]:
    """Open an address or a file: ``visit(path, width=400, theme="dark")``; fails at the end for any problem there."""
    contexts, visits = [], []

    def opened(where: str | Path, *, width: int = WIDE, theme: str = "light", touch: bool = False) -> Visit:
        context = open_context(browser, width=width, height=900, theme=theme, has_touch=touch, is_mobile=touch)
        contexts.append(context)
        seen = Visit(context.new_page())
        visits.append(seen)
        seen.watch()
        seen.page.goto(Path(where).resolve().as_uri() if isinstance(where, Path) else where)
        return seen

    yield opened
    for context in contexts:
        context.close()
    assert [problem for seen in visits for problem in seen.problems] == []
