"""Source of a pretext task on top of another: that one's encoder, and the neighbors in its embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.registry import Method
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.encoder import NEAREST


def source_of(context: Context, method: Method) -> FinishedStep | None:
    """The finished pretrain that the task starts from: ``pretrain.source``, else the newest; None for other tasks.

    Raises
    ------
    UserError
        There is none, it was trained on top of another itself, or the task starts from no encoder.
    """
    name = context.settings.pretrain.source
    if NEAREST not in method.inputs:
        if name:
            raise UserError(
                f"--from {name} has no effect: the pretext task {method.name} starts from no other encoder.",
                "Leave out --from.",
                name,
            )
        return None
    pretrains = {step.name: step for step in context.run.steps("pretrain")}
    possible = [step for step in pretrains.values() if not step.table.get("source")]
    if name in pretrains and pretrains[name] not in possible:
        raise UserError(
            f"pretrain/{name} was itself trained on top of {pretrains[name].table['source']}.",
            f"Name another with --from{f', such as {possible[-1].name}' if possible else ''}.",
            name,
        )
    if name and name not in pretrains:
        from initpools_cli.pretext.registry import pretexts

        if name not in pretexts:
            raise unknown_name("pretrain", name, pretrains, "initpools status")
        raise UserError(
            f"The run {context.run.path} has no pretrain '{name}'.",
            f"Make it with `{context.command_for('pretrain', name)}`.",
            name,
        )
    if not possible:
        raise UserError(
            f"The pretext task {method.name} starts from a trained encoder, and the run {context.run.path} has none.",
            f"Train one with `{context.command_for('pretrain', 'simclr')}`.",
            context.run.path,
        )
    step = pretrains[name] if name else possible[-1]
    context.report.once(f"on top of: {step.id}")
    return step.require_fresh()


@dataclass(frozen=True)
class NeighborSource:
    """A finished pretrain and its embeddings, which are computed if there are none."""

    pretrain_step: FinishedStep
    embed_step: FinishedStep

    @classmethod
    def of(cls, context: Context, source: str) -> NeighborSource:
        """Return the source of the step ``pretrain/<name>``."""
        step = context.run.find_step(source)
        assert step is not None, f"{source} was found a moment ago"
        return cls(step, newest(context, step.name))

    @property
    def reads(self) -> dict[str, str]:
        """The checksums of the files that a task on top of it reads."""
        return self.pretrain_step.checksums("encoder.safetensors") | self.embed_step.checksums("train.npy")

    def nearest(self, context: Context, k: int) -> np.ndarray:
        """The k nearest other images of each by cosine, (n, k) int64; an image that is left out has only itself.

        Raises
        ------
        UserError
            k is not less than the number of images.
        """
        from initpools_cli.geometry.knn import knn
        from initpools_cli.geometry.normalize import unit_rows

        rows = np.flatnonzero(context.data.kept)
        if k >= len(rows):
            raise UserError(
                f"neighbors = {k} must be less than the number of images, {len(rows)}.",
                f"Use for example --set neighbors={max(1, (len(rows) - 1) // 2)}.",
                k,
            )
        neighbors, _ = knn(unit_rows(matrix(self.embed_step)[rows]), k)
        nearest = np.repeat(np.arange(len(context.data.kept))[:, None], k, axis=1)
        nearest[rows] = rows[neighbors]
        return nearest
