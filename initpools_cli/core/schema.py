"""Schema versions of ``run.toml`` and ``step.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from initpools_cli.core.errors import UserError

#: The schema that this version writes. Files without a number have schema 1.
SCHEMA = 2

#: Marks a setting or a knob added after schema 1: ``Field(…, json_schema_extra=ADDED)``. It is part of a step's table,
#: and so of its digest, only if it differs from its default, so that an upgrade does not change finished steps.
ADDED = {"added": True}


def is_added(field: FieldInfo) -> bool:
    """Whether a field is marked with `ADDED`."""
    return isinstance(field.json_schema_extra, Mapping) and "added" in field.json_schema_extra


def check_schema(facts: Mapping[str, Any], path: Path) -> None:
    """Raise an error if this version can't read a file's schema.

    Parameters
    ----------
    facts : mapping
        The content of a ``run.toml`` or ``step.toml``.
    path : Path
        The file, for the message.

    Raises
    ------
    UserError
        A newer version wrote the file, or its schema is not a positive integer.
    """
    schema = facts.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        text = f"schema = {schema!r}"
        raise UserError(f"{path} is damaged: {text}.", "Restore the file from a backup.", text)
    if schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer version of initpools: it has schema {schema}, and this version reads up to "
            f"{SCHEMA}.",
            "Upgrade initpools with `pip install --upgrade initpools`.",
            schema,
        )
