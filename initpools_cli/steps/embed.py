"""Embeddings of every image: from a pretrained encoder, a backbone, pixels, or a file; and the newest of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.datasets.embeddings import as_dataset, is_source, refuse_other_file
from initpools_cli.networks.efficientnet_lite import DEFAULT
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed_backbone import embed_backbone
from initpools_cli.steps.embed_file import embed_file
from initpools_cli.steps.embed_shards import write_shards
from initpools_cli.steps.encoder import UNTRAINED, load, pretrain_of
from initpools_cli.steps.find_embeddings import name_in_loop
from initpools_cli.steps.write_embeddings import BATCH, PATCHES, write_embeddings


def embed(
    context: Context, source: str = "", weights: Path | None = None, ids: Path | None = None, id_column: str = ""
) -> tuple[FinishedStep, bool]:
    """Write ``embed/<source>/{train,test,val}.npy`` if they don't exist.

    With ``embed.patches``, ``patches/<backbone>/train.npy``: (n, places, d) float32. With ``embed.shards``, the same
    embeddings also in ``shards/<source>``; see `write_shards`.

    Parameters
    ----------
    source : str
        A pretrain of this run, "pixels", "pca", a backbone's name, or a file of embeddings; default: see
        `default_source`.
    weights : Path, optional
        The backbone's weights file; default: the one in its library's cache.
    ids : Path, optional
        Names the image of each row of a file of embeddings.
    id_column : str
        The column or array of a file of embeddings that does so.

    Raises
    ------
    UserError
        Nothing to embed with, an unknown source, or weights that don't fit.
    """
    table = context.settings.embed
    if table.shards and table.patches:
        raise UserError(
            f"embed.shards = {table.shards} has no effect with embed.patches.",
            "Leave out embed.shards or embed.patches.",
            table.shards,
        )
    if table.attention < 1 and not table.patches:
        raise UserError(
            f"embed.attention = {table.attention:g} has no effect without embed.patches.",
            "Add --set embed.patches=true, or leave out embed.attention.",
            table.attention,
        )
    step, fresh = _embed(context, source, weights, ids, id_column)
    if table.shards:
        shards, wrote = write_shards(context, step)
        context.report.say(f"{'shards' if wrote else 'already done'}: {shards.folder}")
    return step, fresh


def _embed(
    context: Context, source: str, weights: Path | None, ids: Path | None, id_column: str
) -> tuple[FinishedStep, bool]:
    if weights is None:
        source = source or default_source(context)
    if is_source(source):
        if weights is not None or context.settings.embed.patches:
            what = "--weights" if weights is not None else "embed.patches"
            raise UserError(f"{what} has no effect: {source} has embeddings.", f"Leave out {what}.", what)
        return embed_file(context, Path(as_dataset(source)), ids, id_column)
    if ids is not None or id_column:
        what = f"--ids {ids}" if ids is not None else f"--id-column {id_column}"
        raise UserError(f"{what} needs a file of embeddings.", "Name it: `initpools embed FILE.npy`.", what)
    refuse_other_file(source)
    context.require_images(f"`embed {source}`")
    if weights is not None:
        return embed_backbone(context, source, weights)
    if source in UNTRAINED and not context.settings.embed.patches:
        return _embed_untrained(context, source)
    if _is_backbone(context, source):
        return embed_backbone(context, source)
    if context.settings.embed.patches:
        raise UserError(
            f"embed.patches needs a published backbone, and '{source}' is not one.",
            "Name one of `initpools list backbones`, preferably a transformer.",
            source,
        )
    encoder = pretrain_of(context, source)
    layer = context.settings.embed.layer
    step = context.run.step(
        "embed",
        encoder.name if layer == "backbone" else f"{encoder.name}-{layer}",
        {"source": encoder.id, "layer": layer, "batch": BATCH},
        {**context.items_checksum(), **encoder.require_fresh().checksums("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(
        "embed", encoder.name, *(() if layer == "backbone" else ("--set", f"embed.layer={layer}"))
    )

    from initpools_cli.training.infer import features

    pretext = load(context, encoder)
    return write_embeddings(
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
    pretrains = context.run.steps("pretrain")
    if pretrains:
        return pretrains[-1].name
    # Only the encoder of a pretrain has a projector.
    return pretrain_of(context).name if context.settings.embed.layer == "projector" else DEFAULT


def newest(context: Context, source: str = "") -> FinishedStep:
    """Return the embeddings that a strategy reads: those of `source`, else of the labeling loop, else the newest.

    They are computed if they are missing.

    Raises
    ------
    UserError
        `source` is unknown, or the embeddings are stale.
    """
    steps = context.run.steps("embed")
    name = source or name_in_loop(context)
    if name:
        step = _find_step(context, name)
    else:
        step = steps[-1] if steps else None
        pretrains = context.run.steps("pretrain")
        newer = step is not None and bool(pretrains) and pretrains[-1].facts["finished"] > step.facts["finished"]
        if newer and not any(each.table.get("source") == pretrains[-1].id for each in steps):
            command = context.command_for("embed", pretrains[-1].name)
            context.report.once(f"{pretrains[-1].id} is newer and has no embeddings yet: `{command}`")
    if step is None:
        name = name or default_source(context)
        refuse_other_file(name)
        if name not in UNTRAINED and not is_source(name) and not _is_backbone(context, name):
            name = pretrain_of(context, name).name
        context.report.say(f"making embeddings first: `{context.command_for('embed', name)}`")
        step, _ = embed(context.for_needed_step("embed", name), name)
    context.report.once(f"embeddings: {describe_source(step)}")
    if not source:
        _compare_with_loop(context, step, steps)
    if not source and step.table.get("source") in UNTRAINED and context.data.splits["train"].images.shape[3] == 3:
        context.report.once(
            f"{step.id} are plain {'pixels' if step.name == 'pixels' else 'principal components of pixels'}, which "
            f"rarely help with photographs: `{context.command_for('embed', DEFAULT)}` makes pretrained embeddings."
        )
    return step.require_fresh()


def _compare_with_loop(context: Context, step: FinishedStep, steps: list[FinishedStep]) -> None:
    """Report that the embeddings are those of the labeling loop and not the newest, or that the run has lost these."""
    used = context.loop_embeddings(context.run)
    if used is None:
        return
    if step.name != used.name:
        context.report.once(f"{used.step} used embed/{used.name}, which the run no longer has.")
    elif steps and steps[-1].name != used.name:
        context.report.once(
            f"These are the embeddings of {used.step}; the newest are {steps[-1].id}: add --from {steps[-1].name} to "
            "use them."
        )


def _find_step(context: Context, source: str) -> FinishedStep | None:
    """Return the embed step of that name; the step of a backbone has another name than its short names."""
    step = context.run.find_step(f"embed/{source}")
    if step is not None or source in UNTRAINED or not _is_backbone(context, source):
        return step
    from initpools_cli.networks.backbones import folder_of

    return context.run.find_step(f"embed/{folder_of(source)}")


def describe_source(step: FinishedStep) -> str:
    """Return the name of an embed step, and what its network was trained on if it was not trained in the run."""
    dataset = trained_on(step)
    return f"{step.id} (pretrained on {dataset})" if dataset else step.id


def trained_on(step: FinishedStep) -> str:
    """Return what the network of an embed step was trained on outside the run; empty if that is not known."""
    return str(step.facts["outcome"].get("trained_on", ""))


def newest_patches(context: Context, source: str = "") -> FinishedStep:
    """Return the features of the places in each image: of the backbone `source`, else the newest. None are computed.

    Raises
    ------
    UserError
        The run has none, or they are stale.
    """
    from initpools_cli.networks.backbones import folder_of

    folder = folder_of(source)
    steps = [
        each
        for each in context.run.steps(PATCHES)
        if source in ("", each.name) or each.name == folder or each.name.startswith(f"{folder}-attention")
    ]
    if not steps:
        of_it = f" of '{source}'" if source else ""
        raise UserError(
            f"The run {context.run.path} has no patches{of_it}.",
            f"Make them with `{context.command_for('embed', source or 'BACKBONE', '--set', 'embed.patches=true')}`, or "
            "pass them with --patches FILE.npy.",
            source or context.run.path,
        )
    context.report.once(f"patches: {steps[-1].id}")
    return steps[-1].require_fresh()


def matrix(step: FinishedStep, split: str = "train") -> np.ndarray:
    """Return (n, d) float32, or (n, places, d) of patches, memory-mapped.

    Raises
    ------
    UserError
        The file is damaged, or the embeddings are the user's and have no rows of this split.
    """
    if split != "train" and f"{split}.npy" not in step.facts["writes"]:
        source = step.table["source"]
        raise UserError(
            f"{step.id} has no rows for the {split} images.",
            f"Add them to {source}, and run `initpools embed {source}` again, with --ids FILE if need be.",
            step.id,
        )
    return step.array(f"{split}.npy", mapped=True)


def _is_backbone(context: Context, source: str) -> bool:
    """Whether `source` is a published backbone; a pretrain of the run with its name takes precedence."""
    if not source or context.run.find_step(f"pretrain/{source}") is not None:
        return False
    from initpools_cli.networks.aliases import alias
    from initpools_cli.pretext.registry import pretexts

    # "mae" is a task and, where the run has no pretrain of it, a published network.
    if source in pretexts and alias(source) is None:
        return False
    from initpools_cli.networks.backbones import is_backbone

    return is_backbone(source)


def _embed_untrained(context: Context, source: str) -> tuple[FinishedStep, bool]:
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
        return write_embeddings(context, step, lambda split, rows, _: pixels(splits[split].images[rows], BATCH))
    project = pca(splits["train"].images, np.flatnonzero(context.data.kept), context.seed)
    return write_embeddings(
        context,
        step,
        lambda split, rows, _: (project(block) for block in pixels(splits[split].images[rows], BATCH)),
    )
