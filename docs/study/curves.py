"""Figure with the learning curves of a sweep."""

from __future__ import annotations

from charts import Line, Panel, line_chart, look

from initpools_cli.figures.theme import NEUTRAL, PAGES
from initpools_cli.stats.learning_curves import CurvePoint, points_of, summarize
from study.sweeps import AGAINST, Study, Sweep

#: Minimum number of points of a learning curve.
MIN_POINTS = 4


def has_curves(sweep: Sweep) -> bool:
    """Whether the sweep has enough points for learning curves."""
    return sweep.rounds.loc[sweep.rounds["status"] == "ok", "labeled"].nunique() >= MIN_POINTS


def figure_name(sweep: Sweep) -> str:
    """Return the name of the figure's file."""
    return f"{sweep.data}-{sweep.name}.svg"


def figure(study: Study, sweep: Sweep) -> str:
    """Draw accuracy against labels, one panel per query; first pools not distinguishable by area are gray."""
    rows = study.verdicts(study.setting(sweep), sweep.data)
    rows = rows[(rows["name"] == sweep.name) & (rows["measure"] == "area")]
    significant = rows[rows["verdict"].isin(["better", "worse"])]
    differ = set(zip(significant["query"], significant["init"], strict=True))
    curves: dict[tuple[str, str], list[CurvePoint]] = {}
    for point in points_of(summarize(sweep.rounds)):
        curves.setdefault((point.query, point.init), []).append(point)
    inits = [init for init in dict.fromkeys(sweep.rounds["init"]) if init != AGAINST]
    panels: dict[str, list[Line]] = {f"query: {query}": [] for query in dict.fromkeys(query for query, _ in curves)}
    # Later lines are drawn on top.
    for query, init in sorted(curves, key=lambda curve: (curve[1] == AGAINST, curve in differ)):
        line = _line(init, curves[query, init], inits, (query, init) in differ)
        panels[f"query: {query}"].append(line)
    setting = study.setting(sweep)
    return line_chart(
        [Panel(lines, "labeled images", "accuracy (%)", heading) for heading, lines in panels.items()],
        title=f"Learning curves on {sweep.data}, {setting}",
        description=f"Accuracy against labeled images on {sweep.data}, {setting}; the page has the numbers.",
        same_y=True,
    )


def _line(init: str, curve: list[CurvePoint], inits: list[str], differs: bool) -> Line:
    x, y = [point.labeled for point in curve], [100 * point.mean for point in curve]
    if init == AGAINST:
        low, high = [100 * point.low for point in curve], [100 * point.high for point in curve]
        return Line(init, x, y, PAGES["light"].ink, width=2.6, low=low, high=high)
    color, dash = look(inits.index(init))
    return Line(init, x, y, color, dash) if differs else Line(init, x, y, NEUTRAL, dash, width=0.8)
