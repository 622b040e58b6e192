"""Screenshot for docs/commands/plot.md: parts of the report of the demo run: `python docs/report_picture.py`.

    make picture

It needs `make demo`, Playwright and a Chromium.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
REPORT, PICTURE = ROOT / "runs" / "report.html", ROOT / "docs" / "figures" / "report.png"
SHOWN = ["The chosen images", "Images in the embedding", "Accuracy against labeled images"]
#: Removes everything from the report except its summary and the sections to show.
ARRANGE = """(shown) => {
  document.querySelectorAll("section").forEach((part) => {
    const heading = part.querySelector(":scope > h1, :scope > h2, :scope > h3, :scope > h4");
    const wanted = [...part.querySelectorAll("h2, h3, h4")].some((each) => shown.includes(each.textContent));
    if (!wanted) part.remove();
    else if (!shown.includes(heading?.textContent)) heading?.remove();
  });
  const others = "nav, ol.gallery li:nth-child(n + 7), details, .scroll, .theme, section section > p:not(.subtitle)";
  document.querySelectorAll(others).forEach((part) => part.remove());
}"""


def main() -> None:
    """Take the screenshot at the maximum page width."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 1150}, color_scheme="light")
        page.goto(REPORT.resolve().as_uri())
        page.evaluate(ARRANGE, SHOWN)
        for figure in page.locator(".plot").all():
            figure.scroll_into_view_if_needed()
            page.wait_for_selector(f"#{figure.get_attribute('id')}[data-drawn]")
        # Drawing adds these elements again.
        page.evaluate('document.querySelectorAll("details").forEach((part) => part.remove())')
        screenshot = page.screenshot(full_page=True)
        browser.close()
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
