"""A figure as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import html
from collections.abc import Mapping

from initpools_cli.analysis.text import plain
from initpools_cli.analysis.theme import FONT, PAGES, Theme, dressed
from initpools_cli.analysis.types import Figure

# The browser itself refuses any request; Plotly's WebGL compiles functions from text, hence unsafe-eval.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
NARROW = 640

STYLE = """
:root {{ color-scheme: {theme}; }}
body {{ margin: 0; background: {background}; color: {ink}; font: 16px/1.5 {font}; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 20px 16px 32px; }}
h1 {{ font-size: 1.3rem; line-height: 1.3; margin: 0 0 4px; overflow-wrap: anywhere; }}
h2 {{ font-size: 1rem; font-weight: 600; margin: 0 0 4px; overflow-wrap: anywhere; }}
p {{ margin: 0 0 8px; color: {muted}; font-size: .875rem; overflow-wrap: anywhere; }}
figure {{ margin: 8px 0 12px; }}
details {{ border-top: 1px solid {grid}; padding: 8px 0; font-size: .875rem; }}
summary {{ cursor: pointer; color: {link}; }}
ul {{ padding-left: 20px; margin: 8px 0; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; margin: 8px 0; width: 100%; table-layout: fixed; }}
th, td {{ text-align: left; vertical-align: top; padding: 4px 12px 4px 0; overflow-wrap: anywhere; }}
th {{ font-weight: 500; color: {muted}; width: 9em; }}
@media (max-width: {narrow}px) {{ .modebar-container {{ display: none; }} main {{ padding: 12px 10px 24px; }} }}
"""

SCRIPT = """
(() => {
  const figure = JSON.parse(document.getElementById("figure-data").textContent);
  const target = document.getElementById("figure");
  const small = window.matchMedia("(max-width: NARROWpx)");
  const arrange = () => {
    const meta = figure.layout.meta || {};
    const changes = small.matches ? meta.narrow : meta.wide;
    return changes ? Plotly.relayout(target, changes) : null;
  };
  const config = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"],
    showSendToCloud: false, plotlyServerURL: "",
  };
  Plotly.newPlot(target, figure.data, figure.layout, config).then(arrange);
  small.addEventListener("change", arrange);
})();
""".replace("NARROW", str(NARROW))


def figure_html(figure: Figure, title: str, provenance: Mapping[str, str], theme: Theme = "light") -> str:
    """One HTML page with the figure, what it shows in words, and where it comes from.

    The same figure, title, provenance and theme give the same bytes.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        Its title and subtitle become text of the page, which wraps.
    title : str
        Of the page; any characters.
    provenance : mapping of str to str
        Rows of the table of origins, e.g. the run, the command, the version.
    theme : str
        "light" or "dark".

    Returns
    -------
    str
        About 5 MB, for Plotly's library is in it.
    """
    from plotly.offline import get_plotlyjs

    page = PAGES[theme]
    shown = dressed(figure, theme)
    heading, subtitle = plain(shown.layout.title.text or ""), plain(shown.layout.title.subtitle.text or "")
    description = list((shown.layout.meta or {}).get("description", [])) or [heading or title]
    # The page says these above the figure, where they wrap.
    shown.layout.title = None
    data = shown.to_json(engine="json").replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    style = STYLE.format(
        theme=theme,
        narrow=NARROW,
        background=page.background,
        ink=page.ink,
        muted=page.muted,
        grid=page.grid,
        link=page.link,
        font=FONT,
    )
    rows = "".join(
        f"<tr><th scope=row>{_safe(key)}</th><td>{_safe(value)}</td></tr>" for key, value in provenance.items()
    )
    words = "".join(f"<li>{_safe(line)}</li>" for line in description)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_safe(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{_safe(title)}</h1>
{f"<h2>{_safe(heading)}</h2>" if heading and heading != title else ""}
{f"<p>{_safe(subtitle)}</p>" if subtitle else ""}
<figure aria-label="{_safe(heading or title)}" aria-describedby="words"><div id="figure"></div></figure>
<details><summary>The figure in words</summary><ul id="words">{words}</ul></details>
<details><summary>Provenance</summary><table>{rows}</table></details>
<noscript><p>The figure is drawn by JavaScript, which is off in this browser.</p></noscript>
</main>
<script type="application/json" id="figure-data">{data}</script>
<script>{get_plotlyjs()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _safe(text: object) -> str:
    printable = str(text).encode("utf-8", "replace").decode("utf-8")
    return html.escape(printable, quote=True)
