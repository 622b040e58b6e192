"""Training loop of pretext tasks, resumable with the same result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from initpools_cli.augment.draws import Draws
from initpools_cli.core.errors import UserError
from initpools_cli.core.interrupts import deferred_stop
from initpools_cli.core.seeds import derive, generator
from initpools_cli.networks.batchnorm import share_batch_norm
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.base import Pretext
from initpools_cli.training.checkpoint import load_checkpoint, save_checkpoint
from initpools_cli.training.device import as_tensor
from initpools_cli.training.running_stats import RunningStats

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Row = dict[str, Any]


#: Seconds between checkpoints within an epoch.
CHECKPOINT_EVERY = 300.0


@dataclass(frozen=True)
class Plan:
    """Epochs, batch size and seed of a training.

    Attributes
    ----------
    epochs : int
        Passes over the images.
    batch : int
        Images per step, over all processes; an incomplete last batch of an epoch is dropped.
    seed : int
        Determines the order of images and every augmentation.
    """

    epochs: int
    batch: int
    seed: int


@dataclass
class Progress:
    """Progress of a training, stored in checkpoints beside the weights.

    Attributes
    ----------
    rows : list of dict
        Rows of the finished epochs.
    step : int
        Steps done in the current epoch.
    total : float
        Sum of their losses.
    """

    rows: list[Row] = field(default_factory=list)
    step: int = 0
    total: float = 0.0


def fit(
    pretext: Pretext,
    images: np.ndarray,
    ids: np.ndarray,
    plan: Plan,
    fabric: Fabric,
    *,
    checkpoint: Path,
    dynamics: RunningStats | None = None,
    monitor: Callable[[Pretext], Row] | None = None,
    on_resume: Callable[[int], None] = lambda epoch: None,
    on_step: Callable[[int], None] = lambda images: None,
) -> Iterator[Row]:
    """Train `pretext` in place and yield one row per epoch.

    On Ctrl-C or SIGTERM it stops after the current step and writes a checkpoint.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8, may be memory-mapped.
    ids : ndarray
        (m,) int64: the rows of `images` to train on; the random draws of an image are keyed by its row.
    checkpoint : Path
        Written after every epoch and every five minutes; if it exists, training resumes from it.
    dynamics : RunningStats, optional
        Statistics of n images; updated with each batch's `Pretext.confidence` if the task has one.
    monitor : callable, optional
        Called after about ten epochs and the last; its results are added to the row. Training ends if its rank is not
        finite.
    on_resume : callable
        Called with the epoch at which training resumes.
    on_step : callable
        Called after every step with the number of images shown in all epochs so far.

    Yields
    ------
    dict
        epoch (from 1), loss (mean over the epoch), lr (factor of the base rate), images_per_second, and the results of
        `monitor`. After an interruption, rows of finished epochs are yielded again first.

    Raises
    ------
    UserError
        If there are fewer than two images, the batch is larger than the data set or not divisible by the number of
        processes, or the loss or the features are no longer finite.
    """
    _check(plan, len(ids), fabric.world_size)
    pretext.train().to(memory_format=torch.channels_last)
    pretext.begins(plan.epochs)
    if fabric.world_size > 1:
        share_batch_norm(pretext)
    module, optimizer = fabric.setup(pretext, pretext.optimizer(plan.batch))
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = len(ids) // plan.batch
    share = plan.batch // fabric.world_size
    own = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    every = max(1, plan.epochs // 10)
    monitor_epochs = {*range(every, plan.epochs + 1, every), plan.epochs}

    dynamics = dynamics or RunningStats(len(images))
    progress = _resume(checkpoint, pretext, optimizer, dynamics)

    def save() -> None:
        if fabric.is_global_zero:
            _save(checkpoint, pretext, optimizer, dynamics, progress)

    if (progress.rows or progress.step) and len(progress.rows) < plan.epochs:
        on_resume(len(progress.rows) + 1)
    yield from progress.rows
    with deferred_stop() as should_stop:
        last_save = time.monotonic()
        for epoch in range(len(progress.rows) + 1, plan.epochs + 1):
            order = generator(plan.seed, "order", epoch).permutation(ids)
            batches = [order[step * plan.batch : (step + 1) * plan.batch][own] for step in range(progress.step, steps)]
            start, began_at = time.perf_counter(), progress.step
            # For all steps, since no step is left if training stopped after the last step of an epoch.
            factors = [pretext.rate((epoch - 1 + step / steps) / plan.epochs) for step in range(steps)]
            for step, batch_ids in enumerate(batches, progress.step):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factors[step]
                draws = Draws(derive(plan.seed, "augment"), epoch, as_tensor(np.sort(batch_ids), fabric.device))
                fraction = (epoch - 1 + (step + 1) / steps) / plan.epochs
                value = _step(pretext, module, optimizer, images, draws, fraction, dynamics, fabric)
                _refuse_divergence("loss", value, epoch)
                progress.step, progress.total = step + 1, progress.total + value
                on_step(((epoch - 1) * steps + progress.step) * plan.batch)
                stop = _any(should_stop(), fabric)
                if stop or time.monotonic() - last_save > CHECKPOINT_EVERY:
                    save()
                    last_save = time.monotonic()
                if stop:
                    return
            seconds = time.perf_counter() - start
            quality = monitor(pretext) if monitor is not None and epoch in monitor_epochs else {}
            _refuse_divergence("rank of the features", quality.get("rank", 0.0), epoch)
            pretext.train()
            row = {
                "epoch": epoch,
                "loss": progress.total / steps,
                "lr": factors[-1],
                "images_per_second": (steps - began_at) * plan.batch / seconds,
                **quality,
            }
            progress = Progress([*progress.rows, row])
            save()
            last_save = time.monotonic()
            fabric.barrier()
            yield row


def _check(plan: Plan, images: int, processes: int) -> None:
    """Refuse too few images, and a batch that is too large or not divisible by the number of processes."""
    if images < 2:
        raise UserError(
            f"Pretraining needs at least 2 images, got {images}.", "Use a data set with more images.", images
        )
    if plan.batch > images:
        raise UserError(
            f"pretrain.batch = {plan.batch} is more than the {images} training images.",
            f"Use for example --set pretrain.batch={max(2, images // 2)}.",
            plan.batch,
        )
    if plan.batch % processes:
        raise UserError(
            f"pretrain.batch = {plan.batch} is not divisible by the {processes} processes.",
            f"Use for example --set pretrain.batch={plan.batch // processes * processes}.",
            plan.batch,
        )


def _step(
    pretext: Pretext,
    module: torch.nn.Module,
    optimizer: Any,
    images: np.ndarray,
    draws: Draws,
    fraction: float,
    dynamics: RunningStats,
    fabric: Fabric,
) -> float:
    """Train on one batch, update `dynamics`, and return the mean loss over all processes."""
    batch = as_tensor(images[pretext.rows(draws).cpu().numpy()], fabric.device)
    inputs = pretext.inputs(batch, draws)
    outputs = module(*inputs)
    loss = pretext.loss(inputs, outputs, draws.ids)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    optimizer.step()
    confidence = pretext.confidence(outputs, draws.ids)
    if confidence is not None:
        dynamics.add(gather(draws.ids), gather(confidence))
    pretext.after_step(outputs, fraction)
    return _mean(loss.detach(), fabric)


def _mean(loss: torch.Tensor, fabric: Fabric) -> float:
    """Average a loss over the processes."""
    return float(cast(torch.Tensor, fabric.all_reduce(loss)))


def _any(flag: bool, fabric: Fabric) -> bool:
    """Return whether `flag` is set in any process, so that all processes stop after the same step."""
    return _mean(torch.tensor(float(flag), device=fabric.device), fabric) > 0


def _refuse_divergence(what: str, value: float, epoch: int) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"The {what} became {value} in epoch {epoch}: training diverged.",
            "Use a lower learning rate (--set lr=…), or --set run.precision=fp32.",
            value,
        )


def _save(path: Path, pretext: Pretext, optimizer: Any, dynamics: RunningStats, progress: Progress) -> None:
    state = {
        "model": pretext.state_dict(),
        "optimizer": optimizer.state_dict(),
        "dynamics": dynamics.state,
        **vars(progress),
    }
    save_checkpoint(path, state)


def _resume(path: Path, pretext: Pretext, optimizer: Any, dynamics: RunningStats) -> Progress:
    if not path.exists():
        return Progress()
    state = load_checkpoint(path, next(pretext.parameters()).device)
    pretext.load_state_dict(state.pop("model"))
    optimizer.load_state_dict(state.pop("optimizer"))
    dynamics.state.copy_(state.pop("dynamics"))
    return Progress(**state)
