"""Outcomes where class counts differ more than tenfold."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given
from hypothesis import strategies as st

from initpools_cli.core.rundir import Run
from initpools_cli.stats.long_tail import is_long_tail, labels_until_seen, rare_recall, rarest_third
from initpools_cli.sweeps.long_tail import long_tail_of
from initpools_cli.sweeps.results import rounds_of


@given(st.lists(st.integers(0, 4), max_size=30))
def test_labels_until_every_class_is_seen_are_counted_one_by_one(labels):
    classes, labels_so_far, plain = np.array([0, 2, 4]), set(), np.inf
    for count, label in enumerate(labels, 1):
        labels_so_far.add(label)
        if plain == np.inf and {0, 2, 4} <= labels_so_far:
            plain = count
    assert labels_until_seen(np.array(labels, np.int64), classes) == plain


def test_the_rarest_third_are_the_classes_with_the_fewest_images():
    assert rarest_third(np.array([50, 0, 3, 9, 3, 70, 8])).tolist() == [2, 4]
    assert rarest_third(np.array([4, 4])).tolist() == [0]
    assert is_long_tail(np.array([31, 0, 3])) and not is_long_tail(np.array([30, 0, 3]))
    assert not is_long_tail(np.array([7])) and not is_long_tail(np.array([0, 0]))
    recalls = np.array([[0.5, 1.0, np.nan], [np.nan, 0.0, np.nan]])
    np.testing.assert_array_equal(rare_recall(recalls, [0, 1]), [0.75, 0.0])
    assert np.isnan(rare_recall(recalls, [2])).all()


def test_a_sweep_on_a_long_tail_is_judged_by_rare_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    tail = ["--set", "dataset.imbalance=exp", "--set", "dataset.ratio=0.04"]
    initpools("embed", "pca", "--dataset", "digits", *tail)
    words = [
        "--init",
        "random,kcenter",
        "--query",
        "random",
        "--budget",
        40,
        "--rounds",
        1,
        "--seeds",
        2,
        "--threads",
        1,
    ]
    stderr = initpools("al-run", *words, "--seeds", 2, "--threads", 1).err
    assert "Long tail: the classes have 5 to 142 train images" in stderr and "metric: balanced accuracy" in stderr
    step = Run(Path("runs/digits")).find_step("al/main")
    assert step is not None
    classes, rounds = long_tail_of(step), rounds_of(step)
    assert classes is not None and classes.rare.tolist() == [7, 8, 9]
    recalls = pd.read_csv(step.folder / "recalls.csv")
    np.testing.assert_allclose(rounds["rare_recall"], recalls[["7", "8", "9"]].mean(axis=1))
    picks = np.load(step.folder / "picks.npz")["kcenter|random|linear|pca|0"]
    until = labels_until_seen(classes.labels[picks], np.arange(10))
    assert (
        classes.labels[picks[: int(until)]].max() == 9 if np.isfinite(until) else len(set(classes.labels[picks])) < 10
    )
    payload = json.loads(initpools("compare", "main", "--json").out)
    values = rounds[rounds["round"] == 1].groupby("init")["balanced_accuracy"].mean()
    last = next(row for row in payload["verdicts"] if row["measure"] == "last round")
    assert last["mean"] == pytest.approx(values["kcenter"])
    assert sum("recall of the rarest third" in note for note in payload["notes"]) == 2
    assert initpools("compare", "main", "--metric", "rare_recall").code == 0
    assert initpools("plot", "curves", "--set", "metric=rare_recall", "-o", "c.html").code == 0


def test_a_round_with_few_labels_of_a_class_says_how_it_does_on_it(copied_run: Path, initpools: Initpools) -> None:
    items = pd.read_csv("runs/digits/data/items.csv")
    items = items[(items["split"] == "train")]
    mask = np.load("runs/digits/data/kept.npy") if Path("runs/digits/data/kept.npy").exists() else np.ones(1797, bool)
    rows = [items[(items["label"] == label) & mask].head(count) for label, count in ((0, 45), (1, 30), (2, 4))]
    pd.concat(rows)[["index", "label"]].to_csv("labels.csv", index=False)
    stderr = initpools("al-run", "--labels", "labels.csv").err
    assert "The classes have 4 to 45 labels: balanced accuracy" in stderr and "recall of the rarest third" in stderr
