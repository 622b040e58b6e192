"""Features of every image: from a pretrain, from a backbone with weights, or from the pixels themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_rows
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.datasets.embeddings import is_embeddings, refuse_other_file
from initpools_cli.networks.efficientnet_lite import DEFAULT
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed_file import embed_file
from initpools_cli.steps.encoder import UNTRAINED, load, pretrain_of
from initpools_cli.steps.feature_quality import quality

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Split
    from initpools_cli.training.device import DeviceConfig

    #: Features of some rows of a split, in blocks.
    Compute = Callable[[str, slice, DeviceConfig], Iterator[np.ndarray]]

#: Images per forward pass.
BATCH = 256
#: The kind of step that holds features of every place in an image.
PATCHES = "patches"


def embed(
    context: Context, source: str = "", weights: Path | None = None, ids: Path | None = None
) -> tuple[FinishedStep, bool]:
    """Write ``embed/<source>/{train,test,val}.npy``, or find them already done.

    With ``embed.patches``, ``patches/<backbone>/train.npy``: (n, places, d) float32.

    Parameters
    ----------
    source : str
        A pretrain of this run, "pixels", "pca", a backbone's name, or a file of embeddings; default: see
        `default_source`.
    weights : Path, optional
        The backbone's weights file; default: the one in its library's cache.
    ids : Path, optional
        Names the image of each row of a file of embeddings.

    Raises
    ------
    UserError
        Nothing to embed with, an unknown source, or weights that don't fit.
    """
    if weights is None:
        source = source or default_source(context)
    if is_embeddings(source):
        if weights is not None or context.settings.embed.patches:
            what = "--weights" if weights is not None else "embed.patches"
            raise UserError(f"{what} has no effect: {source} has embeddings.", f"Leave out {what}.", what)
        return embed_file(context, Path(source), ids)
    if ids is not None:
        raise UserError(f"--ids {ids} needs a file of embeddings.", "Name it: `initpools embed FILE.npy`.", ids)
    refuse_other_file(source)
    context.require_images(f"`embed {source}`")
    if weights is not None:
        return _backbone(context, source, weights)
    if source in UNTRAINED and not context.settings.embed.patches:
        return _untrained(context, source)
    if _is_backbone(context, source):
        return _backbone(context, source, None)
    if context.settings.embed.patches:
        raise UserError(
            f"embed.patches needs a published backbone, and '{source}' is not one.",
            "Name one of `initpools list backbones`, preferably a transformer.",
            source,
        )
    done = pretrain_of(context, source)
    layer = context.settings.embed.layer
    step = context.run.step(
        "embed",
        done.name if layer == "backbone" else f"{done.name}-{layer}",
        {"source": done.id, "layer": layer, "batch": BATCH},
        {**context.items_checksum(), **done.require_fresh().checksums("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for("embed", done.name)

    from initpools_cli.training.infer import features

    pretext = load(context, done)
    return _write(
        context,
        step,
        lambda split, rows, machine: features(
            pretext, context.data.splits[split].images[rows], layer=layer, batch=BATCH, device=machine.device
        ),
    )


def default_source(context: Context) -> str:
    """Return what embeddings are made from if nothing is named: the newest pretrain of the run, else `DEFAULT`.

    In a run that was started from a file of embeddings, it is that file.
    """
    if context.of_embeddings:
        return context.data.spec.name
    trained = context.run.steps("pretrain")
    if trained:
        return trained[-1].name
    # Only the encoder of a pretrain has a projector.
    return pretrain_of(context).name if context.settings.embed.layer == "projector" else DEFAULT


def newest(context: Context, source: str = "") -> FinishedStep:
    """Return the embeddings that a strategy reads: those of `source`, else the newest; computed if they are missing.

    Raises
    ------
    UserError
        `source` is unknown, or the embeddings are stale.
    """
    made = context.run.steps("embed")
    if source:
        found = _embedded(context, source)
    else:
        found = made[-1] if made else None
        trained = context.run.steps("pretrain")
        newer = found is not None and bool(trained) and trained[-1].facts["finished"] > found.facts["finished"]
        if newer and not any(step.table.get("source") == trained[-1].id for step in made):
            command = context.command_for("embed", trained[-1].name)
            context.report.once(f"{trained[-1].id} is newer and has no embeddings yet: `{command}`")
    if found is None:
        name = source or default_source(context)
        refuse_other_file(name)
        if name not in UNTRAINED and not is_embeddings(name) and not _is_backbone(context, name):
            name = pretrain_of(context, name).name
        context.report.say(f"making embeddings first: `{context.command_for('embed', name)}`")
        found, _ = embed(context.made_on_the_way("embed", name), name)
    context.report.once(f"embeddings: {named_source(found)}")
    if not source and found.table.get("source") in UNTRAINED and context.data.splits["train"].images.shape[3] == 3:
        context.report.once(
            f"{found.id} are plain {'pixels' if found.name == 'pixels' else 'principal components of pixels'}, which "
            f"rarely help with photographs: `{context.command_for('embed', DEFAULT)}` makes pretrained embeddings."
        )
    return found.require_fresh()


def _embedded(context: Context, source: str) -> FinishedStep | None:
    """Return the embed step of that name; the step of a backbone has another name than its short names."""
    found = context.run.find_step(f"embed/{source}")
    if found is not None or source in UNTRAINED or not _is_backbone(context, source):
        return found
    from initpools_cli.networks.backbones import folder_of

    return context.run.find_step(f"embed/{folder_of(source)}")


def named_source(embedded: FinishedStep) -> str:
    """Return the name of an embed step, and what its network was trained on if it was not trained in the run."""
    known = trained_on(embedded)
    return f"{embedded.id} (pretrained on {known})" if known else embedded.id


def trained_on(embedded: FinishedStep) -> str:
    """Return what the network of an embed step was trained on outside the run; empty if that is not known."""
    return str(embedded.facts["outcome"].get("trained_on", ""))


def newest_patches(context: Context, source: str = "") -> FinishedStep:
    """The features of the places in each image: of `source`, a backbone, else the newest; they are never made here.

    Raises
    ------
    UserError
        There are none, or they are stale.
    """
    from initpools_cli.networks.backbones import folder_of

    made = [step for step in context.run.steps(PATCHES) if source in ("", step.name) or step.name == folder_of(source)]
    if not made:
        of_it = f" of '{source}'" if source else ""
        raise UserError(
            f"The run {context.run.path} has no patches{of_it}.",
            f"Make them with `{context.command_for('embed', source or 'BACKBONE', '--set', 'embed.patches=true')}`, or "
            "pass them with --patches FILE.npy.",
            source or context.run.path,
        )
    context.report.once(f"patches: {made[-1].id}")
    return made[-1].require_fresh()


def matrix(done: FinishedStep, split: str = "train") -> np.ndarray:
    """Return (n, d) float32, or (n, places, d) of patches, memory-mapped.

    Raises
    ------
    UserError
        The file is damaged, or the embeddings are the user's and have no rows of this split.
    """
    if split != "train" and f"{split}.npy" not in done.facts["writes"]:
        source = done.table["source"]
        raise UserError(
            f"{done.id} has no rows for the {split} images.",
            f"Add them to {source}, and run `initpools embed {source}` again, with --ids FILE if need be.",
            done.id,
        )
    return done.array(f"{split}.npy", mapped=True)


def _is_backbone(context: Context, source: str) -> bool:
    """Whether a backbone from elsewhere is meant; a pretrain of the run comes before one of its name."""
    if not source or context.run.find_step(f"pretrain/{source}") is not None:
        return False
    from initpools_cli.networks.aliases import alias
    from initpools_cli.pretext.registry import pretexts

    # "mae" is a task and, where the run has no pretrain of it, a published network.
    if source in pretexts and alias(source) is None:
        return False
    from initpools_cli.networks.backbones import is_backbone

    return is_backbone(source)


def _untrained(context: Context, source: str) -> tuple[FinishedStep, bool]:
    from initpools_cli.training.frozen_features import pca, pixels

    seed = {"seed": context.seed} if source == "pca" else {}
    step = context.run.step("embed", source, {"source": source, **seed}, context.items_checksum(), force=context.force)
    if step.finished:
        return step.finished, False
    splits = context.data.splits
    if source == "pixels":
        require_disk(
            context.run.path,
            sum(4 * split.images.size for split in splits.values()),
            "The pixels of all images as float32 take",
            "Free some space, name another place with --run DIR, or take `initpools embed pca`.",
        )
        return _write(context, step, lambda split, rows, _: pixels(splits[split].images[rows], BATCH))
    project = pca(splits["train"].images, np.flatnonzero(context.data.kept), context.seed)
    return _write(
        context,
        step,
        lambda split, rows, _: (project(block) for block in pixels(splits[split].images[rows], BATCH)),
    )


def _backbone(context: Context, name: str, given: Path | None) -> tuple[FinishedStep, bool]:
    from initpools_cli.networks.aliases import canonical
    from initpools_cli.networks.backbones import find_weights, folder_of, load_backbone, remark
    from initpools_cli.networks.backbones import trained_on as data_of
    from initpools_cli.networks.hub import commit_of

    if not name:
        raise UserError(
            f"--weights {given} does not name a backbone.", "Name it: `initpools embed resnet18 --weights FILE`.", given
        )
    how = context.settings.embed
    weights = find_weights(name, given, report=context.report, download=how.download)
    name = canonical(name)
    bf16 = context.settings.run.precision == "bf16"
    folder = folder_of(name)
    if how.patches and how.pooling != "auto":
        raise UserError(
            f"embed.patches keeps all positions, and embed.pooling = '{how.pooling}' pools them.",
            "Leave out embed.patches or embed.pooling.",
            how.pooling,
        )
    kind, folder = PATCHES if how.patches else "embed", folder if how.pooling == "auto" else f"{folder}-{how.pooling}"
    size = how.size or _input_size(context, name, f"{kind}/{folder}")
    step = context.run.step(
        kind,
        folder,
        {
            "source": name,
            "weights": weights.name,
            "pooling": "none" if how.patches else how.pooling,
            "size": size,
            "precision": "bf16" if bf16 else "fp32",
        },
        {**context.items_checksum(), str(weights.absolute()): checksum(weights)},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    from initpools_cli.training.frozen_features import backbone_batch, backbone_features

    known = "" if given is not None else data_of(name)
    context.report.say(f"weights: {weights}" + (f" (pretrained on {known})" if known else ""))
    if remark(name):
        context.report.say(f"timm's note on them: {remark(name)}")
    model, preprocess = load_backbone(name, weights, size=size, pooling=how.pooling)
    if how.patches:
        model.pooling = "none"
    # Weights of the user's own may have been trained on anything.
    if known:
        step.outcome["trained_on"] = known
    if commit_of(weights):
        step.outcome["revision"] = commit_of(weights)
    data, batch = context.data, backbone_batch(model, preprocess, context.machine.device)
    return _write(
        context,
        step,
        lambda split, rows, machine: backbone_features(
            model, preprocess, data.splits[split], rows, data.root, batch, machine, bf16=bf16, scale=data.scale
        ),
        batch,
    )


def _input_size(context: Context, name: str, step: str) -> int:
    """Return the input size of a backbone if none is set: for small images the network may have a smaller one.

    It is decided once, so that images that are added to a folder later do not change it.
    """
    from initpools_cli.datasets.sizes import all_within
    from initpools_cli.networks.backbones import small_input

    small = small_input(name)
    if small is None:
        return 0
    earlier = context.run.find_step(step)
    if earlier is not None and earlier.table.get("size") in (0, small[0]):
        return int(earlier.table["size"])
    return small[0] if all_within(context.data, small[1]) else 0


def _write(context: Context, step: PendingStep, compute: Compute, batch: int = BATCH) -> tuple[FinishedStep, bool]:
    """Compute the features of every split in blocks of `batch` images and publish them.

    Of several processes (torchrun), each computes a share of whole blocks, so that the numbers are those of one
    process; the first of them puts the shares together.
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
            found = _finite(compute(name, rows, context.machine), rows.start, bar.advance)
            step.outcome[name] = list(write_rows(scratch / f"{name}.npy", found, rows.stop))
        if not _is_patches(step):
            step.outcome |= quality(context, step.id, scratch)
    return FinishedStep(context.run, step.folder), True


def _is_patches(step: PendingStep) -> bool:
    return step.id.startswith(f"{PATCHES}/")


def _splits(context: Context, step: PendingStep) -> dict[str, Split]:
    """The splits to write: of patches, which take much room, only the one there is to choose from."""
    splits = context.data.splits
    return {"train": splits["train"]} if _is_patches(step) else dict(splits)


def _write_shares(context: Context, step: PendingStep, compute: Compute, batch: int) -> tuple[FinishedStep, bool]:
    from initpools_cli.training.device import DeviceConfig, start_fabric

    fabric = start_fabric(context.settings.run)
    machine = DeviceConfig(fabric.device, context.machine.threads)
    splits = _splits(context, step)

    def work(bar: Any) -> None:
        # Rank 0 has sorted out what an earlier attempt left; its finished shares are not computed again.
        fabric.barrier()
        for name, split in splits.items():
            rows = share(len(split.images), batch, fabric.global_rank, fabric.world_size)
            file = _shard(step, name, fabric.global_rank, fabric.world_size)
            if rows.stop > rows.start and not file.exists():
                found = _finite(compute(name, rows, machine), rows.start, bar.advance)
                write_rows(file, found, rows.stop - rows.start)
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
                shards = [_shard(step, name, rank, fabric.world_size) for rank in range(fabric.world_size)]
                found = (np.load(shard, mmap_mode="r") for shard in shards if shard.exists())
                step.outcome[name] = list(write_rows(scratch / f"{name}.npy", found, len(split.images)))
            if not _is_patches(step):
                step.outcome |= quality(context, step.id, scratch)
    return FinishedStep(context.run, step.folder), True


def share(n: int, batch: int, rank: int, processes: int) -> slice:
    """The rows of one process: whole blocks, as many as of any other or one fewer."""
    count = -(-n // batch)
    return slice(*(min(n, number * count // processes * batch) for number in (rank, rank + 1)))


def _shard(step: PendingStep, split: str, rank: int, processes: int) -> Path:
    return step.scratch / "work" / f"{split}-{rank + 1}-of-{processes}.npy"


def _finite(blocks: Iterator[np.ndarray], start: int, advance: Callable[[int], Any]) -> Iterator[np.ndarray]:
    """The same blocks of rows, of images `start` and on; refused where a number is not finite."""
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
