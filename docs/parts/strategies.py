"""Generated parts of the pages on strategies: summary, inputs and knobs of each strategy."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from initpools_cli.cli.catalog import KINDS
from initpools_cli.core.registry import Method
from initpools_cli.strategies.registry import strategies
from parts.text import table, toml

PAGES = Path(__file__).parent.parent / "strategies"
GENERATED = re.compile(r"<!-- generated: (?:strategies|score-strategies) ([^>]+) -->")
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def page_names(page: Path) -> list[str]:
    """List the strategies of a page."""
    return [name for match in GENERATED.findall(page.read_text(encoding="utf-8")) for name in match.split()]


@cache
def _pages() -> dict[str, Path]:
    return {name: page for page in sorted(PAGES.glob("*.md")) for name in page_names(page)}


def page_of(name: str) -> Path:
    """Return the page of a strategy; a `generated:` line of a page must name it."""
    if name not in _pages():
        raise SystemExit(
            f"No page in docs/strategies/ lists {name} in a line `<!-- generated: strategies … -->`; add it."
        )
    return _pages()[name]


def descriptions(*names: str) -> str:
    """Describe each strategy, from its docstring and its registration."""
    return "\n\n".join(_section(strategies.get(name)) for name in names)


def score_table(*names: str) -> str:
    """Tabulate strategies that rank by a score."""
    rows = {row["name"]: row for row in KINDS["scores"]()}
    lines = [
        (f"`{name}`", rows[name]["high"], ", ".join(f"`{each}`" for each in rows[name]["inputs"]), rows[name]["paper"])
        for name in names
    ]
    return table(("name", "a high score means", "computed from", "paper"), lines)


def _section(method: Method) -> str:
    summary, knobs = _docstring(method)
    needs = [f"`{name}`" for name in method.inputs] + [f"`{name}` (optional)" for name in method.optional]
    facts = [
        f"Needs: {', '.join(needs) or 'nothing'}.",
        f"Cost: {method.traits.cost}.",
        "Nested: a larger pool begins with the smaller one." if method.traits.nested else "Not nested.",
        *([f"Paper: {method.paper}."] if method.paper else []),
        *([f"Also called {', '.join(f'`{alias}`' for alias in method.aliases)}."] if method.aliases else []),
    ]
    parts = [f"### {method.name}", summary, " ".join(facts)]
    if method.knobs:
        rows = [
            (f"`{name} = {toml(default)}`", _values(annotation), knobs.get(name, ""))
            for name, (annotation, default) in method.knobs.items()
        ]
        parts.append(table(("knob", "values", "what it sets"), rows))
    return "\n\n".join(parts)


def _docstring(method: Method) -> tuple[str, dict[str, str]]:
    """Split a docstring into the text before its parameters, and the description of each parameter."""
    text, _, rest = (inspect.getdoc(method.build) or "").partition("\n\nParameters\n----------\n")
    about: dict[str, str] = {}
    names: list[str] = []
    for line in rest.partition("\n\nReturns\n")[0].splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        else:
            for name in names:
                about[name] = f"{about.get(name, '')} {line.strip()}".strip()
    return text.replace("``", "`"), about


def _values(annotation: Any) -> str:
    """Describe the allowed values of a knob."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_values, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{toml(value)}`" for value in get_args(annotation))
    kind, limits = annotation, []
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        # A limit is annotated directly or inside a pydantic Field.
        limits = [inner for each in metadata for inner in getattr(each, "metadata", [each])]
    bounds = [f"{sign} {value:g}" for each in limits for key, sign in SIGNS.items() for value in _limit(each, key)]
    return ", ".join([{int: "whole number", float: "number", bool: "true or false"}.get(kind, "text"), *bounds])


def _limit(limit: Any, key: str) -> list[float]:
    value = getattr(limit, key, None)
    return [] if value is None else [value]
