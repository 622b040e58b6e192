"""Size of the audit sample of a batch: a share of the budget, or a number of images."""

from __future__ import annotations

from typing import Any

#: The largest number of audit images of a batch.
LARGEST = 1_000_000


def audit_size(text: str, budget: int) -> int:
    """Return the number of audit images of a batch; 0 if there are none.

    Parameters
    ----------
    text : str
        "10%" (of the budget, rounded, at least 1), "5", or "" for none.
    budget : int

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if not text:
        return 0
    if text.endswith("%"):
        share = float(text[:-1])
        if not 0 < share <= 1000:
            raise ValueError(text)
        return max(1, round(share * budget / 100))
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= LARGEST):
        raise ValueError(text)
    return int(text)


def audit_setting(value: Any) -> Any:
    """Validate the setting; raises ValueError with what it should be."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    try:
        audit_size(text, 1)
    except (ValueError, AttributeError, TypeError):
        raise ValueError("should be a share of the budget, such as 10%, or a number of images, such as 5") from None
    return text
