"""What the kinds of plot have in common: the steps they draw, and the form in which they hand over data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.user_files import UserFiles, read_labels

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context


@dataclass(frozen=True)
class PlotRequest:
    """What the user wants drawn.

    Attributes
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; empty: the kind's own choice, mostly all.
    brought : UserFiles
    source : str
        ``--from``: the embeddings, for kinds that need them.
    knobs : mapping
        The values of all the kind's knobs.
    """

    names: list[str]
    brought: UserFiles
    source: str
    knobs: Mapping[str, Any]


@dataclass(frozen=True)
class PlotData:
    """The arguments of a plot's function (all but its knobs), and the steps that they are from."""

    data: dict[str, Any]
    steps: list[FinishedStep] = field(default_factory=list)


def gatherer(kind: str) -> ModuleType:
    """The module of a registered kind: ``gather(context, asked) -> Gathered``, which raises a UserError with the
    command that makes what is missing; and, for kinds that can do without a run, ``gather_files(asked, seed) -> dict``,
    or None where the files are not those it needs. ``TAKES`` are the options that it goes by, and ``TAKES_ALONE`` those
    without a run.
    """
    return import_module(f"initpools_cli.reporting.plot_data.{kind.replace('-', '_')}")


def refuse_ignored(kind: str, asked: PlotRequest, takes: Collection[str], where: str = "") -> None:
    """Refuse an option that changes nothing in this kind of plot.

    Parameters
    ----------
    takes : collection of str
        The options that it goes by.
    where : str
        For the message: in which case it goes by no others.

    Raises
    ------
    UserError
        One is given.
    """
    named, source = ["--name"] if asked.names else [], ["--from"] if asked.source else []
    for flag in [*named, *source, *(f"--{name}" for name in asked.brought.files)]:
        if flag not in takes:
            raise UserError(
                f"`plot {kind}` makes no use of {flag}{where}.",
                f"Leave it out: `plot {kind}` takes {', '.join(sorted(takes))}{where}.",
            )


def points_of(context: Context, asked: PlotRequest) -> tuple[np.ndarray, list[FinishedStep]]:
    """The embeddings that are drawn, (m, d) of the images there are, and the step they are from, if any.

    Raises
    ------
    UserError
        A file and a source are both named, or the file is of another number of images.
    """
    from initpools_cli.steps.embed import matrix, newest
    from initpools_cli.steps.score_inputs import rows_of
    from initpools_cli.strategies.arrays import INPUTS

    file = asked.brought.embeddings
    if file is None:
        done = newest(context, asked.source)
        return np.asarray(rows_of(matrix(done), context)), [done]
    if asked.source:
        raise UserError(
            f"{file} (--embeddings) is what is drawn: --from {asked.source} means nothing.", "Leave it out."
        )
    return np.asarray(
        INPUTS["embeddings"].check(rows_of(UserFiles(embeddings=file).arrays()["embeddings"], context))
    ), []


def labeled_items(context: Context, asked: PlotRequest) -> pd.DataFrame:
    """The train rows of items.csv, with the classes of ``--labels`` in place of the data set's where they are given."""
    items = context.data.train_items
    if asked.brought.labels is None:
        return items
    return with_classes(items, asked.brought, asked.brought.classes_in(context.data.classes), context.report)


def with_classes(
    items: pd.DataFrame, brought: UserFiles, classes: tuple[str, ...], report: Reporter | None = None
) -> pd.DataFrame:
    """The rows with the columns label and class of ``--labels``; empty where it has no label."""
    import pandas as pd

    assert brought.labels is not None
    rows, labels, names = read_labels(brought.labels, items, classes, report=report)
    items = items.assign(label=pd.array([pd.NA] * len(items), dtype="Int64"), **{"class": ""})
    items.loc[rows, "label"] = labels
    items.loc[rows, "class"] = np.array(names, dtype=object)[labels]
    return items


def chosen(context: Context, kind: str, names: list[str], command: str) -> list[FinishedStep]:
    """The named finished steps of a kind such as "al", or all of them that are fresh.

    Parameters
    ----------
    command : str
        What makes one, for the error where there is none.

    Raises
    ------
    UserError
        There is none, none of a name, or one that is asked for is stale.
    """
    made = {step.name: step for step in context.run.steps(kind)}
    if not made:
        if kind == "al":
            context.require_labels("A sweep, which this is drawn from,")
        raise UserError(f"The run {context.run.path} has nothing in {kind}/ to draw yet.", f"Make it with `{command}`.")
    missing = [name for name in names if name not in made]
    if missing:
        raise UserError(f"The run {context.run.path} has no {kind}/{missing[0]}.", f"It has: {', '.join(made)}.")
    if names:
        return [made[name].require_fresh() for name in names]
    fresh = [step for step in made.values() if not step.missing_file and not step.stale_input()]
    for step in made.values():
        if step not in fresh:
            context.report.warn(f"{step.id} is not drawn: renew it with `{step.renewal()}`")
    return fresh or [list(made.values())[-1].require_fresh()]
