"""A drawn kind that is a piece of a page, not a Plotly figure: the gallery, the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from initpools_cli.core.types import Figure


@dataclass(frozen=True)
class Fragment:
    """A piece of a page.

    Attributes
    ----------
    heading, subtitle : str
        Plain text; the page escapes it.
    body : str
        HTML that is safe as it stands: its author escaped every name in it.
    words : list of str
        Plain sentences for those who do not see the pictures.
    image : callable, optional
        Gives the bytes of a PNG; None where there is no picture of it.
    parts : sequence of Figure or Fragment
        What follows the body, each under its own heading one level below.
    anchor : str
        Where links inside the page find it; letters and hyphens.
    """

    heading: str
    subtitle: str
    body: str
    words: list[str]
    image: Callable[[], bytes] | None = None
    parts: Sequence[Figure | Fragment] = ()
    anchor: str = ""
