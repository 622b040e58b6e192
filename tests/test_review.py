"""Second look at labels: which are doubtful, in what order, and how a user gets to see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from PIL import Image

from initpools_cli.labeling.review import COLUMNS
from initpools_cli.stats.label_doubt import label_doubt

CLASSES = ("amber", "blue", "green")


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> pd.DataFrame:
    """A run of 48 images that are easily told apart, and their labels: 4 and 9 are wrong, and 40 is like 7."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 120, (8, 8, 3)) + 80 * np.eye(3, dtype=int)[number % 3] for number in range(48)]
    pixels[40] = pixels[7] + 2
    (tmp_path / "photos").mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each.astype(np.uint8)).save(tmp_path / "photos" / f"{number:02}.png")
    # Image 40 has the class of image 7, as it should.
    table = pd.DataFrame({"path": [f"{n:02}.png" for n in range(48)], "label": [CLASSES[n % 3] for n in range(48)]})
    table.loc[[4, 9], "label"] = "amber", "blue"
    assert initpools("embed", "pixels", "--dataset", "photos", "--run", "run", "--quiet").code == 0
    return table


def test_the_doubt_is_the_log_likelihood_ratio_of_the_best_other_class() -> None:
    probs = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 1.0, 0.0]])
    doubts = label_doubt(probs, np.array([0, 2, 0]))
    np.testing.assert_allclose(doubts[:2], [np.log(0.3 / 0.5), np.log(0.8 / 0.1)])
    assert np.isfinite(doubts[2]) and doubts[2] > 20


def test_wrong_labels_are_listed_before_right_ones(labels: pd.DataFrame, initpools: Initpools) -> None:
    labels.to_csv("labels.csv", index=False)
    result = initpools("al-run", "--labels", "labels.csv", "--run", "run", "--doubtful", "d.csv")
    assert result.code == 0 and "`initpools label --review --run run` shows them" in result.err
    table = pd.read_csv("d.csv")
    assert tuple(table.columns) == COLUMNS and set(table["index"][:2]) == {4, 9}
    assert (table["conflict"] == -1).all() and (table["doubt"] > 0).all()
    assert table["doubt"].is_monotonic_decreasing and (table["predicted"] != table["label"]).all()
    again = initpools("al-run", "--labels", "labels.csv", "--run", "run", "--doubtful", "again.csv")
    assert again.code == 0 and Path("again.csv").read_bytes() == Path("d.csv").read_bytes()


def test_near_duplicates_with_different_labels_come_first(labels: pd.DataFrame, initpools: Initpools) -> None:
    labels.loc[40, "label"] = "green"
    labels.to_csv("labels.csv", index=False)
    assert initpools("al-run", "--labels", "labels.csv", "--run", "run").code == 0
    table = pd.read_csv("run/loop/round-1/doubtful.csv")
    assert table["index"].tolist()[:2] == [40, 7] and table["conflict"].tolist()[:3] == [7, 40, -1]
    assert {4, 9} <= set(table["index"][2:4])


def test_two_labels_of_one_class_have_no_doubts_but_conflicts(labels: pd.DataFrame, initpools: Initpools) -> None:
    labels[labels.index.isin([7, 10])].to_csv("labels.csv", index=False)
    assert initpools("al-run", "--labels", "labels.csv", "--run", "run").code == 0
    assert len(pd.read_csv("run/loop/round-1/doubtful.csv")) == 0
    result = initpools("label", "--review", "--run", "run", "--no-browser")
    assert result.code == 2 and "loop/round-1 has no doubtful label" in result.err


def test_a_review_needs_a_round_and_no_batch(labels: pd.DataFrame, initpools: Initpools) -> None:
    result = initpools("label", "--review", "--run", "run", "--no-browser")
    assert result.code == 2 and "has no labels to review yet" in result.err
    result = initpools("label", "--review", "--batch", "round-1", "--run", "run", "--no-browser")
    assert result.code == 2 and "--review opens no batch" in result.err
    labels.to_csv("labels.csv", index=False)
    for more in (["--doubtful", "labels.csv"], ["--doubtful", "x.csv", "--predictions", "x.csv"]):
        assert initpools("al-run", "--labels", "labels.csv", "--run", "run", *more).code == 2
    assert initpools("al-run", "--doubtful", "x.csv", "--run", "run").code == 2
