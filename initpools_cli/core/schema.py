"""Versions of what a run stores, and what of it identifies a step across versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from initpools_cli.core.errors import UserError

#: The layout of ``run.toml`` and ``step.toml`` that this version writes. Files without a number are of schema 1.
SCHEMA = 2

#: Marks a setting or a knob that schema 1 did not have: ``Field(…, json_schema_extra=ADDED)``. It enters a step's
#: table, and so its digest, only when it differs from its default: an upgrade makes no finished step look different.
ADDED = {"added": True}


def is_added(field: FieldInfo) -> bool:
    """Whether a field is marked with `ADDED`."""
    return isinstance(field.json_schema_extra, Mapping) and "added" in field.json_schema_extra


def check_schema(facts: Mapping[str, Any], path: Path) -> None:
    """Refuse a stored file whose schema this version does not know.

    Parameters
    ----------
    facts : mapping
        The content of a ``run.toml`` or ``step.toml``.
    path : Path
        The file, for the message.

    Raises
    ------
    UserError
        The file was written by a newer version, or its schema is no number.
    """
    schema = facts.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise UserError(f"{path} is damaged: schema = {schema!r}.", "Restore the file from a copy.")
    if schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer version of initpools (schema {schema}, and this one reads up to {SCHEMA}).",
            "Upgrade initpools with `pip install --upgrade initpools`.",
        )
