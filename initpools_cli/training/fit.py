"""Fit any pretext task: epochs out, one row each, the same bytes whether or not it was interrupted."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from initpools_cli.augment.draws import Draws
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.seeds import derive, generator
from initpools_cli.pretext.base import Pretext
from initpools_cli.training.machine import as_tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long and in what batches to train.

    Attributes
    ----------
    epochs : int
        Passes over the images.
    batch : int
        Images per step, over all processes; what is left of an epoch after the last full batch is not used in it.
    seed : int
        Decides the order of images and every augmentation.
    """

    epochs: int
    batch: int
    seed: int


def fit(
    pretext: Pretext,
    images: np.ndarray,
    ids: np.ndarray,
    plan: Plan,
    fabric: Fabric,
    *,
    checkpoint: Path,
    monitor: Callable[[Pretext], float] | None = None,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Iterator[Row]:
    """Train `pretext` in place.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8, may be memory-mapped.
    ids : ndarray
        (m,) int64: the rows of `images` to train on; an image's random draws are keyed by its row.
    checkpoint : Path
        Written after every epoch; where it exists, training goes on from it.
    monitor : callable, optional
        Called at about ten epochs and the last; its value goes into the row and nowhere else.
    on_step : callable
        Told each step's loss.

    Yields
    ------
    dict
        epoch (from 1), loss (mean over the epoch), lr (factor of the base rate), images_per_second, knn_accuracy (nan
        where not measured). Rows of epochs done before an interruption are yielded again first, with resumed=True.

    Raises
    ------
    UserError
        The batch is larger than the data set, or the loss is no longer finite.
    """
    if plan.batch > len(ids):
        raise UserError(
            f"pretrain.batch = {plan.batch} is larger than the {len(ids)} images to train on.",
            f"Use for example --set pretrain.batch={max(2, len(ids) // 2)}.",
        )
    if plan.batch % fabric.world_size:
        raise UserError(
            f"pretrain.batch = {plan.batch} can't be split over {fabric.world_size} processes.",
            f"Use for example --set pretrain.batch={plan.batch // fabric.world_size * fabric.world_size}.",
        )
    pretext.train().to(memory_format=torch.channels_last)
    module, optimizer = fabric.setup(pretext, pretext.optimizer(plan.batch))
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = len(ids) // plan.batch
    share = plan.batch // fabric.world_size
    own = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    measured = {epoch for epoch in range(1, plan.epochs + 1) if epoch % max(1, plan.epochs // 10) == 0} | {plan.epochs}

    rows = _resume(checkpoint, pretext, optimizer)
    for row in rows:
        yield row | {"resumed": True}
    for epoch in range(len(rows) + 1, plan.epochs + 1):
        order = generator(plan.seed, "order", epoch).permutation(ids)
        started, total = time.perf_counter(), 0.0
        for step in range(steps):
            chosen = np.sort(order[step * plan.batch : (step + 1) * plan.batch][own])
            factor = _cosine((epoch - 1 + step / steps) / plan.epochs)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            batch = as_tensor(images[chosen], fabric.device)
            draws = Draws(derive(plan.seed, "augment"), epoch, as_tensor(chosen, fabric.device))
            inputs = pretext.inputs(batch, draws)
            outputs = module(*inputs)
            loss = pretext.loss(inputs, outputs, draws.ids)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            pretext.after_step(outputs, (epoch - 1 + (step + 1) / steps) / plan.epochs)
            value = float(loss.detach())
            _refuse_divergence(value, epoch)
            total += value
            on_step(value)
        seconds = time.perf_counter() - started
        knn = monitor(pretext) if monitor is not None and epoch in measured else math.nan
        pretext.train()
        row = {
            "epoch": epoch,
            "loss": total / steps,
            "lr": factor,
            "images_per_second": steps * plan.batch / seconds,
            "knn_accuracy": knn,
        }
        rows.append(row)
        if fabric.is_global_zero:
            _save(checkpoint, pretext, optimizer, rows)
        fabric.barrier()
        yield row | {"resumed": False}


def _cosine(progress: float, floor: float = 1e-3) -> float:
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _refuse_divergence(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"The loss became {loss} in epoch {epoch}: training has diverged.",
            "Lower the learning rate (--set lr=…), or use --set run.precision=fp32.",
        )


def _save(path: Path, pretext: Pretext, optimizer: Any, rows: list[Row]) -> None:
    state = {"model": pretext.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows}
    # Torch reports a full disk as an error of its own; the stream reports it as what it is.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())


def _resume(path: Path, pretext: Pretext, optimizer: Any) -> list[Row]:
    if not path.exists():
        return []
    state = torch.load(path, map_location=next(pretext.parameters()).device, weights_only=True)
    pretext.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return list(state["rows"])
