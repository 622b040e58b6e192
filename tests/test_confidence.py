"""Confidences and the interval of the accuracy: temperature, nested cross-validation, and what a round says of them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import norm

from initpools_cli.core.checked_toml import write_checked_toml
from initpools_cli.labeling.summary import notes_of
from initpools_cli.stats.nested_cv import nested_interval
from initpools_cli.stats.proportions import cross_validated_interval, share_interval, wilson_interval
from initpools_cli.stats.temperature import PRIOR, fit_temperature

#: Commands of version 0.1.0, before rounds had a temperature: `embed pca --dataset photos`, `al-run --labels one.csv`.
STORED = Path(__file__).parent / "data" / "round-schema-2.tar.xz"


@pytest.mark.parametrize(("margin", "right", "count"), [(2.0, 30, 40), (0.5, 35, 40), (6.0, 25, 40)])
def test_temperature_of_equal_margins_has_a_closed_form(margin: float, right: int, count: int) -> None:
    # All images have the logits (margin, 0): the confidence becomes the share of right ones.
    logits = np.tile([margin, 0.0], (count, 1))
    labels = np.r_[np.zeros(right, np.int64), np.ones(count - right, np.int64)]
    temperature = fit_temperature(logits, labels, np.inf)
    assert temperature == pytest.approx(margin / np.log(right / (count - right)), rel=1e-5)
    shrunk = fit_temperature(logits, labels)
    assert 0 < np.log(shrunk) / np.log(temperature) < 1
    # With more labels of the same kind, the prior counts less.
    many = fit_temperature(np.tile(logits, (50, 1)), np.tile(labels, 50))
    assert abs(np.log(many / temperature)) < abs(np.log(shrunk / temperature))


@given(st.integers(1, 30), st.integers(2, 5), st.floats(0.1, 20), st.floats(0.1, 2), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_temperature_is_the_best_of_a_fine_grid(n: int, classes: int, scale: float, prior: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(size=(n, classes)) + rng.normal(size=(n, 1)), rng.integers(0, classes, n)

    def losses(t: np.ndarray) -> np.ndarray:
        scaled = logits / t[:, None, None]
        return -log_softmax(scaled, axis=2)[:, np.arange(n), labels].sum(1) + np.log(t) ** 2 / (2 * prior**2)

    temperature = fit_temperature(logits, labels, prior)
    assert 1 / 50 <= temperature <= 50
    grid = np.exp(np.linspace(-np.log(50), np.log(50), 1001))
    assert losses(np.array([temperature]))[0] <= losses(grid).min() + 1e-7
    assert fit_temperature(logits + 1000.0, labels, prior) == pytest.approx(temperature, rel=1e-4)


def test_temperature_of_nothing_to_learn_from_is_one() -> None:
    assert fit_temperature(np.zeros((9, 3)), np.arange(9) % 3) == pytest.approx(1.0, abs=1e-6)
    # All right and sure, all wrong and sure: the prior keeps the temperature finite.
    sure = 30.0 * np.eye(3)[np.arange(9) % 3]
    assert 1 / 50 < fit_temperature(sure, np.arange(9) % 3) <= 1.0
    assert 1.0 < fit_temperature(sure, (np.arange(9) + 1) % 3) < 50
    assert PRIOR < 1
    # Without it, the temperature is at an end of its range.
    assert fit_temperature(sure / 60, np.arange(9) % 3, np.inf) == pytest.approx(1 / 50)
    assert fit_temperature(sure / 60, (np.arange(9) + 1) % 3, np.inf) == pytest.approx(50)


def _by_algorithm_1(errors: np.ndarray, folds: np.ndarray, level: float) -> tuple[float, ...]:
    """Bates, Hastie & Tibshirani's algorithm 1, as it is printed, over all repetitions."""
    count = int(folds.max()) + 1
    a, b, inner, plain = [], [], [], []
    for table, fold in zip(errors, folds, strict=True):
        for k in range(count):
            e_out = [table[i, k] for i in range(len(fold)) if fold[i] == k]
            e_in = [table[i, k] for i in range(len(fold)) if fold[i] != k]
            a.append((np.mean(e_in) - np.mean(e_out)) ** 2)
            b.append(np.var(e_out, ddof=1) / len(e_out))
            inner += e_in
            plain += e_out
    n = folds.shape[1]
    bias = (1 + ((count - 2) / count) ** 1.5) * (np.mean(inner) - np.mean(plain))
    alone = np.std(inner, ddof=1)
    root = np.sqrt(max(0.0, np.mean(a) - np.mean(b))) * np.sqrt((count - 1) / count)
    root = min(max(root, alone / np.sqrt(n)), np.sqrt(count) * alone / np.sqrt(n))
    half = norm.ppf((1 + level) / 2) * root
    return np.mean(inner) - bias, np.mean(inner) - bias - half, np.mean(inner) - bias + half


@given(st.integers(1, 3), st.integers(2, 5), st.integers(2, 6), st.booleans(), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_nested_interval_is_that_of_the_paper(r: int, count: int, each: int, shares: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folds = np.array([rng.permutation(np.arange(count * each) % count) for _ in range(r)])
    errors = rng.random((r, count * each, count))
    errors = errors if shares else (errors < 0.3).astype(float)
    interval = nested_interval(errors, folds, 0.9)
    np.testing.assert_allclose(interval[:3], _by_algorithm_1(errors, folds, 0.9), atol=1e-9)
    assert 1 <= interval.inflation <= np.sqrt(count)


def test_nested_interval_without_errors_has_no_width() -> None:
    folds = np.arange(20)[None] % 5
    assert nested_interval(np.zeros((1, 20, 5)), folds) == (0.0, 0.0, 0.0, 0.0, 1.0)


@given(st.integers(1, 200), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95]))
@settings(max_examples=50, deadline=None)
def test_wilson_of_whole_numbers_is_the_interval_of_counts(count: int, share: float, level: float) -> None:
    right = round(share * count)
    assert wilson_interval(right / count, count, level) == pytest.approx(share_interval(right, count, level), abs=1e-9)


def test_cross_validation_counts_as_three_fifths_of_its_labels() -> None:
    for right, count in ((0, 10), (45, 60), (100, 100)):
        inside, whole = cross_validated_interval(right, count), share_interval(right, count)
        assert inside == pytest.approx(share_interval(right * 3 // 5, count * 3 // 5))
        assert inside[1] - inside[0] > whole[1] - whole[0]
    assert cross_validated_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.2, 0.4, "No better than {}: its share (30.0 %) is in the interval (20.0 % to 40.0 %)."),
        (0.3, 0.5, "No better than {}: its share (30.0 %) is in the interval (30.0 % to 50.0 %)."),
        (0.1, 0.2, "Worse than {}: its share (30.0 %) is above the interval (10.0 % to 20.0 %)."),
        (0.31, 0.5, None),
    ],
)
def test_an_accuracy_of_guessing_is_called_so(low: float, high: float, message: str | None) -> None:
    outcome = {"round": "3", "accuracy": (low + high) / 2, "low": low, "high": high, "majority": 0.3}
    notes = notes_of([outcome | {"temperature": 1.3}])
    matches = [note for note in notes if "guessing the largest class" in note]
    assert matches == ([message.format("guessing the largest class")] if message else [])


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (1.304, "calibrated with temperature 1.30, which makes them lower than the model's own."),
        (0.7, "calibrated with temperature 0.70, which makes them higher than the model's own."),
        (1.004, "calibrated with temperature 1.00, which leaves them as they are."),
        (None, "of round 3 are not calibrated: an older version made it. Run the same command with --force"),
    ],
)
def test_the_temperature_is_said(temperature: float | None, message: str) -> None:
    outcome = {"round": "3", "accuracy": 0.6, "low": 0.5, "high": 0.7, "majority": 0.3}
    notes = notes_of([outcome if temperature is None else outcome | {"temperature": temperature}])
    assert any(message in note for note in notes)


@pytest.fixture
def stored_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run of `STORED`, unpacked where its data set is found."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    for file in tmp_path.rglob("*.toml"):
        write_checked_toml(file, tomli.loads(file.read_text().replace("/data/", f"{tmp_path}/")))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "photos"


def test_a_round_without_a_temperature_stays_readable(stored_round: Path, initpools: Initpools) -> None:
    before = (stored_round / "loop/round-1/step.toml").read_bytes()
    assert initpools("verify", "--run", stored_round).code == 0
    assert "12 labeled, accuracy 100.0%" in initpools("status", "--run", stored_round).out
    again = initpools("al-run", "--labels", "one.csv", "--threads", 1, "--run", stored_round)
    assert again.code == 0 and "already done" in again.err
    assert "The confidences of round 1 are not calibrated" in again.err
    assert (stored_round / "loop/round-1/step.toml").read_bytes() == before
    # The next round builds on it and has a temperature; so has the first one after --force.
    second = initpools("al-run", "--labels", "two.csv", "--run", stored_round, "--json")
    assert second.code == 0 and json.loads(second.out)["labeled"] == 18
    assert 0 < json.loads(second.out)["temperature"] < 1
    assert "not calibrated" not in second.err and "are calibrated with temperature 0." in second.err


def test_labels_that_images_do_not_show_are_no_better_than_guessing(stored_round: Path, initpools: Initpools) -> None:
    rows = pd.read_csv("one.csv")
    # The color changes with every image, the label with every fourth one.
    rows["label"] = [rows["label"][place // 4] for place in range(len(rows))]
    rows.to_csv("noise.csv", index=False)
    ended = initpools("al-run", "--labels", "noise.csv", "--run", stored_round)
    assert ended.code == 0 and "No better than guessing the largest class: its share (" in ended.err, ended.err


def test_predictions_are_calibrated_and_queries_are_not(stored_round: Path, initpools: Initpools) -> None:
    plain = pd.read_csv(stored_round / "loop/round-1/predictions.csv")
    forced = initpools(
        "al-run", "--labels", "one.csv", "--run", stored_round, "--force", "--query", "margin", "--budget", 4,
        "--next", "next.csv", "--predictions", "rest.csv", "--json",
    )  # fmt: skip
    assert forced.code == 0, forced.err
    predictions, outcome = pd.read_csv("rest.csv"), json.loads(forced.out)
    assert list(predictions) == list(plain) and predictions["label"].equals(plain["label"])
    # All 12 labels are predicted right, so that confidences rise: odds to the power 1 / T, up to the third class.
    odds = [np.log(each["confidence"] / each["second_confidence"]) for each in (plain, predictions)]
    np.testing.assert_allclose(odds[1], odds[0] / outcome["temperature"], rtol=0.05)
    gaps = (plain["confidence"] - plain["second_confidence"]).to_numpy()
    picked = pd.read_csv("next.csv")["index"].tolist()
    assert picked == plain["index"].to_numpy()[np.argsort(gaps, kind="stable")[:4]].tolist()
