"""Values of the messages that the page sends; anything else is refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

#: Longest text of a message, characters.
LONGEST = 1000

Message = Mapping[str, Any]


class MalformedMessage(Exception):
    """A message that the page does not send."""


def text(message: Message, key: str) -> str:
    """Return a text that is not empty."""
    return _text(message.get(key), key)


def texts(message: Message, key: str) -> list[str]:
    """Return one or several texts; a single text counts as a list of one."""
    value = message.get(key)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise MalformedMessage(key)
    return [_text(each, key) for each in values]


def one_of(message: Message, key: str, allowed: Collection[str], default: str) -> str:
    """Return one of the allowed texts."""
    value = message.get(key, default)
    if value not in allowed:
        raise MalformedMessage(key)
    return str(value)


def whole(message: Message, key: str) -> int:
    """Return an integer."""
    return _whole(message.get(key), key)


def images(message: Message) -> list[int]:
    """Return the images of an action: ``images``, or a single ``index``."""
    if "images" not in message:
        return [whole(message, "index")]
    values = message["images"]
    if not isinstance(values, list) or not values:
        raise MalformedMessage("images")
    return [_whole(value, "images") for value in values]


def seconds(message: Message) -> float:
    """Return the time of an action; 0 if it is not in the message."""
    value = message.get("seconds", 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise MalformedMessage("seconds")
    try:
        return float(value)
    except OverflowError:
        raise MalformedMessage("seconds") from None


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST:
        raise MalformedMessage(key)
    try:
        value.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which no file can hold.
        raise MalformedMessage(key) from None
    return value


def _whole(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedMessage(key)
    return value
