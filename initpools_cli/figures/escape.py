"""Escaping of text for Plotly, which reads some HTML and its own templates in every text."""

from __future__ import annotations

import html


def plotly_text(text: object) -> str:
    """`text` as Plotly must be given it to show exactly these characters.

    Tags and entities are escaped, Plotly's ``%{...}`` is broken up, and what cannot be printed (control characters,
    changes of writing direction, halves of characters) becomes U+FFFD.
    """
    return html.escape(printable(text), quote=False).replace("%{", "%&#123;")


def printable(text: object) -> str:
    """`text` with U+FFFD for what cannot be printed: control characters, changes of writing direction, surrogates."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def plain(text: str) -> str:
    """The characters that Plotly shows for a text."""
    return html.unescape(text.replace("<br>", " "))


def shortened(text: object, width: int = 28) -> str:
    """A long name cut to `width` characters."""
    whole = str(text)
    return whole if len(whole) <= width else whole[: width - 1] + "\u2026"


def percent(share: float) -> str:
    """A share in per cent, ``"83.4 %"``; only 0 and 1 are shown as 0 % and 100 %."""
    for digits in (1, 3):
        text = f"{100 * share:.{digits}f}"
        if float(text) not in (0.0, 100.0) or share in (0.0, 1.0):
            break
    return f"{text.rstrip('0').rstrip('.') if float(text) in (0.0, 100.0) else text} %"
