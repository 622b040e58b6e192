"""Figures as PNG or SVG, drawn by a local Chrome."""

from __future__ import annotations

from importlib import import_module

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import Figure
from initpools_cli.figures.section import Section
from initpools_cli.figures.theme import PageTheme, Theme, in_theme

FORMATS = ("png", "svg")
WIDTH = 1000
# Pixels of the image per pixel of the layout: 300 dpi at a 17 cm wide print.
SCALE = 2


def image_bytes(plot: Figure | Section, suffix: str, theme: PageTheme = "auto") -> bytes:
    """Render a figure as an image, or return the image of a section that has one.

    Parameters
    ----------
    plot : plotly.graph_objects.Figure or Section
    suffix : str
        "png" or "svg", with or without a dot.
    theme : str
        "light", "dark" or "auto", which is light.

    Raises
    ------
    UserError
        The format is unknown, or the section does not have it; kaleido is not installed; there is no Chrome or
        Chromium, or it does not start.
    """
    kind = suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise UserError(f"A figure can't be written as '.{kind}'.", "Name the file .html, .png or .svg.", f".{kind}")
    if isinstance(plot, Section):
        if kind != "png" or plot.image is None:
            endings = ".html" if plot.image is None else ".html or .png"
            raise UserError(
                f"This kind of plot can't be written as '.{kind}'.", f"Name the file {endings}.", f".{kind}"
            )
        return plot.image()
    return _chrome_image(plot, kind, "dark" if theme == "dark" else "light")


def _chrome_image(figure: Figure, kind: str, theme: Theme) -> bytes:
    try:
        kaleido, browsers = import_module("kaleido"), import_module("choreographer.browsers")
    except ModuleNotFoundError:
        raise UserError(
            f"A .{kind} needs kaleido, which is not installed.",
            'Run `pip install "initpools[image]"`, or name the file .html.',
            "kaleido",
        ) from None
    figure = in_theme(figure, theme)
    lines = (figure.layout.title.subtitle.text or "").count("<br>") + 1
    room = 38 + 17 * lines if figure.layout.title.text else 0
    figure.layout.margin.t = (figure.layout.margin.t or 0) + room
    height = (figure.layout.height or 500) + room
    figure.layout.height = None
    try:
        content = kaleido.calc_fig_sync(
            figure,
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
    return bytes(content)
