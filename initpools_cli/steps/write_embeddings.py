"""Write features of every split in blocks, in one process or in several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_rows
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.feature_quality import quality
from initpools_cli.steps.near_duplicates import find_near_duplicates
from initpools_cli.steps.split_overlap import overlap_of_test

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Split
    from initpools_cli.training.device import DeviceConfig

    #: Features of some rows of a split, in blocks.
    Compute = Callable[[str, slice, DeviceConfig], Iterator[np.ndarray]]

#: Images per forward pass.
BATCH = 256
#: Images in a part: finished parts survive an interruption.
PART = 8192
#: The kind of step that holds the features of every patch of an image.
PATCHES = "patches"


def write_embeddings(
    context: Context, step: PendingStep, compute: Compute, batch: int = BATCH
) -> tuple[FinishedStep, bool]:
    """Compute the features of every split in blocks of `batch` images, and finish the step.

    With several processes (torchrun), each computes a share of whole blocks, so that the numbers are those of one
    process; the first process joins the shares. Shares are written in parts, and so is a large split by one process:
    the same step, if it was interrupted, does not compute finished parts again.

    Raises
    ------
    UserError
        A feature is not finite.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _write_shares(context, step, compute, batch)
    splits = _splits(context, step)
    total = sum(len(split.images) for split in splits.values())
    with (
        context.writing(step) as scratch,
        context.report.progress(f"embed {step.id.split('/')[1]}", total, "images") as bar,
    ):
        for name, split in splits.items():
            rows = slice(0, len(split.images))
            if rows.stop > PART and not _is_patches(step):
                _write_parts(step, name, rows, batch, compute, context.machine, bar.advance)
                blocks = _stored_parts(step, name, [rows], batch)
            else:
                blocks = _finite(compute(name, rows, context.machine), rows.start, bar.advance)
            step.outcome[name] = list(write_rows(scratch / f"{name}.npy", blocks, rows.stop))
        if not _is_patches(step):
            step.outcome |= quality(context, step.id, scratch) | find_near_duplicates(context, step.id, scratch)
            step.outcome |= overlap_of_test(context, scratch, step.outcome)
    return FinishedStep(context.run, step.folder), True


def _is_patches(step: PendingStep) -> bool:
    return step.id.startswith(f"{PATCHES}/")


def _splits(context: Context, step: PendingStep) -> dict[str, Split]:
    """Return the splits to write: of patches, which take much space, only train."""
    splits = context.data.splits
    return {"train": splits["train"]} if _is_patches(step) else dict(splits)


def _write_shares(context: Context, step: PendingStep, compute: Compute, batch: int) -> tuple[FinishedStep, bool]:
    from initpools_cli.training.device import DeviceConfig, start_fabric

    fabric = start_fabric(context.settings.run)
    machine = DeviceConfig(fabric.device, context.machine.threads)
    splits = _splits(context, step)

    def work(bar: Any) -> None:
        # Rank 0 has checked the files of an earlier attempt; its finished parts are not computed again.
        fabric.barrier()
        for name, split in splits.items():
            rows = share(len(split.images), batch, fabric.global_rank, fabric.world_size)
            _write_parts(step, name, rows, batch, compute, machine, bar.advance)
        fabric.barrier()

    own = [share(len(split.images), batch, fabric.global_rank, fabric.world_size) for split in splits.values()]
    total = sum(rows.stop - rows.start for rows in own)
    with context.report.progress(f"embed {step.id.split('/')[1]}", total, "images") as bar:
        if not fabric.is_global_zero:
            work(bar)
            raise SystemExit(0)
        with context.writing(step, machine=machine.facts | {"processes": fabric.world_size}) as scratch:
            work(bar)
            for name, split in splits.items():
                ranks = range(fabric.world_size)
                shares = [share(len(split.images), batch, rank, fabric.world_size) for rank in ranks]
                blocks = _stored_parts(step, name, shares, batch)
                step.outcome[name] = list(write_rows(scratch / f"{name}.npy", blocks, len(split.images)))
            if not _is_patches(step):
                step.outcome |= quality(context, step.id, scratch) | find_near_duplicates(context, step.id, scratch)
                step.outcome |= overlap_of_test(context, scratch, step.outcome)
    return FinishedStep(context.run, step.folder), True


def share(n: int, batch: int, rank: int, processes: int) -> slice:
    """Return the rows of one process: whole blocks, as many as of any other or one fewer."""
    count = -(-n // batch)
    return slice(*(min(n, number * count // processes * batch) for number in (rank, rank + 1)))


def _write_parts(
    step: PendingStep,
    split: str,
    rows: slice,
    batch: int,
    compute: Compute,
    machine: DeviceConfig,
    advance: Callable[[int], Any],
) -> None:
    """Compute the parts of some rows that an earlier attempt has not finished."""
    for part, file in _parts(step, split, rows, batch):
        if file.exists():
            advance(part.stop - part.start)
        else:
            blocks = _finite(compute(split, part, machine), part.start, advance)
            write_rows(file, blocks, part.stop - part.start)


def _stored_parts(step: PendingStep, split: str, shares: list[slice], batch: int) -> Iterator[np.ndarray]:
    for rows in shares:
        for _, file in _parts(step, split, rows, batch):
            yield np.load(file, mmap_mode="r")


def _parts(step: PendingStep, split: str, rows: slice, batch: int) -> list[tuple[slice, Path]]:
    """Return parts of whole blocks, and their files, which are named by their rows."""
    size = max(1, PART // batch) * batch
    parts = [slice(start, min(rows.stop, start + size)) for start in range(rows.start, rows.stop, size)]
    return [(part, step.scratch / "work" / f"{split}-{part.start}-{part.stop}.npy") for part in parts]


def _finite(blocks: Iterator[np.ndarray], start: int, advance: Callable[[int], Any]) -> Iterator[np.ndarray]:
    """Yield the same blocks of rows, from image `start` on; raise an error if a number is not finite."""
    for block in blocks:
        if not np.isfinite(block).all():
            raise UserError(
                f"The embeddings of images {start} to {start + len(block) - 1} are not finite.",
                "The encoder has diverged: pretrain it again with a lower learning rate (--set lr=…).",
                start,
            )
        start += len(block)
        advance(len(block))
        yield block
