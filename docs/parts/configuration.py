"""Generated parts of the page on configuration: all tables, keys, and files in configs/."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from initpools_cli.core.config import TABLES
from parts.text import table, toml

ROOT = Path(__file__).parent.parent.parent


def configuration() -> str:
    """Tabulate every key of every table."""
    parts = []
    for name, model in TABLES.items():
        fields = model.model_fields
        rows = [
            (f"`{key}`", _type(field), f"`{toml(field.default)}`", field.description)
            for key, field in fields.items()
            if key != "params"
        ]
        parts.append(f"## [{name}]\n\n{inspect.getdoc(model)}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}")
        if "params" in fields:
            parts.append(f"`[{name}.params]` has the knobs of the method, which [methods.md](methods.md) lists.")
    return "\n\n".join(parts)


def _type(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(field.annotation))
    if get_origin(field.annotation) is Union:
        # A number, or one word instead of it.
        *_, (word,) = map(get_args, get_args(field.annotation))
        return f"whole number, or `{word}`"
    kind = {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        field.annotation, "list of names"
    )
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {'2^63' if value == 2**63 else value}"
        for limit in field.metadata
        for name, sign in signs.items()
        if (value := getattr(limit, name, None)) is not None
    ]
    return ", ".join([kind, *limits])


def configs() -> str:
    """Tabulate the files in configs/ with their titles, by folder."""
    files = sorted((ROOT / "configs").rglob("*.toml"), key=lambda file: (file.parent, file.name))
    names = [file.relative_to(ROOT).as_posix() for file in files]
    titles = [file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for file in files]
    rows = ((f"[{name.removeprefix('configs/')}](../{name})", title) for name, title in zip(names, titles, strict=True))
    return table(("file", "what it is"), rows)
