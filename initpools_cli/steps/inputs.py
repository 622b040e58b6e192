"""Give a strategy what its signature asks for: from the user's files, else from the run, made where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.registry import Method
from initpools_cli.core.rundir import Done
from initpools_cli.steps.bring import Brought
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.score import score_names, scores_of
from initpools_cli.strategies.selection import Selection

#: What a strategy may ask that only a trained classifier gives.
FROM_A_MODEL = frozenset({"probs", "view_probs"})


@dataclass(frozen=True)
class Named:
    """A strategy as the user names it.

    Attributes
    ----------
    name : str
        The public name: a registered strategy's, or a score's.
    method : Method
        What runs: for a score's name, the strategy "score".
    score : str
        The score it ranks by, or "".
    """

    name: str
    method: Method
    score: str = ""

    def knobs(self, given: Mapping[str, Any], order: str, where: str = "") -> dict[str, Any]:
        """The values of all its knobs; ``select.order`` is one where the strategy has it."""
        ordered = {"order": order} if "order" in self.method.knobs else {}
        if order != "highest" and not ordered:
            raise UserError(
                f"'{self.name}' does not rank by a score, so order = '{order}' means nothing.", "Leave it out."
            )
        return self.method.validate({**ordered, **given}, where)


@dataclass
class Supply:
    """What a strategy is called with, and where it came from.

    Attributes
    ----------
    arrays : dict of str to ndarray
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    origin : str
        The step its embeddings or scores are from, or "".
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    origin: str = ""

    def add(self, name: str, array: np.ndarray, done: Done, *files: str) -> None:
        """An array read from a finished step."""
        self.arrays[name] = array
        self.reads |= done.reads(*files)
        self.origin = self.origin or done.id


def named(name: str) -> Named:
    """The strategy of that name, alias, or score.

    Raises
    ------
    UserError
        No such strategy; the nearest name is in the message.
    """
    from initpools_cli.strategies.registry import strategies

    if name in strategies:
        method = strategies.get(name)
        return Named(method.name, method)
    scores = score_names()
    if name in scores:
        return Named(name, strategies.get("score"), name)
    aliases = [alias for method in strategies for alias in method.aliases]
    raise unknown_name("strategy", name, [*strategies.names(), *aliases, *scores], strategies.listing)


def needed(strategy: Named, balance: str) -> set[str]:
    """The inputs that the strategy and the spreading over clusters ask for."""
    return {*strategy.method.inputs, *{"kmeans": ["embeddings"], "clusters": ["clusters"]}.get(balance, [])}


def pick(
    strategy: Named,
    arrays: Mapping[str, np.ndarray],
    budget: int,
    select: SelectTable,
    knobs: Mapping[str, Any],
    seed: int,
    *,
    labeled: np.ndarray | None = None,
    kept: np.ndarray | None = None,
) -> Selection:
    """Let the strategy choose, with the settings of [select] that hold wherever a strategy runs.

    Parameters
    ----------
    labeled : ndarray, optional
        Indices or mask of the images that are labelled already.
    kept : ndarray, optional
        (n,) bool, the images there are to choose from; None: all that the arrays tell of.
    """
    from initpools_cli.strategies.choose import choose

    return choose(
        strategy.method.name,
        arrays,
        budget,
        labeled=labeled,
        exclude=None if kept is None or kept.all() else ~kept,
        n=None if kept is None else len(kept),
        seed=seed,
        normalize=select.normalize,
        balance=select.balance,
        n_clusters=select.n_clusters,
        knobs=knobs,
    )


def supply(
    context: Context, strategy: Named, table: SelectTable, brought: Brought, source: str, *, with_model: bool = False
) -> Supply:
    """Inputs that need no classifier: what was brought, then embeddings and scores of the run.

    Parameters
    ----------
    source : str
        ``--from``; default: the newest embeddings.
    with_model : bool
        Whether the caller has a classifier to ask for what is still missing.

    Raises
    ------
    UserError
        Brought arrays whose row count is not the data set's, or a model to ask where there is none.
    """
    given = Supply(brought.arrays(), brought.checksums())
    count = len(context.data.kept)
    for name, array in given.arrays.items():
        rows = array.shape[-2] if name in ("probs", "view_probs") else len(array) if name != "order" else count
        if rows != count:
            raise UserError(
                f"{name} has {rows} rows, but {context.data.spec.name} has {count} train images.",
                "Bring one row per train image, in the order of data/items.csv; or name no run, to work from the file.",
            )
    wants = needed(strategy, table.balance)
    asked = wants & FROM_A_MODEL - given.arrays.keys()
    if asked and not with_model:
        raise UserError(
            f"'{strategy.name}' asks a trained model for {', '.join(sorted(asked))}, and there is none here.",
            f"Bring them with --probs FILE.npy, or let a classifier be trained: `initpools rank {strategy.name}`, "
            f"`initpools al-run --query {strategy.name}`.",
        )
    if "embeddings" in wants and "embeddings" not in given.arrays:
        done = newest(context, source)
        given.add("embeddings", matrix(done), done, "train.npy")
    if "scores" in wants and strategy.score and "scores" not in given.arrays:
        done = scores_of(context, strategy.score, source if "embeddings" not in wants else "")
        given.add("scores", done.array("scores.npy"), done, "scores.npy")
    return given
