"""What the kinds of plot have in common: the steps they draw, and the form in which they hand over data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.providers import Provider, RunProvider
from initpools_cli.steps.user_files import UserFiles

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
    provider : Provider
        Resolves embeddings, labels and scores: of the run, or of the user's files.
    knobs : mapping
        The values of all the kind's knobs.
    """

    names: list[str]
    provider: Provider
    knobs: Mapping[str, Any]

    @property
    def files(self) -> UserFiles:
        """The files given on the command line."""
        return self.provider.files

    @property
    def context(self) -> Context:
        """Of the run."""
        return self.provider.require_run("This plot")

    def in_context(self, context: Context) -> Provider:
        """What resolves the same in another context of the run."""
        assert isinstance(self.provider, RunProvider)
        return self.provider.for_command(context, self.provider.source)


@dataclass(frozen=True)
class PlotData:
    """The arguments of a plot's function (all but its knobs), and the steps that they are from."""

    data: dict[str, Any]
    steps: list[FinishedStep] = field(default_factory=list)


def gatherer(kind: str) -> ModuleType:
    """The module of a registered kind.

    Its ``gather(asked) -> PlotData`` raises a UserError with the command that makes what is missing. ``TAKES`` are the
    options that it uses. Kinds that can be drawn without a run have ``TAKES_ALONE``, the options that they use then,
    and ``NEEDS``, the input that a file must hold.
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
    named, source = ["--name"] if asked.names else [], ["--from"] if asked.provider.source else []
    for flag in [*named, *source, *(f"--{name}" for name in asked.files.paths)]:
        if flag not in takes:
            raise UserError(
                f"{flag} has no effect in `plot {kind}`{where}.",
                f"Leave out {flag}: `plot {kind}` takes {', '.join(sorted(takes))}{where}.",
                flag,
            )


def points_of(asked: PlotRequest) -> tuple[np.ndarray, list[FinishedStep]]:
    """The embeddings that are drawn, (m, d) of the seen images, and the step they are from, if any.

    Raises
    ------
    UserError
        A file and a source are both given, or the file is of another number of images.
    """
    from initpools_cli.steps.embed import matrix, newest
    from initpools_cli.steps.score_inputs import rows_of
    from initpools_cli.strategies.arrays import INPUTS

    provider, given = asked.provider, asked.provider.user.get("embeddings")
    context, source = provider.context, provider.source
    if given is None:
        done = newest(asked.context, source)
        return np.asarray(rows_of(matrix(done), asked.context)), [done]
    if source:
        raise UserError(
            f"--from {source} has no effect: the embeddings in {asked.files.embeddings} (--embeddings) are drawn.",
            "Leave out --from or --embeddings.",
            source,
        )
    return np.asarray(INPUTS["embeddings"].check(given if context is None else rows_of(given, context))), []


def with_classes(items: pd.DataFrame, asked: PlotRequest) -> pd.DataFrame:
    """The rows, with the columns label and class of ``--labels`` where it is given: empty where it has no label."""
    import pandas as pd

    found = asked.provider.user.labels
    if found is None:
        return items
    if found.images != len(items):
        raise UserError(
            f"{asked.files.labels} (--labels) has {found.images} labels for {len(items)} images.",
            "Save one label per image, -1 for none.",
            str(found.images),
        )
    items = items.assign(label=pd.array([pd.NA] * len(items), dtype="Int64"), **{"class": ""})
    items.loc[found.rows, "label"] = found.labels
    items.loc[found.rows, "class"] = np.array(found.classes, dtype=object)[found.labels]
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
