"""Label Studio's exports as JSON, in full and in short; and a pool that was written as .json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.datasets.annotations.rows import INDEX_NAMES, LABEL_NAMES, PATH_NAMES, Row


def read(path: Path, what: str) -> tuple[list[Row], list[str]]:
    """The annotations of a list of tasks.

    A task that was annotated several times gives a row each; one that all have skipped has no label.

    Raises
    ------
    UserError
        It is no list of tasks.
    """
    try:
        tasks = json.loads(read_file(path, what))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise _no_tasks(path, what, str(error)) from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise _no_tasks(path, what, "it is no list of tasks")
    rows = [row for number, task in enumerate(tasks, 1) for row in _rows(f"task {number}", task)]
    if rows and not any(row.path or row.index for row in rows):
        raise _no_tasks(path, what, "no task says which image it is of")
    return rows, []


def _rows(place: str, task: Mapping[str, Any]) -> Iterator[Row]:
    data = task.get("data")
    if not isinstance(data, dict):
        yield _row(place, task, _first(task, LABEL_NAMES))
        return
    made = _mappings(task.get("annotations"))
    done = [each for each in made if not each.get("was_cancelled")]
    if not done:
        yield replace(_row(place, data, ""), skipped=bool(made))
    for annotation in done:
        values = _mappings([result.get("value") for result in _mappings(annotation.get("result"))])
        yield _row(place, data, [choice for value in values for choice in _choices(value)])


def _row(place: str, data: Mapping[str, Any], label: object) -> Row:
    path, index = _text(_first(data, PATH_NAMES)), _text(_first(data, INDEX_NAMES))
    if isinstance(label, dict):
        label = _choices(label)
    choices = label if isinstance(label, list) else [label]
    if len(choices) > 1:
        return Row(place, path, index, problem=f"has {len(choices)} labels: {', '.join(map(str, choices))}")
    return Row(place, path, index, "" if not choices or choices[0] is None else str(choices[0]))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """Those of a list; a file that people have edited may hold anything."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _choices(value: Mapping[str, Any]) -> list[object]:
    found = value.get("choices")
    return found if isinstance(found, list) else [] if found is None else [found]


def _first(data: Mapping[str, Any], names: Sequence[str]) -> object:
    return next((data[name] for name in names if data.get(name) not in (None, "")), "")


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _no_tasks(path: Path, what: str, why: str) -> UserError:
    return UserError(f"{path} ({what}) is no export of tasks: {why}.", "Export as JSON, JSON-MIN or CSV.")
