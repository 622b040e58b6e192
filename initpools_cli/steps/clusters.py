"""The clusters that a pretext task sorts images into: written beside its encoder, and found again for strategies."""

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
    """Write the clusters of the train images, and compare them with labels where there are any.

    Returns
    -------
    dict
        For the step's outcome: the images in the smallest and the largest cluster, and accuracy, NMI and ARI of train
        and test images with one class each. Labels are looked at only here, when training has ended.
    """
    from initpools_cli.stats.clustering import agreement
    from initpools_cli.training.infer import cluster_probs

    def sorted_(split: str) -> np.ndarray:
        images = context.data.splits[split].images
        return np.concatenate(list(cluster_probs(pretext, images, batch=BATCH, device=context.machine.device)))

    kept = context.data.kept
    found = sorted_("train")
    clusters = found.argmax(1)
    write_array(folder / CLUSTERS, clusters)
    write_array(folder / PROBABILITIES, found.astype(np.float32))
    sizes = np.bincount(clusters[kept], minlength=found.shape[1])
    outcome: dict[str, Any] = {"smallest_cluster": int(sizes.min()), "largest_cluster": int(sizes.max())}
    context.report.say(f"clusters of {sizes.min()} to {sizes.max()} images, {(sizes == 0).sum()} of {len(sizes)} empty")
    for split in ("train", "test"):
        labels = context.data.splits[split].labels if split in context.data.splits else None
        if labels is None or context.data.multilabel:
            continue
        rows = context.data.splits[split].labeled
        rows = rows[kept[rows]] if split == "train" else rows
        if not len(rows):
            continue
        own = clusters if split == "train" else sorted_(split).argmax(1)
        measured = agreement(labels[rows], own[rows])
        outcome |= {f"{split}_{name}": value for name, value in measured.items()}
        said = ", ".join(f"{name.upper()} {value:.3f}" for name, value in measured.items())
        context.report.say(f"clusters against the {split} labels, only looked at: {said}")
    return outcome


def clusters_of(context: Context, source: str = "") -> FinishedStep:
    """The finished pretrain whose clusters a strategy reads.

    Parameters
    ----------
    source : str
        Its name; default: the newest that has clusters.

    Raises
    ------
    UserError
        There is none, or it is stale.
    """
    made = [done for done in context.run.steps("pretrain") if CLUSTERS in done.facts["writes"]]
    named = [done for done in made if done.name == source]
    if not made or (source and not named):
        how = (
            "Pass" if context.of_embeddings else f"Make them with `{context.command_for('pretrain', 'scan')}`, or pass"
        )
        raise UserError(
            f"The run {context.run.path} has no clusters{f' of the pretrain {source}' if source else ''}.",
            f"{how} them with --clusters FILE.npy.",
            source or context.run.path,
        )
    done = (named or made)[-1]
    context.report.once(f"clusters: {done.id}")
    return done.require_fresh()
