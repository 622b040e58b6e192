"""Train an encoder without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_frame
from initpools_cli.core.registry import revisions_of
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.steps.clusters import write_clusters
from initpools_cli.steps.context import Context
from initpools_cli.steps.encoder import NEAREST, NEIGHBORS, build, load
from initpools_cli.steps.feature_quality import measured_words, monitor, say_where_loss_stayed, warn_of_collapse
from initpools_cli.steps.neighbors import NeighborSource, source_of

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric

    from initpools_cli.core.registry import Method
    from initpools_cli.pretext.base import Pretext
    from initpools_cli.training.running_stats import RunningStats


def resolved_table(context: Context) -> dict[str, Any]:
    """The [pretrain] table with "auto" replaced and every knob's value in it."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.training.device import resolve_precision

    table = context.settings.pretrain
    method = pretexts.get(table.method)
    knobs = method.validate(table.params, context.knob_origins(table.params, "pretrain.params"))
    recipe = method.build.recipe_default if table.augment == "auto" else table.augment
    source = source_of(context, method)
    if source is None:
        network = method.build.network if table.network == "auto" else table.network
        width = table.width
        _check_network(network, method)
    else:
        network, width = _encoder_of(source, context)
    if "clusters" in knobs:
        knobs["clusters"] = context.clusters(knobs["clusters"])
        _check_clusters(knobs["clusters"], context)
    return {
        **table.identity(),
        "method": method.name,
        "epochs": table.epochs or method.build.epochs_default,
        "batch": _batch(table.batch, method.build.batch_default, int(context.data.kept.sum())),
        "network": network,
        "width": width,
        "augment": recipe,
        "source": "" if source is None else source.id,
        "params": method.identity(knobs),
        **revisions_of((method, knobs)),
        "seed": context.seed,
        "precision": resolve_precision(context.settings.run),
    }


def pretrain(context: Context) -> tuple[FinishedStep, bool]:
    """Train the encoder of ``[pretrain]``, or find it already done.

    Returns
    -------
    done : FinishedStep
    fresh : bool
        False where there was nothing to do.
    """
    from initpools_cli.training.device import start_fabric

    table, ground, step = _pending(context)
    if step.finished:
        return step.finished, False
    if ground is not None and not context.settings.pretrain.source:
        step.renew = f"{context.command} --from {ground.trained.name}"
    fabric = start_fabric(context.settings.run)
    if not fabric.is_global_zero:
        # Rank 0 alone writes; the others wait until it has sorted out what an earlier attempt left, and then take part
        # in its training and read its checkpoints.
        fabric.barrier()
        pretext, _ = _untrained(context, table, ground)
        _train(context, table, pretext, fabric, step.scratch / "work" / "checkpoint.pt")
        raise SystemExit(0)
    machine = context.machine.facts | {"processes": fabric.world_size}
    with context.writing(step, machine=machine) as scratch:
        fabric.barrier()
        from initpools_cli.networks.weights import save_weights
        from initpools_cli.training.running_stats import RunningStats

        rows: list[dict[str, Any]] = []
        dynamics = RunningStats(len(context.data.kept))
        pretext, given = _untrained(context, table, ground)
        _train(context, table, pretext, fabric, scratch / "work" / "checkpoint.pt", dynamics, rows)
        _write_log(scratch / "log.csv", rows)
        if pretext.one_loss:
            say_where_loss_stayed(context, rows)
        if dynamics.nonempty:
            write_array(scratch / "dynamics.npy", dynamics.table())
        save_weights(pretext, scratch / "encoder.safetensors")
        step.outcome = {"images": int(context.data.kept.sum()), "loss": rows[-1]["loss"], **pretext.outcome()}
        if given:
            write_array(scratch / NEIGHBORS, given[NEAREST])
        if pretext.clusters_images:
            step.outcome |= write_clusters(context, pretext, scratch)
        if pretext.warning_after_training():
            context.report.warn(f"{table['method']}: {pretext.warning_after_training()}")
        (scratch / "work" / "checkpoint.pt").unlink()
    return FinishedStep(context.run, step.folder), True


def find_pretrained(context: Context) -> FinishedStep | None:
    """Return the finished training of ``[pretrain]``, None if there is none."""
    return _pending(context)[2].finished


def _pending(context: Context) -> tuple[dict[str, Any], NeighborSource | None, PendingStep]:
    """Return the resolved table of ``[pretrain]``, the encoder that it starts from, and its step."""
    context.require_images("`pretrain`")
    table = resolved_table(context)
    ground = NeighborSource.of(context, table["source"]) if table["source"] else None
    reads = context.items_checksum() | ({} if ground is None else ground.reads)
    return table, ground, context.run.step("pretrain", table["method"], table, reads, force=context.force)


def _untrained(
    context: Context, table: dict[str, Any], ground: NeighborSource | None
) -> tuple[Pretext, dict[str, np.ndarray]]:
    """The task before training, and the arrays that it was given."""
    given = {} if ground is None else {NEAREST: ground.nearest(context, table["params"]["neighbors"])}
    images = context.data.splits["train"].images
    pretext = build(table, images.shape[3], min(images.shape[1:3]), **given)
    if ground is not None:
        pretext.encoder.load_state_dict(load(context, ground.trained).encoder.state_dict())
    return pretext, given


def _train(
    context: Context,
    table: dict[str, Any],
    pretext: Pretext,
    fabric: Fabric,
    checkpoint: Path,
    dynamics: RunningStats | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> None:
    from initpools_cli.training.fit import Plan, fit

    split = context.data.splits["train"]
    plan = Plan(table["epochs"], table["batch"], table["seed"])
    ids = np.flatnonzero(context.data.kept)
    report, name = context.report, table["method"]
    speaks = rows is not None
    per_epoch = len(ids) // plan.batch * plan.batch
    note = ""

    def on_resume(epoch: int) -> None:
        report.say(f"resuming {name} at epoch {epoch} of {plan.epochs}")
        bar.skip((epoch - 1) * per_epoch)

    with report.progress(f"pretrain {name}", plan.epochs * per_epoch, "images") as bar:
        loop = fit(
            pretext,
            split.images,
            ids,
            plan,
            fabric,
            checkpoint=checkpoint,
            dynamics=dynamics,
            monitor=monitor(context) if speaks else None,
            on_resume=on_resume,
            on_step=lambda images: bar.advance(images - bar.done, note),
        )
        for row in loop:
            if rows is None:
                continue
            rows.append(row)
            words = measured_words(row)
            note = f"epoch {row['epoch']} of {plan.epochs}, loss {row['loss']:.4f}{words}"
            report.detail(
                f"epoch {row['epoch']} of {plan.epochs}: loss {row['loss']:.4f}, "
                f"{row['images_per_second']:.0f} images/s{words}"
            )
            # Features of a task that sorts images into few clusters have few directions by right.
            if not pretext.clusters_images:
                warn_of_collapse(context, rows, plan.epochs, pretext.encoder.features)


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    write_frame(path, pd.DataFrame(rows))


def _batch(asked: int, default: int, images: int) -> int:
    """What was asked for, else the method's own, or all images where they are fewer."""
    batch = asked or min(default, images)
    if batch < 2:
        raise UserError(
            f"Pretraining needs at least 2 images in a batch: pretrain.batch = {batch}, with {images} images.",
            "Set pretrain.batch to 2 or more, or add images.",
            batch,
        )
    return batch


def _encoder_of(source: FinishedStep, context: Context) -> tuple[str, float]:
    """Network and width of a finished pretrain, which a task on top of it can't change."""
    for key in ("network", "width"):
        asked, has = getattr(context.settings.pretrain, key), source.table[key]
        if f"pretrain.{key}" in context.origins and asked not in (has, "auto"):
            raise UserError(
                f"pretrain.{key} = {asked!r} conflicts with {has!r} of {source.id}, which the task starts from.",
                f"Leave out pretrain.{key}, or name another pretrained encoder with --from.",
                asked,
            )
    return source.table["network"], source.table["width"]


def _check_clusters(clusters: int, context: Context) -> None:
    images = int(context.data.kept.sum())
    if not 2 <= clusters <= images:
        raise UserError(
            f"clusters = {clusters} is not valid: it must be from 2 to {images}, the number of images.",
            "Set another number, for example --set clusters=10.",
            clusters,
        )


def _check_network(network: str, method: Method) -> None:
    from initpools_cli.networks.registry import networks

    chosen = networks.get(network)
    possible = method.build.networks or [each.name for each in networks if each.traits.general]
    if chosen.name not in possible:
        raise UserError(
            f"The pretext task {method.name} can't be trained on the network {chosen.name}.",
            f"Use {', '.join(possible)}, or leave out pretrain.network for {method.build.network}.",
            chosen.name,
        )
