"""Embeddings of the user's file, as a step of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_rows
from initpools_cli.core.reporter import ProgressBar
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.datasets.embedding_formats.location import Location, locate
from initpools_cli.datasets.embedding_items import ids_of, rows_of
from initpools_cli.datasets.embeddings import float32_blocks, named_rows, read_embeddings
from initpools_cli.datasets.row_ids import FLAG
from initpools_cli.steps.context import Context
from initpools_cli.steps.encoder import UNTRAINED
from initpools_cli.steps.feature_quality import quality
from initpools_cli.steps.near_duplicates import find_near_duplicates
from initpools_cli.steps.split_overlap import overlap_of_test


def embed_file(context: Context, path: Path, ids: Path | None = None, id_column: str = "") -> tuple[FinishedStep, bool]:
    """Copy the rows of a file of embeddings to ``embed/<name of the file>/{train,test,val}.npy``, as float32.

    Parameters
    ----------
    path : Path
        One row per train image, or per image of all splits in the order of items.csv.
    ids : Path, optional
        The id of each row; default: those in the file, or those that a run without images began with, if it is
        of this file.
    id_column : str
        The column or array of ids in the file; default: the one with a usual name.

    Raises
    ------
    UserError
        The file can't be read, has values that are not finite, or its rows don't match the images of the run.
    """
    data = context.data
    if Path(data.spec.name) == path.resolve():
        ids = ids or (Path(data.spec.ids) if data.spec.ids else None)
        id_column = id_column or data.spec.id_column
    content = read_embeddings(path, id_column, context.report)
    array, row_ids = content.array, ids_of(content, ids)
    checksums = {str(file.resolve()): checksum(file) for file in content.files}
    if ids is not None:
        checksums[str(ids.resolve())] = checksum(ids)
    rows = rows_of(array, path, row_ids, data, context.identity.seed)
    location = locate(path)
    # The name of a pattern alone says little.
    source = "/".join(path.resolve().parts[-2:]) if location.several and not path.is_dir() else path.name
    table = {"source": source} | ({"id_column": id_column} if id_column else {})
    step = context.run.step(
        "embed", _folder(location), table, {**context.items_checksum(), **checksums}, force=context.force
    )
    if step.finished:
        return step.finished, False
    if os.environ.get("RANK", "0") != "0":
        # Of the processes that torchrun starts, one copies the file.
        raise SystemExit(0)
    more = [FLAG, str(ids.resolve())] if ids else []
    more += ["--id-column", id_column] if id_column else []
    step.renew = context.command_for("embed", str(path.resolve()), *more)
    _say(context, array, path, f"by {row_ids.where}" if row_ids else "in the order of data/items.csv", rows)
    total = sum(map(len, rows.values()))
    require_disk(
        context.run.path,
        4 * total * array.shape[1],
        "The embeddings as float32 take",
        "Free some space, or name another place with --run DIR.",
    )
    with (
        context.writing(step) as scratch,
        context.report.progress(f"embed {step.id.split('/')[1]}", total, "rows") as bar,
    ):
        for split, indices in rows.items():
            blocks = float32_blocks(path, array, indices, named_rows(data.splits[split].paths, indices))
            step.outcome[split] = list(write_rows(scratch / f"{split}.npy", _with_progress(blocks, bar), len(indices)))
        step.outcome |= quality(context, step.id, scratch, f"Check that {path} is the right file.")
        step.outcome |= find_near_duplicates(context, step.id, scratch)
        step.outcome |= overlap_of_test(context, scratch, step.outcome)
    return FinishedStep(context.run, step.folder), True


def _with_progress(blocks: Iterator[np.ndarray], bar: ProgressBar) -> Iterator[np.ndarray]:
    for block in blocks:
        bar.advance(len(block))
        yield block


def _folder(location: Location) -> str:
    """Return the name of the step; a source that is computed keeps its name for itself."""
    from initpools_cli.pretext.registry import pretexts

    name = location.name
    if name.startswith("."):
        raise UserError(f"The name of {location.path} begins with a dot.", "Rename the file.", location.path)
    return f"{name}-file" if name in UNTRAINED or name in pretexts else name


def _say(context: Context, array: np.ndarray, path: Path, how: str, rows: dict[str, np.ndarray]) -> None:
    """Say how rows are matched, what is converted, and which splits have no rows."""
    sizes = ", ".join(f"{len(indices):,} {split}" for split, indices in rows.items())
    context.report.say(
        f"{path}: {len(array):,} rows of {array.shape[1]:,} values ({array.dtype}), matched {how}: {sizes}"
    )
    if array.dtype.newbyteorder("=") not in (np.float32, np.float16):
        context.report.say(f"{path}: {array.dtype} is stored as float32")
    lacking = [split for split in context.data.splits if split not in rows]
    if lacking:
        context.report.say(
            f"{path} has no rows for the images of {' and '.join(lacking)}: experiments (`initpools al-run`) need them"
        )
