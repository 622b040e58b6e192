"""Names from files, made safe to show: Plotly reads a little HTML and its own templates in every text."""

from __future__ import annotations

import html


def inert(text: object) -> str:
    """`text` as Plotly must be given it to show exactly these characters.

    Tags and entities are escaped, Plotly's ``%{...}`` is broken up, and what cannot be printed (control characters,
    changes of writing direction, halves of characters) becomes U+FFFD.
    """
    return html.escape(printable(text), quote=False).replace("%{", "%&#123;")


def printable(text: object) -> str:
    """`text` with U+FFFD for what cannot be printed: control characters, changes of writing direction, surrogates."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def plain(text: str) -> str:
    """Plotly's text as the characters that it shows."""
    return html.unescape(text.replace("<br>", " "))


def shortened(text: object, width: int = 28) -> str:
    """The head of a long name, for places where the whole would hide the figure."""
    whole = str(text)
    return whole if len(whole) <= width else whole[: width - 1] + "\u2026"


def percent(share: float) -> str:
    """A share as a person reads it: ``"83.4 %"``; never rounded to all or nothing where it is not."""
    for digits in (1, 3):
        shown = f"{100 * share:.{digits}f}"
        if float(shown) not in (0.0, 100.0) or share in (0.0, 1.0):
            break
    return f"{shown.rstrip('0').rstrip('.') if float(shown) in (0.0, 100.0) else shown} %"
