"""What the pages on strategies say: of each strategy what it does, what it needs, and every knob."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from initpools_cli.cli.catalog import KINDS
from initpools_cli.core.registry import Method
from initpools_cli.strategies.registry import strategies
from parts.text import table, toml

PAGES = Path(__file__).parent.parent / "strategies"
NAMED = re.compile(r"<!-- generated: (?:strategies|score-strategies) ([^>]+) -->")
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def page_names(page: Path) -> list[str]:
    """The strategies that a page speaks of."""
    return [name for found in NAMED.findall(page.read_text(encoding="utf-8")) for name in found.split()]


@cache
def _pages() -> dict[str, Path]:
    return {name: page for page in sorted(PAGES.glob("*.md")) for name in page_names(page)}


def page_of(name: str) -> Path:
    """The page that speaks of a strategy; a new one is named in the line `generated:` of one of them."""
    if name not in _pages():
        raise SystemExit(f"No page in docs/strategies/ names the strategy {name} in a line `<!-- generated: … -->`.")
    return _pages()[name]


def described(*names: str) -> str:
    """A section for each strategy, out of its docstring and its registration."""
    return "\n\n".join(_section(strategies.get(name)) for name in names)


def score_table(*names: str) -> str:
    """A line for each strategy that goes by a score."""
    rows = {row["name"]: row for row in KINDS["scores"]()}
    lines = [
        (f"`{name}`", rows[name]["high"], ", ".join(f"`{each}`" for each in rows[name]["inputs"]), rows[name]["paper"])
        for name in names
    ]
    return table(("name", "takes first an image for which", "score of", "paper"), lines)


def _section(method: Method) -> str:
    told, knobs = _docstring(method)
    needs = [f"`{name}`" for name in method.inputs] + [f"`{name}` where it is there" for name in method.optional]
    facts = [
        f"Needs: {', '.join(needs) or 'nothing'}.",
        f"Cost: {method.traits.cost}.",
        "A larger pool begins with a smaller one." if method.traits.nested else "Chosen anew for every budget.",
        *([f"Paper: {method.paper}."] if method.paper else []),
        *([f"Also called {', '.join(f'`{alias}`' for alias in method.aliases)}."] if method.aliases else []),
    ]
    parts = [f"### {method.name}", told, " ".join(facts)]
    if method.knobs:
        rows = [
            (f"`{name} = {toml(default)}`", _values(annotation), knobs.get(name, ""))
            for name, (annotation, default) in method.knobs.items()
        ]
        parts.append(table(("knob", "values", "what it sets"), rows))
    return "\n\n".join(parts)


def _docstring(method: Method) -> tuple[str, dict[str, str]]:
    """What a docstring says before its parameters, and of each parameter."""
    told, _, rest = (inspect.getdoc(method.build) or "").partition("\n\nParameters\n----------\n")
    about: dict[str, str] = {}
    names: list[str] = []
    for line in rest.partition("\n\nReturns\n")[0].splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        else:
            for name in names:
                about[name] = f"{about.get(name, '')} {line.strip()}".strip()
    return told.replace("``", "`"), about


def _values(annotation: Any) -> str:
    """What a knob may be."""
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{toml(value)}`" for value in get_args(annotation))
    kind, limits = annotation, []
    if get_origin(annotation) is Annotated:
        kind, *found = get_args(annotation)
        # A limit stands there itself, or inside a pydantic Field.
        limits = [inner for each in found for inner in getattr(each, "metadata", [each])]
    said = [f"{sign} {value:g}" for each in limits for key, sign in SIGNS.items() for value in _limit(each, key)]
    return ", ".join([{int: "whole number", float: "number", bool: "true or false"}.get(kind, "text"), *said])


def _limit(limit: Any, key: str) -> list[float]:
    value = getattr(limit, key, None)
    return [] if value is None else [value]
