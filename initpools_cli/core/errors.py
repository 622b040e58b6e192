"""The one error a user can mend, and the search for the name they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, with the values in it, and what to do; shown without a traceback, exit code 2.

    Parameters
    ----------
    fact : str
        One sentence of what is wrong.
    remedy : str
        One sentence of what to do, with the command where there is one.
    """

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact = fact
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Both sentences, where it comes from another process."""
        return type(self), (self.fact, self.remedy)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name that `name` is most likely a slip of, or None where nothing is close."""
    by_lower = {valid.lower(): valid for valid in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def unknown_name(kind: str, name: str, names: Iterable[str], listing: str) -> UserError:
    """The error for a name that is not registered; `listing` is the command that lists the valid ones."""
    guess = nearest(name, names)
    remedy = f"Did you mean '{guess}'? `{listing}` names them all." if guess else f"`{listing}` names them all."
    return UserError(f"There is no {kind} '{name}'.", remedy)
