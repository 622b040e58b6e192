"""Labels in the rows of items.csv: class numbers, or with several labels per image class numbers joined by ``|``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.datasets.multilabel import SEPARATOR, labels_of_texts, texts_of

if TYPE_CHECKING:
    import pandas as pd

#: What the column may hold with several labels per image.
TEXT = r"none|\d+(\|\d+)*"


def label_columns(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[list[object], list[object]]:
    """Return the columns ``label`` and ``class`` of some images.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, c)
        -1 for images without label.
    classes : tuple of str
        Class names by class number.
    """
    import pandas as pd

    if labels.ndim == 2:
        numbers = texts_of(labels, [str(number) for number in range(labels.shape[1])])
        return [number or pd.NA for number in numbers], [*texts_of(labels, classes)]
    codes = labels.tolist()
    return [pd.NA if code < 0 else code for code in codes], ["" if code < 0 else classes[code] for code in codes]


def labels_of_rows(rows: pd.DataFrame, classes: int = 0) -> np.ndarray:
    """Return the labels of some rows of items.csv.

    Parameters
    ----------
    rows : DataFrame
    classes : int
        Number of classes with several labels per image; 0: one class per image.

    Returns
    -------
    ndarray of shape (n,), int64, or (n, classes), int8
        -1 for images without label.
    """
    if not classes:
        return rows["label"].fillna(-1).to_numpy(np.int64)
    texts = ["" if missing else str(text) for text, missing in zip(rows["label"], rows["label"].isna(), strict=True)]
    return labels_of_texts(texts, [str(number) for number in range(classes)])


def typed(labels: pd.Series) -> pd.Series:
    """Return the column ``label`` with its type: Int64, or text with several labels per image.

    Raises
    ------
    ValueError
        A value that is neither.
    """
    texts = labels.dropna().astype(str)
    if texts.str.fullmatch(r"\d+").all():
        return labels.astype("Int64")
    if not texts.str.fullmatch(TEXT).all():
        raise ValueError("labels are neither class numbers nor several of them")
    return labels.astype("string")


def one_row_a_class(items: pd.DataFrame) -> pd.DataFrame:
    """Repeat the row of each image with several labels for each of them, so that rows can be counted by class."""
    lists = {name: items[name].astype("string").str.split(SEPARATOR, regex=False) for name in ("label", "class")}
    return items.assign(**lists).explode(["label", "class"], ignore_index=True)


def class_names_of(items: pd.DataFrame) -> tuple[str, ...]:
    """Return the class names by class number; with several labels per image those that some image has."""
    labeled = items[items["label"].notna()].drop_duplicates("label")
    pairs = zip(labeled["label"].astype(str), labeled["class"], strict=True)
    names: dict[int, str] = {}
    for label, name in pairs:
        if SEPARATOR in label:
            names |= {int(one): each for one, each in zip(label.split("|"), str(name).split("|"), strict=True)}
        elif label.isdigit():
            names[int(label)] = str(name)
    return tuple(names.get(c, str(c)) for c in range(max(names, default=-1) + 1))
