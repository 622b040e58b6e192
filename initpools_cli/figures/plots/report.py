"""The report: every result of a run on one page."""

from __future__ import annotations

from collections.abc import Sequence

from initpools_cli.figures.html import render
from initpools_cli.figures.registry import plots
from initpools_cli.figures.section import Section


@plots.register()
def report(summary: Sequence[str], sections: Sequence[Section]) -> Section:
    """All results of a run on one page: a summary in words, every kind of plot, the verdicts and their provenance.

    Parameters
    ----------
    summary : sequence of str
        The main findings, in plain sentences.
    sections : sequence of Section
        Each with an anchor, in order.
    """
    body = render("report.html.j2", summary=summary, sections=sections)
    return Section("", "", body, [], parts=sections)
