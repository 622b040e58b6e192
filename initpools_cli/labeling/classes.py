"""The classes that an annotator chooses from: those of the data set, or a list that grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import read_file, write_text
from initpools_cli.datasets.classes import LONGEST, KnownClasses, alike, plain, says_nothing


class Unfit(UserError):
    """What was said of an image can't be: saying it again won't help."""


class ClassList:
    """Classes in the order of their keys.

    Parameters
    ----------
    known : sequence of str
        The classes of the data set, which no other may join; empty where it has none.
    given : sequence of str
        What the user named: these come first.
    file : Path
        Where open classes are kept, one a line, so that every batch of the run has them at the same keys.

    Raises
    ------
    Unfit
        A given class is none of the data set's, or has no name.
    """

    def __init__(self, known: Sequence[str], given: Sequence[str], file: Path) -> None:
        self.fixed = bool(known)
        self.file = file
        self.names: list[str] = []
        if self.fixed:
            self.names = [*dict.fromkeys([*(_among(name, known) for name in given), *known])]
        else:
            self.learn([*map(tidy, given), *_lines(file)])

    @property
    def known(self) -> KnownClasses:
        """What a file of labels is read by: those of the data set alone, or these and any other."""
        return KnownClasses(self.names, fixed=self.fixed, origin="a class of this page")

    def learn(self, names: Iterable[str]) -> None:
        """Take in classes that are in use, where classes are open; of names that are one class, the first."""
        for name in dict.fromkeys(names) if not self.fixed else ():
            if name and alike(name, self.names) is None:
                self.names.append(name)

    def resolve(self, name: str) -> str:
        """The class that is meant.

        What a file would be refused for is settled here, where the person sees it: a name that differs from a class
        only in case, spaces or Unicode form is that class.

        Raises
        ------
        UserError
            No class of the data set, or no name for a class.
        """
        if name in self.names:
            return name
        if self.fixed:
            return _among(name, self.names)
        found = alike(name, self.names)
        if found is None and says_nothing(name):
            raise Unfit(
                f"{name!r} means that there is no label.",
                "Skip the image; or, if a class is called so, start again with --classes.",
            )
        return found or tidy(name)

    def keep(self, name: str) -> None:
        """Add a class for good; the list of another batch that is labeled meanwhile is not lost."""
        if name in self.names or self.fixed:
            return
        names = [*dict.fromkeys([*_lines(self.file), *self.names, name])]
        write_text(self.file, "".join(f"{each}\n" for each in names))
        self.learn([name])


def tidy(name: str) -> str:
    """The name of a class without stray blanks.

    Raises
    ------
    Unfit
        Nothing is left of it, it is too long, or it has characters that cannot be seen.
    """
    tidied = plain(name)
    if not tidied or len(tidied) > LONGEST:
        raise Unfit(f"{tidied[:20]!r} is no name for a class.", f"Give it 1 to {LONGEST} characters.")
    if not tidied.isprintable():
        raise Unfit(f"{tidied!r} has characters that cannot be seen.", "Give the class a plain name.")
    return tidied


def _among(name: str, known: Sequence[str]) -> str:
    found = alike(name, known)
    if found is not None:
        return found
    guess = nearest(name, known)
    remedy = f"Did you mean '{guess}'?" if guess else f"Its classes are: {', '.join(known[:20])}."
    raise Unfit(f"{name!r} is no class of the data set.", remedy)


def _lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    lines = read_file(file, "the classes of the run").decode("utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]
