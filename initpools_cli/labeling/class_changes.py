"""Log of the classes that were renamed, merged or split: finished rounds are read through it, and never rewritten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.core.rundir import FinishedStep, Run

#: File of the run with one change per line, oldest first.
LOG = "labels/class-changes.jsonl"
#: Key in the outcome of a round: how many changes its labels already have.
APPLIED = "class_changes"
RENAME, MERGE, SPLIT = "rename", "merge", "split"


@dataclass(frozen=True)
class Change:
    """One change of the classes.

    Attributes
    ----------
    do : {"rename", "merge", "split"}
    old : tuple of str
        The classes before; one unless they are merged.
    new : tuple of str
        The classes instead; one unless a class is split.
    """

    do: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def of(self, label: str) -> str:
        """Return the class instead of a class; "" if its images have to be labeled again."""
        if label not in self.old:
            return label
        return "" if self.do == SPLIT else self.new[0]

    def __str__(self) -> str:
        verb = {RENAME: "renamed to", MERGE: "merged into", SPLIT: "split into"}[self.do]
        return f"{', '.join(self.old)} {verb} {', '.join(self.new)}"


def read_changes(run: Run) -> list[Change]:
    """Read the log of a run.

    Raises
    ------
    UserError
        If it is damaged.
    """
    path = run.path / LOG
    if not path.exists():
        return []
    try:
        lines = read_file(path, "the changes of classes").decode().splitlines()
        return [_parse(line) for line in lines if line.strip()]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged: {error!s:.100}.", "Restore it from a backup: rounds are read through it.", path
        ) from None


def _parse(line: str) -> Change:
    entry = json.loads(line)
    change = Change(str(entry["do"]), tuple(map(str, entry["old"])), tuple(map(str, entry["new"])))
    if change.do not in (RENAME, MERGE, SPLIT) or not change.old or not change.new:
        raise ValueError(line)
    return change


def as_text(changes: Sequence[Change]) -> str:
    """Return the content of the log."""
    return "".join(
        f"{json.dumps({'do': each.do, 'old': each.old, 'new': each.new}, ensure_ascii=False)}\n" for each in changes
    )


def through(changes: Sequence[Change], label: str) -> str:
    """Return the class of a label from before these changes; "" if its image has to be labeled again."""
    for change in changes:
        label = change.of(label)
    return label


def changes_since(step: FinishedStep) -> list[Change]:
    """Return the changes of classes since a finished round, which its labels do not have."""
    return read_changes(step.run)[int(step.facts["outcome"].get(APPLIED, 0)) :]


def successors(changes: Sequence[Change], classes: Sequence[str]) -> dict[str, str]:
    """Return the present class of each name that is no class anymore, or "" after a split.

    Parameters
    ----------
    changes : sequence of Change
    classes : sequence of str
        The present classes: a name that is in use again stands for itself.
    """
    successor_of: dict[str, str] = {}
    for change in changes:
        successor_of = {name: change.of(label) for name, label in successor_of.items()} | {
            each: change.of(each) for each in change.old
        }
        for name in change.new:
            successor_of.pop(name, None)
    return {name: label for name, label in successor_of.items() if name not in classes}


def successor_note(file: str, name: str, successor: str) -> str:
    """Return what is reported of labels in a file that are no class anymore; the successor is "" after a split."""
    if successor:
        return f"{file}: '{name}' is read as '{successor}', since the class was changed."
    return f"{file}: the labels '{name}' are left out, since the class was split: `initpools label` lists the images."
