"""Critical difference diagram: mean ranks of first pools, joined where they are not distinguishable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import NEUTRAL, PALETTE, Style, headline, series
from initpools_cli.stats.metric_names import Metric
from initpools_cli.stats.multi_dataset import FriedmanRow, across, over_seeds

#: Heights above and below the axis of ranks, in rows of which one is PIXELS high.
NUMBER, RULER, TOP, CLIQUE, PIXELS = 0.55, 1.5, 2.6, 0.5, 22


@plots.register("critical-difference", paper="Demšar 2006, Statistical Comparisons of Classifiers, JMLR 7")
def critical_difference(
    sweeps: Mapping[str, DataFrame],
    *,
    metric: Metric = "primary",
    measure: Literal["first pool", "area", "last round"] = "area",
) -> Figure:
    """Mean ranks over data sets, or over the seeds of one; bars join first pools within the critical difference.

    Parameters
    ----------
    sweeps : mapping of str to DataFrame
        Rows of ``rounds.csv``, each of another data set, by the name of the sweep. Of a single one the seeds are the
        blocks.
    metric : str
        What is ranked, more being better.
    measure : str
        Where on the learning curves: after the "first pool", their mean height ("area"), or at the "last round".

    Raises
    ------
    UserError
        There are not two first pools with values in two blocks.
    """
    several = len(sweeps) > 1
    rows = across(list(sweeps.values()), metric, [measure]) if several else []
    for rounds in () if several else sweeps.values():
        rows = over_seeds(rounds, metric, [measure])
    if not rows:
        raise UserError(
            f"No two first pools have a value of {measure} in two blocks each.",
            "Run a sweep with more first pools, seeds and rounds, or choose another measure with --set measure=NAME.",
            measure,
        )
    all_bars = [cliques(row.ranks, row.critical_difference) if row.differ else [tuple(row.ranks)] for row in rows]
    looks = series(list(dict.fromkeys(name for row in rows for name in row.ranks)))
    most = max(map(len, all_bars))
    lowest = min(-1 - most * CLIQUE - len(row.ranks) for row in rows)
    figure = faceted(
        [f"<b>{plotly_text(_setting(row))}</b><br>{_verdict(row)}" for row in rows],
        x_title="mean rank (1 is best)",
        y_title="",
        columns=2,
        height=round(PIXELS * (TOP - lowest)),
    )
    no_axis = {"showgrid": False, "showline": False, "ticks": "", "zeroline": False}
    for i, (row, bars) in enumerate(zip(rows, all_bars, strict=True)):
        _draw(figure, row, bars, looks, most, {"xaxis": axis_name("x", i), "yaxis": axis_name("y", i)})
        order = _order(row.ranks)
        figure.update_yaxes(
            **no_axis,
            range=[lowest, TOP],
            tickvals=[_height(place, most) for place in range(len(order))],
            ticktext=[f"{plotly_text(shortened(name, 20))} <b>{row.ranks[name]:.2f}</b>" for name in order],
            selector={"anchor": axis_name("x", i)},
        )
        right = max(len(order), 1 + row.critical_difference) + 0.3
        figure.update_xaxes(**no_axis, range=[0.7, right], showticklabels=False, selector={"anchor": axis_name("y", i)})
    blocks = f"{rows[0].blocks} {rows[0].unit}"
    what = (
        "each data set" if several else f"each seed of one sweep ({next(iter(sweeps))}), so this holds for its data set"
    )
    family = rows[0].family
    corrected = f", corrected by Holm's method for {family} comparisons" if family > 1 else ""
    headline(
        figure,
        f"First pools ranked by {measure} over {blocks}",
        f"First pools are ranked within {what}. Friedman's permutation test{corrected}. A bar joins first pools whose "
        "mean ranks do not differ significantly, by Nemenyi's critical difference (CD) at 0.05.",
    )
    words = [row.sentence for row in rows]
    words += [_bars_sentence(row, bars) for row, bars in zip(rows, all_bars, strict=True) if row.differ]
    everyone = list(dict.fromkeys(str(init) for rounds in sweeps.values() for init in rounds["init"]))
    absent = [name for name in everyone if not any(name in row.ranks for row in rows)]
    words += (
        [f"Left out, because they have no value in one of the {rows[0].unit}: {', '.join(absent)}."] if absent else []
    )
    return complete(figure, ["Diagram of mean ranks.", *words])


def cliques(ranks: Mapping[str, float], difference: float) -> list[tuple[str, ...]]:
    """The largest groups of two or more that lie within the difference, best first; none is inside another.

    Parameters
    ----------
    ranks : mapping of str to float
        Mean rank by name.
    difference : float
        The critical one.
    """
    order, groups = _order(ranks), list[tuple[str, ...]]()
    last_end = 0
    for first, name in enumerate(order):
        end = first
        while end < len(order) and ranks[order[end]] - ranks[name] <= difference:
            end += 1
        if end - first > 1 and end > last_end:
            groups.append(tuple(order[first:end]))
            last_end = end
    return groups


def _order(ranks: Mapping[str, float]) -> list[str]:
    return sorted(ranks, key=lambda name: ranks[name])


def _height(place: int, bars: int) -> float:
    """The y coordinate of a name's row, below the bars."""
    return -1 - bars * CLIQUE - place


def _setting(row: FriedmanRow) -> str:
    return f"{f'query {row.query}' if row.query else 'first pools'} · {row.learner}"


def _verdict(row: FriedmanRow) -> str:
    p = f"p {row.p_holm:.2g}"
    if row.differ:
        return f"they differ, {p}"
    return f"not distinguishable, {p}" if row.decidable else f"{row.blocks} {row.unit} are too few for a verdict"


def _bars_sentence(row: FriedmanRow, bars: Sequence[tuple[str, ...]]) -> str:
    text = "; ".join(", ".join(names) for names in bars) or "none"
    return f"{_setting(row)}: ranks differ by no more than {row.critical_difference:.2f}: {text}."


def _draw(
    figure: Figure,
    row: FriedmanRow,
    bars: Sequence[tuple[str, ...]],
    looks: Mapping[str, Style],
    most: int,
    place: dict[str, Any],
) -> None:
    """The axis, the ruler of the critical difference, the bars, and of every first pool a leader and a mark."""
    place = {**place, "showlegend": False}
    order, count = _order(row.ranks), len(row.ranks)
    ranks = list(range(1, count + 1))
    thin = {"color": NEUTRAL, "width": 1}
    ticks = _segments([(1, 0, count, 0), *((at, 0, at, 0.2) for at in ranks)])
    figure.add_scatter(**ticks, mode="lines", line=thin, hoverinfo="skip", **place)
    figure.add_scatter(
        x=ranks, y=[NUMBER] * count, mode="text", text=[str(at) for at in ranks], hoverinfo="skip", **place
    )
    end = 1 + row.critical_difference
    ruler = _segments(
        [(1, RULER, end, RULER), (1, RULER - 0.15, 1, RULER + 0.15), (end, RULER - 0.15, end, RULER + 0.15)]
    )
    figure.add_scatter(**ruler, mode="lines", line={"color": NEUTRAL, "width": 2}, hoverinfo="skip", **place)
    label = f"CD {row.critical_difference:.2f}"
    figure.add_scatter(
        x=[1], y=[RULER + 0.15], mode="text", text=[label], textposition="top right", hoverinfo="skip", **place
    )
    # Each leader ends left of those of worse ranks, and above them: none crosses another.
    heights = {name: _height(at, most) for at, name in enumerate(order)}
    leaders = [(row.ranks[name], 0.0, row.ranks[name], heights[name]) for name in order]
    leaders += [(0.7, heights[name], row.ranks[name], heights[name]) for name in order]
    figure.add_scatter(**_segments(leaders), mode="lines", line=thin, hoverinfo="skip", **place)
    spans = [
        (row.ranks[names[0]] - 0.06, -CLIQUE * (at + 1), row.ranks[names[-1]] + 0.06, -CLIQUE * (at + 1))
        for at, names in enumerate(tuple(_order({name: row.ranks[name] for name in bar})) for bar in bars)
    ]
    figure.add_scatter(
        **_segments(spans), mode="lines", line={"color": PALETTE[0], "width": 5}, name="bars", hoverinfo="skip", **place
    )
    figure.add_scatter(
        x=[row.ranks[name] for name in order],
        y=[heights[name] for name in order],
        mode="markers",
        marker={
            "color": [looks[name].color for name in order],
            "symbol": [looks[name].symbol for name in order],
            "size": 9,
        },
        name="mean ranks",
        customdata=[plotly_text(name) for name in order],
        hovertemplate="<b>%{customdata}</b><br>mean rank %{x:.2f}<extra></extra>",
        **place,
    )


def _segments(lines: Sequence[tuple[float, float, float, float]]) -> dict[str, list[float | None]]:
    """Lines from (x, y) to (x, y) as the coordinates of one trace."""
    return {
        "x": [value for line in lines for value in (line[0], line[2], None)],
        "y": [value for line in lines for value in (line[1], line[3], None)],
    }
