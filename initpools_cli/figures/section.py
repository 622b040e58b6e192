"""A section of a page, where a Plotly figure is not enough: the gallery, the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from initpools_cli.core.types import Figure


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes
    ----------
    heading, subtitle : str
        Plain text.
    body : str or Markup
        HTML of a template; plain text is escaped.
    words : list of str
        Plain sentences for those who do not see the pictures.
    image : callable, optional
        Makes the bytes of a PNG; None where there is no picture of it.
    parts : sequence of Figure or Section
        What follows the body, each under its own heading one level below.
    anchor : str
        Where links inside the page find it; letters and hyphens.
    scripts : sequence of str
        Scripts in ``figures/assets`` that the body needs.
    """

    heading: str
    subtitle: str
    body: str
    words: list[str]
    image: Callable[[], bytes] | None = None
    parts: Sequence[Figure | Section] = ()
    anchor: str = ""
    scripts: Sequence[str] = ()
