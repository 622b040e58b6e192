"""What is labeled so far: what earlier rounds of the loop remember, and a new file of annotations on top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.datasets.annotations.check import Annotations, read_annotations
from initpools_cli.datasets.classes import KnownClasses, alike, class_list, in_order, plain, says_nothing, value_of
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: The kind of a round's folder, and how it is named.
PREFIX = "round-"
#: Settings that are told where they differ between rounds, and their keys in the table of a round.
SETTINGS = {"encoder": "encoders", "learner": "learner"}
#: Columns of a round's labels.csv: what is known after it. An empty label is an image that was skipped.
COLUMNS = ["index", "path", "label", "round"]
#: A class of so few images that is almost called as another is likely a slip.
FEW = 2
ALIKE = 0.8


@dataclass(frozen=True)
class LabelHistory:
    """What is known after a file of annotations was read.

    Attributes
    ----------
    number : int
        Of the round; from 1.
    table : DataFrame
        `COLUMNS`, by index.
    classes : tuple of str
        All there are, in the order of their numbers.
    read : Annotations
        Of the new file.
    fresh : (k,) int64
        Images whose label came in this round.
    corrected : int
        How many of them had another one before it.
    named : tuple of str
        The classes that the user named: the only ones.
    excluded : (e,) int64
        Images that are not to be seen: their labels are in the table and count for nothing.
    """

    number: int
    table: pd.DataFrame
    classes: tuple[str, ...]
    read: Annotations
    fresh: np.ndarray
    corrected: int
    named: tuple[str, ...] = ()
    excluded: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def class_of(self, label: str) -> str:
        """The class that a label of an earlier round is now."""
        return self.read.means.get(label) or label

    @property
    def spellings(self) -> list[str]:
        """The labels of the new file with spaces around them that stand for a class, as they are written."""
        means = self.read.means
        return sorted(
            each for each, name in means.items() if name and each != plain(each) and value_of(plain(each)) is None
        )

    @property
    def rows(self) -> np.ndarray:
        """Train rows with a label, (m,) int64, ascending."""
        return self.table["index"].to_numpy()[self._counts]

    @property
    def codes(self) -> np.ndarray:
        """Their classes, (m,) int64."""
        numbers = {name: code for code, name in enumerate(self.classes)}
        return np.array([numbers[name] for name in self.table["label"][self._counts]], dtype=np.int64)

    @property
    def _counts(self) -> np.ndarray:
        """Which rows of the table have a label of an image that is not excluded."""
        return (self.table["label"].to_numpy() != "") & ~self.table["index"].isin(self.excluded).to_numpy()

    @property
    def skipped(self) -> np.ndarray:
        """Train rows that annotators could not tell, (k,) int64."""
        return self.table["index"].to_numpy()[self.table["label"].to_numpy() == ""]


def rounds(run: Run) -> list[FinishedStep]:
    """The finished rounds of the labeling loop, oldest first."""
    return one_a_number(run.steps(LOOP))


def one_a_number(steps: Iterable[FinishedStep]) -> list[FinishedStep]:
    """The newest round of each number, in order; earlier versions kept every repetition of a round.

    Parameters
    ----------
    steps : iterable of FinishedStep
        Rounds, oldest first.
    """
    newest = {number_of(step.name): step for step in steps}
    return [newest[number] for number in sorted(newest)]


def outcome_of(done: FinishedStep) -> dict[str, Any]:
    """What came of a round, with its number as ``round``, its encoder and its learner."""
    facts = done.facts
    table, number = facts["table"], str(number_of(done.name))
    return {"round": number, **{key: ", ".join(table[of]) for key, of in SETTINGS.items()}, **facts["outcome"]}


def number_of(name: str) -> int:
    """Of a round, from the name of its folder; 0 where it is none."""
    digits = name.removeprefix(PREFIX).partition("-")[0]
    return int(digits) if name.startswith(PREFIX) and digits.isdigit() else 0


def read_known(done: FinishedStep) -> pd.DataFrame:
    """What a round knew: its labels.csv.

    Raises
    ------
    UserError
        It is damaged. Its command would read it first, and so can't make it again.
    """
    try:
        return done.frame("labels.csv", dtype={"path": str, "label": str}, keep_default_na=False)
    except UserError as error:
        brought = done.facts["outcome"].get("annotations", "FILE")
        raise UserError(
            error.fact,
            f"`{done.run.repair}` moves the round aside and deletes nothing; then give its labels again: "
            f"--labels {brought}.",
        ) from None


def labeled_so_far(context: Context, file: Path, classes: tuple[str, ...]) -> LabelHistory:
    """Read new annotations on top of what the run remembers.

    A label that differs from a remembered one takes its place. A file that adds nothing belongs to the last round.

    Parameters
    ----------
    classes : tuple of str
        The only ones there can be; empty: those of the data set, or, where that has none, any.

    Raises
    ------
    UserError
        A file that can't be read, or not one label in it and in earlier rounds.
    """
    data = context.data
    named = class_list(classes, "--classes")
    fixed = named or data.classes
    earlier = rounds(context.run)
    known, came = _remembered(earlier)
    read = read_annotations(
        file, data.items, _known_classes(named, data.classes, earlier), data.root, kept=data.kept, before=known
    )
    known = _as_read(known, read)
    brought = {
        **{image: "" for image in read.skipped.tolist() if not known.get(image)},
        **dict(zip(read.rows.tolist(), read.labels, strict=True)),
    }
    changed = {image: label for image, label in brought.items() if known.get(image) != label}
    last = number_of(earlier[-1].name) if earlier else 0
    number = last + 1 if changed or not earlier else last
    known |= changed
    came |= dict.fromkeys(changed, number)
    _refuse_lost_classes(fixed, known, context.run)
    if not any(known.values()):
        why = f": {read.problems[0]}" if read.problems else ", or only empty ones"
        raise UserError(f"{file} (--labels) has no label that can be used{why}.", "Fill the column 'label'.")
    # Not what differs from the last round: the same round may be done again, with another query or --force.
    before, _ = _remembered([step for step in earlier if number_of(step.name) < number])
    before = _as_read(before, read)
    fresh = [image for image, label in known.items() if label and label != before.get(image)]
    return LabelHistory(
        number=number,
        table=_table(known, came, context),
        classes=fixed or in_order(label for label in known.values() if label),
        read=read,
        fresh=np.array(sorted(fresh), dtype=np.int64),
        corrected=sum(bool(before.get(image)) for image in fresh),
        named=named,
    )


def _known_classes(named: tuple[str, ...], own: tuple[str, ...], earlier: Sequence[FinishedStep]) -> KnownClasses:
    """The classes there can be: those that the user named, those of the data set, or any."""
    outcomes = [step.facts["outcome"] for step in earlier]
    accepted = frozenset(each for outcome in outcomes for each in outcome.get("spellings", []))
    if named:
        return KnownClasses(named, origin="of --classes", accepted=accepted)
    if own:
        return KnownClasses(own, accepted=accepted)
    return KnownClasses(_named_before(earlier), fixed=False, origin="a class of earlier rounds", accepted=accepted)


def _named_before(earlier: Sequence[FinishedStep]) -> tuple[str, ...]:
    """Classes whose names would else mean that there is no label, as the user last named them: "None", "-1"."""
    named = (step.facts["outcome"].get("named", []) for step in reversed(earlier))
    return tuple(filter(says_nothing, next(filter(None, named), [])))


def _as_read(known: dict[int, str], read: Annotations) -> dict[int, str]:
    """Labels of earlier rounds by the rules of now: equal numbers are one class, and what is no label is left out.

    Rounds of older versions stored ``0`` and ``0.0`` as two classes, and ``nan`` as one.
    """
    now = {image: label and read.means.get(label, label) for image, label in known.items()}
    # An empty label stays: it is of an image that was skipped. None is a class that is none of those named.
    return {
        image: known[image] if label is None else label
        for image, label in now.items()
        if label != "" or not known[image]
    }


def classes_of_rounds(run: Run) -> tuple[str, ...]:
    """The classes that the last round knows, in order; equal numbers are one, and what is no label is none."""
    done = rounds(run)
    if not done:
        return ()
    named = _named_before(done)
    found: list[str] = []
    for label in in_order(label for label in read_known(done[-1])["label"] if label):
        if label in named or (not says_nothing(label) and alike(label, found) is None):
            found.append(label)
    return tuple(found)


def _remembered(earlier: Sequence[FinishedStep]) -> tuple[dict[int, str], dict[int, int]]:
    """The labels after the last of these rounds, and in which round each came."""
    if not earlier:
        return {}, {}
    table = read_known(earlier[-1])
    images = table["index"].tolist()
    return dict(zip(images, table["label"], strict=True)), dict(zip(images, table["round"].tolist(), strict=True))


def doubts(labeled: LabelHistory) -> list[str]:
    """What looks like a slip: classes of very few images that are almost called as another."""
    names, counts = np.unique([label for label in labeled.table["label"] if label], return_counts=True)
    size = dict(zip(names.tolist(), counts.tolist(), strict=True))
    said = []
    for rare in (name for name, count in size.items() if count <= FEW and not name.isdigit()):
        alike = [(_likeness(rare, name), name) for name in size if size[name] > FEW]
        likeness, name = max(alike, default=(0.0, ""))
        if likeness >= ALIKE:
            said.append(f"the class '{rare}' has {size[rare]} of the labels: is it '{name}', of {size[name]}?")
    return said


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _table(known: dict[int, str], came: dict[int, int], context: Context) -> pd.DataFrame:
    import pandas as pd

    paths = context.data.train_items["path"].to_numpy()
    images = sorted(known)
    return pd.DataFrame(
        {
            "index": np.array(images, dtype=np.int64),
            "path": paths[images],
            "label": [known[image] for image in images],
            "round": [came[image] for image in images],
        },
        columns=COLUMNS,
    )


def _refuse_lost_classes(fixed: tuple[str, ...], known: dict[int, str], run: Run) -> None:
    lost = sorted({label for label in known.values() if label} - set(fixed)) if fixed else []
    if lost:
        raise UserError(
            f"Earlier rounds of {run.path} have the class {lost[0]!r}, which --classes leaves out.",
            "Name all classes there are, or give those images another label in the new file.",
        )
