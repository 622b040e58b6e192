"""A drawn figure or section as one HTML page that needs no network and no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from initpools_cli.core.types import Figure
from initpools_cli.figures.escape import plain
from initpools_cli.figures.html import asset, environment
from initpools_cli.figures.section import Section
from initpools_cli.figures.theme import FONT, PAGES, PageTheme, template, theme_colors

# The browser itself refuses any request; Plotly's WebGL compiles functions from text, hence unsafe-eval.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
THEMES = {"auto": "as the system", "light": "light", "dark": "dark"}
#: Height of a figure that sets none, in pixels.
HEIGHT = 450


def page_html(drawn: Figure | Section, title: str, provenance: Mapping[str, str], theme: PageTheme = "auto") -> str:
    """One HTML page with what is drawn, a description in words, and its provenance.

    Figures are drawn when they are scrolled near, in the theme that the reader chooses. The same arguments give the
    same bytes.

    Parameters
    ----------
    drawn : Figure or Section
        A figure's title and subtitle become text of the page, which wraps.
    title : str
        Of the page; any characters.
    provenance : mapping of str to str
        Rows of the table of provenance, e.g. the run, the command, the version; empty for none.
    theme : str
        "light", "dark" or "auto" (that of the reader's system): what the page opens in.

    Returns
    -------
    str
        With a figure, 5 MB more than its data, because Plotly's library is in it, once.
    """
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            theme=theme,
            themes=THEMES,
            policy=POLICY,
            pages={name: vars(page) for name, page in PAGES.items()},
            font=FONT,
            drawn=_piece(drawn, title, 2, count(1)),
            provenance=provenance,
            looks={name: {"colors": theme_colors(name), "template": template(name)} for name in PAGES},
            plotted=any(_figures(drawn)),
            scripts=[*_scripts(list(_figures(drawn))), *(asset(name) for name in _assets(drawn))],
        )
    )


def _figures(drawn: Figure | Section) -> Iterator[Figure]:
    if not isinstance(drawn, Section):
        yield drawn
        return
    for part in drawn.parts:
        yield from _figures(part)


def _assets(drawn: Figure | Section) -> list[str]:
    """List the further scripts of a page, each once."""
    if not isinstance(drawn, Section):
        return []
    return list(dict.fromkeys([*drawn.scripts, *(name for part in drawn.parts for name in _assets(part))]))


def _piece(drawn: Figure | Section, title: str, level: int, numbers: Iterator[int]) -> dict[str, Any]:
    """The values of the template for a figure, or for a section with its parts."""
    if not isinstance(drawn, Section):
        return _figure(drawn, title, level, next(numbers))
    heading = _heading(drawn.heading, title)
    below = min(level + bool(heading), 6)
    return {
        "heading": heading,
        "level": level,
        "subtitle": drawn.subtitle,
        "body": drawn.body,
        "words": drawn.words,
        "anchor": drawn.anchor,
        "parts": [_piece(part, title, below, numbers) for part in drawn.parts],
    }


def _figure(figure: Figure, title: str, level: int, number: int) -> dict[str, Any]:
    """A figure's texts and its data; the script of the page draws it."""
    data = json.loads(figure.to_json(engine="json"))
    layout = data["layout"]
    shown = layout.pop("title", {})
    heading = plain(shown.get("text") or "")
    layout.pop("template", None)
    meta = layout.setdefault("meta", {})
    words = meta.pop("description", []) or [heading or title]
    thumbnails = meta.pop("thumbnails", None)
    heights = {name: meta.get(name, {}).get("height") or layout.get("height") or HEIGHT for name in ("wide", "narrow")}
    return {
        "name": f"figure-{number}",
        "heading": _heading(heading, title),
        "label": heading or title,
        "level": level,
        "subtitle": plain(shown.get("subtitle", {}).get("text") or ""),
        "heights": heights,
        "words": words,
        "data": {"data": data["data"], "layout": layout},
        "thumbnails": thumbnails,
        "parts": [],
    }


def _heading(heading: str, title: str) -> str:
    """A heading that says no more than the title is left out."""
    return heading if heading != title else ""


def _scripts(figures: list[Figure]) -> list[str]:
    """Plotly's library, where anything is drawn with it, and the page's own scripts."""
    scripts: list[str] = [asset("page.js")]
    if any("thumbnails" in (figure.layout.meta or {}) for figure in figures):
        scripts.insert(0, asset("hover.js"))
    if figures:
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs

        scripts.insert(0, Markup(get_plotlyjs()))  # the script of an installed package  # nosec B704
    return scripts
