"""Relabel queue: images whose class was split, and images that no class fits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.core.rundir import Run
from initpools_cli.labeling.label_file import write_to_disk

#: File of the run with one image per line. An image leaves the queue when it is labeled; its line stays.
QUEUE = "labels/relabel.jsonl"
#: Why an image is in the queue.
WAS_SPLIT, NONE_FITS = "split", "none of these"


class RelabelReason(NamedTuple):
    """Why an image is in the queue, and its class before."""

    why: str
    was: str = ""


def read_queue(run: Run) -> dict[int, RelabelReason]:
    """Read the queue of a run, by train row.

    Raises
    ------
    UserError
        If it is damaged.
    """
    return _read(run.path / QUEUE)


def add_to_queue(
    run: Run, images: Mapping[int, RelabelReason] | Iterable[tuple[int, RelabelReason]]
) -> dict[int, RelabelReason]:
    """Add images, and return the whole queue; images that are in it already get the newer reason."""
    path = run.path / QUEUE
    queue = _read(path) | dict(images)
    lines = (
        json.dumps({"index": index, "why": each.why, "was": each.was}, ensure_ascii=False)
        for index, each in queue.items()
    )
    write_to_disk(path, "".join(f"{line}\n" for line in lines))
    return queue


def _read(path: Path) -> dict[int, RelabelReason]:
    if not path.exists():
        return {}
    try:
        entries = [json.loads(line) for line in read_file(path, "the relabel queue").decode().splitlines() if line]
        return {int(entry["index"]): RelabelReason(str(entry["why"]), str(entry["was"])) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged: {error!s:.100}.", "Restore it from a backup, or move it elsewhere.", path
        ) from None
