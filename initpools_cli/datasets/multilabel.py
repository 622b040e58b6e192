"""Several labels per image: rows of 0 and 1 for each class, and their text in tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from initpools_cli.core.errors import UserError

#: Between the classes of an image in tables.
SEPARATOR = "|"
#: The text of an image that has none of the classes.
NONE = "none"


def one_class_error(what: str, instead: str = "") -> UserError:
    """Return the error for something that needs one class per image, in a data set with several.

    Parameters
    ----------
    what : str
        What needs it, as the subject of a sentence.
    instead : str
        The remedy; default: another run.
    """
    return UserError(
        f"{what} needs one class per image, and this data set has several labels per image.",
        instead or "Use a run of a data set with one class per image: --run DIR.",
        what,
    )


def labeled_rows(labels: np.ndarray) -> np.ndarray:
    """Return the images that have a label, (m,) int64, ascending.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, c)
        Class numbers, or 0 and 1 for each class; -1 for images without label.
    """
    # Without classes, no image has a label.
    return np.flatnonzero(labels >= 0 if labels.ndim == 1 else (labels[:, :1] >= 0).any(axis=1))


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Return the class numbers of all labels, (m,) int64; an image with several labels gives several.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, c)
        As in `labeled_rows`.
    """
    return labels[labels >= 0] if labels.ndim == 1 else np.nonzero(labels > 0)[1]


def require_classes(classes: Sequence[str], what: str) -> None:
    """Refuse labels of which every one is ``none``, so that no class is known.

    Raises
    ------
    UserError
        There is no class.
    """
    if not classes:
        raise UserError(
            f"{what} names no class: every label is {NONE!r}.", "List the classes with --classes A,B.", repr(NONE)
        )


def texts_of(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return the text of each image's labels: ``a|b``, ``none``, or "" without label.

    Parameters
    ----------
    labels : ndarray of shape (n, c), int8
    names : sequence of str
        The c classes.
    """
    return [
        "" if not len(row) or row[0] < 0 else SEPARATOR.join(names[at] for at in np.flatnonzero(row).tolist()) or NONE
        for row in labels
    ]


def labels_of_texts(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return the labels (n, c) int8 of texts from `texts_of`."""
    at = {name: place for place, name in enumerate(names)}
    labels = np.zeros((len(texts), len(names)), np.int8)
    for row, text in zip(labels, texts, strict=True):
        if not text:
            row[:] = -1
        elif text != NONE:
            row[[at[part] for part in text.split(SEPARATOR)]] = 1
    return labels


def checked_names(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return the class names, or refuse those that texts of several labels can't hold.

    Parameters
    ----------
    what : str
        Where they are from, for the message.

    Raises
    ------
    UserError
        A name that is "none", or has a "|".
    """
    for name in names:
        if name == NONE or SEPARATOR in name:
            raise UserError(
                f"{what} has the class {name!r}, but with several labels per image {SEPARATOR!r} separates classes and "
                f"{NONE!r} stands for an image without any.",
                "Give that class another name.",
                repr(name),
            )
    return names


def labels_of_array(path: Path | str, key: str, array: np.ndarray) -> np.ndarray:
    """Validate an array with a column per class.

    Parameters
    ----------
    path, key
        The file and its array, for messages.
    array : ndarray of shape (n, c), c > 1
        0 and 1, as numbers or booleans; rows of -1 or NaN for images without label.

    Returns
    -------
    ndarray of shape (n, c), int8
        Rows of -1 for images without label.

    Raises
    ------
    UserError
        Another type or value, or a row where some classes are known and others are not.
    """
    remedy = "Save a column of 0 and 1 for each class, or one class per image with the shape (n,)."
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"{key} in {path} has {array.shape[1]} columns of type {array.dtype}, not of 0 and 1.", remedy, array.dtype
        )
    values = np.asarray(array)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if values.dtype.kind in "if":
        missing |= values == -1
    odd = values[~missing & (values != 0) & (values != 1)]
    if len(odd):
        raise UserError(
            f"{key} in {path} has {array.shape[1]} columns, but the value {odd[0]}, which is neither 0 nor 1.",
            remedy,
            odd[0],
        )
    none = missing.all(axis=1)
    partly = np.flatnonzero(missing.any(axis=1) & ~none)
    if len(partly):
        raise UserError(
            f"{key} in {path} has labels for only some classes in {len(partly)} rows, the first {partly[0]}.",
            "Save 0 or 1 for every class of an image, or -1 for every class where its labels are not known.",
            partly[0],
        )
    labels = np.where(missing, -1, values).astype(np.int8)
    return labels


def array_notes(what: str, labels: Sequence[np.ndarray]) -> list[str]:
    """Return notes on labels from arrays: how many images have no class, or that every image has exactly one.

    Parameters
    ----------
    what : str
        The file.
    labels : sequence of ndarray of shape (n, c)
        Of each split.
    """
    codes = np.concatenate([each[labeled_rows(each)] for each in labels])
    counts = codes.sum(axis=1)
    notes = []
    without = sum(len(each) for each in labels) - len(codes)
    if without:
        notes.append(f"{what}: {without} images have no label (rows of -1 or NaN).")
    if len(codes) and (counts == 1).all():
        notes.append(
            f"{what} has {codes.shape[1]} columns of labels, and every image has exactly one: they are read as several "
            "labels per image. For one class per image save class numbers, `labels.argmax(1)`."
        )
    elif empty := int((counts == 0).sum()):
        notes.append(f"{what}: {empty} of {len(codes)} images have none of the {codes.shape[1]} classes.")
    return notes
