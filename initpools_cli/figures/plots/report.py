"""The report: every result of a run on one page."""

from __future__ import annotations

from collections.abc import Sequence

from initpools_cli.figures.html import render
from initpools_cli.figures.registry import plots
from initpools_cli.figures.section import Section


@plots.register()
def report(summary: Sequence[str], sections: Sequence[Section], state: str = "") -> Section:
    """All results of a run on one page: the state of the labeling, a summary, figures, verdicts and provenance.

    Parameters
    ----------
    summary : sequence of str
        The main findings, in plain sentences.
    sections : sequence of Section
        Each with an anchor, in order.
    state : Markup
        Above the summary: HTML on the state of the labeling loop.
    """
    body = render("report.html.j2", summary=summary, sections=sections, state=state)
    return Section("", "", body, [], parts=sections)
