"""How embeddings are scaled for learners, and what a step says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
import tomli_w
from conftest import Initpools

from initpools_cli.core.rundir import digest_of
from initpools_cli.geometry.standardize import scaling

SWEEP = ["al-run", "--budget", 10, "--rounds", 0, "--seeds", 8, "--threads", 1]


def test_each_divides_by_every_deviation_and_common_by_their_root_mean_square() -> None:
    # Deviations 3, 1 and 0 around means 3, 2 and 7.
    train = np.array([[0, 1, 7], [6, 3, 7]], np.float32)
    rows = np.array([[9, 2, 8]], np.float32)
    each, common = scaling(train, "each"), scaling(train, "common")
    assert each(train).tolist() == [[-1, -1, 0], [1, 1, 0]]
    assert each(rows).tolist() == [[2, 0, 1]]
    # The root of (9 + 1) / 2: the constant dimension is not counted, but shares the factor.
    assert np.allclose(common(train) * np.sqrt(5), [[-3, -1, 0], [3, 1, 0]])
    assert np.allclose(common(rows) * np.sqrt(5), [[6, 0, 1]])
    for scaled in (each(train), common(train)):
        assert scaled.dtype == np.float32
        assert np.allclose((scaled**2).sum(axis=1).mean(), 2)


@pytest.mark.parametrize("scale", ["common", "each"])
def test_rows_that_are_all_equal_are_centered_alone(scale) -> None:
    train = np.full((3, 2), 5.0)
    assert scaling(train, scale)(train + np.array([1, 0])).tolist() == [[1, 0]] * 3


def table_of(step: Path) -> dict:
    return tomli.loads((step / "step.toml").read_text())["table"]


def test_principal_components_keep_their_deviations_for_learners(
    initpools: Initpools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert initpools("embed", "pca", "--dataset", "digits", "--threads", 1).code == 0
    accuracy, al = {}, tmp_path / "runs/digits/al"
    for scale in ("auto", "each"):
        ended = initpools(*SWEEP, "--set", f"scale={scale}", "--name", scale)
        assert ended.code == 0, ended.err
        accuracy[scale] = pd.read_csv(al / scale / "rounds.csv")["accuracy"].mean()
    # Ten random labels: noise that counts as much as signal costs some 18 points.
    assert accuracy["auto"] > 0.45 and accuracy["each"] < 0.35
    assert table_of(al / "auto")["scale"] == {"pca": "common"}
    assert table_of(al / "each")["scale"] == {"pca": "each"}
    assert "already done" in initpools(*SWEEP, "--set", "scale=common", "--name", "auto").err


def test_the_default_on_an_encoder_says_nothing_new(copied_run: Path, initpools: Initpools) -> None:
    assert initpools(*SWEEP, "--seeds", 1).code == 0
    assert "scale" not in table_of(copied_run / "runs/digits/al/main")
    assert "already done" in initpools(*SWEEP, "--seeds", 1, "--set", "scale=each").err
    assert initpools(*SWEEP, "--seeds", 1, "--set", "scale=common", "--name", "common").code == 0
    assert table_of(copied_run / "runs/digits/al/common")["scale"] == {"simclr": "common"}


def test_a_scale_that_no_learner_goes_by_is_refused(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools(*SWEEP, "--learner", "scratch", "--set", "scale=common")
    assert ended.code == 2 and "al.scale (--set) has no effect: scratch reads images" in ended.err
    typed = initpools(*SWEEP, "--set", "scale=comon")
    assert typed.code == 2 and "al.scale = 'comon'" in typed.err and "'common'" in typed.err
    assert not (copied_run / "runs/digits/al").exists()


def test_an_older_sweep_on_pixels_is_shown_as_such_and_never_current(
    initpools: Initpools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SWEEP, "--seeds", 1]
    assert initpools("embed", "pixels", "--dataset", "digits", "--threads", 1).code == 0
    assert initpools(*words, "--set", "scale=each").code == 0
    file = tmp_path / "runs/digits/al/main/step.toml"
    facts = tomli.loads(file.read_text())
    # As a version without the setting has written it.
    del facts["checksum"], facts["schema"], facts["table"]["scale"]
    facts |= {"digest": digest_of(facts["table"], facts["reads"]), "table_digest": digest_of(facts["table"], {})}
    file.write_text(tomli_w.dumps(facts))
    assert "made by an older version of linear" in initpools("status").out
    for scale in ("auto", "each"):
        assert "already done" not in initpools(*words, "--set", f"scale={scale}").err
    assert len(list((tmp_path / "runs/digits/al").iterdir())) == 3


def test_the_labeling_loop_scales_as_sweeps_do(
    initpools: Initpools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert initpools("embed", "pca", "--dataset", "digits", "--threads", 1).code == 0
    items = pd.read_csv("runs/digits/data/items.csv")
    first = items[items["split"] == "train"].head(20)
    first[["index", "label"]].to_csv("labels.csv", index=False)
    ended = initpools("al-run", "--labels", "labels.csv", "--threads", 1)
    assert ended.code == 0, ended.err
    assert table_of(tmp_path / "runs/digits/loop/round-1")["scale"] == {"pca": "common"}
