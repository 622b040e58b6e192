"""Figures as PNG or SVG, drawn by a local Chrome."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import Figure
from initpools_cli.figures.section import Section
from initpools_cli.figures.theme import PageTheme, Theme, in_theme

FORMATS = ("png", "svg")
WIDTH = 1000
# Pixels of the image per pixel of the layout: 300 dpi at a 17 cm wide print.
SCALE = 2


def image_bytes(drawn: Figure | Section, suffix: str, theme: PageTheme = "auto") -> bytes:
    """The drawn figure as an image, or the image of a section that has one.

    Parameters
    ----------
    drawn : plotly.graph_objects.Figure or Section
    suffix : str
        "png" or "svg", with or without a dot.
    theme : str
        "light", "dark" or "auto", which is light.

    Raises
    ------
    UserError
        Another format, or one that a section does not have; kaleido is not installed; no Chrome or Chromium is found,
        or it does not start.
    """
    kind = suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise UserError(f"A figure can't be written as '.{kind}'.", "Name the file .html, .png or .svg.", f".{kind}")
    if isinstance(drawn, Section):
        if kind != "png" or drawn.image is None:
            offered = ".html" if drawn.image is None else ".html or .png"
            raise UserError(
                f"This kind of plot can't be written as '.{kind}'.", f"Name the file {offered}.", f".{kind}"
            )
        return drawn.image()
    return _drawn_by_chrome(drawn, kind, "dark" if theme == "dark" else "light")


def _drawn_by_chrome(figure: Figure, kind: str, theme: Theme) -> bytes:
    try:
        kaleido, browsers = import_module("kaleido"), import_module("choreographer.browsers")
    except ModuleNotFoundError:
        raise UserError(
            f"A .{kind} needs kaleido, which is not installed.",
            'Run `pip install "initpools[image]"`, or name the file .html.',
            "kaleido",
        ) from None
    shown = in_theme(figure, theme)
    lines = (shown.layout.title.subtitle.text or "").count("<br>") + 1
    room = 38 + 17 * lines if shown.layout.title.text else 0
    shown.layout.margin.t = (shown.layout.margin.t or 0) + room
    height = (shown.layout.height or 500) + room
    shown.layout.height = None
    try:
        drawn = kaleido.calc_fig_sync(
            shown,
            opts={"format": kind, "width": WIDTH, "height": height, "scale": SCALE},
            # Its default would be fetched from the network, for formulas that no figure here has.
            kopts={"mathjax": False},
        )
    except browsers.ChromeNotFoundError:
        raise UserError(
            f"A .{kind} is drawn by Chrome, and neither Chrome nor Chromium is installed.",
            "Install Chrome with `kaleido_get_chrome`, or name the file .html.",
            f".{kind}",
        ) from None
    except (browsers.BrowserFailedError, browsers.BrowserClosedError) as error:
        raise UserError(
            f"A .{kind} is drawn by Chrome, which did not start here ({str(error).splitlines()[0]}).",
            "Start it by hand to see why, or name the file .html.",
            f".{kind}",
        ) from None
    return bytes(drawn)


def write_image(figure: Figure, path: Path, theme: PageTheme = "auto") -> None:
    """Write the figure to a .png or .svg; see `image_bytes` for what can go wrong."""
    path.write_bytes(image_bytes(figure, path.suffix, theme))
