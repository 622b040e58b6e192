"""Origin of labels: why an image was labeled, and what the annotator was shown."""

from __future__ import annotations

import math
from collections.abc import Mapping

from initpools_cli.core.rundir import Run
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.labeling.batch import LISTS

#: An image that a strategy chose, one drawn at random, and one that the annotator chose.
BATCH, AUDIT, OWN_CHOICE = "batch", "audit", "own choice"
ORIGINS = (BATCH, AUDIT, OWN_CHOICE)


def audit_images(run: Run) -> set[int]:
    """Return the train rows that a batch of the run lists as audit images."""
    found: set[int] = set()
    for kind, file in LISTS.items():
        for step in run.steps(kind):
            if step.table.get("audit") and file in step.facts["writes"]:
                rows = step.frame(file, dtype={"path": str, "label": str}, keep_default_na=False)
                found |= {*rows.loc[rows["origin"] == AUDIT, "index"].tolist()}
    return found


def usable(details: Mapping[int, Details], what: str) -> tuple[dict[int, Details], list[str]]:
    """Leave out values that cannot be used, and return notes on them.

    Parameters
    ----------
    details : mapping of int to Details
        By train row.
    what : str
        Name of the file, for notes.
    """
    origins = {each.origin for each in details.values() if each.origin not in ("", *ORIGINS)}
    times = {each.seconds for each in details.values() if not _is_time(each.seconds)}
    notes = []
    if origins:
        notes.append(f"{what}: the origin {min(origins)!r} is ignored; known are {', '.join(ORIGINS)}.")
    if times:
        notes.append(f"{what}: the time {min(times)!r} is ignored; the column 'seconds' has numbers from 0.")
    kept = {
        image: Details(
            each.origin if each.origin in ORIGINS else "",
            each.suggested,
            # Predictions, too, have a column of this name.
            each.confidence if each.suggested else "",
            each.seconds if _is_time(each.seconds) else "",
        )
        for image, each in details.items()
    }
    return {image: each for image, each in kept.items() if any(each)}, notes


def _is_time(text: str) -> bool:
    try:
        return not text or 0 <= float(text) < math.inf
    except ValueError:
        return False


def combined(known: Mapping[int, Details], added: Mapping[int, Details], audit: set[int]) -> dict[int, Details]:
    """Return the details after a new file: an image keeps its first origin, and has its newest values otherwise.

    Parameters
    ----------
    known, added : mapping of int to Details
        Of earlier rounds, and of the new file.
    audit : set of int
        From `audit_images`: their origin is audit, unless the file says that they were chosen in another batch.
    """
    merged: dict[int, Details] = {}
    for image in {*known, *added, *audit}:
        old, new = known.get(image, Details()), added.get(image, Details())
        origin = old.origin or new.origin
        if image in audit and origin != BATCH:
            origin = AUDIT
        merged[image] = Details(origin, *(new[1:] if any(new[1:]) else old[1:]))
    return merged
