"""Reading and writing of TOML files whose first line is a checksum of the rest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file, write_text
from initpools_cli.core.schema import SCHEMA, check_schema
from initpools_cli.core.toml import parse_toml

_FIRST_LINE = re.compile(rb'checksum = "([0-9a-f]{64})"\n')


class DamagedFile(UserError):
    """Error for a file of a run that is missing or was changed after it was written."""


def write_checked_toml(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a ``run.toml`` or ``step.toml`` of the current schema, atomically."""
    text = tomli_w.dumps({"schema": SCHEMA, **{key: value for key, value in facts.items() if key != "schema"}})
    write_text(path, f'checksum = "{hashlib.sha256(text.encode()).hexdigest()}"\n{text}')


def read_checked_toml(path: Path, remedy: str) -> dict[str, Any]:
    """Read a ``run.toml`` or ``step.toml`` and verify its checksum; files of schema 1 have none.

    Parameters
    ----------
    remedy : str
        What to do if the file is damaged.

    Returns
    -------
    dict
        The content without the checksum.

    Raises
    ------
    DamagedFile
        The file is missing, or was changed after it was written.
    UserError
        A newer version wrote the file.
    """
    if not path.exists():
        raise DamagedFile(f"{path} is missing.", remedy, path)
    content = read_file(path, "of a run")
    first = _FIRST_LINE.match(content)
    if first and hashlib.sha256(content[first.end() :]).hexdigest().encode() != first[1]:
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum.", remedy, path)
    try:
        facts = parse_toml(content.decode())
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged: {error}.", remedy, path) from None
    check_schema(facts, path)
    if not first and (facts.get("schema", 1) > 1 or "checksum" in facts):
        raise DamagedFile(f"{path} is damaged: it does not start with a checksum.", remedy, path)
    facts.pop("checksum", None)
    return facts
