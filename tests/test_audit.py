"""Origins of labels, the audit sample, and what is estimated from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from scipy.stats import chisquare
from test_loop import _annotate, _round, photos  # noqa: F401 - a fixture

from initpools_cli.labeling.verdict import verdict
from initpools_cli.stats.anytime_bound import ALTERNATIVES, anytime_bound
from initpools_cli.stats.audit_accuracy import PRIOR_IMAGES, _explained, audit_accuracy
from initpools_cli.stats.forecast import expected_gain, labels_to, slope_of
from initpools_cli.steps.audit_sample import draw, mix
from initpools_cli.strategies.selection import Selection

RUN = Path("runs/photos/loop")


def test_origins_and_times_are_kept_and_own_choices_are_not_judged(photos: pd.Series, initpools: Initpools) -> None:  # noqa: F811
    initpools("select-pool", "random", "-n", 24, "-o", "batch.csv")
    rows = _annotate("batch.csv", photos, "a.csv")
    plain = _round(initpools, "a.csv")
    # The page's columns; the last four images were the annotator's choice, and have wrong labels.
    wrong = {"amber": "blue", "blue": "green", "green": "amber"}
    rows["origin"] = ["batch"] * 20 + ["own choice"] * 4
    rows.loc[20:, "label"] = rows["label"][20:].map(wrong)
    rows["suggested"], rows["confidence"], rows["seconds"] = "", "", "1.5"
    rows.loc[0, ["suggested", "confidence"]] = ["blue", "0.8125"]
    rows.loc[1, "seconds"] = "long"
    rows.to_csv("b.csv", index=False)
    out = _round(initpools, "b.csv")
    assert "minutes" not in plain and out["minutes"] == round(23 * 1.5 / 60, 2)
    assert "the time 'long' is ignored" in out["said"]
    labels = pd.read_csv(RUN / "round-2/labels.csv", dtype=str, keep_default_na=False).set_index("path")
    assert labels.columns.tolist() == ["index", "label", "round", "origin", "suggested", "confidence", "seconds"]
    assert labels.loc[rows["path"][0]].tolist()[2:] == ["1", "batch", "blue", "0.8125", "1.5"]
    assert "origin" not in pd.read_csv(RUN / "round-1/labels.csv")
    # The model has learned from all 24 labels; the accuracy is that of the other 20.
    table, probs = pd.read_csv(RUN / "round-2/out_of_fold.csv"), np.load(RUN / "round-2/out_of_fold.npy")
    assert len(table) == 24 and probs.dtype == np.float32
    assert table["predicted"].tolist() == np.array(out["class_names"])[probs.argmax(1)].tolist()
    evaluated_rows = table[table["origin"] != "own choice"]
    assert out["accuracy"] == (evaluated_rows["predicted"] == evaluated_rows["label"]).mean() > 0.9
    # A later file without the columns forgets nothing.
    _annotate("batch.csv", photos, "c.csv")
    _round(initpools, "c.csv")
    later = pd.read_csv(RUN / "round-3/labels.csv", dtype=str, keep_default_na=False)
    assert (later["origin"].tolist(), later["seconds"].tolist()) == (
        labels["origin"].tolist(),
        labels["seconds"].tolist(),
    )


def test_an_audit_sample_is_drawn_from_everything_without_a_label(photos: pd.Series, initpools: Initpools) -> None:  # noqa: F811
    ask = ["select-pool", "kcenter", "-n", 12]
    without = initpools(*ask, "--json").out
    assert initpools(*ask, "--audit", "25%", "-o", "next.csv").code == 0
    first = pd.read_csv("next.csv", dtype={"path": str})
    assert first["origin"].value_counts().to_dict() == {"batch": 12, "audit": 3}
    assert first["order"].tolist() == [*range(15)] and first["index"].is_unique
    assert initpools(*ask, "--json").out == without.replace('"fresh": true', '"fresh": false')
    # Another strategy has the same audit images, and a larger sample has them too.
    initpools("select-pool", "random", "-n", 12, "--audit", 5, "-o", "more.csv")
    samples = {name: {*pd.read_csv(name).query("origin == 'audit'")["index"]} for name in ("next.csv", "more.csv")}
    assert samples["next.csv"] < samples["more.csv"]
    _annotate("next.csv", photos, "one.csv")
    pd.read_csv("one.csv").drop(columns="origin").to_csv("one.csv", index=False)
    again = ["one.csv", "--budget", 20, "--audit", "1%", "--next", "next-2.csv", "--query"]
    out = _round(initpools, *again, "margin")
    # The batch says which images of a file without the column are audit images.
    labels = pd.read_csv(RUN / "round-1/labels.csv", keep_default_na=False)
    assert {*labels.query("origin == 'audit'")["index"]} == samples["next.csv"]
    second = pd.read_csv("next-2.csv")
    assert (out["picked"], out["audit_next"]) == (21, 1) and not {*second["index"]} & {*first["index"]}
    replaced = _round(initpools, *again, "kcenter")
    assert replaced["step"] == out["step"]
    assert pd.read_csv("next-2.csv").query("origin == 'audit'")["index"].tolist() == (
        second.query("origin == 'audit'")["index"].tolist()
    )
    # All that is left; then nothing is asked for that does not exist.
    _annotate("next-2.csv", photos, "two.csv")
    last = _round(initpools, "two.csv", "--query", "margin", "--budget", 20, "--audit", 40, "--next", "next-3.csv")
    assert (last["picked"], last["audit_next"], last["unlabeled"]) == (24, 24, 24)
    assert "only 24 images are left to label, fewer than --budget 20 and --audit 40" in last["said"]


def test_every_image_without_a_label_is_drawn_as_often() -> None:
    free, rounds = np.array([2, 3, 5, 7, 11, 13]), 3_000
    sample = np.concatenate([draw(free, 2, seed) for seed in range(rounds)])
    counts = np.array([(sample == each).sum() for each in free])
    assert chisquare(counts).pvalue > 1e-4
    # Nor does their place in the batch tell them.
    selection = Selection(np.array([20, 21, 22, 23]))
    places = np.concatenate([np.flatnonzero(mix(selection, free[:2], seed)[1] == "audit") for seed in range(rounds)])
    assert chisquare(np.bincount(places)).pvalue > 1e-4


def test_what_an_audit_cannot_be_gets_a_sentence(photos: pd.Series, initpools: Initpools) -> None:  # noqa: F811
    for value in ("0", "0%", "ten", "-3", "10 %%", "nan%", ""):
        ended = initpools("select-pool", "random", "-n", 10, f"--audit={value}")
        assert (ended.code, "Traceback" in ended.err) == (0 if value == "" else 2, False), value
    ended = initpools("select-pool", "random", "-n", 50, "--audit", "50%")
    assert ended.code == 2 and "ask for 75 images, but only 60 have no label" in ended.err
    for words in (["--labels", "a.csv"], []):
        ended = initpools("al-run", *words, "--audit", 5)
        assert ended.code == 2 and "--audit" in ended.err and "requires" in ended.err


def _census(rng: np.random.Generator) -> tuple[float, float]:
    """Audit samples of three rounds of a population of 300, and the truth: the error of the estimate, and the bound."""
    right, confidence = rng.random(300) < 0.7, rng.uniform(0.4, 1, 300)
    # The easiest images are labeled first, which makes the labeled images unlike the others.
    order, rounds, audit = np.argsort(~right, kind="stable"), np.full(300, 9), np.zeros(300, bool)
    for number in range(3):
        free = order[rounds[order] == 9]
        rows = rng.choice(free, 10, replace=False)
        rounds[rows], audit[rows] = number, True
        rounds[[image for image in free if not audit[image]][:20]] = number
    mask = rounds < 9
    estimate = audit_accuracy(
        right[mask], confidence[mask], audit[mask], rounds[mask], int((~mask).sum()), confidence[~mask].mean()
    )
    assert estimate[1] <= estimate[0] <= estimate[2]
    return estimate[0] - right[~mask].mean(), right[mask].mean() - right[~mask].mean()


def test_the_estimate_from_audit_images_is_unbiased_where_labels_were_chosen() -> None:
    rng = np.random.default_rng(0)
    errors, of_labeled = np.array([_census(rng) for _ in range(400)]).T
    assert abs(errors.mean()) < 3 * errors.std() / 20 and of_labeled.mean() > 0.2
    # All without a label but for one are labeled, in one sample: the sum is known up to that one.
    right = np.arange(50) < 30
    share, low, high = audit_accuracy(right, np.full(50, 0.5), np.ones(50, bool), np.zeros(50, int), 1_000, 0.5)
    assert share == pytest.approx(0.6) and low < 0.6 < high


def test_confidences_that_explain_nothing_elsewhere_count_as_none() -> None:
    # In the audit they are right, elsewhere they are the opposite: 4 times the variance, which counts as 1 times.
    correct, audit = np.tile([0.0, 1.0], 50), np.arange(100) < 20
    difference = np.where(audit, 0, 2 * correct - 1)
    prior = 0.2 * PRIOR_IMAGES
    assert _explained(correct, difference, audit) == pytest.approx(prior / (20 * 0.25 + prior))
    assert _explained(correct, 2 * correct - 1, audit) == 1


def test_a_bound_at_all_times_is_rarely_wrong_at_any_time() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(100):
        right = rng.binomial(8, 0.7, 6)
        wrong += any(anytime_bound(right[: n + 1], [8] * (n + 1)) > 0.7 for n in range(6))
    assert wrong / 100 <= 0.05
    # The bound rises with the evidence, and early failures are forgotten.
    assert anytime_bound([], []) == 0 < anytime_bound([40], [40]) < anytime_bound([400], [400])
    assert anytime_bound([0, 0, 100], [10, 10, 100]) > 0.9
    # One alternative and one round, by hand: the e-value of n right answers is the mean of (p / a)^n.
    a = anytime_bound([30], [30])
    for bound, is_more in ((a, True), (a + 0.001, False)):
        value = np.mean([((bound + (1 - bound) * each) / bound) ** 30 for each in ALTERNATIVES])
        assert ((value + 1) / 2 >= 20) == is_more


def test_the_loop_stops_where_audit_labels_show_the_target(photos: pd.Series, initpools: Initpools) -> None:  # noqa: F811
    initpools("select-pool", "random", "-n", 9, "-o", "plain.csv")
    _annotate("plain.csv", photos, "plain.csv")
    words = ["--query", "margin", "--budget", 4, "--next", "next.csv", "--stop-at", 0.6]
    refused = initpools("al-run", "--labels", "plain.csv", *words)
    assert refused.code == 2 and "none of the 9 labels is of an audit image" in refused.err
    assert "--audit 10%" in refused.err and not Path("next.csv").exists()
    first = _round(initpools, "plain.csv", *words, "--audit", 20)
    assert "audit" not in first and first["forecast"]["reason"] == "There are 9 labels, and forecasts need 70."
    rows = _annotate("next.csv", photos, "two.csv")
    Path("next.csv").unlink()
    rows["suggested"] = np.where(rows["origin"] == "audit", "", rows["label"])
    rows.to_csv("two.csv", index=False)
    second = _round(initpools, "two.csv", *words, "--audit", 20)
    audit = second["audit"]
    assert (audit["labeled"], audit["foreseen"][0][1]) == (20, 20)
    assert audit["bound"] == anytime_bound([audit["foreseen"][0][0]], [20]) >= 0.6 == second["stopped"]
    assert "Stop: with 95 % confidence" in second["said"] and not Path("next.csv").exists() and not second["next"]
    assert audit["low"] < audit["accuracy"] <= audit["high"]
    assert second["suggested"]["shown"] == second["suggested"]["accepted"] == 4
    # A higher target is not reached, and without a next batch there is nothing to stop.
    assert "stopped" not in _round(initpools, "two.csv", *words[:-1], 0.99, "--audit", 2)
    assert initpools("al-run", "--labels", "two.csv", "--stop-at", 0.9).code == 2


def test_forecasts_grow_with_what_is_left_to_learn() -> None:
    steep, flat = slope_of(0.3, 0.7, 0.6), slope_of(0.3, 0.7, 0.7)
    assert steep > flat > 0 == slope_of(0.0, 0.7, 0.9)
    for more in (50, 100):
        gain = expected_gain(steep, 100, more)
        assert gain.low < gain.mean < gain.high and gain.mean == pytest.approx(steep * np.log(1 + more / 100))
    n_labels = labels_to(0.75, 0.7, steep, 100)
    assert n_labels is not None and expected_gain(steep, 100, n_labels).mean >= 0.05 > (
        expected_gain(steep, 100, n_labels - 1).mean
    )
    assert labels_to(0.6, 0.7, steep, 100) == 0 and labels_to(0.99, 0.7, steep, 100) is None


def test_the_verdict_says_how_good_it_is_and_whether_to_go_on() -> None:
    audit = {"labeled": 12, "accuracy": 0.8, "low": 0.6, "high": 0.9, "bound": 0.5}
    last = {"accuracy": 0.7, "low": 0.6, "high": 0.8, "confused": [["a", "b", 3]]}
    can = {"can": True, "target": 0.9, "gain_50": [0.03, 0.01, 0.06], "gain_100": [0.05, 0.02, 0.1]}
    assert verdict([]) == []
    good, then, back = verdict([last | {"audit": audit, "forecast": can | {"labels_to_target": 140}}])
    assert "80.0 %" in good and "12 audit images" in good and back == "Most often confused: a and b (3 labeled images)."
    assert then == (
        "Go on: 50 more labels are expected to add 3.0 points (1.0 to 6.0); 90.0 % may need about 140 more."
    )
    high = {"audit": audit | {"accuracy": 0.92}, "forecast": can}
    assert verdict([last | high])[1].startswith("The target of 90.0 % may already be reached; 50 more labels")
    for few in ({}, {"audit": audit | {"labeled": 2}}):
        assert verdict([last | few])[0].startswith("Cross-validated accuracy: 70.0 %")
    little = verdict([last | {"forecast": can | {"gain_50": [0.004, 0.0, 0.01]}}])[1]
    assert little.startswith("More labels add little") and little.endswith("90.0 % is too far away to forecast.")
    assert verdict([{"forecast": {"can": False, "reason": "Too few.", "target": 0.9}}]) == [
        "No accuracy yet: it needs at least two labeled images of two classes.",
        "Cannot forecast what more labels would add. Too few.",
    ]
    assert verdict([last | {"audit": audit | {"bound": 0.91}, "stopped": 0.9}])[1].startswith("Stop")


def test_a_sweep_refuses_settings_of_the_loop(copied_run: Path, initpools: Initpools) -> None:
    for setting in ("al.audit=10%", "al.stop_at=0.9", "al.target=0.9"):
        ended = initpools("al-run", "--init", "random", "--query", "random", "--seeds", 2, "--set", setting)
        key = setting.partition("=")[0]
        assert ended.code == 2 and f"{key} (--set) has no effect in a sweep" in ended.err, ended.err
