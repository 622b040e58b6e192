"""Features of every image: from a pretrain, from a backbone with weights, or from the pixels themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.files import sha256_of, write_rows
from initpools_cli.core.rundir import Done, Step
from initpools_cli.steps.context import Context

#: Images per forward pass.
BATCH = 256
#: Sources that need no training and no weights.
UNTRAINED = ("pixels", "pca")


def embed(context: Context, source: str = "", weights: Path | None = None) -> tuple[Done, bool]:
    """Write ``embed/<source>/{train,test,val}.npy``, or find them already done.

    Parameters
    ----------
    source : str
        A pretrain of this run (default: the newest), "pixels", "pca", or a backbone's name.
    weights : Path, optional
        The backbone's weights file.

    Raises
    ------
    UserError
        Nothing to embed with, an unknown source, or weights that don't fit.
    """
    if weights is not None:
        return _backbone(context, source, weights)
    if source in UNTRAINED:
        return _untrained(context, source)
    done = _pretrain_of(context, source)
    layer = context.settings.embed.layer
    step = context.run.step(
        "embed",
        done.name if layer == "backbone" else f"{done.name}-{layer}",
        {"source": done.id, "layer": layer, "batch": BATCH},
        {**context.items_checksum(), **done.require_fresh().reads("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for("embed", done.name)

    from initpools_cli.steps.pretrain import load
    from initpools_cli.training.infer import features

    pretext = load(context, done)
    return _write(
        context,
        step,
        lambda split: features(
            pretext, context.data.splits[split].images, layer=layer, batch=BATCH, device=context.machine.device
        ),
    )


def newest(context: Context, source: str = "") -> Done:
    """The embeddings a strategy reads: `source`'s, else the newest; made here where they are missing.

    Raises
    ------
    UserError
        There are none and nothing to make them from, or they are stale.
    """
    made = context.run.steps("embed")
    if source:
        found = context.run.done(f"embed/{source}")
    else:
        found = made[-1] if made else None
        trained = context.run.steps("pretrain")
        newer = found is not None and bool(trained) and trained[-1].facts["finished"] > found.facts["finished"]
        if newer and not any(step.table.get("source") == trained[-1].id for step in made):
            command = context.command_for("embed", trained[-1].name)
            context.report.once(f"{trained[-1].id} is newer and has no embeddings yet: `{command}`")
    if found is None:
        name = source if source in UNTRAINED else _pretrain_of(context, source).name
        context.report.say(f"making embeddings first: `{context.command_for('embed', name)}`")
        found, _ = embed(context.made_on_the_way("embed", name), name)
    context.report.once(f"embeddings: {found.id}")
    return found.require_fresh()


def matrix(done: Done, split: str = "train") -> np.ndarray:
    """(n, d) float32, memory-mapped."""
    return done.array(f"{split}.npy", mapped=True)


def _pretrain_of(context: Context, source: str) -> Done:
    trained = context.run.steps("pretrain")
    if not source:
        if trained:
            return trained[-1]
        raise UserError(
            f"The run {context.run.path} has no pretrained encoder to embed with.",
            f"Train one with `{context.command_for('pretrain', 'simclr')}`, or do without: "
            f"`{context.command_for('embed', 'pca')}`.",
        )
    done = context.run.done(f"pretrain/{source}")
    if done is not None:
        return done
    from initpools_cli.networks.backbones import backbone_names
    from initpools_cli.pretext.registry import pretexts

    if source in pretexts:
        raise UserError(
            f"The run {context.run.path} has no pretrain '{source}'.",
            f"Make it with `{context.command_for('pretrain', source)}`.",
        )
    if source in backbone_names():
        raise UserError(
            f"The backbone {source} needs its weights.",
            f"Give them with `{context.command_for('embed', source, '--weights', 'FILE')}`.",
        )
    names = [*(step.name for step in trained), *UNTRAINED, *backbone_names()]
    raise unknown_name("source of embeddings", source, names, "initpools status")


def _untrained(context: Context, source: str) -> tuple[Done, bool]:
    from initpools_cli.training.baselines import pca, pixels

    seed = {"seed": context.seed} if source == "pca" else {}
    step = context.run.step("embed", source, {"source": source, **seed}, context.items_checksum(), force=context.force)
    if step.finished:
        return step.finished, False
    splits = context.data.splits
    if source == "pixels":
        return _write(context, step, lambda split: pixels(splits[split].images, BATCH))
    project = pca(splits["train"].images[context.data.kept], context.seed)
    return _write(context, step, lambda split: (project(block) for block in pixels(splits[split].images, BATCH)))


def _backbone(context: Context, name: str, weights: Path) -> tuple[Done, bool]:
    from initpools_cli.networks.backbones import load_backbone
    from initpools_cli.training.baselines import backbone_features

    if not name:
        raise UserError(f"--weights {weights} says no backbone.", "Name it: `initpools embed resnet18 --weights FILE`.")
    model, preprocess = load_backbone(name, weights)
    table = {"source": name, "weights": weights.name, "batch": BATCH}
    reads = {**context.items_checksum(), str(weights.resolve()): sha256_of(weights)}
    step = context.run.step("embed", name, table, reads, force=context.force)
    if step.finished:
        return step.finished, False
    data = context.data
    return _write(
        context,
        step,
        lambda split: backbone_features(
            model, preprocess, data.splits[split], data.root, BATCH, context.machine.device
        ),
    )


def _write(context: Context, step: Step, compute: Callable[[str], Iterator[np.ndarray]]) -> tuple[Done, bool]:
    splits = context.data.splits
    total = sum(len(split.images) for split in splits.values())
    with (
        context.writing(step) as scratch,
        context.report.progress(f"embed {step.id.split('/')[1]}", total) as bar,
    ):
        for name, split in splits.items():
            rows = _finite(compute(name), bar.advance)
            step.outcome[name] = list(write_rows(scratch / f"{name}.npy", rows, len(split.images)))
    return Done(context.run, step.folder), True


def _finite(blocks: Iterator[np.ndarray], advance: Callable[[int], Any]) -> Iterator[np.ndarray]:
    """The same blocks of rows; refused where a number is not finite."""
    start = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise UserError(
                f"The embeddings of images {start} to {start + len(block) - 1} are not finite.",
                "The encoder has diverged: pretrain it again with a lower learning rate (--set lr=…).",
            )
        start += len(block)
        advance(len(block))
        yield block
