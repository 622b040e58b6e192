"""Reader of Label Studio's exports as JSON or JSON-MIN, and of pools saved as .json."""

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
    """Read the annotations of a list of tasks.

    A task with several annotations gives one row each; a task that all annotators skipped has no label.

    Raises
    ------
    UserError
        The file is not a list of tasks.
    """
    try:
        tasks = json.loads(read_file(path, what))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise _no_tasks(path, what, str(error)) from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise _no_tasks(path, what, "it is not a list of tasks")
    rows = [row for number, task in enumerate(tasks, 1) for row in _rows(f"task {number}", task)]
    if rows and not any(row.path or row.index for row in rows):
        raise _no_tasks(path, what, "no task names its image")
    return rows, []


def _rows(place: str, task: Mapping[str, Any]) -> Iterator[Row]:
    data = task.get("data")
    if not isinstance(data, dict):
        yield _row(place, task, _first(task, LABEL_NAMES))
        return
    annotations = _mappings(task.get("annotations"))
    finished_annotations = [each for each in annotations if not each.get("was_cancelled")]
    if not finished_annotations:
        yield replace(_row(place, data, ""), skipped=bool(annotations))
    for annotation in finished_annotations:
        values = _mappings([result.get("value") for result in _mappings(annotation.get("result"))])
        yield _row(place, data, [choice for value in values for choice in _choices(value)])


def _row(place: str, data: Mapping[str, Any], label: object) -> Row:
    path, index = _text(_first(data, PATH_NAMES)), _text(_first(data, INDEX_NAMES))
    if isinstance(label, dict):
        label = _choices(label)
    choices = label if isinstance(label, list) else [label]
    if len(choices) > 1:
        names = tuple(map(str, choices))
        return Row(place, path, index, problem=f"has {len(names)} labels: {', '.join(names)}", parts=names)
    return Row(place, path, index, "" if not choices or choices[0] is None else str(choices[0]))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings in a list; a file edited by hand may contain other values."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _choices(value: Mapping[str, Any]) -> list[object]:
    choices = value.get("choices")
    return choices if isinstance(choices, list) else [] if choices is None else [choices]


def _first(data: Mapping[str, Any], names: Sequence[str]) -> object:
    return next((data[name] for name in names if data.get(name) not in (None, "")), "")


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _no_tasks(path: Path, what: str, why: str) -> UserError:
    return UserError(
        f"{path} ({what}) is not an export of tasks: {why}.", "Export the project as JSON, JSON-MIN or CSV.", path
    )
