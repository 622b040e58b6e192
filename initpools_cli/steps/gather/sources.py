"""What the kinds of plot have in common: the steps they draw, and the form in which they hand over data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Done
from initpools_cli.steps.bring import Brought

if TYPE_CHECKING:
    from initpools_cli.steps.context import Context


@dataclass(frozen=True)
class Asked:
    """What the user wants drawn.

    Attributes
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; empty: the kind's own choice, mostly all.
    brought : Brought
    source : str
        ``--from``: the embeddings, for kinds that need them.
    knobs : mapping
        The values of all the kind's knobs.
    """

    names: list[str]
    brought: Brought
    source: str
    knobs: Mapping[str, Any]


@dataclass(frozen=True)
class Gathered:
    """The arguments of a plot's function (all but its knobs), and the steps that they are from."""

    data: dict[str, Any]
    steps: list[Done] = field(default_factory=list)


def gatherer(kind: str) -> ModuleType:
    """The module of a registered kind: ``gather(context, asked) -> Gathered``, which raises a UserError with the
    command that makes what is missing; and, for kinds that can do without a run, ``gather_files(asked, seed) -> dict``,
    or None where the files are not those it needs.
    """
    return import_module(f"initpools_cli.steps.gather.{kind.replace('-', '_')}")


def chosen(context: Context, kind: str, names: list[str], command: str) -> list[Done]:
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
    fresh = [step for step in made.values() if not step.lost and not step.stale_input()]
    for step in made.values():
        if step not in fresh:
            context.report.warn(f"{step.id} is not drawn: renew it with `{step.renewal()}`")
    return fresh or [list(made.values())[-1].require_fresh()]
