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


def page_html(plot: Figure | Section, title: str, provenance: Mapping[str, str], theme: PageTheme = "auto") -> str:
    """One HTML page with a plot, its description in words, and its provenance.

    Figures are drawn when the reader scrolls near them, in the theme that the reader chooses. The same arguments give
    the same bytes.

    Parameters
    ----------
    plot : Figure or Section
        A figure's title and subtitle become text of the page, which wraps.
    title : str
        Title of the page; any characters.
    provenance : mapping of str to str
        Rows of the table of provenance, e.g. the run, the command, the version; empty for none.
    theme : str
        The theme in which the page opens: "light", "dark" or "auto" (that of the reader's system).

    Returns
    -------
    str
        With figures, 5 MB larger than their data, because it contains Plotly's library once.
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
            plot=_piece(plot, title, 2, count(1)),
            provenance=provenance,
            looks={name: {"colors": theme_colors(name), "template": template(name)} for name in PAGES},
            plotted=any(_figures(plot)),
            scripts=[*_scripts(list(_figures(plot))), *(asset(name) for name in _assets(plot))],
        )
    )


def _figures(plot: Figure | Section) -> Iterator[Figure]:
    if not isinstance(plot, Section):
        yield plot
        return
    for part in plot.parts:
        yield from _figures(part)


def _assets(plot: Figure | Section) -> list[str]:
    """List the further scripts of a page, each once."""
    if not isinstance(plot, Section):
        return []
    return list(dict.fromkeys([*plot.scripts, *(name for part in plot.parts for name in _assets(part))]))


def _piece(plot: Figure | Section, title: str, level: int, numbers: Iterator[int]) -> dict[str, Any]:
    """The values of the template for a figure, or for a section with its parts."""
    if not isinstance(plot, Section):
        return _figure(plot, title, level, next(numbers))
    heading = _heading(plot.heading, title)
    below = min(level + bool(heading), 6)
    return {
        "heading": heading,
        "level": level,
        "subtitle": plot.subtitle,
        "body": plot.body,
        "words": plot.words,
        "anchor": plot.anchor,
        "parts": [_piece(part, title, below, numbers) for part in plot.parts],
    }


def _figure(figure: Figure, title: str, level: int, number: int) -> dict[str, Any]:
    """A figure's texts and its data; the script of the page draws it."""
    data = json.loads(figure.to_json(engine="json"))
    layout = data["layout"]
    title_layout = layout.pop("title", {})
    heading = plain(title_layout.get("text") or "")
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
        "subtitle": plain(title_layout.get("subtitle", {}).get("text") or ""),
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
