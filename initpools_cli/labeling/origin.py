"""Origin of labels: why an image was labeled, and what the annotator was shown."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from initpools_cli.core.rundir import Run
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.labeling.batch import LISTS
from initpools_cli.steps.audit_sample import AUDIT as AUDIT
from initpools_cli.steps.audit_sample import BATCH as BATCH

#: An image that the annotator chose.
OWN_CHOICE = "own choice"
ORIGINS = (BATCH, AUDIT, OWN_CHOICE)


def listed_origins(run: Run, images: Collection[int]) -> dict[int, str]:
    """Return the origins of some images in the batches of the run that have an audit sample.

    Parameters
    ----------
    images : collection of int
        Train rows of one label file. If several batches list an image, the batch with the most of these images counts.
    """
    batches = _batches_with_audit(run)
    origins: dict[int, str] = {}
    for batch in sorted(batches, key=lambda batch: len(batch.keys() & {*images})):
        origins |= {image: origin for image, origin in batch.items() if image in images}
    return origins


def audit_images(run: Run) -> set[int]:
    """Return the train rows that any batch of the run lists as audit images."""
    return {image for batch in _batches_with_audit(run) for image, origin in batch.items() if origin == AUDIT}


def _batches_with_audit(run: Run) -> list[dict[int, str]]:
    """Return the origin of each image of every batch that has an audit sample."""
    batches = []
    for kind, file in LISTS.items():
        for step in run.steps(kind):
            if step.table.get("audit") and file in step.facts["writes"]:
                rows = step.frame(file, dtype={"path": str, "label": str}, keep_default_na=False)
                batches.append(dict(zip(rows["index"].tolist(), rows["origin"], strict=True)))
    return batches


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
    valid = {
        image: Details(
            each.origin if each.origin in ORIGINS else "",
            each.suggested,
            # Predictions, too, have a column of this name.
            each.confidence if each.suggested else "",
            each.seconds if _is_time(each.seconds) else "",
        )
        for image, each in details.items()
    }
    return {image: each for image, each in valid.items() if any(each)}, notes


def _is_time(text: str) -> bool:
    try:
        return not text or 0 <= float(text) < math.inf
    except ValueError:
        return False


def combine(
    old_details: Mapping[int, Details], new_details: Mapping[int, Details], origins: Mapping[int, str]
) -> dict[int, Details]:
    """Merge the details of images with those of a new file: the first known origin counts, and the newest other values.

    Parameters
    ----------
    old_details, new_details : mapping of int to Details
        Details of all images of earlier rounds, and of the images in the new file.
    origins : mapping of int to str
        From `listed_origins`, of the new file. An audit image that an annotator chose to label is an audit image.
    """
    details: dict[int, Details] = {}
    for image in {*old_details, *new_details, *origins}:
        old, new = old_details.get(image), new_details.get(image, Details())
        if old is not None:
            origin = old.origin or new.origin
        elif new.origin in ("", OWN_CHOICE) and image in origins:
            origin = origins[image] if new.origin == "" or origins[image] == AUDIT else OWN_CHOICE
        else:
            origin = new.origin
        details[image] = Details(origin, *(new[1:] if old is None or any(new[1:]) else old[1:]))
    return details
