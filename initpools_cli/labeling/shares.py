"""Shares of a batch for several annotators."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.datasets.annotations.table import read
from initpools_cli.labeling.batch import Batch

#: Names of annotators are part of file names.
NAME = re.compile(r"[\w-][\w .@-]*", re.ASCII)
#: Most parts of a batch.
MOST_PARTS = 100


def valid_annotator(name: str) -> str:
    """Check the name of an annotator.

    Raises
    ------
    UserError
        It cannot be part of a file name.
    """
    if not NAME.fullmatch(name) or name != name.strip():
        raise UserError(
            f"{name!r} (--annotator) cannot be part of a file name.",
            "Use letters, digits, '-', '_', '.', '@' and spaces, for example --annotator ann.",
            repr(name),
        )
    return name


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Parse ``1/2``, the first of two parts; None without a text.

    Raises
    ------
    UserError
        It is not a part.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts <= MOST_PARTS:
        raise UserError(
            f"--part {text} is not a part of a batch.", "Use --part 1/2 and --part 2/2 for two annotators.", text
        )
    return part, parts


def parse_overlap(text: str | None) -> float:
    """Parse ``10%`` to 0.1; 0 without a text.

    Raises
    ------
    UserError
        It is not a share.
    """
    if text is None:
        return 0.0
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise UserError(f"--overlap {text} is not a share of a batch.", "Use --overlap 10%.", text)
    return share


def share_of(batch: Batch, part: tuple[int, int] | None, overlap: float, seed: int) -> Batch:
    """Return the images of a batch for one annotator, in the order of the batch.

    Parameters
    ----------
    batch : Batch
    part : (int, int), optional
        The number of the part, from 1, and the number of parts: they take turns at the images outside the overlap.
    overlap : float
        Share of the batch that everyone labels, drawn at random by the seed; at least one image if above 0. Without a
        part, only these images are returned.
    seed : int

    Raises
    ------
    UserError
        There are no images for this annotator.
    """
    count = max(1, round(overlap * len(batch.indices))) if overlap else 0
    # Sorted, so that the order of the batch does not matter.
    common = {*generator(seed, "overlap").permutation(sorted(batch.indices))[:count].tolist()}
    mine = common
    if part is not None:
        number, parts = part
        mine = common | {*[index for index in batch.indices if index not in common][number - 1 :: parts]}
    if not mine:
        raise UserError(
            f"{batch.name} has {len(batch.indices)} images, too few for {part[1] if part else 1} parts.",
            "Use fewer parts, for example --part 1/2.",
            len(batch.indices),
        )
    pairs = zip(batch.indices, batch.labels, strict=True)
    own_pairs = [(index, label) for index, label in pairs if index in mine]
    return replace(batch, indices=[index for index, _ in own_pairs], labels=[label for _, label in own_pairs])


def file_of(folder: Path, batch: str, annotator: str) -> Path:
    """Return the label file of a batch, or of one annotator of it."""
    return folder / (f"{batch}.by-{annotator}.csv" if annotator else f"{batch}.csv")


def files_of(folder: Path, batch: str) -> list[Path]:
    """Return the existing label files of a batch, by annotator."""
    files = [folder / f"{batch}.csv", *sorted(folder.glob("*.csv"))]
    by_annotator = [file for file in files[1:] if file.name.startswith(f"{batch}.by-")]
    return [*(file for file in files[:1] if file.is_file()), *by_annotator]


def writer_of(file: Path, annotator: str) -> str:
    """Return the annotator to write to a file: the given one, else the one whose labels it has.

    Raises
    ------
    UserError
        The file has labels of others.
    """
    if not file.exists():
        return annotator
    rows, _ = read(file, "labels")
    names = sorted({row.annotator for row in rows if row.annotator})
    others = [name for name in names if name != annotator]
    if annotator and not names and any(row.label for row in rows):
        raise UserError(
            f"{file} has labels without an annotator.",
            f"Use another file: --annotator {annotator} -o FILE.csv.",
            file,
        )
    if len(names) > 1 or (annotator and others):
        raise UserError(
            f"{file} has labels of {' and '.join(names[:3])}, and the page writes a file of one annotator.",
            "Use another file: --annotator NAME -o FILE.csv.",
            file,
        )
    return annotator or (names[0] if names else "")
