"""What is drawn as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import count
from typing import Any

from initpools_cli.core.types import Figure
from initpools_cli.figures.escape import plain
from initpools_cli.figures.fragment import Fragment
from initpools_cli.figures.markup import bullets, facts, folded, paragraph, safe
from initpools_cli.figures.theme import FONT, PAGES, PageTheme, furniture, template

# The browser itself refuses any request; Plotly's WebGL compiles functions from text, hence unsafe-eval.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
THEMES = {"auto": "as the system", "light": "light", "dark": "dark"}


def page_html(drawn: Figure | Fragment, title: str, provenance: Mapping[str, str], theme: PageTheme = "auto") -> str:
    """One HTML page with what is drawn, what it shows in words, and where it comes from.

    Figures are drawn when they are scrolled near, in the theme that the reader chooses. The same arguments give the
    same bytes.

    Parameters
    ----------
    drawn : Figure or Fragment
        A figure's title and subtitle become text of the page, which wraps.
    title : str
        Of the page; any characters.
    provenance : mapping of str to str
        Rows of the table of origins, e.g. the run, the command, the version; empty for none.
    theme : str
        "light", "dark" or "auto" (the reader's system says): what the page opens in.

    Returns
    -------
    str
        Where there is a figure 5 MB more than its data, for Plotly's library is in it, once.
    """
    figures = list(_figures(drawn))
    choices = "".join(
        f"<option value={name}{' selected' if name == theme else ''}>{words}</option>" for name, words in THEMES.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{safe(title)}</title>
<style>{_colors()}{asset("page.css")}</style>
</head>
<body>
<a class=skip href="#content">Skip to the content</a>
<main id=content tabindex=-1{" class=chapters" if isinstance(drawn, Fragment) and drawn.parts else ""}>
<label class=theme><span>Colors</span> <select id=theme autocomplete=off>{choices}</select></label>
<h1>{safe(title)}</h1>
{_section(drawn, title, 2, count(1))}
{folded("Provenance of this page", facts(provenance)) if provenance else ""}
{"<noscript><p>Figures are drawn by JavaScript, which is off in this browser.</p></noscript>" if figures else ""}
</main>
{_scripts(figures)}
</body>
</html>
"""


def asset(name: str) -> str:
    """The text of one of the files that pages are made of."""
    return files("initpools_cli.figures").joinpath("assets", name).read_text(encoding="utf-8")


def _colors() -> str:
    """The colors of the themes as variables of the style sheet."""
    light, dark = (
        "".join(f"--{name}: {color}; " for name, color in vars(PAGES[theme]).items()) for theme in ("light", "dark")
    )
    return (
        f":root {{ color-scheme: light; {light}--font: {FONT}; }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark}}}\n"
        "@media (prefers-color-scheme: dark) { "
        f":root[data-theme=auto] {{ color-scheme: dark; {dark}}} }}\n"
    )


def _figures(drawn: Figure | Fragment) -> Iterator[Figure]:
    if not isinstance(drawn, Fragment):
        yield drawn
        return
    for part in drawn.parts:
        yield from _figures(part)


def _section(drawn: Figure | Fragment, title: str, level: int, numbers: Iterator[int]) -> str:
    """A figure or a fragment with its parts; a heading that says no more than the title is left out."""
    if not isinstance(drawn, Fragment):
        return _figure(drawn, title, level, next(numbers))
    heading = _heading(drawn.heading, title, level)
    below = min(level + bool(heading), 6)
    parts = "\n".join(_section(part, title, below, numbers) for part in drawn.parts)
    words = folded("In words", bullets(drawn.words)) if drawn.words else ""
    anchor = f' id="{safe(drawn.anchor)}"' if drawn.anchor else ""
    return f"<section{anchor}>{heading}{paragraph(drawn.subtitle, 'subtitle')}{drawn.body}{words}\n{parts}</section>"


def _figure(figure: Figure, title: str, level: int, number: int) -> str:
    """A figure's place, its words and its data; the script of the page draws it there."""
    data = json.loads(figure.to_json(engine="json"))
    layout = data["layout"]
    shown = layout.pop("title", {})
    heading, subtitle = plain(shown.get("text") or ""), plain(shown.get("subtitle", {}).get("text") or "")
    layout.pop("template", None)
    meta = layout.setdefault("meta", {})
    words = meta.pop("description", []) or [heading or title]
    thumbnails = meta.pop("thumbnails", None)
    heights = (
        f"--{name}: {meta.get(name, {}).get('height') or layout.get('height') or 450}px" for name in ("wide", "narrow")
    )
    name, label = f"figure-{number}", safe(heading or title)
    return f"""<section>{_heading(heading, title, level)}{paragraph(subtitle, "subtitle")}
<figure aria-label="{label}" aria-describedby="{name}-words">
<div class=plot id="{name}" role=group aria-label="{label}" tabindex=0 style="{"; ".join(heights)}"></div>
</figure>
<details><summary>The figure in words</summary><div id="{name}-words">{bullets(words)}</div></details>
{_json(f"{name}-data", {"data": data["data"], "layout": layout})}
{_json(f"{name}-thumbnails", thumbnails) if thumbnails else ""}</section>"""


def _heading(heading: str, title: str, level: int) -> str:
    return f"<h{level}>{safe(heading)}</h{level}>" if heading and heading != title else ""


def _json(name: str, value: Any) -> str:
    """Data for the page's script; no name in it can end the element that it stands in."""
    text = json.dumps(value, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _scripts(figures: list[Figure]) -> str:
    """Plotly's library, where anything is drawn with it, and the page's own."""
    looks = {theme: {"colors": furniture(theme), "template": template(theme)} for theme in PAGES}
    code = [asset("page.js")]
    if any("thumbnails" in (figure.layout.meta or {}) for figure in figures):
        code.insert(0, asset("hover.js"))
    if figures:
        from plotly.offline import get_plotlyjs

        code.insert(0, get_plotlyjs())
    return "\n".join([_json("looks", looks), *(f"<script>{script}</script>" for script in code)])
