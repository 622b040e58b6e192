"""Reading and validation of ``step.toml``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from initpools_cli.core.checked_toml import DamagedFile, read_checked_toml
from initpools_cli.core.checksums import FileCache, signature

#: The required keys of ``step.toml``.
STEP_KEYS = {
    *("command", "renew", "finished", "started", "digest", "table_digest", "table", "outcome", "reads", "writes"),
}
#: A command reads the files of all rounds many times.
_steps: FileCache[dict[str, Any]] = FileCache()


def read_step_toml(path: Path, remedy: str) -> dict[str, Any]:
    """Read a ``step.toml`` and validate its keys and types; callers must not modify the result.

    Parameters
    ----------
    remedy : str
        What to do if the file is damaged.

    Raises
    ------
    UserError
        The file is missing or damaged, or a newer version wrote it.
    """
    if not path.exists():
        return _validated(path, remedy)
    before = signature(path)
    facts = _steps.get(before)
    if facts is None:
        facts = _validated(path, remedy)
        _steps.keep(before, signature(path), facts)
    return facts


def _validated(path: Path, remedy: str) -> dict[str, Any]:
    facts = read_checked_toml(path, remedy)
    for key in sorted(STEP_KEYS):
        if key not in facts:
            raise DamagedFile(f"{path} is damaged: the key {key} is missing.", remedy, key)
        if not _has_valid_type(key, facts[key]):
            text = f"{key} = {facts[key]!r:.60}"
            raise DamagedFile(f"{path} is damaged: {text}.", remedy, text)
    return facts


def _has_valid_type(key: str, value: object) -> bool:
    match key:
        case "table" | "outcome":
            return isinstance(value, dict)
        case "reads" | "writes":
            return isinstance(value, dict) and all(isinstance(checksum, str) for checksum in value.values())
        case "renew":
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case "started" | "finished":
            try:
                return isinstance(value, str) and bool(datetime.fromisoformat(value))
            except ValueError:
                return False
    return isinstance(value, str)
