"""Small line charts as SVG, drawn without a browser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from initpools_cli.figures.theme import DASHES, FONT, NEUTRAL, PAGES, PALETTE

PAGE = PAGES["light"]
#: Dash patterns of SVG for the names in `DASHES`, in pixels.
PATTERNS = dict(zip(DASHES, ("", "7 4", "2 3", "8 3 2 3", "12 4", "12 3 2 3"), strict=True))
# In pixels: the panel itself, what stands around it, and beside it, after a leader, a piece of the line and its name.
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 232, 270, 46, 34, 46
LEADER, SAMPLE, LETTER, NAME_HEIGHT = 16, 20, 6.0, 13.0


class Line(NamedTuple):
    """One line of a panel.

    Attributes
    ----------
    name : str
        Stands at its end.
    x, y : sequence of float
        NaN in `y` leaves the point out.
    color, dash : str
        Of `theme`.
    width : float
        In pixels; above 2 its name is bold, below 1 it is pale.
    low, high : sequence of float
        The ends of a band around it; NaN leaves a point out, and empty is no band.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dash: str = "solid"
    width: float = 1.8
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def look(i: int) -> tuple[str, str]:
    """Color and dash of the i-th line on white: solid ones first, and no yellow, which white swallows."""
    colors = PALETTE[:-1]
    return colors[i % len(colors)], DASHES[i // len(colors) % len(DASHES)]


def line_chart(panels: Mapping[str, Sequence[Line]], *, x_title: str, y_title: str, description: str) -> str:
    """Panels side by side with one vertical axis, the name of every line at its end.

    Parameters
    ----------
    panels : mapping of str to sequence of Line
        By heading; at least one point in all.
    x_title, y_title : str
        Axis titles with units.
    description : str
        For those who do not see it.

    Returns
    -------
    str
        The SVG.
    """
    lines = [line for each in panels.values() for line in each]
    heights = [value for line in lines for value in [*line.y, *line.low, *line.high] if not math.isnan(value)]
    ticks = _ticks(min(heights), max(heights))
    step = LEFT + WIDTH + LEADER + SAMPLE + LETTER * max(len(line.name) for line in lines) + 8
    full, tall = step * len(panels), TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full:.0f} {tall}" width="{full:.0f}" height="{tall}" '
        f'role="img" font-family="{escape(FONT)}" font-size="11" fill="{PAGE.ink}">',
        f"<desc>{escape(description)}</desc>",
        f'<rect width="100%" height="100%" fill="{PAGE.background}"/>',
        f'<text transform="translate(12 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>',
    ]
    for i, (heading, each) in enumerate(panels.items()):
        parts += _panel(heading, each, LEFT + i * step, ticks, x_title)
    return "\n".join([*parts, "</svg>\n"])


def spread(heights: Mapping[str, float], room: float) -> dict[str, float]:
    """Heights moved apart to about `room`, in their order, each by as little as its neighbors let it."""
    order = sorted(heights, key=lambda name: heights[name])
    placed = dict(heights)
    for _ in range(500):
        for below, above in pairwise(order):
            missing = max(0.0, room - (placed[above] - placed[below]))
            placed[above] += missing / 2
            placed[below] -= missing / 2
    return placed


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest to above the highest value, four to nine of them."""
    reach = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(reach / 4))
    step = next(power * by for by in (1, 2, 5, 10) if reach / (power * by) <= 7)
    first = math.floor(low / step)
    return [step * (first + i) for i in range(math.ceil(high / step) - first + 1)]


def _panel(heading: str, lines: Sequence[Line], left: float, ticks: Sequence[float], x_title: str) -> list[str]:
    across = sorted({x for line in lines for x in line.x})
    x_low, x_high = across[0], max(across[-1], across[0] + 1)
    y_low, y_high = ticks[0], max(ticks[-1], ticks[0] + 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        down = TOP + HEIGHT * (1 - (y - y_low) / (y_high - y_low))
        return round(left + WIDTH * (x - x_low) / (x_high - x_low), 1), round(down, 1)

    parts = [f'<text x="{left}" y="{TOP - 12}" font-size="13" font-weight="600">{escape(heading)}</text>']
    for tick in ticks:
        height = at(x_low, tick)[1]
        parts.append(f'<path d="M{left} {height}h{WIDTH}" stroke="{PAGE.grid}"/>')
        shown = f'<text x="{left - 6}" y="{height + 4}" text-anchor="end" fill="{PAGE.muted}">{tick:g}</text>'
        parts.append(shown)
    for x in across:
        place = f'x="{at(x, y_low)[0]}" y="{TOP + HEIGHT + 16}" text-anchor="middle" fill="{PAGE.muted}"'
        parts.append(f"<text {place}>{x:g}</text>")
    middle = f'x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle"'
    parts.append(f"<text {middle}>{escape(x_title)}</text>")
    parts += [_band(line, at) for line in lines if len(line.low)]
    ends: dict[str, tuple[float, float]] = {}
    for line in lines:
        points = [at(x, y) for x, y in zip(line.x, line.y, strict=True) if not math.isnan(y)]
        if points:
            ends[line.name] = points[-1]
            parts.append(f'<path d="{_path(points)}" fill="none" stroke-linejoin="round" {_stroke(line)}/>')
    return parts + _names(lines, ends, left + WIDTH)


def _names(lines: Sequence[Line], ends: Mapping[str, tuple[float, float]], edge: float) -> list[str]:
    """Beside the panel the name of each line after a piece of it, and a leader there from its end."""
    placed = spread({name: end[1] for name, end in ends.items()}, NAME_HEIGHT)
    # Within the panel, and where there are too many names, below it and not above, where the heading is.
    top, bottom = min(placed.values(), default=0.0), max(placed.values(), default=0.0)
    shift = max(TOP + 4 - top, min(0.0, TOP + HEIGHT - bottom))
    parts = []
    for line in lines:
        if line.name not in ends:
            continue
        height = round(placed[line.name] + shift, 1)
        leader = _path([ends[line.name], (edge + LEADER - 4, height)])
        parts.append(f'<path d="{leader}" stroke="{NEUTRAL}" stroke-width="0.6" fill="none"/>')
        sample = _path([(edge + LEADER - 4, height), (edge + LEADER + SAMPLE - 6, height)])
        parts.append(f'<path d="{sample}" {_stroke(line)}/>')
        look = ' font-weight="600"' if line.width > 2 else f' fill="{PAGE.muted}"' if line.width < 1 else ""
        place = f'x="{edge + LEADER + SAMPLE - 2}" y="{height + 4:.1f}"'
        parts.append(f"<text {place}{look}>{escape(line.name)}</text>")
    return parts


def _stroke(line: Line) -> str:
    dashes = f' stroke-dasharray="{PATTERNS[line.dash]}"' if PATTERNS[line.dash] else ""
    return f'stroke="{line.color}" stroke-width="{line.width:g}"{dashes}'


def _band(line: Line, at: Callable[[float, float], tuple[float, float]]) -> str:
    ends = [each for each in zip(line.x, line.low, line.high, strict=True) if not math.isnan(each[1])]
    outline = [at(x, high) for x, _, high in ends] + [at(x, low) for x, low, _ in reversed(ends)]
    return f'<path d="{_path(outline)}Z" fill="{line.color}" fill-opacity="0.14"/>' if ends else ""


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
