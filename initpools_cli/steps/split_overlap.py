"""Near-duplicates across the split that accuracy is measured on: a sign that it divides a patient or a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.checksums import signature
from initpools_cli.core.seeds import generator
from initpools_cli.steps.find_embeddings import find_embeddings

if TYPE_CHECKING:
    from initpools_cli.steps.context import Context

#: At most this many images are compared with the others; more are a random sample.
COMPARED = 2_000
#: From this share of near-duplicates on, the note is a warning. Measured by benchmarks/split_overlap.py.
WARNING = 0.5
#: Without embeddings, images are compared by every n-th pixel, with this many on a side.
SIDE = 16
#: Counts of embeddings whose step has none, by the signatures of their files: a search takes seconds.
_outcomes: dict[tuple[tuple[int, ...], ...], dict[str, Any]] = {}
#: Keys of a step's outcome.
TEST, LABELED = "near_test", "near_labeled"


@dataclass(frozen=True)
class Overlap:
    """Images with a near-duplicate on the other side of a split.

    Attributes
    ----------
    near, compared : int
        How many images have one, and how many were compared.
    among : int
        How many images of the other side were searched.
    """

    near: int
    compared: int
    among: int

    @property
    def share(self) -> float:
        """The share of the compared images."""
        return self.near / self.compared


def overlap_of_test(context: Context, folder: Path, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Count the test images with a near-duplicate in train, by the embeddings in `folder`.

    Parameters
    ----------
    context : Context
    folder : Path
    outcome : mapping
        Of the step so far; if it has an accuracy, the count is printed.

    Returns
    -------
    dict
        For the outcome of the step; empty if there are groups, no test split, or too few images to tell.
    """
    if context.data.groups is not None or not (folder / "test.npy").exists():
        return {}
    rows = np.flatnonzero(context.data.kept)
    train, test = (np.load(folder / f"{split}.npy", mmap_mode="r") for split in ("train", "test"))
    overlap = _outcome(TEST, find_overlap(test, train[rows], len(context.data.classes), context.identity.seed))
    if "knn_accuracy" in outcome:
        tell(context, overlap)
    return overlap


def overlap_of_labeled(context: Context, encoder: str, rows: np.ndarray, classes: int) -> dict[str, Any]:
    """Count the labeled images `rows` with a near-duplicate among the others, for cross-validation.

    Exact copies are left out: they are in one fold.

    Parameters
    ----------
    context : Context
    encoder : str
        See `find_embeddings`.
    rows : (m,) int64
    classes : int

    Returns
    -------
    dict
        For the outcome of a step; empty if there are groups, or too few images to tell.
    """
    if context.data.groups is not None:
        return {}
    sums = context.data.train_items["sha256"].to_numpy()[rows]
    originals = rows[np.sort(np.unique(sums, return_index=True)[1])]
    step = find_embeddings(context, encoder)
    if step is not None:
        points = np.load(step.folder / "train.npy", mmap_mode="r")[originals]
    elif context.data.has_images:
        points = _thumbnails(context.data.splits["train"].images[originals])
    else:
        return {}
    return _outcome(LABELED, find_overlap(points, None, classes, context.identity.seed))


def find_overlap(images: np.ndarray, others: np.ndarray | None, classes: int, seed: int) -> Overlap | None:
    """Count images with a near-duplicate among others; None if there are too few to tell.

    Parameters
    ----------
    images : (m, d) array
    others : (n, d) array, optional
        Default: the images themselves.
    classes, seed : int
    """
    from initpools_cli.geometry.near_duplicates import near_across
    from initpools_cli.strategies.duplicates import zero_rows

    rng = generator(seed, "near-duplicates across a split")
    images = images[np.flatnonzero(~zero_rows(images))]
    own = None if others is not None else np.arange(len(images))
    others = images if others is None else others[np.flatnonzero(~zero_rows(others))]
    if not len(images) or not len(others):
        return None
    rows = np.sort(rng.permutation(len(images))[:COMPARED])
    near, among = near_across(images[rows], others, classes, rng, None if own is None else own[rows])
    return Overlap(int(near.sum()), len(rows), among) if among else None


def tell_test(context: Context, encoder: str) -> None:
    """Print how many test images have a near-duplicate in train.

    Parameters
    ----------
    context : Context
    encoder : str
        See `find_embeddings`. Without embeddings, pixels are compared.
    """
    if context.data.groups is not None or "test" not in context.data.splits:
        return
    step = find_embeddings(context, encoder)
    if step is not None:
        outcome = step.facts["outcome"]
        # Steps of older versions have not counted them.
        tell(context, outcome if TEST in outcome else _cached_outcome(context, step.folder))
    elif context.data.has_images:
        train, test = (_thumbnails(context.data.splits[split].images) for split in ("train", "test"))
        classes, seed = len(context.data.classes), context.identity.seed
        tell(context, _outcome(TEST, find_overlap(test, train[context.data.kept], classes, seed)))


def _cached_outcome(context: Context, folder: Path) -> dict[str, Any]:
    files = [folder / f"{split}.npy" for split in ("train", "test")]
    key = tuple(signature(file) for file in files if file.exists())
    if key not in _outcomes:
        _outcomes[key] = overlap_of_test(context, folder, {})
    return _outcomes[key]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    step = max(1, min(images.shape[1:3]) // SIDE)
    return images[:, ::step, ::step].reshape(len(images), -1).astype(np.float32)


def tell(context: Context, outcome: Mapping[str, Any]) -> None:
    """Print the near-duplicates across splits in the outcome of a step, each once per command."""
    for key, images, others in (
        (TEST, "test images", "the train images"),
        (LABELED, "labeled images", "the other labeled images"),
    ):
        if key not in outcome:
            continue
        overlap = Overlap(**outcome[key])
        count = f"{overlap.near:,} of {overlap.compared:,} {images} ({overlap.share:.1%})"
        words = f"{count} have a near-duplicate among {others}"
        if overlap.share < WARNING:
            context.report.once(f"{words}.")
            continue
        context.report.once(
            f"{words}: the accuracy on them says little about new images. If images belong together, such as those of "
            "one patient or one video, start a new run with --groups FILE.csv, which keeps them on one side.",
            warn=True,
        )


def _outcome(key: str, overlap: Overlap | None) -> dict[str, Any]:
    return {} if overlap is None else {key: asdict(overlap)}
