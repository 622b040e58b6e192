"""What a registered score is computed from: embeddings, training dynamics, or a training that looks at labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.score_name import is_oracle
from initpools_cli.steps.user_files import UserArrays

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ScoreInputs:
    """What a score is computed from.

    Attributes
    ----------
    name : str
        The step or steps, or the file.
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    load : callable
        Reads `sets`.
    flags : tuple of str
        What names it on a command line.
    """

    name: str
    reads: dict[str, str]
    load: Callable[[], list[Arrays]]
    flags: tuple[str, ...] = ()

    @cached_property
    def sets(self) -> list[Arrays]:
        """The arrays of the kept images; several sets where a score is averaged over trainings."""
        return self.load()


def origin_of(context: Context, method: Method[Any], source: str, user: UserArrays) -> ScoreInputs:
    """What a registered score is computed from; embeddings are made here where they are missing."""
    kept = context.data.kept
    if is_oracle(method):
        warn_of_oracle(context, method.name)
        if source:
            raise UserError(
                f"--from {source} has no effect: '{method.name}' is computed from labels.", "Leave out --from.", source
            )
        from initpools_cli.steps.training_dynamics import label_dynamics

        known = context.labeled_only(method.name)
        watched = [label_dynamics(context, number, method.name) for number in range(context.settings.score.runs)]
        files = [f"{name}.npy" for name in method.inputs]
        reads = {
            path: checksum for done in watched for path, checksum in done.require_fresh().checksums(*files).items()
        }
        return ScoreInputs(
            " ".join(done.id for done in watched),
            reads,
            lambda: [{name: done.array(f"{name}.npy")[:, known] for name in method.inputs} for done in watched],
        )
    if "dynamics" in method.inputs:
        done = _with_dynamics(context, source)
        return ScoreInputs(
            done.id,
            done.require_fresh().checksums("dynamics.npy"),
            lambda: [{"dynamics": done.array("dynamics.npy")[kept]}],
            ("--from", done.name),
        )
    file, given = user.files.embeddings, user.get("embeddings")
    if file is not None and given is not None:
        if source:
            raise UserError(
                f"--from {source} has no effect: the embeddings in {file} (--embeddings) are scored.",
                "Leave out --from or --embeddings.",
                source,
            )
        path = str(file.resolve())
        return ScoreInputs(
            path,
            user.files.checksums_of("embeddings"),
            lambda: [{"embeddings": rows_of(given, context)}],
            ("--embeddings", path, *(("--id-column", user.files.id_column) if user.files.id_column else ())),
        )
    done = newest(context, source)
    return ScoreInputs(
        done.id,
        done.checksums("train.npy"),
        lambda: [{"embeddings": rows_of(matrix(done), context)}],
        ("--from", done.name),
    )


def rows_of(embeddings: np.ndarray, context: Context) -> np.ndarray:
    """The rows of the kept images.

    Raises
    ------
    UserError
        Embeddings of another number of images.
    """
    kept = context.data.kept
    if len(embeddings) != len(kept):
        raise UserError(
            f"embeddings has {len(embeddings)} rows, but {context.data.spec.name} has {len(kept)} train images.",
            "Save one row per train image, in the order of data/items.csv; or leave out --run and --dataset, to work "
            "from the file alone.",
            str(len(embeddings)),
        )
    return embeddings if kept.all() else embeddings[kept]


def _with_dynamics(context: Context, source: str) -> FinishedStep:
    """The newest pretrain that kept its training dynamics, or the named one."""
    context.require_images("A score of training dynamics")
    trained = [step for step in context.run.steps("pretrain") if source in ("", step.name)]
    kept = [step for step in trained if "dynamics.npy" in step.facts["writes"]]
    if not kept:
        wanted = f"no pretrain '{source}'" if source else "no pretrain"
        raise UserError(
            f"The run {context.run.path} has {wanted} with training dynamics.",
            f"Train simclr or moco, which record them: `{context.command_for('pretrain', 'simclr')}`.",
            source or context.run.path,
        )
    context.report.once(f"training dynamics: {kept[-1].id}")
    return kept[-1]


def warn_of_oracle(context: Context, name: str) -> None:
    """Warn that a score or a strategy reads labels that were not bought."""
    train = context.data.splits["train"]
    count = int(context.data.kept[train.labeled].sum())
    context.report.warn(
        f"{name} is an oracle: it reads the labels of all {count} train images, including labels that were not bought."
    )
