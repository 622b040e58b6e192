"""Origins of labels, the audit sample, and what is estimated from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from conftest import Initpools
from scipy.stats import chisquare
from test_loop import _annotate, _round, photos  # noqa: F401 - a fixture

from initpools_cli.steps.audit_sample import draw, mixed
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
    kept = pd.read_csv(RUN / "round-2/labels.csv", dtype=str, keep_default_na=False).set_index("path")
    assert kept.columns.tolist() == ["index", "label", "round", "origin", "suggested", "confidence", "seconds"]
    assert kept.loc[rows["path"][0]].tolist()[2:] == ["1", "batch", "blue", "0.8125", "1.5"]
    assert "origin" not in pd.read_csv(RUN / "round-1/labels.csv")
    # The model has learned from all 24 labels; the accuracy is that of the other 20.
    table, probs = pd.read_csv(RUN / "round-2/out_of_fold.csv"), np.load(RUN / "round-2/out_of_fold.npy")
    assert len(table) == 24 and probs.dtype == np.float32
    assert table["predicted"].tolist() == np.array(out["class_names"])[probs.argmax(1)].tolist()
    judged = table[table["origin"] != "own choice"]
    assert out["accuracy"] == (judged["predicted"] == judged["label"]).mean() > 0.9
    # A later file without the columns forgets nothing.
    _annotate("batch.csv", photos, "c.csv")
    _round(initpools, "c.csv")
    later = pd.read_csv(RUN / "round-3/labels.csv", dtype=str, keep_default_na=False)
    assert (later["origin"].tolist(), later["seconds"].tolist()) == (kept["origin"].tolist(), kept["seconds"].tolist())


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
    drawn = {name: {*pd.read_csv(name).query("origin == 'audit'")["index"]} for name in ("next.csv", "more.csv")}
    assert drawn["next.csv"] < drawn["more.csv"]
    _annotate("next.csv", photos, "one.csv")
    pd.read_csv("one.csv").drop(columns="origin").to_csv("one.csv", index=False)
    again = ["one.csv", "--budget", 20, "--audit", "1%", "--next", "next-2.csv", "--query"]
    out = _round(initpools, *again, "margin")
    # The batch says which images of a file without the column are audit images.
    labels = pd.read_csv(RUN / "round-1/labels.csv", keep_default_na=False)
    assert {*labels.query("origin == 'audit'")["index"]} == drawn["next.csv"]
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
    drawn = np.concatenate([draw(free, 2, seed) for seed in range(rounds)])
    counts = np.array([(drawn == each).sum() for each in free])
    assert chisquare(counts).pvalue > 1e-4
    # Nor does their place in the batch tell them.
    selection = Selection(np.array([20, 21, 22, 23]))
    places = np.concatenate([np.flatnonzero(mixed(selection, free[:2], seed)[1] == "audit") for seed in range(rounds)])
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
