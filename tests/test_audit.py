"""Origins of labels, the audit sample, and what is estimated from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from conftest import Initpools
from test_loop import _annotate, _round, photos  # noqa: F401 - a fixture

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
    assert later["origin"].value_counts().to_dict() == {"batch": 20, "own choice": 4}
