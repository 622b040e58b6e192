"""Line charts of the documentation and the benchmarks, as SVG with the name of every line at its end."""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.figures.theme import DASHES, NEUTRAL, PAGES, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = PAGES["light"]
#: Dash patterns of matplotlib for the names in `DASHES`, in line widths.
PATTERNS = dict(
    zip(
        DASHES,
        ("solid", (0, (4, 2)), (0, (1, 2)), (0, (5, 2, 1, 2)), (0, (7, 2)), (0, (7, 2, 1, 2))),
        strict=True,
    )
)
#: In pixels: margins of a panel; leader and sample before a name; size of a letter, height of a name.
LEFT, TOP, BOTTOM, LEADER, SAMPLE, LETTER, NAME_HEIGHT = 58, 34, 50, 14, 20, 6.4, 13.0
#: Pixels of the page per inch; font sizes are in points.
DPI = 96
SVG = "http://www.w3.org/2000/svg"
#: Texts stay text, and the same chart has the same bytes.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "initpools",
    "font.size": 8.25,
    "figure.dpi": DPI,
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": PAGE.ink,
    "text.parse_math": False,
    "axes.edgecolor": PAGE.muted,
    "axes.labelcolor": PAGE.ink,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.75,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "grid.color": PAGE.grid,
    "xtick.color": PAGE.muted,
    "ytick.color": PAGE.muted,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
}


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes
    ----------
    name : str
        Written at its end.
    x, y : sequence of float
        NaN in `y` leaves the point out.
    color, dash : str
        Of `theme`.
    width : float
        In pixels; above 2 its name is bold, below 1 it is pale.
    low, high : sequence of float
        The ends of a band around it; empty for no band.
    markers : sequence of str
        matplotlib's marker for each point; empty for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dash: str = "solid"
    width: float = 1.8
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    markers: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One panel of a chart.

    Attributes
    ----------
    lines : sequence of Line
    x_title, y_title : str
        Axis titles with units.
    heading : str
        Plain text above it.
    logarithmic : bool
        Both axes have a logarithmic scale.
    bound : float, optional
        Height of a dotted line across.
    """

    lines: Sequence[Line]
    x_title: str
    y_title: str
    heading: str = ""
    logarithmic: bool = False
    bound: float | None = None


def look(i: int) -> tuple[str, str]:
    """Color and dash of the i-th line on white: solid ones first, and no yellow, which is hard to see on white."""
    colors = PALETTE[:-1]
    return colors[i % len(colors)], DASHES[i // len(colors) % len(DASHES)]


def line_chart(
    panels: Sequence[Panel], *, title: str, description: str, width: int = 232, height: int = 270, same_y: bool = False
) -> str:
    """Draw panels side by side, each with the names of its lines at their ends.

    Parameters
    ----------
    panels : sequence of Panel
        At least one point in all.
    title, description : str
        For those who do not see it.
    width, height : int
        Of the inside of a panel, in pixels.
    same_y : bool
        All panels share the range of the vertical axis, whose title and numbers stand at the left only.

    Returns
    -------
    str
        The SVG.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = LEADER + SAMPLE + LETTER * max(len(line.name) for panel in panels for line in panel.lines) + 12
    full, tall = (LEFT + width + names) * len(panels), TOP + height + BOTTOM
    stream = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The text stays text, for the fonts of the reader.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=(full / DPI, tall / DPI), facecolor=PAGE.background)
        axes: list[Axes] = []
        for i, panel in enumerate(panels):
            left = LEFT + i * (LEFT + width + names)
            place = (left / full, BOTTOM / tall, width / full, height / tall)
            axes.append(figure.add_axes(place, sharey=axes[0] if same_y and axes else None))
            _draw(axes[i], panel)
            if same_y and i:
                axes[i].set_ylabel("")
        for each, panel in zip(axes, panels, strict=True):
            _write_names(each, panel.lines)
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _with_description(stream.getvalue(), title, description)


def spread(heights: Mapping[str, float], room: float) -> dict[str, float]:
    """Heights moved apart to about `room`, in their order, each by as little as its neighbors let it."""
    order = sorted(heights, key=lambda name: heights[name])
    positions = dict(heights)
    for _ in range(500):
        for below, above in pairwise(order):
            missing = max(0.0, room - (positions[above] - positions[below]))
            positions[above] += missing / 2
            positions[below] -= missing / 2
    return positions


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set_title(panel.heading)
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(panel.y_title)
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xticks(sorted({x for line in panel.lines for x in line.x}))
        axes.margins(x=0.02)
    if panel.bound is not None:
        axes.axhline(panel.bound, color=NEUTRAL, linestyle=":", linewidth=1)
    for line in panel.lines:
        if len(line.low):
            axes.fill_between(line.x, line.low, line.high, color=line.color, alpha=0.14, linewidth=0)
        valid = ~np.isnan(np.asarray(line.y, dtype=float))
        x, y = np.asarray(line.x)[valid], np.asarray(line.y)[valid]
        axes.plot(x, y, color=line.color, linestyle=PATTERNS[line.dash], linewidth=line.width)
        markers = np.asarray(line.markers)[valid] if len(line.markers) else np.array([])
        for marker in sorted(set(markers.tolist())):
            axes.plot(x[markers == marker], y[markers == marker], marker, color=line.color, markersize=4)


def _write_names(axes: Axes, lines: Sequence[Line]) -> None:
    """Beside the panel the name of each line after a piece of it, and a thin line there from its end."""
    # Where a point is, is known only with the limits of the axes.
    axes.autoscale_view()
    axes.set_autoscale_on(False)
    inside = axes.transAxes.inverted()
    ends: dict[str, tuple[float, float]] = {}
    for line in lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y == y]
        if points:
            ends[line.name] = tuple(inside.transform(axes.transData.transform(points[-1])))
    width, height = axes.bbox.width, axes.bbox.height
    positions = spread({name: end[1] for name, end in ends.items()}, NAME_HEIGHT / height)
    # Within the panel, and where there are too many names, below it and not above, where the heading is.
    bottom, top = min(positions.values(), default=0.0), max(positions.values(), default=0.0)
    shift = min(1 - top, max(0.0, -bottom))
    beside, after = 1 + LEADER / width, 1 + (LEADER + SAMPLE) / width
    free = {"transform": axes.transAxes, "clip_on": False}
    for line in lines:
        if line.name not in ends:
            continue
        x, y = ends[line.name]
        at = positions[line.name] + shift
        # Lines that end before the others are joined to their name across the panel.
        dash = "solid" if x > 0.9 else ":"
        axes.plot([x, beside], [y, at], color=NEUTRAL, linestyle=dash, linewidth=0.6, zorder=1, **free)
        axes.plot(
            [beside, after], [at, at], color=line.color, linestyle=PATTERNS[line.dash], linewidth=line.width, **free
        )
        weight, color = ("bold", PAGE.ink) if line.width > 2 else ("normal", PAGE.muted if line.width < 1 else PAGE.ink)
        axes.text(after + 4 / width, at, line.name, va="center", weight=weight, color=color, transform=axes.transAxes)


def _with_description(svg: bytes, title: str, description: str) -> str:
    """Matplotlib's SVG with title and description where screen readers look for them, and without its metadata."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)
    for child in root.findall(f"{{{SVG}}}metadata"):
        root.remove(child)
    root.set("role", "img")
    for i, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{SVG}}}{tag}")
        element.text = text
        root.insert(i, element)
    return ET.tostring(root, encoding="unicode") + "\n"
