"""Embeddings of a run as shards with ids, for other programs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import ProgressBar
from initpools_cli.core.rundir import ITEMS, FinishedStep
from initpools_cli.datasets.embedding_formats.safetensors import write
from initpools_cli.datasets.embedding_formats.stored import blocks_of
from initpools_cli.datasets.embedding_items import derived_splits
from initpools_cli.steps.context import Context

#: The kind of step.
SHARDS = "shards"


def write_shards(context: Context, embed_step: FinishedStep) -> tuple[FinishedStep, bool]:
    """Write ``shards/<source>/<split>-<number>-of-<count>.safetensors`` if they don't exist.

    Each file has the tensor ``embeddings`` (rows, d) float32 and the metadata ``ids``, a JSON list: the path of each
    image, else its index. ``encoder`` is a SHA-256 that embeddings of one encoder with one configuration share.

    Parameters
    ----------
    embed_step : FinishedStep
        A step of ``embed/``.
    """
    count, data = context.settings.embed.shards, context.data
    splits = [
        name
        for name in data.splits
        if name not in derived_splits(data, context.identity.seed) and f"{name}.npy" in embed_step.facts["writes"]
    ]
    checksums = embed_step.require_fresh().checksums(*(f"{name}.npy" for name in splits))
    step = context.run.step(
        SHARDS,
        embed_step.name,
        {"source": embed_step.id, "shards": count},
        {**context.items_checksum(), **checksums},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(*_without_shards(embed_step.facts["renew"]), "--set", f"embed.shards={count}")
    if os.environ.get("RANK", "0") != "0":
        # Of the processes that torchrun starts, one writes them.
        raise SystemExit(0)
    arrays = {name: embed_step.array(f"{name}.npy", mapped=True) for name in splits}
    smallest = min(arrays, key=lambda name: len(arrays[name]))
    if count > len(arrays[smallest]):
        raise UserError(
            f"embed.shards = {count} is more than the {len(arrays[smallest])} images of {smallest}.",
            "Set a smaller number: --set embed.shards=N.",
            count,
        )
    require_disk(
        context.run.path,
        sum(array.nbytes for array in arrays.values()),
        "The shards take",
        "Free some space, or name another place with --run DIR.",
    )
    metadata = {"encoder": encoder_of(embed_step), "source": str(embed_step.table["source"])}
    total = sum(map(len, arrays.values()))
    with context.writing(step) as scratch, context.report.progress(f"write {step.id}", total, "rows") as bar:
        for name, array in arrays.items():
            ids = _ids(data.splits[name].paths, name)
            ends = np.linspace(0, len(array), count + 1).astype(int).tolist()
            for number, (start, end) in enumerate(pairwise(ends)):
                file = scratch / f"{name}-{number:05}-of-{count:05}.safetensors"
                _write(file, array[start:end], metadata | {"split": name, "ids": json.dumps(ids[start:end])}, bar)
            step.outcome[name] = list(array.shape)
    return FinishedStep(context.run, step.folder), True


def _without_shards(words: Sequence[str]) -> list[str]:
    """Return the words of a command without a setting of embed.shards."""
    rest: list[str] = []
    for word in words:
        if word.startswith("embed.shards=") and rest and rest[-1] == "--set":
            rest.pop()
        else:
            rest.append(word)
    return rest


def encoder_of(embed_step: FinishedStep) -> str:
    """Return a SHA-256 of the configuration of an embed step and of all files it read but those of the data set.

    Without such files, as of principal components, the images decide: their checksum is part of it.
    """
    facts = embed_step.facts
    files = sorted(sha256 for path, sha256 in facts["reads"].items() if path != ITEMS)
    digests = [facts["table_digest"], *files] if files else [facts["digest"]]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _ids(paths: list[str], split: str) -> list[str]:
    """Return the ids of a split: paths, else indices, which are those of train images."""
    prefix = "" if split == "train" else f"{split}/"
    return [path or f"{prefix}{index}" for index, path in enumerate(paths)]


def _write(path: Path, rows: np.ndarray, metadata: dict[str, str], bar: ProgressBar) -> None:
    def blocks() -> Iterator[np.ndarray]:
        for block in blocks_of(rows)():
            yield block
            bar.advance(len(block))

    write(path, blocks(), rows.shape, metadata)
