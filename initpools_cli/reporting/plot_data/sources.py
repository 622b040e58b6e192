"""Shared by all plots: the request, the form of the data, and the steps to draw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.run_provider import RunProvider
from initpools_cli.steps.user_files import UserFiles

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context


@dataclass(frozen=True)
class PlotRequest:
    """Request for a plot.

    Attributes
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; empty: the default of the kind, usually all.
    provider : Provider
        Resolves embeddings, labels and scores: of the run, or of the user's files.
    knobs : mapping
        The value of each knob of the kind.
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
        """The context of the run; an error without a run."""
        return self.provider.require_run("This plot")

    def in_context(self, context: Context) -> Provider:
        """Make a provider for another context of the same run."""
        assert isinstance(self.provider, RunProvider)
        return self.provider.for_command(context, self.provider.source)


@dataclass(frozen=True)
class PlotData:
    """Arguments of a plot's function, without its knobs, and the steps that they are from."""

    data: dict[str, Any]
    steps: list[FinishedStep] = field(default_factory=list)


def plot_module(kind: str) -> ModuleType:
    """Import the module that collects the data of a kind.

    Its ``gather(request) -> PlotData`` raises a UserError with the command that makes missing results. ``OPTIONS``
    are the options that have an effect. Kinds that can be drawn without a run have ``OPTIONS_WITHOUT_RUN``, and
    ``NEEDS``, the input that a file must have.
    """
    return import_module(f"initpools_cli.reporting.plot_data.{kind.replace('-', '_')}")


def refuse_ignored(kind: str, request: PlotRequest, takes: Collection[str], where: str = "") -> None:
    """Refuse an option that has no effect in this kind of plot.

    Parameters
    ----------
    takes : collection of str
        The options that have an effect.
    where : str
        Suffix for the message, such as " without a run".

    Raises
    ------
    UserError
        Another option is given.
    """
    names, source = ["--name"] if request.names else [], ["--from"] if request.provider.source else []
    for flag in [*names, *source, *(f"--{name}" for name in request.files.paths)]:
        if flag not in takes:
            raise UserError(
                f"{flag} has no effect in `plot {kind}`{where}.",
                f"Leave out {flag}: `plot {kind}` takes {', '.join(sorted(takes))}{where}.",
                flag,
            )


def plot_embeddings(request: PlotRequest) -> tuple[np.ndarray, list[FinishedStep]]:
    """Read the embeddings to draw, (m, d) of the images to choose from, and the step that they are from, if any.

    Raises
    ------
    UserError
        A file and a source are both given, or the file is of another number of images.
    """
    from initpools_cli.steps.embed import matrix, newest
    from initpools_cli.steps.score_inputs import rows_of
    from initpools_cli.strategies.arrays import INPUTS

    provider, matrix_of_file = request.provider, request.provider.user.get("embeddings")
    context, source = provider.context, provider.source
    if matrix_of_file is None:
        step = newest(request.context, source)
        return np.asarray(rows_of(matrix(step), request.context)), [step]
    if source:
        raise UserError(
            f"--from {source} has no effect: the embeddings in {request.files.embeddings} (--embeddings) are drawn.",
            "Leave out --from or --embeddings.",
            source,
        )
    rows = matrix_of_file if context is None else rows_of(matrix_of_file, context)
    return np.asarray(INPUTS["embeddings"].check(rows)), []


def with_classes(items: pd.DataFrame, request: PlotRequest) -> pd.DataFrame:
    """Replace the columns label and class by those of ``--labels``, if given; empty for images without a label."""
    import pandas as pd

    from initpools_cli.datasets.item_labels import label_columns, typed

    user_labels = request.provider.user.labels
    if user_labels is None:
        return items
    if user_labels.images != len(items):
        raise UserError(
            f"{request.files.labels} (--labels) has {user_labels.images} labels for {len(items)} images.",
            "Save one label per image, -1 for none.",
            str(user_labels.images),
        )
    numbers, names = label_columns(user_labels.by_image, user_labels.classes)
    return items.assign(
        label=typed(pd.Series(numbers, items.index, object)), **{"class": np.array(names, dtype=object)}
    )


#: The command that makes a sweep.
SWEEP_COMMAND = "initpools al-run --init random,typiclust --query random,margin"


def select_steps(context: Context, kind: str, names: list[str], command: str) -> list[FinishedStep]:
    """Find the named finished steps of a kind such as "al", or all that are not stale.

    Parameters
    ----------
    command : str
        The command that makes such a step, for the error.

    Raises
    ------
    UserError
        There is no such step, or a named one is stale.
    """
    available = {step.name: step for step in context.run.steps(kind)}
    if not available:
        if kind == "al":
            context.require_labels("This plot is drawn from a sweep, which")
        raise UserError(
            f"The run {context.run.path} has nothing in {kind}/ to draw.", f"Run `{command}` first.", f"{kind}/"
        )
    missing = [name for name in names if name not in available]
    if missing:
        raise UserError(
            f"The run {context.run.path} has no {kind}/{missing[0]}.",
            f"Use --name with one of: {', '.join(available)}.",
            missing[0],
        )
    if names:
        return [available[name].require_fresh() for name in names]
    fresh = [step for step in available.values() if not step.missing_file and not step.stale_input()]
    for step in available.values():
        if step not in fresh:
            context.report.warn(f"{step.id} is not drawn: it is stale or incomplete. Remake it with `{step.renewal()}`")
    return fresh or [list(available.values())[-1].require_fresh()]


def loop_rounds(context: Context) -> list[FinishedStep]:
    """Return the labeling rounds that are not stale, oldest first.

    Raises
    ------
    UserError
        There is none.
    """
    from initpools_cli.labeling.stored_rounds import one_a_number

    return one_a_number(select_steps(context, LOOP, [], "initpools al-run --labels labeled.csv --next next.csv"))
