"""Labels that come as an array: whole numbers of any type, floats with NaN, or strings, read by the rules of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.classes import (
    KnownClasses,
    in_order,
    meanings,
    no_label_note,
    plain,
    unfit,
)

REMEDY = "Save one whole number an image, its class from 0, or its name; -1, NaN or an empty string where it has none."


@dataclass(frozen=True)
class Coded:
    """Labels as numbers.

    Attributes
    ----------
    classes : tuple of str
        Class names by class number.
    codes : dict of str to ndarray of shape (n,), int64
        Class numbers by array; -1 where there is no label.
    notes : list of str
        What the user should be told.
    """

    classes: tuple[str, ...]
    codes: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)


def coded(arrays: Mapping[str, np.ndarray], what: str, classes: tuple[str, ...] = ()) -> Coded:
    """Class numbers of labels, over several arrays together.

    Parameters
    ----------
    arrays : mapping of str to ndarray of shape (n,)
        By name: whole numbers, booleans (0 and 1), floats that are whole or NaN, or strings.
    what : str
        The file, for messages.
    classes : tuple of str
        The only classes there can be; empty: those that occur, in order.

    Raises
    ------
    UserError
        Other types or values, labels that are none of the classes, or classes that nobody can tell apart.
    """
    spelled = {name: _spelled(labels, f"{name} in {what}") for name, labels in arrays.items()}
    kinds = {"strings" if labels.dtype.kind in "US" else "numbers" for labels in arrays.values()}
    if len(kinds) > 1:
        raise UserError(f"{what} has strings as labels in one split and numbers in another.", "Save all labels alike.")
    counts: Counter[str] = Counter()
    for spellings, inverse in spelled.values():
        counts.update(dict(zip(spellings, np.bincount(inverse, minlength=len(spellings)).tolist(), strict=True)))
    meant = meanings(
        counts, KnownClasses(classes), what=what, remedy="Write each class in one way, and save the labels again."
    )
    for spelling, name in meant.of.items():
        if name is None:
            raise UserError(
                f"{what} has the label {spelling!r}, which is none of its {len(classes)} classes "
                f"({', '.join(classes[:10])}).",
                "Name all classes there are with --classes, or correct the file.",
            )
    # Strings have always been numbered in the order of their characters, and stored runs go by it.
    found = {name for name in meant.of.values() if name}
    names = classes or (tuple(sorted(found)) if kinds == {"strings"} else in_order(found))
    number = {name: code for code, name in enumerate(names)} | {"": -1}
    codes, notes = {}, list(meant.notes)
    for key, (spellings, inverse) in spelled.items():
        table = np.array([number[meant.of[each] or ""] for each in spellings] or [-1], dtype=np.int64)
        codes[key] = table[inverse]
        none = np.flatnonzero(codes[key] < 0)
        if len(none):
            written = {each for each in spellings if not meant.of[each]}
            places = [f"row {row}" for row in none.tolist()]
            notes.append(no_label_note(f"{key} in {what}", places, len(inverse), written))
    return Coded(names, codes, notes)


def _spelled(labels: np.ndarray, what: str) -> tuple[list[str], np.ndarray]:
    """The distinct labels as they would stand in a table, and which of them each image has, (n,) int64."""
    kind = labels.dtype.kind
    if kind == "f":
        odd = labels[~np.isnan(labels) & (np.isinf(labels) | (labels != np.floor(labels)))]
        if len(odd):
            raise UserError(f"{what} is {labels.dtype}, not whole numbers: it holds {odd[0]}.", REMEDY)
    elif kind not in "iubUS":
        raise UserError(f"{what} is {labels.dtype}, not whole numbers.", REMEDY)
    values, inverse = np.unique(labels, return_inverse=True)
    if kind == "f":
        spellings = ["nan" if np.isnan(value) else str(int(value)) for value in values]
    elif kind == "S":
        spellings = [_decoded(value, what) for value in values.tolist()]
    else:
        spellings = [str(value if kind == "U" else int(value)) for value in values]
    for spelling in spellings:
        if kind in "US" and (why := unfit(plain(spelling))):
            raise UserError(f"{what} {why}: {spelling[:20]!a}.", "Give each class a plain, short name.")
    return spellings, np.asarray(inverse, np.int64).reshape(-1)


def _decoded(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UserError(f"{what} has the label {value!r}, which is not UTF-8.", REMEDY) from None
