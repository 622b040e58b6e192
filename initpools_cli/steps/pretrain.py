"""Train an encoder without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, write_array
from initpools_cli.core.rundir import Done
from initpools_cli.steps.context import Context
from initpools_cli.steps.quality import measured_words, monitor, say_where_loss_stayed, warn_of_collapse

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric

    from initpools_cli.core.registry import Method
    from initpools_cli.pretext.base import Pretext
    from initpools_cli.training.moments import Moments


def resolved_table(context: Context) -> dict[str, Any]:
    """The [pretrain] table with "auto" replaced and every knob's value in it."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.training.machine import precision_of

    table = context.settings.pretrain
    method = pretexts.get(table.method)
    knobs = method.validate(table.params, context.where("pretrain"))
    network = method.build.network if table.network == "auto" else table.network
    recipe = method.build.recipe_default if table.augment == "auto" else table.augment
    _check_network(network, method)
    return {
        **table.model_dump(),
        "method": method.name,
        "network": network,
        "augment": recipe,
        "params": knobs,
        "seed": context.seed,
        "precision": precision_of(context.settings.run),
    }


def build(table: dict[str, Any], channels: int, size: int) -> Pretext:
    """The untrained pretext task of a resolved table."""
    from initpools_cli.networks.build import build_encoder
    from initpools_cli.pretext.registry import pretexts

    encoder = build_encoder(table["network"], channels=channels, size=size, width=table["width"], seed=table["seed"])
    return pretexts.get(table["method"]).build(encoder, table["augment"], table["seed"], **table["params"])


def load(context: Context, done: Done) -> Pretext:
    """The trained pretext task of a finished pretrain."""
    from initpools_cli.networks.weights import load_weights

    images = context.data.splits["train"].images
    pretext = build(done.table, images.shape[3], min(images.shape[1:3]))
    load_weights(pretext, done.folder / "encoder.safetensors")
    return pretext


def pretrain(context: Context) -> tuple[Done, bool]:
    """Train the encoder of ``[pretrain]``, or find it already done.

    Returns
    -------
    done : Done
    fresh : bool
        False where there was nothing to do.
    """
    from initpools_cli.training.machine import start_fabric

    table = resolved_table(context)
    step = context.run.step("pretrain", table["method"], table, context.items_checksum(), force=context.force)
    if step.finished:
        return step.finished, False
    fabric = start_fabric(context.settings.run)
    if not fabric.is_global_zero:
        # Rank 0 alone writes; the others wait until it has sorted out what an earlier attempt left, and then take part
        # in its training and read its checkpoints.
        fabric.barrier()
        _train(context, table, fabric, step.scratch / "work" / "checkpoint.pt")
        raise SystemExit(0)
    machine = context.machine.facts | {"processes": fabric.world_size}
    with context.writing(step, machine=machine) as scratch:
        fabric.barrier()
        from initpools_cli.networks.weights import save_weights
        from initpools_cli.training.moments import Moments

        rows: list[dict[str, Any]] = []
        dynamics = Moments(len(context.data.kept))
        pretext = _train(context, table, fabric, scratch / "work" / "checkpoint.pt", dynamics, rows)
        _write_log(scratch / "log.csv", rows)
        say_where_loss_stayed(context, rows)
        if dynamics.seen:
            write_array(scratch / "dynamics.npy", dynamics.table())
        save_weights(pretext, scratch / "encoder.safetensors")
        (scratch / "work" / "checkpoint.pt").unlink()
        step.outcome = {"images": int(context.data.kept.sum()), "loss": rows[-1]["loss"]}
    return Done(context.run, step.folder), True


def _train(
    context: Context,
    table: dict[str, Any],
    fabric: Fabric,
    checkpoint: Path,
    dynamics: Moments | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> Pretext:
    from initpools_cli.training.fit import Plan, fit

    split = context.data.splits["train"]
    pretext = build(table, split.images.shape[3], min(split.images.shape[1:3]))
    plan = Plan(table["epochs"], table["batch"], table["seed"])
    ids = np.flatnonzero(context.data.kept)
    report, name = context.report, table["method"]
    speaks = rows is not None
    with report.progress(f"pretrain {name}", plan.epochs) as bar:
        loop = fit(
            pretext,
            split.images,
            ids,
            plan,
            fabric,
            checkpoint=checkpoint,
            dynamics=dynamics,
            monitor=monitor(context) if speaks else None,
            on_resume=lambda epoch: report.say(f"resuming {name} at epoch {epoch} of {plan.epochs}"),
        )
        for row in loop:
            if rows is None:
                continue
            rows.append(row)
            words = measured_words(row)
            bar.advance(note=f"loss {row['loss']:.4f}{words}")
            report.detail(
                f"epoch {row['epoch']} of {plan.epochs}: loss {row['loss']:.4f}, "
                f"{row['images_per_second']:.0f} images/s{words}"
            )
            warn_of_collapse(context, rows, plan.epochs, pretext.encoder.features)
    return pretext


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    with atomic_file(path) as stream:
        pd.DataFrame(rows).to_csv(stream, index=False)


def _check_network(network: str, method: Method) -> None:
    from initpools_cli.networks.registry import networks

    chosen = networks.get(network)
    possible = method.build.networks or [each.name for each in networks if each.traits.get("general", True)]
    if chosen.name not in possible:
        raise UserError(
            f"The pretext task {method.name} can't be trained on the network {chosen.name}.",
            f"It runs on {', '.join(possible)}: leave pretrain.network out to take {method.build.network}.",
        )
