"""Figures of several panels, side by side on a wide page and stacked on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from initpools_cli.core.types import Figure
from initpools_cli.figures.escape import plain

# All in pixels. Above the first row of a wide page stand Plotly's buttons, which a phone does not show.
TOP = {"wide": 34, "narrow": 8}
HEADING_LINE = 19
AXIS = 56
LEGEND_LINE = 22
# Width of the legend on a page of 1120 and of 400 pixels.
LEGEND_WIDTH = {"wide": 1000, "narrow": 340}


def faceted(
    headings: Sequence[str],
    *,
    x_title: str,
    y_title: str,
    columns: int = 3,
    height: int = 300,
    same_x: bool = False,
    same_y: bool = False,
) -> Figure:
    """An empty figure with one panel per heading.

    ``layout.meta`` has the changes for a wide and for a narrow page, in the form of ``Plotly.relayout``: the page
    applies those that fit. An image has the wide layout.

    Parameters
    ----------
    headings : sequence of str
        Plotly text above each panel; a single empty one gives one panel without a heading.
    x_title, y_title : str
        Axis titles with units.
    columns : int
        Most panels side by side on a wide page.
    height : int
        Of one panel, in pixels.
    same_x, same_y : bool
        All panels share the range of that axis; shared y labels stand at the left only.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    layout = figure.layout
    layout.margin = {"l": 56, "r": 16}
    layout.legend = {
        "orientation": "h",
        "xref": "container",
        "x": 0.01,
        "xanchor": "left",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "itemwidth": 40,
    }
    for i, heading in enumerate(headings):
        x, y = (axis_name(letter, i) for letter in "xy")
        layout[_key(x)] = {"anchor": y, **({"matches": "x"} if same_x and i else {})}
        layout[_key(y)] = {"anchor": x, **({"matches": "y"} if same_y and i else {})}
        if heading:
            figure.add_annotation(text=heading, xref="paper", yref="paper", xanchor="left", yanchor="bottom")
    figure.update_annotations(yshift=4, showarrow=False, align="left", font_size=13)
    lines = max(heading.count("<br>") + 1 if heading else 0 for heading in headings)
    layout.meta = {
        name: _arrangement(list(headings), name, most, height, HEADING_LINE * lines, same_y, (x_title, y_title))
        for name, most in (("wide", columns), ("narrow", 1))
    }
    return figure


def axis_name(letter: str, i: int) -> str:
    """Plotly's reference of the i-th panel's axis: x, x2, x3 ..."""
    return letter if i == 0 else f"{letter}{i + 1}"


def complete(figure: Figure, description: Sequence[str]) -> Figure:
    """Make room for the legend of the traces, and store the description in words.

    Parameters
    ----------
    figure : Figure
        One of `faceted`, with all its traces.
    description : sequence of str
        Plain sentences for those who do not see the figure.
    """
    entries = [plain(trace.name or "") for trace in figure.data if trace.showlegend is not False]
    widest = 70 + 7 * max((len(entry) for entry in entries), default=0)
    arrangements = {}
    for name, width in LEGEND_WIDTH.items():
        count = len(entries) if len(entries) > 1 else 0
        rows = -(-count // max(1, width // widest))
        changes = dict(figure.layout.meta[name])
        changes["margin.b"] = AXIS + LEGEND_LINE * rows
        changes["height"] += changes["margin.b"]
        arrangements[name] = changes
    figure.layout.meta = {**arrangements, "description": list(description)}
    wide = dict(arrangements["wide"])
    for i, note in enumerate(figure.layout.annotations):
        note.x, note.y = wide.pop(f"annotations[{i}].x"), wide.pop(f"annotations[{i}].y")
    figure.update_layout({key.replace(".", "_"): value for key, value in wide.items()})
    return figure


def _key(axis: str) -> str:
    return f"{axis[0]}axis{axis[1:]}"


def _arrangement(
    headings: list[str], name: str, columns: int, height: int, heading: int, same_y: bool, titles: tuple[str, str]
) -> dict[str, Any]:
    """Layout keys with dots for at most `columns` panels in a row; the height is that of the panels and the top."""
    n = len(headings)
    columns = min(columns, n)
    rows = -(-n // columns)
    gap = AXIS + heading + 12
    total = rows * height + (rows - 1) * gap
    between = 0.0 if columns == 1 else (0.03 if same_y else 0.09)
    width = (1 - between * (columns - 1)) / columns
    top = TOP[name] + heading
    # A finger that moves over the figure scrolls the page.
    layout: dict[str, Any] = {"height": total + top, "margin.t": top, "dragmode": "zoom" if name == "wide" else False}
    for i in range(n):
        row, column = divmod(i, columns)
        left, upper = column * (width + between), 1 - row * (height + gap) / total
        x, y = _key(axis_name("x", i)), _key(axis_name("y", i))
        layout[f"{x}.domain"] = [round(left, 6), round(min(1.0, left + width), 6)]
        layout[f"{y}.domain"] = [round(max(0.0, upper - height / total), 6), round(upper, 6)]
        layout[f"{x}.title.text"] = titles[0] if columns == 1 or i + columns >= n else ""
        layout[f"{y}.title.text"] = titles[1] if column == 0 or not same_y else ""
        layout[f"{y}.showticklabels"] = column == 0 or not same_y
        if headings[i]:
            layout[f"annotations[{i}].x"], layout[f"annotations[{i}].y"] = round(left, 6), round(upper, 6)
    return layout
