"""The labeling loop as people go through it: labels come back, a model is judged, the next batch is chosen."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.optimize import brentq
from scipy.stats import norm

from initpools_cli.cli.options import Common
from initpools_cli.figures.escape import percent
from initpools_cli.labeling import review, round_inputs
from initpools_cli.labeling.images import RunImages
from initpools_cli.reporting.plot_data import scatter
from initpools_cli.stats.proportions import share_interval
from initpools_cli.sweeps import setup
from initpools_cli.training.crossvalidation import FOLDS, assign_folds, out_of_fold
from initpools_cli.training.learners.linear import linear
from initpools_cli.training.learners.registry import softmax

CLASSES = ("amber", "blue", "green")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> pd.Series:
    """A run of 60 unlabeled images that are easily told apart; gives the class of each path."""
    monkeypatch.chdir(tmp_path)
    # Doubtful labels, which take most of a round, are tested in tests/test_review.py.
    monkeypatch.setattr(review, "REPETITIONS", 1)
    rng = np.random.default_rng(0)
    truth = {}
    for number in range(60):
        path = f"{'ab'[number % 2]}/{number:02d}.png"
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (8, 8, 3)) + 80 * np.eye(3, dtype=int)[number % 3]
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / path)
        truth[path] = CLASSES[number % 3]
    assert initpools("embed", "pixels", "--dataset", "photos", "--quiet").code == 0
    return pd.Series(truth)


def _annotate(batch: str, truth: pd.Series, to: str, **change: str) -> pd.DataFrame:
    """Fill the batch as an annotator does; `change` has labels by their place in it."""
    rows = pd.read_csv(batch, dtype=str, keep_default_na=False)
    rows["label"] = truth[rows["path"]].to_numpy()
    for place, label in change.items():
        rows.loc[int(place[1:]), "label"] = label
    rows.to_csv(to, index=False)
    return rows


def _round(initpools: Initpools, labels: str, *more: object) -> dict[str, Any]:
    ended = initpools("al-run", "--labels", labels, *more, "--json")
    assert ended.code == 0, ended.err
    return {**json.loads(ended.out), "said": ended.err}


def test_rounds_go_on_until_nothing_is_left(photos: pd.Series, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "-n", 12, "-o", "next.csv").code == 0
    paths: set[str] = set()
    for number in (1, 2, 3, 4):
        batch = _annotate("next.csv", photos, f"done-{number}.csv")
        assert not paths & set(batch["path"])
        paths |= set(batch["path"])
        target = f"to-label-{number}.csv"
        out = _round(initpools, f"done-{number}.csv", "--query", "margin", "--budget", 20, "--next", target)
        assert out["step"] == f"loop/round-{number}" and out["labeled"] == len(paths)
        if number < 4:
            Path(target).replace("next.csv")
    # 12, 20, 20, and the last 8, which the third round said are the last.
    assert paths == set(photos.index) and out["next"] == [] and "no images are left to label" in out["said"]
    assert not Path("to-label-4.csv").exists()
    assert out["low"] < out["accuracy"] <= out["high"] and out["accuracy"] > 0.8 > 2 * out["majority"]
    assert out["previous_labels"] == 8
    assert initpools("plot", "report", "-o", "report.html").code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert f"{percent(out['previous_accuracy'])} of 8" in page
    # Older versions had other keys for it, no checksum and no schema.
    step = Path("runs/photos/loop/round-4/step.toml")
    older = re.sub("^previous_", "foretold_", step.read_text(), flags=re.M).replace("foretold_accuracy", "foretold")
    older = older.replace("foretold_labels", "foretold_of")
    step.write_text(re.sub("^(checksum|schema) = .*\n", "", older, flags=re.M))
    assert initpools("plot", "report", "-o", "older.html").code == 0
    assert f"{percent(out['previous_accuracy'])} of 8" in Path("older.html").read_text(encoding="utf-8")
    first = re.sub(r"<[^>]+>|\s+", " ", page.partition("<dl")[2].partition("</dl>")[0])
    assert re.search(r"labeled +60 +100 % of all.+rounds +4 +3 classes", first) and "Labeling rounds" in page
    assert f"{percent(out['accuracy'])} ({percent(out['low'])} to {percent(out['high'])})" in page
    assert f"calibrated with temperature {out['temperature']:.2f}" in page
    labels = pd.read_csv("runs/photos/loop/round-4/labels.csv")
    assert labels["round"].value_counts().to_dict() == {1: 12, 2: 20, 3: 20, 4: 8}
    assert labels.set_index("path")["label"].to_dict() == photos.to_dict()


def test_the_same_file_is_already_done_and_more_labels_are_a_new_round(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "random", "-n", 10, "-o", "batch.csv")
    _annotate("batch.csv", photos, "a.csv", _3="", _4="")
    first = _round(initpools, "a.csv", "--query", "entropy", "--budget", 5, "--next", "next.csv")
    again = _round(initpools, "a.csv", "--query", "entropy", "--budget", 5, "--next", "next.csv")
    assert (first["fresh"], again["fresh"], again["step"]) == (True, False, "loop/round-1")
    assert first["labeled"] == 8 and first["next"] == again["next"] and "2 rows without a label" in first["said"]
    # The rest of the batch, one correction, and one that the annotator could not tell.
    rows = _annotate("batch.csv", photos, "b.csv", _0="odd", _4="")
    rows["skipped"] = ["yes" if place == 4 else "" for place in range(10)]
    rows.to_csv("b.csv", index=False)
    second = _round(initpools, "b.csv", "--query", "entropy", "--budget", 60, "--next", "next-2.csv")
    assert second["step"] == "loop/round-2" and second["labeled"] == 9
    assert (second["new"], second["corrected"], second["skipped"]) == (2, 1, 1)
    assert rows["path"][4] not in [row["path"] for row in second["next"]] and len(second["next"]) == 50
    assert "only 50 images are left to label, fewer than --budget 60" in second["said"]
    # The old file again changes the corrected label back, which is a round, too, and forgets nothing.
    third = _round(initpools, "a.csv")
    assert third["step"] == "loop/round-3" and third["labeled"] == 9 and third["next"] == []


def test_a_round_that_is_done_again_says_the_same(photos: pd.Series, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "-n", 12, "-o", "next.csv").code == 0
    _annotate("next.csv", photos, "one.csv", r0="blue" if photos.iloc[0] != "blue" else "green")
    _round(initpools, "one.csv", "--query", "margin", "--budget", 8, "--next", "more.csv")
    rows = [_annotate(name, photos, name) for name in ("next.csv", "more.csv")]
    pd.concat(rows).to_csv("two.csv", index=False)
    keys = ("new", "corrected", "previous_accuracy", "previous_labels", "accuracy")
    once = _round(initpools, "two.csv")
    assert once["new"] == 8 + once["corrected"] and once["previous_labels"] == 8
    for again in (["--force"], ["--query", "entropy", "--budget", 4, "--next", "other.csv"]):
        twice = _round(initpools, "two.csv", *again)
        assert twice["fresh"] and {name: twice[name] for name in keys} == {name: once[name] for name in keys}


def test_the_same_labels_with_another_query_replace_the_batch(photos: pd.Series, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "-n", 12, "-o", "next.csv").code == 0
    _annotate("next.csv", photos, "one.csv")
    first = _round(initpools, "one.csv", "--query", "margin", "--budget", 8, "--next", "margin.csv")
    # Somebody labels half of the batch on the page.
    Path("runs/photos/labels").mkdir()
    marks = pd.read_csv("margin.csv").assign(skipped=0, label=["amber"] * 4 + [""] * 4)
    marks[["order", "index", "path", "label", "skipped"]].to_csv("runs/photos/labels/round-1.csv", index=False)
    content = Path("runs/photos/labels/round-1.csv").read_bytes()
    # To look is no reason to lose a batch.
    looked = _round(initpools, "one.csv", "--predictions", "rest.csv")
    assert not looked["fresh"] and looked["picked"] == 8 and Path("rest.csv").exists()
    second = _round(initpools, "one.csv", "--query", "kcenter", "--budget", 5, "--next", "kcenter.csv")
    assert second["step"] == first["step"] == "loop/round-1" and second["picked"] == 5
    assert "its batch of 8 images (margin) is replaced by 5 other images" in second["said"]
    assert "--query margin --budget 8 --next margin.csv" in second["said"]
    assert "labels/round-1.csv has 4 labels that no round has used" in second["said"]
    assert [path.name for path in Path("runs/photos/loop").iterdir()] == ["round-1"]
    assert Path("runs/photos/labels/round-1.csv").read_bytes() == content
    assert "label --batch round-1" in initpools("status").out
    # The repeated round is one line of the table, and what was labeled of the first batch counts.
    third = _round(initpools, "runs/photos/labels/round-1.csv")
    assert (third["step"], third["new"], third["labeled"]) == ("loop/round-2", 4, 16)
    again = _round(initpools, "one.csv", "--query", "margin", "--budget", 8, "--next", "again.csv")
    assert again["step"] == "loop/round-2" and "is replaced" not in again["said"]


def test_a_round_that_is_replaced_keeps_what_classes_are_called(photos: pd.Series, initpools: Initpools) -> None:
    labels = photos.map({"amber": "None", "blue": "blue", "green": "green"}).rename_axis("path").rename("label")
    labels[:9].to_csv("one.csv")
    labels[9:15].to_csv("two.csv")
    assert _round(initpools, "one.csv", "--classes", "None,blue,green")["labeled"] == 9
    again = _round(initpools, "one.csv", "--query", "kcenter", "--budget", 3, "--next", "next.csv")
    assert again["step"] == "loop/round-1" and again["labeled"] == 9
    assert _round(initpools, "two.csv")["labeled"] == 15


def test_repetitions_that_an_older_version_kept_are_one_round(photos: pd.Series, initpools: Initpools) -> None:
    photos[:9].rename_axis("path").rename("label").to_csv("one.csv")
    _round(initpools, "one.csv", "--query", "margin", "--budget", 4, "--next", "a.csv")
    shutil.copytree("runs/photos/loop/round-1", "runs/photos/loop/round-1-abcdef")
    _round(initpools, "one.csv", "--query", "kcenter", "--budget", 3, "--next", "b.csv")
    photos[9:12].rename_axis("path").rename("label").to_csv("two.csv")
    assert initpools("embed", "pca").code == 0
    out = _round(initpools, "two.csv", "--from", "pca")
    table = [line.split() for line in out["said"].splitlines()]
    rows = [line for line in table if line and line[0] in ("1", "2")]
    assert [row[:2] for row in rows] == [["1", "pixels"], ["2", "pca"]] and ["round", "encoder"] in [
        t[:2] for t in table
    ]
    assert "different encoders (pixels, pca)" in out["said"]
    text = initpools("status").out
    assert ", on pixels" in text and ", on pca" in text
    assert initpools("plot", "report", "-o", "report.html").code == 0
    assert "different encoders (pixels, pca)" in Path("report.html").read_text(encoding="utf-8")


def test_a_loop_goes_on_with_its_embeddings(photos: pd.Series, initpools: Initpools) -> None:
    labels = photos.rename_axis("path").rename("label")
    assert initpools("select-pool", "kcenter", "-n", 6, "-o", "first.csv").code == 0
    assert initpools("embed", "pca").code == 0
    # The first round goes on with the embeddings of the first pool; before it, the newest are used.
    assert "embeddings: embed/pca" in initpools("select-pool", "kcenter", "-n", 5).err
    shutil.rmtree("runs/photos/pool/kcenter-b5-s0")
    labels[:9].to_csv("one.csv")
    first = _round(initpools, "one.csv")
    assert "These are the embeddings of pool/kcenter-b6-s0; the newest are embed/pca: add --from pca" in first["said"]
    again = initpools("select-pool", "kcenter", "-n", 7, "--labeled", "one.csv")
    assert "embeddings: embed/pixels" in again.err and "of loop/round-1; the newest are embed/pca" in again.err
    step = tomli.loads(Path("runs/photos/pool/kcenter-b7-s0/step.toml").read_text())
    assert any(path.startswith("embed/pixels/") for path in step["reads"])
    # Scores that are computed on the way follow.
    assert initpools("select-pool", "typicality", "-n", 4, "--labeled", "one.csv").code == 0
    assert tomli.loads(Path("runs/photos/score/typicality/step.toml").read_text())["table"]["source"] == "embed/pixels"


def test_a_loop_changes_its_embeddings_only_where_others_are_named(photos: pd.Series, initpools: Initpools) -> None:
    labels = photos.rename_axis("path").rename("label")
    labels[:9].to_csv("one.csv")
    _round(initpools, "one.csv")
    assert initpools("embed", "pca").code == 0
    changes = "The labeling loop changes its embeddings: loop/round-1 used embed/pixels."
    assert changes in initpools("select-pool", "kcenter", "-n", 5, "--from", "pca", "--labeled", "one.csv").err
    labels[:12].to_csv("two.csv")
    assert changes in _round(initpools, "two.csv", "--from", "pca")["said"]
    assert initpools("embed", "pixels", "--force").code == 0
    labels[:15].to_csv("three.csv")
    third = _round(initpools, "three.csv")
    assert "These are the embeddings of loop/round-2; the newest are embed/pixels: add --from pixels" in third["said"]
    assert tomli.loads(Path("runs/photos/loop/round-3/step.toml").read_text())["table"]["encoders"] == ["pca"]
    shutil.rmtree("runs/photos/embed/pca")
    gone = initpools("select-pool", "kcenter", "-n", 3, "--labeled", "three.csv")
    assert "embed/pca, which the run no longer has" in gone.err and "embeddings: embed/pixels" in gone.err


def test_the_next_command_remakes_the_embeddings_of_the_loop(photos: pd.Series, initpools: Initpools) -> None:
    labels = photos.rename_axis("path").rename("label")
    labels[:9].to_csv("one.csv")
    labels[:12].to_csv("two.csv")
    _round(initpools, "one.csv")
    assert initpools("embed", "pca").code == 0
    shutil.copy("photos/a/00.png", "photos/a/99.png")
    refusal = initpools("al-run", "--labels", "two.csv").err
    renewal = "initpools embed pixels --run runs/photos --force"
    assert f"Renew it with `{renewal}`" in refusal
    assert json.loads(initpools("status", "--json").out)["next"] == renewal


@pytest.fixture
def digits_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> np.ndarray:
    """A run of digits whose first pool was chosen from pixels; in newer embeddings images 2k and 2k + 1 are equal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(review, "REPETITIONS", 1)
    assert initpools("embed", "pixels", "--dataset", "digits").code == 0
    assert initpools("select-pool", "kcenter", "-n", 20, "-o", "first.csv").code == 0
    pixels: np.ndarray = np.load("runs/digits/embed/pixels/train.npy")
    pairs = np.random.default_rng(0).standard_normal((-(-len(pixels) // 2), 8), np.float32)
    np.save("pairs.npy", pairs.repeat(2, axis=0)[: len(pixels)])
    assert initpools("embed", "pairs.npy").code == 0
    items = pd.read_csv("runs/digits/data/items.csv")
    items = items[items["split"] == "train"].set_index("index")["class"]
    items.rename("label")[:60].to_csv("one.csv")
    items.rename("label")[:90].to_csv("two.csv")
    return pixels


def _most_similar(points: np.ndarray, row: int) -> int:
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return int(np.argsort(-(unit @ unit[row]))[1])


def test_the_page_shows_the_embeddings_of_the_loop(digits_loop: np.ndarray, initpools: Initpools) -> None:
    nearest = [_most_similar(digits_loop, row) for row in (2, 10)]
    every = np.arange(len(digits_loop))

    def similar() -> list[int]:
        images = RunImages(Common(run=Path("runs/digits"), quiet=True).start("dataset"))
        assert (images.groups(compute=True) == np.load("runs/digits/embed/pixels/near_duplicates.npy")).all()
        return [images.similar(row, 1, every)[0][0] for row in (2, 10)]

    # The next round will read the embeddings of the first pool.
    assert similar() == nearest and nearest != [3, 11]
    _round(initpools, "one.csv")
    shutil.rmtree("runs/digits/pool")
    assert similar() == nearest


def test_a_round_finds_near_duplicates_in_its_own_embeddings(digits_loop: np.ndarray, initpools: Initpools) -> None:
    for labels, more in (("one.csv", ()), ("two.csv", ()), ("two.csv", ("--from", "pairs"))):
        _round(initpools, labels, "--doubtful", f"doubtful{len(more)}.csv", *more)
    own, other = (pd.read_csv(f"doubtful{number}.csv")["conflict"] for number in (0, 2))
    assert (own < 0).all() and (other >= 0).sum() > 40


@pytest.mark.usefixtures("digits_loop")
def test_commands_in_a_run_with_rounds_read_the_embeddings_of_the_loop(initpools: Initpools) -> None:
    newest = ("rank", "typicality"), ("score", "typicality"), ("plot", "scatter")
    assert all("embeddings: embed/pairs" in initpools(*words).err for words in newest)
    _round(initpools, "one.csv")
    note = "These are the embeddings of loop/round-1; the newest are embed/pairs: add --from pairs to use them."
    for words in newest:
        err = initpools(*words).err
        assert "embeddings: embed/pixels" in err and note in err
        err = initpools(*words, "--from", "pairs").err
        assert "embeddings: embed/pairs" in err and "loop" not in err


def test_the_report_shows_the_embeddings_of_the_loop(
    digits_loop: np.ndarray, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    _round(initpools, "one.csv")
    drawn = []
    project = scatter.projected
    monkeypatch.setattr(scatter, "projected", lambda points, *more: drawn.append(points) or project(points, *more))
    assert initpools("plot", "report", "-o", "loop.html").code == 0
    rows = np.load("runs/digits/data/kept.npy")
    assert len(drawn) == 3 and all(np.array_equal(points, digits_loop[rows]) for points in drawn)
    _, sizes = np.unique(np.load("runs/digits/embed/pixels/near_duplicates.npy")[rows], return_counts=True)
    assert f"{(sizes > 1).sum()} groups of images that are nearly the same" in Path("loop.html").read_text("utf-8")


def test_a_damaged_round_says_how_to_go_on(photos: pd.Series, initpools: Initpools) -> None:
    photos[:9].rename_axis("path").rename("label").to_csv("one.csv")
    _round(initpools, "one.csv")
    with Path("runs/photos/loop/round-1/labels.csv").open("a") as stream:
        stream.write("x")
    result = initpools("al-run", "--labels", "one.csv")
    assert result.code == 2 and "`initpools repair --run runs/photos`, which moves the round aside" in result.err
    assert initpools("repair", "--run", "runs/photos").code == 0
    assert Path("runs/photos/damaged/loop/round-1/predictions.csv").is_file()
    assert _round(initpools, "one.csv")["new"] == 9


def test_labels_of_two_at_once_are_not_lost(
    photos: pd.Series, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = photos.rename_axis("path").rename("label")
    labels[:9].to_csv("mine.csv")
    labels[9:15].to_csv("theirs.csv")
    plain = setup.build_experiment

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(round_inputs, "build_experiment", plain)
        _round(initpools, "theirs.csv")
        return plain(*arguments)

    monkeypatch.setattr(round_inputs, "build_experiment", meanwhile)
    result = initpools("al-run", "--labels", "mine.csv")
    assert result.code == 2 and "Another process has finished round-1 meanwhile" in result.err
    assert _round(initpools, "mine.csv")["labeled"] == 15


def test_predictions_are_of_all_images_without_a_label(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "-n", 15, "-o", "batch.csv")
    rows = _annotate("batch.csv", photos, "a.csv")
    out = _round(initpools, "a.csv", "--predictions", "all.csv")
    predictions = pd.read_csv("all.csv")
    assert set(predictions["path"]) == set(photos.index) - set(rows["path"]) and out["unlabeled"] == 45
    embeddings = np.load("runs/photos/embed/pixels/train.npy")
    spread = embeddings.std(0, dtype=np.float64)
    points = ((embeddings - embeddings.mean(0, dtype=np.float64)) / np.where(spread > 1e-12, spread, 1)).astype("f4")
    labeled = rows["index"].astype(int).sort_values()
    codes = np.array([CLASSES.index(photos[path]) for path in rows["path"][labeled.index]])
    logits = linear(points[labeled], codes, 3, 0, None).logits(points[predictions["index"]])
    probs = softmax(logits / out["temperature"])
    assert predictions["label"].tolist() == [CLASSES[code] for code in probs.argmax(1)]
    ordered = np.sort(probs, axis=1)
    np.testing.assert_allclose(predictions["confidence"], ordered[:, -1], atol=2e-4)
    np.testing.assert_allclose(predictions["second_confidence"], ordered[:, -2], atol=2e-4)
    assert "picked" not in out and out["written"] == ["all.csv"]


def test_labels_that_somebody_filled_in_are_never_written_over(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "random", "-n", 10, "-o", "batch.csv")
    _annotate("batch.csv", photos, "batch.csv")
    content = Path("batch.csv").read_bytes()
    for words in (
        ["select-pool", "random", "-n", 10, "-o", "batch.csv"],
        ["select-pool", "kcenter", "-n", 5, "-o", "batch.csv"],
        ["al-run", "--labels", "batch.csv", "--query", "margin", "--next", "batch.csv"],
    ):
        ended = initpools(*words)
        assert ended.code == 2 and (
            "labels that would be overwritten" in ended.err or "would be overwritten" in ended.err
        )
        assert Path("batch.csv").read_bytes() == content


def test_new_classes_may_come_and_slips_are_told(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "random", "-n", 20, "-o", "batch.csv")
    _annotate("batch.csv", photos, "a.csv", _0="abmer", _1="bluish ")
    out = _round(initpools, "a.csv")
    assert "did you mean 'amber'" in out["said"] and out["class_names"] == sorted(["bluish", "abmer", *CLASSES])
    fixed = initpools("al-run", "--labels", "a.csv", "--classes", "amber,blue,green", "--run", "runs/photos")
    assert fixed.code == 2 and "which is not in --classes" in fixed.err
    _annotate("batch.csv", photos, "b.csv")
    mended = _round(initpools, "b.csv", "--classes", "amber,blue,green,other")
    assert mended["corrected"] == 2 and mended["classes"] == 4
    assert pd.read_csv("runs/photos/loop/round-2/classes.csv").set_index("class")["labeled"]["other"] == 0


def test_images_that_are_gone_are_not_asked_for(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "-n", 12, "-o", "batch.csv")
    rows = _annotate("batch.csv", photos, "a.csv")
    deleted_paths = sorted(set(photos.index) - set(rows["path"]))[:5]
    for path in [*deleted_paths, rows["path"][0]]:
        Path("photos", path).unlink()
    out = _round(initpools, "a.csv", "--query", "margin", "--budget", 60, "--next", "next.csv")
    assert "5 images are missing from" in out["said"] and out["labeled"] == 12
    assert len(out["next"]) == 43 and not set(deleted_paths) & {row["path"] for row in out["next"]}


def test_a_batch_goes_to_label_studio_and_comes_back(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "-n", 12, "-o", "batch.csv")
    _annotate("batch.csv", photos, "a.csv")
    out = _round(initpools, "a.csv", "--query", "margin", "--budget", 6, "--export", "label-studio=tasks.json")
    tasks = json.loads(Path("tasks.json").read_text())
    for task in tasks:
        choice = {"type": "choices", "value": {"choices": [photos[task["data"]["path"]]]}}
        task["annotations"] = [{"was_cancelled": False, "result": [choice]}]
    Path("export.json").write_text(json.dumps(tasks))
    second = _round(initpools, "export.json")
    assert len(tasks) == 6 and second["new"] == 6 and second["labeled"] == 18 and out["picked"] == 6


REFUSED = [
    ("one class", "all 3 labels are of the class 'blue'", "al-run --labels one.csv --query margin --next n.csv"),
    ("several", "--query has 2 names (margin, entropy)", "al-run --labels a.csv --query margin,entropy --next n.csv"),
    ("sweeps", "al.seeds (--seeds) has no effect with --labels", "al-run --labels a.csv --seeds 3"),
    ("sweep's name", "--name x has no effect in a round of labeling.", "al-run --labels a.csv --name x"),
    ("no labels", "--next requires --labels.", "al-run --next n.csv"),
    ("nothing", "(--labels) has no usable label.", "al-run --labels empty.csv"),
    (
        "all wrong",
        "(--labels) has no usable label: line 2: zz.png is not an image of the data set.\nCorrect the rows;",
        "al-run --labels wrong.csv",
    ),
    ("learner", "the learner linear does not provide", "al-run --labels a.csv --query bald --next n.csv"),
    ("twice", "both name n.csv.", "al-run --labels a.csv --query margin --next n.csv --predictions n.csv"),
    ("ending", ".csv", "al-run --labels a.csv --predictions n.npy"),
]


def test_what_can_be_mended_gets_a_sentence_and_leaves_nothing(photos: pd.Series, initpools: Initpools) -> None:
    initpools("select-pool", "random", "-n", 10, "-o", "batch.csv")
    _annotate("batch.csv", photos, "a.csv")
    blue = photos[photos == "blue"].index[:3]
    Path("one.csv").write_text("path,label\n" + "".join(f"{path},blue\n" for path in blue))
    Path("empty.csv").write_text("path,label\n" + "".join(f"{path},\n" for path in blue))
    Path("wrong.csv").write_text("path,label\nzz.png,blue\n")
    for what, says, words in REFUSED:
        ended = initpools(*words.split())
        assert ended.code == 2 and says in ended.err and "Traceback" not in ended.err, (what, ended.err)
        assert not Path("runs/photos/loop").exists() and not Path("n.csv").exists(), what
    # Without a model, one class is no obstacle; and there is no accuracy to speak of.
    out = _round(initpools, "one.csv", "--query", "kcenter", "--budget", 4, "--next", "n.csv")
    assert len(out["next"]) == 4 and "accuracy" not in out and "No accuracy yet" in out["said"]


@pytest.mark.parametrize("query", ["boss", "class-balanced", "el2n"])
def test_an_oracle_is_no_query_of_the_loop(photos: pd.Series, initpools: Initpools, query: str) -> None:
    assert initpools("select-pool", "kcenter", "-n", 12, "-o", "next.csv").code == 0
    _annotate("next.csv", photos, "done.csv")
    result = initpools("al-run", "--labels", "done.csv", "--query", query, "--budget", 3, "--next", "more.csv")
    assert result.code == 2 and f"The query {query} is an oracle" in result.err and "--query margin" in result.err
    assert not Path("more.csv").exists()


def test_a_labeled_test_split_is_measured_on_and_the_bytes_are_the_same(copied_run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "typiclust", "-n", 30, "--with-labels", "-o", "a.csv", "--threads", 1)
    words = ["--query", "badge", "--budget", 10, "--next", "n.csv", "--threads", 1]
    first = _round(initpools, "a.csv", *words)
    folder = copied_run / "runs/digits/loop/round-1"
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "step.toml"}
    assert first["test_low"] < first["test_accuracy"] < first["test_high"] and first["test_accuracy"] > 0.4
    assert _round(initpools, "a.csv", *words, "--force")["fresh"]
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "step.toml"} == before
    assert initpools("verify").code == 0
    assert len(pd.read_csv("n.csv")) == 10


def test_images_that_are_held_out_are_not_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = np.arange(60) % 3
    images = (80 * np.eye(3)[labels][:, None, None] * np.ones((1, 4, 4, 1))).astype(np.uint8)
    np.savez("arrays.npz", train_images=images, train_labels=labels)
    assert initpools("embed", "pixels", "--dataset", "arrays.npz", "--quiet").code == 0
    pd.DataFrame({"index": range(60), "label": labels}).to_csv("all.csv", index=False)
    out = _round(initpools, "all.csv", "--query", "margin", "--budget", 5, "--next", "next.csv")
    mask = np.load("runs/arrays/data/kept.npy")
    assert (out["labeled"], out["problems"], out["unlabeled"]) == (mask.sum(), (~mask).sum(), 0)
    assert "is in the held-out test split" in out["said"] and "no images are left to label" in out["said"]


def test_predictions_take_the_place_of_predictions_alone(photos: pd.Series, initpools: Initpools) -> None:
    photos[:9].rename_axis("path").rename("label").to_csv("one.csv")
    photos[9:15].rename_axis("path").rename("label").to_csv("two.csv")
    result = initpools("al-run", "--labels", "one.csv", "--predictions", "two.csv")
    assert result.code == 2 and "two.csv has 6 labels that would be overwritten" in result.err
    for name, n_left in (("one.csv", 51), ("two.csv", 45)):
        _round(initpools, name, "--predictions", "rest.csv")
        assert len(pd.read_csv("rest.csv")) == n_left


def test_rounds_are_a_record_that_new_images_do_not_outdate(photos: pd.Series, initpools: Initpools) -> None:
    photos[:9].rename_axis("path").rename("label").to_csv("one.csv")
    _round(initpools, "one.csv", "--classes", "amber,blue,green,blue")
    shutil.copy("photos/a/00.png", "photos/z.png")
    assert initpools("embed", "pixels", "--force", "--quiet").code == 0
    assert initpools("verify").code == 0
    out = _round(initpools, "one.csv", "--classes", "amber,blue,green,blue")
    assert (out["class_names"], out["unlabeled"]) == (["amber", "blue", "green"], 52)


def test_a_batch_that_was_labeled_elsewhere_is_not_to_be_labeled_again(photos: pd.Series, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "-n", 12, "-o", "next.csv").code == 0
    _annotate("next.csv", photos, "one.csv", r0="")
    _round(initpools, "one.csv")
    assert "label the 1 images of kcenter-b12-s0" in initpools("status").out
    _annotate("next.csv", photos, "two.csv")
    _round(initpools, "two.csv")
    assert initpools("plot", "report").code == 0
    text = initpools("status").out
    assert f"al-run --labels {Path('two.csv').resolve()} --budget 12" in text


def test_an_unreadable_folder_of_labels_is_told(photos: pd.Series, initpools: Initpools) -> None:
    Path("sorted").mkdir()
    ended = initpools("al-run", "--labels", "sorted")
    assert ended.code == 2 and "has no folders with images" in ended.err


# ---- the numbers


@given(
    arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 4)),
    st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_parts_are_even_and_copies_stay_together(labels: np.ndarray, seed: int) -> None:
    groups = np.arange(len(labels))
    groups[-1] = groups[0]
    labels[-1] = labels[0]
    parts = assign_folds(labels, groups, seed)
    assert parts[-1] == parts[0]
    alone = assign_folds(labels[:-1], groups[:-1], seed)
    count = min(FOLDS, len(alone))
    assert np.ptp(np.bincount(alone, minlength=count)) <= 1 and len(np.bincount(alone)) == count
    for label in np.unique(labels[:-1]):
        assert np.ptp(np.bincount(alone[labels[:-1] == label], minlength=count)) <= 1


def test_nobody_is_judged_by_a_model_that_has_seen_it() -> None:
    labeled, predicted_rows = np.array([3, 5, 8, 9, 11]), []
    parts = np.array([0, 1, 0, 1, 2])

    def fit(train_rows: np.ndarray, part: int) -> Any:
        def predict(rows: np.ndarray) -> np.ndarray:
            assert not set(rows) & set(train_rows) and len(rows) + len(train_rows) == 5
            predicted_rows.extend(rows.tolist())
            return np.column_stack([rows, np.full(len(rows), part)])

        return predict

    probs = out_of_fold(fit, labeled, parts, 2)
    assert sorted(predicted_rows) == labeled.tolist() and np.array_equal(probs, np.column_stack([labeled, parts]))


@pytest.mark.parametrize(("right", "count"), [(0, 7), (3, 10), (10, 10), (170, 200)])
def test_the_interval_is_where_the_score_test_accepts(right: int, count: int) -> None:
    share, z = right / count, norm.ppf(0.975)

    def beyond(p: float) -> float:
        return (share - p) ** 2 - z * z * p * (1 - p) / count

    low = 0.0 if right == 0 else brentq(beyond, 1e-9, share - 1e-9)
    high = 1.0 if right == count else brentq(beyond, share + 1e-9, 1 - 1e-9)
    assert share_interval(right, count) == pytest.approx((low, high), abs=1e-6)
    assert share_interval(0, 0) == (0.0, 1.0)
