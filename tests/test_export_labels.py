"""`initpools export`: every format is read back, predictions are marked, and nothing is mixed or half-written."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Initpools
from PIL import Image

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.core.spreadsheet import unescaped
from initpools_cli.reporting.exports.registry import exports

#: Names that are hostile to tables, markup, paths and shells.
NAMES = [
    "a/same.png", "b/same.png", "b/deep/same.png", "quotes' & \"<b>.png", "100% +#?=.png", "ünï/日本語.png",
    "a/line\nbreak.png", "=1+1,;.png", f"{'long' * 62}.png", "no ending", "back\\slash.png", "train/test-val.png",
    "x/-3.png", "x/@a.png",
]  # fmt: skip
#: Labels of the first images, by name; "-" is a class that spreadsheets would take for a formula.
LABELS = {name: ("cat", "-dog")[i % 2] for i, name in enumerate(NAMES[:8])}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in ``photos``, and a run with one round: eight labels, one skipped image. Never changed."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    for name in NAMES:
        file = folder / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(file, "PNG")
    rows = pd.DataFrame({"path": [*LABELS, NAMES[8]], "label": [*LABELS.values(), ""], "origin": "audit"})
    rows = rows.assign(skipped=rows["label"] == "", seconds=1.5)
    rows.to_csv(folder / "labels.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ["embed", "pixels", "--dataset", "photos", "--threads", "1", "-q"],
            ["al-run", "--labels", "labels.csv", "--threads", "1", "-q"],
        ):
            patch.setattr(sys, "argv", ["initpools", *words])
            assert run_command_line(words) == 0, words
    return folder


@pytest.fixture
def here(labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; the run of `labeled` is the one in use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INITPOOLS_RUN", str(labeled / "runs/photos"))
    return tmp_path


def out_of(kind: str) -> str:
    return f"out{exports.get(kind).traits.ending}"


def files_in(folder: Path) -> list[str]:
    """Names in a folder but for ``runs``."""
    return sorted(each.name for each in folder.iterdir() if each.name != "runs")


def index_of(name: str) -> int:
    return sorted(NAMES, key=lambda each: each.encode()).index(name)


def read_back(kind: str, path: Path, photos: Path) -> dict[str, tuple[str, str]]:
    """Label and source by name of the image, read from an export as its own programs would."""
    content = {(photos / name).read_bytes(): name for name in NAMES}
    if kind == "csv":
        table = pd.read_csv(path, keep_default_na=False)
        return {unescaped(r.path): (unescaped(r.label), r.source) for r in table.itertuples()}
    if kind == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {row["path"]: (row["label"], row["source"]) for row in rows}
    if kind == "parquet":
        rows = pq.read_table(path).to_pylist()
        assert all(content[row["image"]["bytes"]] == row["path"] for row in rows)
        return {row["path"]: (row["label"], row["source"]) for row in rows}
    if kind == "imagefolder":
        rows = [json.loads(line) for line in (path / "train/metadata.jsonl").read_text().splitlines()]
        assert len(rows) == len(list((path / "train").iterdir())) - 1
        return {content[(path / "train" / r["file_name"]).read_bytes()]: (r["label"], r["source"]) for r in rows}
    if kind == "label-studio":
        labels = {}
        for task in json.loads(path.read_text()):
            (answer,) = [*task.get("annotations", []), *task.get("predictions", [])]
            source = "prediction" if answer.get("model_version") else "label"
            file = photos.parent / parse_qs(urlsplit(task["data"]["image"]).query)["d"][0]
            labels[content[file.read_bytes()]] = (answer["result"][0]["value"]["choices"][0], source)
        return labels
    if kind == "cvat":
        sources = {"manual": "label", "auto": "prediction"}
        images = ElementTree.parse(path).getroot().findall("image")
        assert {(image.get("width"), image.get("height")) for image in images} == {("8", "9")}
        tags = {str(image.get("name")): image.find("tag") for image in images}
        return {name: (tag.get("label"), sources[tag.get("source")]) for name, tag in tags.items()}
    if kind == "fiftyone":
        samples = json.loads((path / "samples.json").read_text())["samples"]
        fields = {"label": "ground_truth", "prediction": "prediction"}
        return {
            content[Path(each["filepath"]).read_bytes()]: (each[fields[each["source"]]]["label"], each["source"])
            for each in samples
        }
    table = pd.read_csv(path / "labels.csv", keep_default_na=False)
    labels = {}
    for row in table.itertuples():
        file = path / unescaped(row.file)
        assert kind in ("links", "copies") or file.parent.name == unescaped(row.label)
        assert file.is_symlink() is kind.endswith("links") and file.suffix[1:] == (
            "png" if "/" in row.file else file.suffix[1:]
        )
        labels[content[file.read_bytes()]] = (unescaped(row.label), row.source)
    assert len(labels) == len([file for file in path.rglob("*") if not file.is_dir()]) - 1
    return labels


@pytest.mark.parametrize("kind", exports.names())
def test_every_format_gives_labels_and_predictions_back(
    kind: str, labeled: Path, here: Path, initpools: Initpools
) -> None:
    ended = initpools("export", kind, "-o", out_of(kind), "--with", "predictions")
    assert ended.code == 0 and ended.out.split() == [str(here / out_of(kind))], ended.err
    assert "exported 8 labels of round-1 and 5 predictions; 1 skipped images are left out" in ended.err
    exported = read_back(kind, here / out_of(kind), labeled / "photos")
    assert {name: label for name, (label, source) in exported.items() if source == "label"} == LABELS
    predicted = pd.read_csv(labeled / "runs/photos/loop/round-1/predictions.csv")
    expected = {row.path: row.label for row in predicted.itertuples() if row.path != NAMES[8]}
    assert {name: label for name, (label, source) in exported.items() if source == "prediction"} == expected
    if kind in ("csv", "yolo"):
        assert initpools("export", kind, "-o", out_of(kind), "--with", "predictions").code == 0


def test_the_columns_of_the_run_are_kept_and_predictions_have_their_confidence(
    labeled: Path, here: Path, initpools: Initpools
) -> None:
    least = pd.read_csv(labeled / "runs/photos/loop/round-1/predictions.csv")["confidence"].median()
    assert initpools("export", "jsonl", "-o", "all.jsonl", "--with", "predictions", "--above", least).code == 0
    rows = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    labels, predictions = rows[:8], rows[8:]
    assert 0 < len(predictions) < 5 and all(row["confidence"] >= least for row in predictions)
    assert all((row["confidence"], row["origin"], row["seconds"]) == (None, "audit", 1.5) for row in labels)
    assert all((row["origin"], row["seconds"], row["round"]) == ("", None, 1) for row in predictions)
    assert [row["index"] for row in labels] == sorted(index_of(name) for name in LABELS)


def test_predictions_are_not_read_as_labels(labeled: Path, here: Path, initpools: Initpools) -> None:
    assert initpools("export", "csv", "-o", "all.csv", "--with", "predictions").code == 0
    shutil.copytree(labeled / "runs", "copy")
    ended = initpools("al-run", "--labels", "all.csv", "--run", "copy/photos", "--threads", 1, "--json")
    payload = json.loads(ended.out)
    assert (payload["labeled"], len(payload["problem_rows"])) == (8, 5)
    assert "is a prediction of the model, not a label" in ended.err


def test_labels_of_the_page_are_exported_before_the_first_round(
    labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(labeled / "runs", "runs")
    monkeypatch.setenv("INITPOOLS_RUN", "runs/photos")
    shutil.rmtree("runs/photos/loop")
    refused = initpools("export", "csv", "-o", "out.csv")
    assert refused.code == 2 and "has no labels yet" in refused.err and "`initpools label`" in refused.err
    Path("runs/photos/labels").mkdir()
    pd.DataFrame({"path": NAMES[:2], "label": "cat"}).to_csv("runs/photos/labels/first.csv", index=False)
    assert initpools("export", "csv", "-o", "out.csv").code == 0
    assert sorted(pd.read_csv("out.csv")["path"]) == sorted(NAMES[:2])
    refused = initpools("export", "csv", "-o", "more.csv", "--with", "predictions")
    assert refused.code == 2 and "has no predictions yet" in refused.err and not Path("more.csv").exists()


def test_labels_that_no_round_has_read_are_reported(
    labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(labeled / "runs", "runs")
    Path("runs/photos/labels").mkdir()
    pd.DataFrame({"path": NAMES[8:11], "label": "cat"}).to_csv("runs/photos/labels/second.csv", index=False)
    ended = initpools("export", "csv", "-o", "out.csv", "--run", "runs/photos")
    assert "second.csv has 3 labels that no round has read" in ended.err and len(pd.read_csv("out.csv")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["class-copies", "parquet", "label-studio"])
def test_arrays_are_written_as_png(kind: str, copied_run: Path, initpools: Initpools) -> None:
    from sklearn.datasets import load_digits

    words = ["export", kind, "-o", out_of(kind), "--dataset-labels"]
    if kind == "label-studio":
        refused = initpools(*words)
        assert refused.code == 2 and "--images DIR" in refused.err and not Path(out_of(kind)).exists()
        words += ["--images", "images"]
    assert initpools(*words).code == 0
    truth = load_digits()
    if kind == "parquet":
        first = pq.read_table("out.parquet").slice(0, 1).to_pylist()[0]
        assert first["image"]["bytes"].startswith(b"\x89PNG") and first["label"] == str(truth.target[first["index"]])
    elif kind == "label-studio":
        first = json.loads(Path("out.json").read_text())[0]["data"]["image"]
        assert Path(first.removeprefix("/data/local-files/?d=")).is_file()
    else:
        for file in list(Path("out").rglob("*.png"))[::400]:
            assert file.parent.name == str(truth.target[int(file.stem)])


def test_validation_is_a_share_of_every_class_without_copies_of_training_images(
    copied_run: Path, initpools: Initpools
) -> None:
    assert initpools("export", "csv", "-o", "a.csv", "--dataset-labels", "--val", 0.2).code == 0
    assert initpools("export", "csv", "-o", "b.csv", "--dataset-labels", "--val", 0.2).code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    table = pd.read_csv("a.csv")
    shares = (table["split"] == "val").groupby(table["label"]).mean()
    assert shares.between(0.18, 0.22).all() and len(shares) == 10
    items = pd.read_csv("runs/digits/data/items.csv")
    sums = table["index"].map(items[items["split"] == "train"].set_index("index")["sha256"])
    assert not set(sums[table["split"] == "val"]) & set(sums[table["split"] == "train"])


@pytest.mark.slow
def test_yolo_has_the_held_out_splits_of_the_data_set(copied_run: Path, initpools: Initpools) -> None:
    from sklearn.datasets import load_digits
    from torchvision.datasets import ImageFolder

    assert initpools("export", "yolo", "-o", "out", "--dataset-labels").code == 0
    folder, items = ImageFolder("out/test"), pd.read_csv("runs/digits/data/items.csv")
    test = items[items["split"] == "test"]
    assert len(folder) == len(test) > 300 and folder.classes == [str(i) for i in range(10)]
    assert sorted(folder.targets) == sorted(test["label"])
    pixels = {
        image.tobytes(): str(target) for image, target in zip(load_digits().images, load_digits().target, strict=True)
    }
    scale = [np.asarray(Image.open(file)).astype(float) * 16 / 255 for file, _ in folder.samples[::60]]
    for (file, _), image in zip(folder.samples[::60], scale, strict=True):
        assert pixels[np.round(image).tobytes()] == Path(file).parent.name


@pytest.mark.parametrize("kind", ["class-copies", "imagefolder"])
def test_class_names_with_slashes_are_text_or_refused(
    kind: str, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(labeled / "runs", "runs")
    file = Path("runs/photos/loop/round-1")
    shutil.rmtree(file)
    Path("runs/photos/labels").mkdir()
    pd.DataFrame({"path": NAMES[:2], "label": ["../up", "n/a."]}).to_csv("runs/photos/labels/x.csv", index=False)
    ended = initpools("export", kind, "-o", out_of(kind), "--run", "runs/photos")
    if exports.get(kind).traits.classes:
        assert ended.code == 2 and "'../up' can't be the name of a folder" in ended.err
        assert files_in(tmp_path) == []
    else:
        assert ended.code == 0


@pytest.mark.parametrize("kind", ["class-links", "yolo"])
def test_a_folder_with_other_files_is_never_mixed_with(kind: str, here: Path, initpools: Initpools) -> None:
    Path("out/cat").mkdir(parents=True)
    Path("out/cat/mine.txt").write_text("mine")
    refused = initpools("export", kind, "-o", "out")
    assert refused.code == 2 and "is not empty" in refused.err
    assert [each.name for each in Path("out").rglob("*")] == ["cat", "mine.txt"]


def test_a_table_of_labels_is_not_overwritten(here: Path, initpools: Initpools) -> None:
    pd.DataFrame({"path": NAMES[:3], "label": "mine"}).to_csv("out.csv", index=False)
    refused = initpools("export", "csv", "-o", "out.csv")
    assert refused.code == 2 and "out.csv has 3 labels that would be overwritten" in refused.err


@pytest.mark.parametrize("kind", ["csv", "parquet", "imagefolder"])
def test_a_full_disk_leaves_nothing_behind(
    kind: str, here: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    """No file may become longer than 40 bytes, as on a full disk."""
    import resource
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        ended = initpools("export", kind, "-o", out_of(kind))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert ended.code == 2 and "no space left" in ended.err and files_in(here) == []


def test_deleted_images_are_named_before_anything_is_written(
    labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(labeled)
    file = labeled / "photos" / NAMES[0]
    moved = file.rename(tmp_path / "gone.png")
    try:
        for kind in ("csv", "jsonl", "parquet", "links", "cvat"):
            ended = initpools("export", kind, "-o", tmp_path / out_of(kind), "--run", "runs/photos")
            assert ended.code == (0 if kind in ("csv", "jsonl") else 2)
            assert (
                ended.code == 0 or f"1 image to export can't be read in {labeled / 'photos'}: {NAMES[0]}" in ended.err
            )
    finally:
        moved.rename(file)
    assert files_in(tmp_path) == ["out.csv", "out.jsonl"]


def test_embeddings_without_images_are_exported_as_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    pd.DataFrame({"index": range(8), "label": ["a", "b"] * 4}).to_csv("labels.csv", index=False)
    assert initpools("embed", "emb.npy", "--run", "run", "--dataset", "emb.npy").code == 0
    assert initpools("al-run", "--labels", "labels.csv", "--run", "run").code == 0
    for kind in ("csv", "parquet", "copies", "label-studio"):
        ended = initpools("export", kind, "-o", out_of(kind), "--run", "run")
        table = exports.get(kind).traits.images in ("none", "optional")
        assert ended.code == (0 if table else 2), ended.err
        assert table or ("needs images" in ended.err and "csv, jsonl or parquet" in ended.err)
    assert pq.read_table("out.parquet").column_names[:3] == ["index", "path", "label"]
    assert pd.read_csv("out.csv")["label"].tolist() == ["a", "b"] * 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exel", "-o", "x"], "There is no export 'exel'"),
        (["csv", "-o", "x.txt"], "writes a .csv file, not 'x.txt'"),
        (["csv", "-o", "x.csv", "--with", "guesses"], "--with guesses is unknown"),
        (["csv", "-o", "x.csv", "--above", 0.9], "--above requires --with predictions"),
        (["csv", "-o", "x.csv", "--with", "predictions", "--above", 90], "--above 90 is not in (0, 1]"),
        (["csv", "-o", "x.csv", "--val", 1], "--val 1 is not in (0, 1)"),
        (["cvat", "-o", "x.xml", "--val", 0.2], "--val has no effect on cvat"),
        (["csv", "-o", "x.csv", "--image-url", "https://a"], "--image-url has no effect on csv"),
        (["copies", "-o", "x", "--images", "x/y"], "Two outputs are written to"),
        (["csv", "-o", "x.csv", "--dataset-labels"], "--dataset-labels needs labels"),
    ],
)
def test_slips_are_refused(words: list[object], message: str, here: Path, initpools: Initpools) -> None:
    refused = initpools("export", *words)
    assert refused.code == 2 and message in refused.err and files_in(here) == []


def test_every_export_returns_the_files_of_a_folder_or_writes_a_file() -> None:
    for method in exports:
        assert method.inputs == (("data", "stream") if method.traits.ending else ("data",)), method.name
