"""Errors that a user can correct, and suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """An error that the user can correct; shown in two lines without a traceback, exit code 2.

    Parameters
    ----------
    fact : str
        One sentence: what is wrong, with the value in it.
    remedy : str
        One sentence: what to type or to do.
    value : object
        The offending value as `fact` shows it, or the missing option.
    """

    def __init__(self, fact: str, remedy: str, value: object) -> None:
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


def closest(name: str, names: Iterable[str], most: int = 4) -> list[str]:
    """Return the names of a long list that begin with `name`, else those that contain it, else similar ones.

    Parameters
    ----------
    most : int
        How many to return, the shortest first.
    """
    lower, by_lower = name.lower(), {valid.lower(): valid for valid in names}
    matches = [valid for valid in by_lower if valid.startswith(lower)] or [
        valid for valid in by_lower if lower in valid
    ]
    matches = sorted(matches, key=lambda valid: (len(valid), valid))[:most]
    return [by_lower[valid] for valid in matches or difflib.get_close_matches(lower, by_lower, n=most, cutoff=0.75)]


def did_you_mean(guesses: Sequence[str]) -> str:
    """Return the question "Did you mean 'a', 'b' or 'c'? ", or nothing without guesses."""
    *others, last = [f"'{guess}'" for guess in guesses] or [""]
    return f"Did you mean {', '.join(others)}{' or ' if others else ''}{last}? " if last else ""


def unknown_name(
    kind: str, name: str, names: Iterable[str], listing: str, guesses: Sequence[str] | None = None
) -> UserError:
    """Return the error for a name that is not registered.

    Parameters
    ----------
    names : iterable of str
        The valid names, of which the nearest is suggested.
    listing : str
        The command that lists them.
    guesses : sequence of str, optional
        What to suggest instead.
    """
    if guesses is None:
        guess = nearest(name, names)
        guesses = [guess] if guess else []
    return UserError(f"There is no {kind} '{name}'.", f"{did_you_mean(guesses)}`{listing}` lists all.", name)
