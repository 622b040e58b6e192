"""Classes for annotators: those of the data set, or a list that grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import read_file, write_text
from initpools_cli.core.rundir import Run
from initpools_cli.datasets.classes import LONGEST, KnownClasses, alike, plain, says_nothing
from initpools_cli.datasets.label_sets import CERTAIN, parts_of
from initpools_cli.datasets.multilabel import NONE, SEPARATOR, checked_names

#: File of the run with the classes that annotators added, one per line.
CLASSES = "labels/classes.txt"


def added_classes(run: Run) -> list[str]:
    """Return the classes that annotators added to a run."""
    return _lines(run.path / CLASSES)


class InvalidClass(UserError):
    """A class name that is not valid; sending it again does not help."""


class ClassList:
    """Classes in the order of their keys on the labeling page.

    Parameters
    ----------
    known : sequence of str
        The classes of the data set, to which none can be added; empty if it has none.
    first : sequence of str
        Classes named by the user, which come first.
    file : Path
        File of added classes, one per line, so that every batch of the run has the same keys.
    multilabel : bool
        Whether images can have several labels: names are then classes joined by ``|``, or ``none``.

    Raises
    ------
    InvalidClass
        If a class in `first` is not in the data set, or is not a valid name.
    """

    def __init__(
        self, dataset_classes: Sequence[str], first: Sequence[str], file: Path, *, multilabel: bool = False
    ) -> None:
        self.fixed = bool(dataset_classes)
        self.file, self.multilabel, self._order = file, multilabel, tuple(dataset_classes)
        self.names: list[str] = []
        if multilabel:
            checked_names(tuple(first), "--classes")
        if self.fixed:
            self.names = [*dict.fromkeys([*(_match(name, dataset_classes) for name in first), *dataset_classes])]
        else:
            self.learn([*map(tidy, first), *_lines(file)])

    @property
    def known_classes(self) -> KnownClasses:
        """Classes for reading a label file: only those of the data set, or these and any other."""
        # Label sets are written in the order of the data set, not of the keys.
        names = self._order if self.multilabel and self.fixed else self.names
        return KnownClasses(names, fixed=self.fixed, origin="a class of this page", multilabel=self.multilabel)

    def learn(self, names: Iterable[str]) -> None:
        """Add classes that are in use, unless classes are fixed; of equivalent names only the first is added."""
        if self.multilabel:
            names = [part for name in names for part in parts_of(name)]
        for name in dict.fromkeys(names) if not self.fixed else ():
            if name and alike(name, self.names) is None:
                self.names.append(name)

    def resolve(self, name: str) -> str:
        """Find the class for a name that may differ in case, spaces or Unicode form.

        Raises
        ------
        InvalidClass
            If it is not a class of the data set, or not a valid name.
        """
        if self.multilabel:
            return self._resolve_set(name)
        return self._resolve(name)

    def has(self, name: str) -> bool:
        """Return whether a label is a class, or with several labels per image a set of classes."""
        return all(part in self.names for part in (parts_of(name) if self.multilabel else [name]))

    def _resolve_set(self, text: str) -> str:
        """Find the classes of a label set, in order."""
        names = {self._resolve(part) for part in parts_of(text)}
        for name in names - {*self.names}:
            if any(sign in name for sign in (SEPARATOR, *CERTAIN)):
                raise InvalidClass(
                    f"{name!r} has a sign that separates labels.",
                    "Use another name, or start again with this class in --classes.",
                    repr(name),
                )
        order = self._order if self.fixed else sorted(names)
        return SEPARATOR.join(name for name in order if name in names) or NONE

    def _resolve(self, name: str) -> str:
        if name in self.names:
            return name
        if self.fixed:
            return _match(name, self.names)
        match = alike(name, self.names)
        if match is None and says_nothing(name):
            raise InvalidClass(
                f"{name!r} stands for no label.",
                "Skip the image; or, if a class has this name, start again with --classes.",
                repr(name),
            )
        return match or tidy(name)

    def keep(self, name: str) -> None:
        """Add a class to the list, and write the list to its file, keeping classes that another process added."""
        if self.fixed:
            return
        if self.multilabel:
            for part in parts_of(name):
                self._keep(part)
        else:
            self._keep(name)

    def _keep(self, name: str) -> None:
        lines = _lines(self.file)
        # Classes of this page come first, so that their keys are the same the next time.
        names = [*dict.fromkeys([*self.names, name, *lines])]
        if names != lines:
            self._write(names)
        self.learn([name])

    def replace(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Replace classes by others at the same place, and write the whole list to the file."""
        first = next((place for place, name in enumerate(self.names) if name in old), len(self.names))
        before = [name for name in self.names[:first] if name not in old]
        after = [name for name in self.names[first:] if name not in old]
        new_names = [name for name in new if name not in before and name not in after]
        self._write([*before, *new_names, *after])
        self.names[:] = [*before, *new_names, *after]

    def _write(self, names: Sequence[str]) -> None:
        write_text(self.file, "".join(f"{each}\n" for each in names))


def tidy(name: str) -> str:
    """Normalize the blanks in the name of a class.

    Raises
    ------
    InvalidClass
        If the name is empty, too long, or has characters that are not printable.
    """
    text = plain(name)
    if not text or len(text) > LONGEST:
        quoted_name = repr(text[:20])
        raise InvalidClass(
            f"{quoted_name} is not a valid class name.", f"Use a name of 1 to {LONGEST} characters.", quoted_name
        )
    if not text.isprintable():
        raise InvalidClass(
            f"{text!r} has characters that are not printable.", "Use a name of printable characters.", repr(text)
        )
    return text


def _match(name: str, dataset_classes: Sequence[str]) -> str:
    match = alike(name, dataset_classes)
    if match is not None:
        return match
    guess = nearest(name, dataset_classes)
    remedy = f"Did you mean '{guess}'?" if guess else f"Use one of its classes: {', '.join(dataset_classes[:20])}."
    raise InvalidClass(f"{name!r} is not a class of the data set.", remedy, repr(name))


def _lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    lines = read_file(file, "the classes of the run").decode("utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]
