"""What a pretext task on top of another starts from: that one's encoder, and the neighbors in its embeddings."""

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
        There is none, it stands on another itself, or the task starts from nothing.
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
    trained = {done.name: done for done in context.run.steps("pretrain")}
    possible = [done for done in trained.values() if not done.table.get("source")]
    if name in trained and trained[name] not in possible:
        raise UserError(
            f"pretrain/{name} was itself trained on top of {trained[name].table['source']}.",
            f"Name another with --from{f', such as {possible[-1].name}' if possible else ''}.",
            name,
        )
    if name and name not in trained:
        from initpools_cli.pretext.registry import pretexts

        if name not in pretexts:
            raise unknown_name("pretrain", name, trained, "initpools status")
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
    done = trained[name] if name else possible[-1]
    context.report.once(f"on top of: {done.id}")
    return done.require_fresh()


@dataclass(frozen=True)
class NeighborSource:
    """A finished pretrain and its embeddings, made here where they are missing."""

    trained: FinishedStep
    embedded: FinishedStep

    @classmethod
    def of(cls, context: Context, source: str) -> NeighborSource:
        """That of the step ``pretrain/<name>``."""
        trained = context.run.find_step(source)
        assert trained is not None, f"{source} was found a moment ago"
        return cls(trained, newest(context, trained.name))

    @property
    def reads(self) -> dict[str, str]:
        """What a task on top of it is made from."""
        return self.trained.checksums("encoder.safetensors") | self.embedded.checksums("train.npy")

    def nearest(self, context: Context, k: int) -> np.ndarray:
        """The k nearest other images of each by cosine, (n, k) int64; an image that is left out has only itself.

        Raises
        ------
        UserError
            Not that many images.
        """
        from initpools_cli.geometry.knn import knn
        from initpools_cli.geometry.normalize import unit_rows

        kept = np.flatnonzero(context.data.kept)
        if k >= len(kept):
            raise UserError(
                f"neighbors = {k} must be less than the number of images, {len(kept)}.",
                f"Use for example --set neighbors={max(1, (len(kept) - 1) // 2)}.",
                k,
            )
        found, _ = knn(unit_rows(matrix(self.embedded)[kept]), k)
        nearest = np.repeat(np.arange(len(context.data.kept))[:, None], k, axis=1)
        nearest[kept] = kept[found]
        return nearest
