"""Clusters of a pretext task: written beside its encoder, and read by strategies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from initpools_cli.pretext.base import Pretext

#: The cluster of each train image, (n,) int64.
CLUSTERS = "clusters.npy"
#: The probability of each cluster, (n, k) float32.
PROBABILITIES = "cluster_probs.npy"
#: Images per forward pass.
BATCH = 256


def write_clusters(context: Context, pretext: Pretext, folder: Path) -> dict[str, Any]:
    """Write the clusters of the train images, and compare them with the labels, if there are any.

    Returns
    -------
    dict
        For the step's outcome: the images in the smallest and the largest cluster, and accuracy, NMI and ARI of train
        and test images with one class each. Labels are looked at only here, when training has ended.
    """
    from initpools_cli.stats.clustering import agreement
    from initpools_cli.training.infer import cluster_probs

    def infer_probs(split: str) -> np.ndarray:
        images = context.data.splits[split].images
        return np.concatenate(list(cluster_probs(pretext, images, batch=BATCH, device=context.machine.device)))

    mask = context.data.kept
    probs = infer_probs("train")
    clusters = probs.argmax(1)
    write_array(folder / CLUSTERS, clusters)
    write_array(folder / PROBABILITIES, probs.astype(np.float32))
    sizes = np.bincount(clusters[mask], minlength=probs.shape[1])
    outcome: dict[str, Any] = {"smallest_cluster": int(sizes.min()), "largest_cluster": int(sizes.max())}
    context.report.say(f"clusters of {sizes.min()} to {sizes.max()} images, {(sizes == 0).sum()} of {len(sizes)} empty")
    for split in ("train", "test"):
        labels = context.data.splits[split].labels if split in context.data.splits else None
        if labels is None or context.data.multilabel:
            continue
        rows = context.data.splits[split].labeled
        rows = rows[mask[rows]] if split == "train" else rows
        if not len(rows):
            continue
        own = clusters if split == "train" else infer_probs(split).argmax(1)
        metrics = agreement(labels[rows], own[rows])
        outcome |= {f"{split}_{name}": value for name, value in metrics.items()}
        summary = ", ".join(f"{name.upper()} {value:.3f}" for name, value in metrics.items())
        context.report.say(f"clusters against the {split} labels, only looked at: {summary}")
    return outcome


def clusters_of(context: Context, source: str = "") -> FinishedStep:
    """Return the finished pretrain whose clusters a strategy reads.

    Parameters
    ----------
    source : str
        Its name; default: the newest pretrain with clusters.

    Raises
    ------
    UserError
        No pretrain has clusters, or it is stale.
    """
    pretrains = [step for step in context.run.steps("pretrain") if CLUSTERS in step.facts["writes"]]
    matches = [step for step in pretrains if step.name == source]
    if not pretrains or (source and not matches):
        how = (
            "Pass" if context.of_embeddings else f"Make them with `{context.command_for('pretrain', 'scan')}`, or pass"
        )
        raise UserError(
            f"The run {context.run.path} has no clusters{f' of the pretrain {source}' if source else ''}.",
            f"{how} them with --clusters FILE.npy.",
            source or context.run.path,
        )
    step = (matches or pretrains)[-1]
    context.report.once(f"clusters: {step.id}")
    return step.require_fresh()
