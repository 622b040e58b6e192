"""Small pieces of HTML: text that stays text, paragraphs, lists, tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence


def safe(text: object) -> str:
    """Any text as HTML that shows exactly it; halves of characters, which UTF-8 does not have, become "?"."""
    printable = str(text).encode("utf-8", "replace").decode("utf-8")
    return html.escape(printable, quote=True)


def sentence(text: str) -> str:
    """Plain text as HTML, with what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", safe(text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; nothing where there is none."""
    return f"<p{f' class={kind}' if kind else ''}>{sentence(text)}</p>" if text else ""


def bullets(lines: Iterable[str]) -> str:
    """A list of plain sentences."""
    return "<ul>" + "".join(f"<li>{sentence(line)}</li>" for line in lines) + "</ul>"


def folded(summary: str, body: str) -> str:
    """HTML behind a line that opens it."""
    return f"<details><summary>{safe(summary)}</summary>{body}</details>"


def facts(rows: Mapping[str, object]) -> str:
    """A table of names and values, both plain."""
    cells = (f"<tr><th scope=row>{safe(key)}</th><td>{safe(value)}</td></tr>" for key, value in rows.items())
    return f"<table class=facts>{''.join(cells)}</table>"


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0, marks: Sequence[str] = ()
) -> str:
    """A table of plain cells that scrolls within the page where it is too wide.

    Parameters
    ----------
    caption : str
        What screen readers call it.
    header : sequence of str
    rows : iterable of sequences
    numbers : int
        So many columns at the right hold numbers.
    marks : sequence of str
        The class of every row, "" for none; default: none has one.
    """
    first = len(header) - numbers
    looks = [" class=number" if i >= first else "" for i in range(len(header))]
    head = "".join(f"<th scope=col{look}>{safe(name)}</th>" for name, look in zip(header, looks, strict=True))
    lines = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td{look}>{safe(cell)}</td>" for cell, look in zip(row, looks, strict=True))
        lines.append(f"<tr{f' class={marks[i]}' if marks and marks[i] else ''}>{cells}</tr>")
    # What scrolls must be reached by the keyboard.
    return (
        f'<div class=scroll role=region tabindex=0 aria-label="{safe(caption)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
