"""Fit any pretext task: epochs out, one row each, the same bytes whether or not it was interrupted."""

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


@dataclass
class Progress:
    """How far training has come: what a checkpoint holds beside the weights.

    Attributes
    ----------
    rows : list of dict
        Of the finished epochs.
    step : int
        Steps done in the epoch under way.
    total : float
        The sum of their losses.
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
) -> Iterator[Row]:
    """Train `pretext` in place.

    A request to stop (Ctrl-C, SIGTERM) is granted after the step under way, with a checkpoint.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8, may be memory-mapped.
    ids : ndarray
        (m,) int64: the rows of `images` to train on; an image's random draws are keyed by its row.
    checkpoint : Path
        Written after every epoch and every five minutes; where it exists, training goes on from it.
    dynamics : Moments, optional
        Of n images; given each batch's `Pretext.confidence` where the task has one.
    monitor : callable, optional
        Called at about ten epochs and the last; what it measured goes into the row and nowhere else. A rank that is
        not finite ends training.
    on_resume : callable
        Told the epoch that an earlier attempt had reached.

    Yields
    ------
    dict
        epoch (from 1), loss (mean over the epoch), lr (factor of the base rate), images_per_second, and what the
        monitor measured. Rows of epochs done before an interruption are yielded again first.

    Raises
    ------
    UserError
        Fewer than two images, a batch larger than the data set, or a loss or features that are no longer finite.
    """
    if len(ids) < 2:
        raise UserError(
            f"There is {len(ids)} image to train on, and nothing to tell it from.", "Bring at least two images."
        )
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
    pretext.begins(plan.epochs)
    if fabric.world_size > 1:
        share_batch_norm(pretext)
    module, optimizer = fabric.setup(pretext, pretext.optimizer(plan.batch))
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = len(ids) // plan.batch
    share = plan.batch // fabric.world_size
    own = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    measured = {epoch for epoch in range(1, plan.epochs + 1) if epoch % max(1, plan.epochs // 10) == 0} | {plan.epochs}

    dynamics = dynamics or RunningStats(len(images))
    done = _resume(checkpoint, pretext, optimizer, dynamics)

    def save() -> None:
        if fabric.is_global_zero:
            _save(checkpoint, pretext, optimizer, dynamics, done)

    if (done.rows or done.step) and len(done.rows) < plan.epochs:
        on_resume(len(done.rows) + 1)
    yield from done.rows
    with deferred_stop() as stop_asked:
        saved = time.monotonic()
        for epoch in range(len(done.rows) + 1, plan.epochs + 1):
            order = generator(plan.seed, "order", epoch).permutation(ids)
            shown = [order[step * plan.batch : (step + 1) * plan.batch][own] for step in range(done.step, steps)]
            started, began_at = time.perf_counter(), done.step
            # Here, because no step is left where training stopped after the last of an epoch.
            factors = [pretext.rate((epoch - 1 + step / steps) / plan.epochs) for step in range(steps)]
            for step, chosen in enumerate(shown, done.step):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factors[step]
                draws = Draws(derive(plan.seed, "augment"), epoch, as_tensor(np.sort(chosen), fabric.device))
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
                pretext.after_step(outputs, (epoch - 1 + (step + 1) / steps) / plan.epochs)
                value = _mean(loss.detach(), fabric)
                _refuse_divergence("loss", value, epoch)
                done.step, done.total = step + 1, done.total + value
                stop = _any(stop_asked(), fabric)
                if stop or time.monotonic() - saved > CHECKPOINT_EVERY:
                    save()
                    saved = time.monotonic()
                if stop:
                    return
            seconds = time.perf_counter() - started
            found = monitor(pretext) if monitor is not None and epoch in measured else {}
            _refuse_divergence("rank of the features", found.get("rank", 0.0), epoch)
            pretext.train()
            row = {
                "epoch": epoch,
                "loss": done.total / steps,
                "lr": factors[-1],
                "images_per_second": (steps - began_at) * plan.batch / seconds,
                **found,
            }
            done = Progress([*done.rows, row])
            save()
            saved = time.monotonic()
            fabric.barrier()
            yield row


def _mean(loss: torch.Tensor, fabric: Fabric) -> float:
    """Over the processes."""
    return float(cast(torch.Tensor, fabric.all_reduce(loss)))


def _any(flag: bool, fabric: Fabric) -> bool:
    """Whether it holds in any process, so that all of them stop after the same step."""
    return _mean(torch.tensor(float(flag), device=fabric.device), fabric) > 0


def _refuse_divergence(what: str, value: float, epoch: int) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"The {what} became {value} in epoch {epoch}: training has diverged.",
            "Lower the learning rate (--set lr=…), or use --set run.precision=fp32.",
        )


def _save(path: Path, pretext: Pretext, optimizer: Any, dynamics: RunningStats, done: Progress) -> None:
    state = {
        "model": pretext.state_dict(),
        "optimizer": optimizer.state_dict(),
        "dynamics": dynamics.state,
        **vars(done),
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
