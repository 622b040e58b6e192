"""Colors, dashes and page colors of every figure; light and dark."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from initpools_cli.core.types import Figure
from initpools_cli.figures.escape import plotly_text

Theme = Literal["light", "dark"]
#: What a page opens in; auto: what the reader's system says.
PageTheme = Literal["auto", "light", "dark"]

# Okabe & Ito 2008, distinct for every common color vision; black left out (no dark page shows it), yellow last.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MISSED = "#D55E00"
#: From low to high; both ends stand out from a light and from a dark page, which Cividis and Viridis do not.
SCALE = ((0.0, "#0072B2"), (0.5, "#8C8C84"), (1.0, "#E69F00"))
NEUTRAL = "#858b93"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "triangle-down",
    "star",
    "pentagon",
    "hexagram",
    "bowtie",
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Page:
    """The colors of a page and of a figure's axes, text and grid."""

    background: str
    ink: str
    muted: str
    grid: str
    link: str


PAGES: dict[Theme, Page] = {
    "light": Page(background="#ffffff", ink="#1b1f24", muted="#57606a", grid="#e6e8eb", link="#0059a8"),
    "dark": Page(background="#14171c", ink="#e8eaed", muted="#a3abb5", grid="#2d333b", link="#7cc4ff"),
}


class Style(NamedTuple):
    """The look of one series; no two of the first 77 share both color and symbol."""

    color: str
    dash: str
    symbol: str


def style(i: int) -> Style:
    """The look of the i-th series."""
    return Style(PALETTE[i % len(PALETTE)], DASHES[i % len(DASHES)], SYMBOLS[i % len(SYMBOLS)])


def series(names: Sequence[str]) -> dict[str, Style]:
    """The look of every first pool of a figure by name; random, the reference, is gray.

    Without yellow, which is hard to see on white where a mark has no outline; no two of the first 66 are alike.
    """
    others = [name for name in names if name != "random"]
    looks = {name: style(i)._replace(color=PALETTE[i % (len(PALETTE) - 1)]) for i, name in enumerate(others)}
    return {name: looks.get(name, Style(NEUTRAL, "solid", "circle")) for name in names}


def translucent(color: str, alpha: float) -> str:
    """``"#0072B2"`` as ``"rgba(0,114,178,alpha)"``."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def headline(figure: Figure, title: str, subtitle: str) -> None:
    """Set title and subtitle, plain text, wrapped where an image of the figure would cut it."""
    lines = "<br>".join(plotly_text(line) for line in textwrap.wrap(subtitle, 120))
    figure.layout.title = {"text": plotly_text(title), "subtitle": {"text": lines}}


def theme_colors(theme: Theme) -> dict[str, str]:
    """Colors of a theme by those of the light page, which figures name."""
    light, page = PAGES["light"], PAGES[theme]
    return {light.ink: page.ink, light.muted: page.muted, light.grid: page.grid}


def template(theme: Theme) -> dict[str, Any]:
    """Plotly's layout template of a theme."""
    page = PAGES[theme]
    axis = {
        "gridcolor": page.grid,
        "linecolor": page.muted,
        "tickcolor": page.muted,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"font": {"size": 13}, "standoff": 8},
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 12, "color": page.ink},
            "paper_bgcolor": page.background,
            "plot_bgcolor": page.background,
            "colorway": list(PALETTE),
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "align": "left",
                "namelength": -1,
                "bgcolor": page.background,
                "font": {"color": page.ink, "size": 13, "family": FONT},
            },
            "legend": {"font": {"size": 12}},
            "title": {
                "x": 0.01,
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 14},
                "font": {"size": 17},
                "subtitle": {"font": {"size": 12, "color": page.muted}},
            },
            "modebar": {"color": page.muted, "activecolor": page.ink, "bgcolor": "rgba(0,0,0,0)"},
        }
    }


def in_theme(figure: Figure, theme: Theme) -> Figure:
    """A copy of the figure in the theme's colors, those of `theme_colors` among them."""
    import plotly.graph_objects as go

    copy = go.Figure(_recolored(go.Figure(figure).to_plotly_json(), theme_colors(theme)))
    copy.layout.template = template(theme)
    return copy


def _recolored(value: Any, colors: dict[str, str]) -> Any:
    if isinstance(value, str):
        return colors.get(value, value)
    if isinstance(value, dict):
        return {key: _recolored(part, colors) for key, part in value.items()}
    # Data of many points are no colors.
    if isinstance(value, list | tuple) and len(value) <= 1000:
        return [_recolored(part, colors) for part in value]
    return value
