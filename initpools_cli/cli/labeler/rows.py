"""Columns of many images for the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.session import LabelingSession

SCOPES = ("batch", "all")
#: Columns that are only computed on request, since they can take a minute.
COMPUTED = ("cluster", "group", "similar")


def rows_of(labeling: LabelingSession, scope: str) -> NDArray[np.int64]:
    """Return the train rows of the batch in its order, or all of the run."""
    if scope == "batch":
        return np.array(labeling.indices, dtype=np.int64)
    return np.flatnonzero(labeling.data.kept)


def columns(labeling: LabelingSession, images: RunImages | None, scope: str) -> dict[str, list[Any]]:
    """Return columns of equal length, one value per image.

    Parameters
    ----------
    labeling : LabelingSession
    images : RunImages, optional
        For copies, groups, clusters and the order by similarity, which are null without it. Slow columns are null
        before `RunImages.prepare`.
    scope : {"batch", "all"}

    Returns
    -------
    dict of list
        ``index``, ``path``, ``label`` (of this file, else of earlier rounds), ``skipped``, ``predicted`` and
        ``confidence`` ("" and null without a prediction, as for audit images), ``origin`` ("" if the image was not
        labeled and is not in the batch), ``earlier`` (whether the label is of an earlier round only), ``copies`` (the
        lowest row of its exact copies, null without copies), ``group`` (the same of near-duplicates), ``cluster``
        and ``similar`` (place in an order by similarity).
    """
    rows = rows_of(labeling, scope)
    table: dict[str, list[Any]] = {name: [] for name in ("path", "label", "skipped", "predicted", "confidence")}
    table |= {"origin": [], "earlier": []}
    for index in rows.tolist():
        mark, suggestion = labeling.marks.get(index, Mark()), labeling.suggestion_of(index)
        label = labeling.label_of(index)
        has_origin = label or mark.skipped or index in labeling.batch
        values = {
            "path": labeling.path_of(index) or f"image {index}",
            "label": label,
            "skipped": mark.skipped,
            "predicted": suggestion.label if suggestion else "",
            "confidence": round(suggestion.confidence, 4) if suggestion else None,
            "origin": labeling.origin_of(index) if has_origin else "",
            "earlier": bool(label) and not mark.label,
        }
        for name, value in values.items():
            table[name].append(value)
    nothing = [None] * len(rows)
    groups = None if images is None else images.groups(compute=False)
    clusters = None if images is None else images.clusters(compute=False)
    places = None if images is None else images.similarity_places(rows, compute=False)
    return {
        "index": rows.tolist(),
        **table,
        "copies": nothing if images is None else _group_values(images.copies, rows),
        "group": nothing if groups is None else _group_values(groups, rows),
        "cluster": nothing if clusters is None else clusters[rows].tolist(),
        "similar": nothing if places is None else places.tolist(),
    }


def _group_values(groups: NDArray[np.int64], rows: NDArray[np.int64]) -> list[int | None]:
    """Return the group of each row; None for groups of one image."""
    sizes = np.bincount(groups, minlength=len(groups))
    return [group if sizes[group] > 1 else None for group in groups[rows].tolist()]
