"""What a whole run has, on one page."""

from __future__ import annotations

from collections.abc import Sequence

from initpools_cli.figures.fragment import Fragment
from initpools_cli.figures.markup import paragraph, safe
from initpools_cli.figures.registry import plots


@plots.register()
def report(summary: Sequence[str], chapters: Sequence[Fragment]) -> Fragment:
    """Everything a run has on one page: what was found in words, every kind of plot, the verdicts, where it comes from.

    Parameters
    ----------
    summary : sequence of str
        What was found, in plain sentences.
    chapters : sequence of Fragment
        Each with an anchor, in order.
    """
    entries = "".join(f'<li><a href="#{safe(each.anchor)}">{safe(each.heading)}</a></li>' for each in chapters)
    contents = f'<nav aria-label="Contents"><ol>{entries}</ol></nav>'
    found = "".join(paragraph(sentence) for sentence in summary)
    return Fragment("", "", f"{found}{contents}", [], parts=chapters)
