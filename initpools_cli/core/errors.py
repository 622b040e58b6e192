"""Errors that a user can correct, and suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can correct; shown in two lines without a traceback, exit code 2.

    Parameters
    ----------
    fact : str
        One sentence: what is wrong, with the value in it.
    remedy : str
        One sentence: what to type or to do.
    value : object, optional
        The offending value as `fact` shows it, or the missing option.
    """

    def __init__(self, fact: str, remedy: str, value: object = None) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact = fact
        self.remedy = remedy
        self.value = value

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        """Pickle both sentences and the value as text, for errors raised in another process."""
        return type(self), (self.fact, self.remedy, str(self.value))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the valid name closest to a misspelled one, or None if none is close."""
    by_lower = {valid.lower(): valid for valid in names}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else None


def unknown_name(kind: str, name: str, names: Iterable[str], listing: str) -> UserError:
    """Return the error for a name that is not registered; `listing` is the command that lists the valid names."""
    guess = nearest(name, names)
    remedy = f"Did you mean '{guess}'? `{listing}` lists all." if guess else f"`{listing}` lists all."
    return UserError(f"There is no {kind} '{name}'.", remedy, name)
