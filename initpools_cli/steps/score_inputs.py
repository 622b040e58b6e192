"""Inputs of a registered score: embeddings, training dynamics, or the dynamics of a training with labels."""

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
    """Inputs of a score.

    Attributes
    ----------
    name : str
        Of the step or steps, or of the file.
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    load : callable
        Reads `sets`.
    flags : tuple of str
        Their option on a command line.
    """

    name: str
    reads: dict[str, str]
    load: Callable[[], list[Arrays]]
    flags: tuple[str, ...] = ()

    @cached_property
    def sets(self) -> list[Arrays]:
        """The arrays of the kept images; several sets if the score is averaged over trainings."""
        return self.load()


def origin_of(context: Context, method: Method[Any], source: str, user: UserArrays) -> ScoreInputs:
    """The inputs of a registered score; embeddings are computed if they are missing."""
    mask = context.data.kept
    if is_oracle(method):
        warn_of_oracle(context, method.name)
        if source:
            raise UserError(
                f"--from {source} has no effect: '{method.name}' is computed from labels.", "Leave out --from.", source
            )
        from initpools_cli.steps.training_dynamics import label_dynamics

        has_label = context.labeled_only(method.name)
        steps = [label_dynamics(context, number, method.name) for number in range(context.settings.score.runs)]
        files = [f"{name}.npy" for name in method.inputs]
        checksums = {
            path: checksum for step in steps for path, checksum in step.require_fresh().checksums(*files).items()
        }
        return ScoreInputs(
            " ".join(step.id for step in steps),
            checksums,
            lambda: [{name: step.array(f"{name}.npy")[:, has_label] for name in method.inputs} for step in steps],
        )
    if "dynamics" in method.inputs:
        step = _with_dynamics(context, source)
        return ScoreInputs(
            step.id,
            step.require_fresh().checksums("dynamics.npy"),
            lambda: [{"dynamics": step.array("dynamics.npy")[mask]}],
            ("--from", step.name),
        )
    file, embeddings = user.files.embeddings, user.get("embeddings")
    if file is not None and embeddings is not None:
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
            lambda: [{"embeddings": rows_of(embeddings, context)}],
            ("--embeddings", path, *(("--id-column", user.files.id_column) if user.files.id_column else ())),
        )
    step = newest(context, source)
    return ScoreInputs(
        step.id,
        step.checksums("train.npy"),
        lambda: [{"embeddings": rows_of(matrix(step), context)}],
        ("--from", step.name),
    )


def rows_of(embeddings: np.ndarray, context: Context) -> np.ndarray:
    """The rows of the kept images.

    Raises
    ------
    UserError
        Embeddings of another number of images.
    """
    mask = context.data.kept
    if len(embeddings) != len(mask):
        raise UserError(
            f"embeddings has {len(embeddings)} rows, but {context.data.spec.name} has {len(mask)} train images.",
            "Save one row per train image, in the order of data/items.csv; or leave out --run and --dataset, to work "
            "from the file alone.",
            str(len(embeddings)),
        )
    return embeddings if mask.all() else embeddings[mask]


def _with_dynamics(context: Context, source: str) -> FinishedStep:
    """The pretrain `source`, else the newest, of those with training dynamics."""
    context.require_images("A score of training dynamics")
    pretrains = [step for step in context.run.steps("pretrain") if source in ("", step.name)]
    candidates = [step for step in pretrains if "dynamics.npy" in step.facts["writes"]]
    if not candidates:
        what = f"no pretrain '{source}'" if source else "no pretrain"
        raise UserError(
            f"The run {context.run.path} has {what} with training dynamics.",
            f"Train simclr or moco, which record them: `{context.command_for('pretrain', 'simclr')}`.",
            source or context.run.path,
        )
    context.report.once(f"training dynamics: {candidates[-1].id}")
    return candidates[-1]


def warn_of_oracle(context: Context, name: str) -> None:
    """Warn that a score or a strategy reads labels that were not bought."""
    train = context.data.splits["train"]
    count = int(context.data.kept[train.labeled].sum())
    context.report.warn(
        f"{name} is an oracle: it reads the labels of all {count} train images, including labels that were not bought."
    )
