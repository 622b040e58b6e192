"""Groups of exact copies and near-duplicates among the train images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.files import write_array
from initpools_cli.datasets.copies import exact_groups

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: Up to this many images the search for near-duplicates is exact. `PROBES` is for more: of the 171 pairs of CIFAR-10,
#: 170 were found.
EXACT, PROBES = 20_000, 4
#: File of an embed step: the group of near-duplicates of each train image.
NEAR = "near_duplicates.npy"


@dataclass(frozen=True)
class Groups:
    """Groups of images, each named by its lowest row; an image without a copy is a group of its own.

    Attributes
    ----------
    exact : (n,) int64
        Images with the same checksum.
    near : (n,) int64
        Images that are near-duplicates by their embeddings, directly or through a chain of others, and exact copies.
        Equal to `exact` if there are no embeddings.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]


def duplicate_groups(context: Context, step: FinishedStep | None) -> Groups:
    """Group the train images of a run; images that are left out of the data set are in no group.

    Parameters
    ----------
    context : Context
    step : FinishedStep or None
        Embeddings, see `find_embeddings`.
    """
    exact = exact_groups(context.data.train_items, context.data.kept)
    return Groups(exact, exact if step is None else _of_step(step, context.data.kept, exact))


def _of_step(step: FinishedStep, mask: np.ndarray, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the groups of an embed step; compute them for one of an older version."""
    if NEAR in step.facts["writes"]:
        return step.array(NEAR)
    return near_groups(step.array("train.npy", mapped=True), mask, exact)


def near_groups(embeddings: np.ndarray, mask: np.ndarray, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group near-duplicates; zero rows of embeddings are near to nothing.

    Parameters
    ----------
    embeddings : (n, d) array
    mask : (n,) bool
    exact : (n,) int64
        Groups that are joined with them.

    Returns
    -------
    (n,) int64
    """
    from initpools_cli.geometry.near_duplicates import groups_of

    pairs, _ = pairs_of(embeddings, mask)
    return groups_of(np.concatenate([pairs, np.column_stack([exact, np.arange(len(exact))])]), len(exact))


def pairs_of(embeddings: np.ndarray, mask: np.ndarray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the near-duplicates among the kept images whose embeddings are not zero; see `near_pairs`."""
    from initpools_cli.geometry.near_duplicates import near_pairs
    from initpools_cli.strategies.duplicates import zero_rows

    rows = np.flatnonzero(mask & ~zero_rows(embeddings))
    pairs, distances = near_pairs(
        embeddings if len(rows) == len(embeddings) else embeddings[rows], probes=0 if len(rows) <= EXACT else PROBES
    )
    return rows[pairs], distances


def find_near_duplicates(context: Context, step: str, folder: Path) -> dict[str, Any]:
    """Write the groups of near-duplicates of new embeddings and say how many images are in one.

    Parameters
    ----------
    context : Context
    step : str
        The id of the embed step.
    folder : Path
        Holds train.npy; `NEAR` is written there.

    Returns
    -------
    dict of str to int
        For the outcome of the step: ``near_duplicates``, the number of images that have another one in their group.
    """
    mask = context.data.kept
    groups = near_groups(
        np.load(folder / "train.npy", mmap_mode="r"), mask, exact_groups(context.data.train_items, mask)
    )
    write_array(folder / NEAR, groups)
    count = int((np.bincount(groups, minlength=len(groups))[groups] > 1).sum())
    if count:
        command = context.command_for("score", "duplicate", "--from", step.partition("/")[2], "-o", "duplicates.csv")
        context.report.say(
            f"{step}: {count:,} of {int(mask.sum()):,} images are near-duplicates of another one: `{command}` lists "
            "them"
        )
    return {"near_duplicates": count}
