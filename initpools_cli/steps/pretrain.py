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
from initpools_cli.steps.feature_quality import metric_words, monitor, say_where_loss_stayed, warn_of_collapse
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
    """Train the encoder of ``[pretrain]``, if it is not trained already.

    Returns
    -------
    step : FinishedStep
    fresh : bool
        False if the step was finished already.
    """
    from initpools_cli.training.device import start_fabric

    table, source, step = _pending(context)
    if step.finished:
        return step.finished, False
    if source is not None and not context.settings.pretrain.source:
        step.renew = f"{context.command} --from {source.pretrain_step.name}"
    fabric = start_fabric(context.settings.run)
    if not fabric.is_global_zero:
        # Only rank 0 writes; the others wait until it has checked what an earlier attempt left, and then take part in
        # its training and read its checkpoints.
        fabric.barrier()
        pretext, _ = _build_task(context, table, source)
        _train(context, table, pretext, fabric, step.scratch / "work" / "checkpoint.pt")
        raise SystemExit(0)
    machine = context.machine.facts | {"processes": fabric.world_size}
    with context.writing(step, machine=machine) as scratch:
        fabric.barrier()
        from initpools_cli.networks.weights import save_weights
        from initpools_cli.training.running_stats import RunningStats

        rows: list[dict[str, Any]] = []
        dynamics = RunningStats(len(context.data.kept))
        pretext, arrays = _build_task(context, table, source)
        _train(context, table, pretext, fabric, scratch / "work" / "checkpoint.pt", dynamics, rows)
        _write_log(scratch / "log.csv", rows)
        if pretext.one_loss:
            say_where_loss_stayed(context, rows)
        if dynamics.nonempty:
            write_array(scratch / "dynamics.npy", dynamics.table())
        save_weights(pretext, scratch / "encoder.safetensors")
        step.outcome = {"images": int(context.data.kept.sum()), "loss": rows[-1]["loss"], **pretext.outcome()}
        if arrays:
            write_array(scratch / NEIGHBORS, arrays[NEAREST])
        if pretext.clusters_images:
            step.outcome |= write_clusters(context, pretext, scratch)
        if pretext.warning_after_training():
            context.report.warn(f"{table['method']}: {pretext.warning_after_training()}")
        (scratch / "work" / "checkpoint.pt").unlink()
    return FinishedStep(context.run, step.folder), True


def find_encoder(context: Context) -> FinishedStep | None:
    """Return the finished training of ``[pretrain]``, None if there is none."""
    return _pending(context)[2].finished


def _pending(context: Context) -> tuple[dict[str, Any], NeighborSource | None, PendingStep]:
    """Return the resolved table of ``[pretrain]``, the encoder that it starts from, and its step."""
    context.require_images("`pretrain`")
    table = resolved_table(context)
    source = NeighborSource.of(context, table["source"]) if table["source"] else None
    checksums = context.items_checksum() | ({} if source is None else source.reads)
    return table, source, context.run.step("pretrain", table["method"], table, checksums, force=context.force)


def _build_task(
    context: Context, table: dict[str, Any], source: NeighborSource | None
) -> tuple[Pretext, dict[str, np.ndarray]]:
    """The task before training, and its input arrays."""
    arrays = {} if source is None else {NEAREST: source.nearest(context, table["params"]["neighbors"])}
    images = context.data.splits["train"].images
    pretext = build(table, images.shape[3], min(images.shape[1:3]), **arrays)
    if source is not None:
        pretext.encoder.load_state_dict(load(context, source.pretrain_step).encoder.state_dict())
    return pretext, arrays


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
    is_first = rows is not None
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
            monitor=monitor(context) if is_first else None,
            on_resume=on_resume,
            on_step=lambda images: bar.advance(images - bar.done, note),
        )
        for row in loop:
            if rows is None:
                continue
            rows.append(row)
            words = metric_words(row)
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


def _batch(size: int, default: int, images: int) -> int:
    """The batch size of the settings, else the method's, or all images if they are fewer."""
    batch = size or min(default, images)
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
        value, own = getattr(context.settings.pretrain, key), source.table[key]
        if f"pretrain.{key}" in context.origins and value not in (own, "auto"):
            raise UserError(
                f"pretrain.{key} = {value!r} conflicts with {own!r} of {source.id}, which the task starts from.",
                f"Leave out pretrain.{key}, or name another pretrained encoder with --from.",
                value,
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

    entry = networks.get(network)
    possible = method.build.networks or [each.name for each in networks if each.traits.general]
    if entry.name not in possible:
        raise UserError(
            f"The pretext task {method.name} can't be trained on the network {entry.name}.",
            f"Use {', '.join(possible)}, or leave out pretrain.network for {method.build.network}.",
            entry.name,
        )
