"""Shell completion of names. It runs at every Tab, so it imports no torch: the names are read from `names.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

Complete = Callable[[str], list[str]]


@cache
def stored_names() -> dict[str, list[str]]:
    """The names of every kind and the short names of backbones, from a file that a test keeps current."""
    return json.loads(files("initpools_cli.cli").joinpath("names.json").read_text(encoding="utf-8"))


def names_of_kind(kind: str) -> Callable[[], list[str]]:
    """A function that returns the names of one kind, e.g. ``pretexts``."""
    return lambda: stored_names()[kind]


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Complete one name."""

    def complete(incomplete: str) -> list[str]:
        return sorted(name for name in names() if name.startswith(incomplete))

    return complete


def several_of(one: Complete) -> Complete:
    """Complete the last name of a comma-separated list; names that are already in the list are left out."""

    def complete(incomplete: str) -> list[str]:
        *before, last = incomplete.split(",")
        start = "".join(f"{name}," for name in before)
        return [start + name for name in one(last) if name not in before]

    return complete


datasets = one_of(names_of_kind("datasets"))
pretexts = one_of(names_of_kind("pretexts"))
scores = one_of(names_of_kind("scores"))
learners = one_of(names_of_kind("learners"))
networks = one_of(names_of_kind("networks"))
plots = one_of(names_of_kind("plots"))
exports = one_of(names_of_kind("exports"))


def strategy(incomplete: str) -> list[str]:
    """Complete the name of a strategy, and after an @ how its picks are spread over clusters."""
    from initpools_cli.strategies.balance import BALANCES

    names = stored_names()["strategies"]
    base, at, _ = incomplete.partition("@")
    if at and base in names:
        names = [f"{base}@{kind}" for kind in BALANCES[1:]]
    return one_of(lambda: names)(incomplete)


def source(incomplete: str) -> list[str]:
    """Complete what `embed` can embed with by a short name; all backbones of the libraries are too many to list."""
    names = stored_names()
    return one_of(lambda: {*names["pretexts"], *names["short_backbones"], "pca", "pixels"})(incomplete)


def kind(incomplete: str) -> list[str]:
    """Complete what `initpools list` lists."""
    from initpools_cli.cli.catalog import KINDS

    return one_of(lambda: KINDS)(incomplete)


def suites(incomplete: str) -> list[str]:
    """Complete the name of a suite."""
    return one_of(lambda: stored_names()["suites"])(incomplete)
