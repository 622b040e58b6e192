"""Labels from arrays of integers, floats with NaN, or strings, with the same rules as for tables."""

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

REMEDY = "Save one integer (class number from 0) or class name per image; -1, NaN or an empty string for no label."


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as class numbers.

    Attributes
    ----------
    classes : tuple of str
        Class names by class number.
    codes : dict of str to ndarray of shape (n,), int64
        Class numbers by array; -1 for no label.
    notes : list of str
        Notes for the user.
    """

    classes: tuple[str, ...]
    codes: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)


def encode_labels(arrays: Mapping[str, np.ndarray], what: str, classes: tuple[str, ...] = ()) -> EncodedLabels:
    """Convert labels to class numbers, with the same classes for several arrays.

    Parameters
    ----------
    arrays : mapping of str to ndarray of shape (n,)
        By name: whole numbers, booleans (0 and 1), floats that are whole or NaN, or strings.
    what : str
        The file, for messages.
    classes : tuple of str
        All classes, in order; empty: the classes that occur.

    Raises
    ------
    UserError
        Invalid types or values, labels not among the classes, or ambiguous classes.
    """
    texts = {name: _spelled(labels, f"{name} in {what}") for name, labels in arrays.items()}
    kinds = {"strings" if labels.dtype.kind in "US" else "numbers" for labels in arrays.values()}
    if len(kinds) > 1:
        raise UserError(
            f"{what} has strings as labels in one split and numbers in another.",
            "Save the labels of all splits with the same type.",
            what,
        )
    counts: Counter[str] = Counter()
    for spellings, inverse in texts.values():
        counts.update(dict(zip(spellings, np.bincount(inverse, minlength=len(spellings)).tolist(), strict=True)))
    meaning = meanings(
        counts, KnownClasses(classes), what=what, remedy="Use one spelling for each class, and save the labels again."
    )
    for spelling, name in meaning.of.items():
        if name is None:
            raise UserError(
                f"{what} has the label {spelling!r}, which is not among its {len(classes)} classes "
                f"({', '.join(classes[:10])}).",
                "List all classes with --classes, or correct the file.",
                repr(spelling),
            )
    # Strings are numbered in the order of their characters, as in stored runs.
    occurring = {name for name in meaning.of.values() if name}
    names = classes or (tuple(sorted(occurring)) if kinds == {"strings"} else in_order(occurring))
    number = {name: code for code, name in enumerate(names)} | {"": -1}
    codes, notes = {}, list(meaning.notes)
    for key, (spellings, inverse) in texts.items():
        table = np.array([number[meaning.of[each] or ""] for each in spellings] or [-1], dtype=np.int64)
        codes[key] = table[inverse]
        none = np.flatnonzero(codes[key] < 0)
        if len(none):
            missing_labels = {each for each in spellings if not meaning.of[each]}
            places = [f"row {row}" for row in none.tolist()]
            notes.append(no_label_note(f"{key} in {what}", places, len(inverse), missing_labels))
    return EncodedLabels(names, codes, notes)


def _spelled(labels: np.ndarray, what: str) -> tuple[list[str], np.ndarray]:
    """Return the distinct labels as text, and the position of each image's label among them, (n,) int64."""
    kind = labels.dtype.kind
    if kind == "f":
        odd = labels[~np.isnan(labels) & (np.isinf(labels) | (labels != np.floor(labels)))]
        if len(odd):
            raise UserError(f"{what} ({labels.dtype}) contains {odd[0]}, which is not an integer.", REMEDY, odd[0])
    elif kind not in "iubUS":
        raise UserError(f"{what} has the type {labels.dtype}, not integers or strings.", REMEDY, labels.dtype)
    values, inverse = np.unique(labels, return_inverse=True)
    if kind == "f":
        spellings = ["nan" if np.isnan(value) else str(int(value)) for value in values]
    elif kind == "S":
        spellings = [_decoded(value, what) for value in values.tolist()]
    else:
        spellings = [str(value if kind == "U" else int(value)) for value in values]
    for spelling in spellings:
        if kind in "US" and (why := unfit(plain(spelling))):
            raise UserError(
                f"{what} {why}: {spelling[:20]!a}.",
                "Give each class a short name of visible characters.",
                ascii(spelling[:20]),
            )
    return spellings, np.asarray(inverse, np.int64).reshape(-1)


def _decoded(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UserError(f"{what} has the label {value!r}, which is not UTF-8.", REMEDY, repr(value)) from None
