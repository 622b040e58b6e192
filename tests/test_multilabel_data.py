"""Several labels per image: reading, writing, splitting, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.classes import KnownClasses
from initpools_cli.datasets.item_labels import label_columns, labels_of_rows, typed
from initpools_cli.datasets.label_sets import set_meanings
from initpools_cli.datasets.multilabel import labels_of_texts, texts_of
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.spec import DatasetSpec
from initpools_cli.datasets.splits import held_out

IMAGES = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
LABELS = (np.random.default_rng(1).random((12, 3)) < [0.6, 0.4, 0.3]).astype(np.uint8)


def opened(folder: Path, labels: np.ndarray, **facts: object):
    np.savez(folder / "a.npz", train_images=IMAGES, train_labels=labels)
    spec = DatasetSpec(str(folder / "a.npz"), **facts)
    return open_dataset(spec, seed=0, cache=folder / "cache", report=Reporter(quiet=True))


label_arrays = st.integers(1, 4).flatmap(
    lambda c: st.lists(
        st.one_of(st.just([-1] * c), st.lists(st.integers(0, 1), min_size=c, max_size=c)), min_size=1, max_size=12
    )
)


@settings(max_examples=30, deadline=None)
@given(label_arrays)
def test_labels_are_the_same_after_items_csv(rows):
    import pandas as pd

    labels = np.array(rows, np.int8)
    names = tuple("abcd"[: labels.shape[1]])
    numbers, texts = label_columns(labels, names)
    items = pd.DataFrame({"label": typed(pd.Series(numbers, dtype=object))})
    assert (labels_of_rows(items, len(names)) == labels).all()
    assert (labels_of_texts(texts, names) == labels).all()


@pytest.mark.parametrize("kind", ["uint8", "bool", "float32", "int64"])
def test_an_npz_with_a_column_for_each_class_has_multilabel_per_image(tmp_path, kind):
    labels = LABELS.astype(kind)
    if kind in ("float32", "int64"):
        labels[3] = -1 if kind == "int64" else np.nan
    data = opened(tmp_path, labels, classes=("a", "b", "c"))
    known = np.delete(np.arange(12), 3) if kind in ("float32", "int64") else np.arange(12)
    assert data.multilabel and data.classes == ("a", "b", "c")
    assert (data.splits["train"].labels[known] == LABELS[known]).all()
    assert data.splits["train"].labeled.tolist() == known.tolist()
    assert data.train_items["class"].tolist() == [
        name if row in known else "" for row, name in enumerate(texts_of(LABELS, "abc"))
    ]


@pytest.mark.parametrize(
    ("labels", "facts", "says"),
    [
        (LABELS + 1, {}, "the value 2, which is neither 0 nor 1"),
        (np.where(LABELS == 1, 1, -1) * np.arange(12)[:, None].clip(0, 1) + 0.0, {}, "for only some classes"),
        (np.full((12, 3), "x"), {}, "columns of type <U1"),
        (LABELS, {"classes": ("a", "b")}, "3 columns of labels, but there are 2 classes"),
        (LABELS, {"classes": ("a", "b", "none")}, "class 'none'"),
        (LABELS, {"classes": ("a", "b", "c|d")}, "class 'c|d'"),
        (LABELS, {"imbalance": "exp"}, "needs one class per image"),
        (LABELS[:, 0], {"multilabel": True}, "has one class per image"),
    ],
)
def test_labels_in_columns_that_do_not_fit_are_refused(tmp_path, labels, facts, says):
    with pytest.raises(UserError, match=says.replace("|", r"\|")):
        opened(tmp_path, labels, **facts)


def test_one_hot_labels_are_named(tmp_path):
    assert any("exactly one" in note for note in opened(tmp_path, np.eye(12, dtype=int)).notes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 200), st.floats(0.1, 0.5))
def test_a_test_split_has_its_share_of_every_class(seed, n, share):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]).astype(np.int8)
    test = held_out(labels, share, seed)
    assert test.sum() == max(round(share * n), 1)
    assert (test == held_out(labels, share, seed)).all()
    # Of the rarest class, which is distributed first, each part has its share up to rounding.
    counts = labels.sum(axis=0)
    rarest = np.where(counts > 0, counts, n + 1).argmin()
    assert abs(labels[test, rarest].sum() - share * counts[rarest]) <= 1
    assert np.abs(labels[test].sum(axis=0) - share * counts).max() <= 2 + 0.05 * n


def test_a_drawn_test_split_is_closer_to_the_shares_than_a_random_one():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 8)) < np.geomspace(0.5, 0.01, 8)).astype(np.int8)

    def gap(test: np.ndarray) -> float:
        return float(np.abs(labels[test].sum(axis=0) - 0.2 * labels.sum(axis=0)).sum())

    drawn = [gap(held_out(labels, 0.2, seed)) for seed in range(10)]
    assert np.mean(drawn) < 0.5 * np.mean([gap(rng.permutation(400) < 80) for _ in range(10)])


KNOWN = KnownClasses(("cat", "dog", "3"))


@pytest.mark.parametrize(
    ("cell", "known", "means"),
    [
        ("dog|cat", KNOWN, "cat|dog"),
        (" dog | dog ", KNOWN, "dog"),
        ("3.0|cat", KNOWN, "cat|3"),
        ("none", KNOWN, "none"),
        ("None", KNOWN, "none"),
        ("", KNOWN, ""),
        ("nan", KNOWN, ""),
        ("cat|bird", KNOWN, None),
        ("cat|", KNOWN, None),
        ("none|cat", KNOWN, None),
        ("dog|bird", KnownClasses(), "bird|dog"),
    ],
)
def test_a_cell_means_a_set_of_classes(cell, known, means):
    assert set_meanings(Counter([cell]), known, what="a.csv", remedy="Correct it.").of[cell] == means


@pytest.mark.parametrize(
    "cells",
    [["cat;dog"], ["cat, dog"], ["cat/dog", "cat", "dog"], ["cat+dog", "dog|cat"], ["cat dog", "cat|dog"]],
)
def test_another_separator_is_refused(cells):
    with pytest.raises(UserError, match="seems to separate labels"):
        set_meanings(Counter(cells), KnownClasses(), what="a.csv", remedy="Correct it.")


def test_a_class_with_the_sign_of_a_separator_may_be_listed():
    known = KnownClasses(("a, b", "c/d", "c", "d"))
    assert set_meanings(Counter(["c/d|a, b"]), known, what="a.csv", remedy="Correct it.").of == {"c/d|a, b": "a, b|c/d"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("path,labels\n0.png,none\n1.png,none\n2.png,\n", "names no class"),
        ("path,labels\n0.png,a;b\n1.png,a\n2.png,\n", "seems to separate labels with ';'"),
        ("path,labels\n0.png,a|\n1.png,a\n2.png,\n", "stands beside others"),
        ("path,labels\n0.png,a|b\n1.png,a\n", "no row for 1 of 3 images"),
        ("path,labels\n0.png,a|b\n1.png,none\n2.png,\n", ""),
        ("path,label\n0.png,a|b\n1.png,none\n2.png,\n", ""),
    ],
)
def test_a_folder_takes_a_table_of_multilabel(tmp_path, table, says):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for name in range(3):
        Image.fromarray(IMAGES[name]).save(tmp_path / f"photos/{name}.png")
    (tmp_path / "labels.csv").write_text(table)
    facts = {"labels": str(tmp_path / "labels.csv"), "size": 4, "multilabel": "label\n" in table}
    spec = DatasetSpec(str(tmp_path / "photos"), **facts)

    def read():
        return open_dataset(spec, seed=0, cache=tmp_path / "cache", report=Reporter(quiet=True))

    if says:
        with pytest.raises(UserError, match=says):
            read()
        return
    data = read()
    assert data.multilabel and data.classes == ("a", "b") and data.spec.multilabel
    assert dict(zip(data.items["path"], data.items["class"], strict=True)) == {
        "0.png": "a|b",
        "1.png": "none",
        "2.png": "",
    }
    again = open_dataset(
        data.spec,
        seed=0,
        cache=tmp_path / "cache",
        report=Reporter(quiet=True),
        stored_items=data.items,
        mask=data.kept,
    )
    assert again.multilabel and (again.splits["train"].labels == data.splits["train"].labels).all()


def test_a_folder_without_labels_can_be_of_several(tmp_path):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for name in range(3):
        Image.fromarray(IMAGES[name]).save(tmp_path / f"photos/{name}.png")
    spec = DatasetSpec(str(tmp_path / "photos"), size=4, multilabel=True)
    data = open_dataset(spec, seed=0, cache=tmp_path / "cache", report=Reporter(quiet=True))
    assert data.multilabel and data.splits["train"].labels is None and not data.items["label"].notna().any()


def test_a_class_of_earlier_labels_may_have_the_sign_of_a_separator():
    cells = Counter(["left lung|heart", "left", "lung"])
    meant = set_meanings(cells, KnownClasses(), prefer=["left lung"], what="a.csv", remedy="Correct it.")
    assert meant.of["left lung|heart"] == "heart|left lung"
