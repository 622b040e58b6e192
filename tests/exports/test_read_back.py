"""Every export is read with the libraries of its users, in an environment of their own: `make test-exports`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from initpools_cli.cli.app import run as run_command_line

pytestmark = pytest.mark.exports

#: The Python that has the libraries.
READER = os.environ.get("INITPOOLS_READER", sys.executable)
NAMES = [
    "a/same.png", "b/same.png", "b/deep/same.png", "quotes' & \"<b>.png", "100% +#?=.png", "ünï/日本語.png",
    "no ending", "train/test-val.png", f"{'long' * 62}.png", "x/a b.png", *(f"more/{i}.png" for i in range(10)),
]  # fmt: skip
LABELS = {name: ("cat", "dog")[i % 2] for i, name in enumerate(NAMES) if i < 14}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in ``photos``, a run with a round of 14 labels, and every export with predictions."""
    folder = tmp_path_factory.mktemp("exports")
    rng = np.random.default_rng(0)
    for name in NAMES:
        file = folder / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 36, 3), dtype=np.uint8)).save(file, "PNG")
    pd.DataFrame({"path": LABELS.keys(), "label": LABELS.values()}).to_csv(folder / "labels.csv", index=False)
    both = ["--with", "predictions"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ["embed", "pixels", "--dataset", "photos"],
            ["al-run", "--labels", "labels.csv"],
            ["export", "csv", "-o", "csv/all.csv", *both],
            ["export", "jsonl", "-o", "jsonl/all.jsonl", *both],
            ["export", "parquet", "-o", "parquet/all.parquet", *both],
            ["export", "imagefolder", "-o", "imagefolder/all", *both, "--val", "0.2"],
            ["export", "fiftyone", "-o", "fiftyone", *both],
            ["export", "cvat", "-o", "cvat/annotations.xml", *both],
            ["export", "label-studio", "-o", "label-studio/all.json", *both],
            ["export", "class-copies", "-o", "class-copies", *both],
            ["export", "yolo", "-o", "yolo", *both, "--val", "0.2"],
        ):
            words = [*words, "-q", "--threads", "1"]
            patch.setattr(sys, "argv", ["initpools", *words])
            assert run_command_line(words) == 0, words
    (folder / "cvat/images").symlink_to(folder / "photos")
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, str]:
    """The label of each image, and for unlabeled ones the predicted class."""
    predicted = pd.read_csv(folder / "runs/photos/loop/round-1/predictions.csv")
    return {**dict(zip(predicted["path"], predicted["label"], strict=True)), **LABELS}


def read(library: str, path: Path, needs: str) -> list[dict[str, Any]]:
    """Return what the library reads; the test is skipped where the library is not installed."""
    if subprocess.run([READER, "-c", f"import {needs}"], capture_output=True).returncode:
        pytest.skip(f"{needs} is not installed in {READER}")
    script = Path(__file__).parent / "read.py"
    ended = subprocess.run(
        [READER, str(script), library, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(path.parent / "hf"), "YOLO_CONFIG_DIR": str(path.parent), "PYTHONPATH": ""},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "imagefolder"])
def test_datasets_reads_tables_and_images(kind: str, folder: Path, expected: dict[str, str]) -> None:
    path = folder / kind / ("all" if kind == "imagefolder" else f"all.{kind}")
    rows = {row["path"].removeprefix("'"): row for row in read(kind, path, "datasets")}
    assert {name: row["label"] for name, row in rows.items()} == expected
    for name, row in rows.items():
        assert (row["source"], row["confidence"] is None) == (
            ("label", True) if name in LABELS else ("prediction", False)
        )
        assert row.get("size", [36, 40]) == [36, 40] and row["round"] == 1


def test_fiftyone_reads_samples(folder: Path, expected: dict[str, str]) -> None:
    rows = read("fiftyone", folder / "fiftyone", "fiftyone")
    assert {row["path"]: row["label"] for row in rows} == expected
    assert all(row["there"] and (row["sure"] is None) is (row["path"] in LABELS) for row in rows)


def test_datumaro_reads_cvat(folder: Path, expected: dict[str, str]) -> None:
    rows = {row["path"]: row for row in read("cvat", folder / "cvat/annotations.xml", "datumaro")}
    assert {name: row["label"] for name, row in rows.items()} == {
        name.removesuffix(".png"): label for name, label in expected.items()
    }
    assert all(row["size"] == [36, 40] for row in rows.values())


def test_label_studio_converts_the_labels(folder: Path) -> None:
    rows = read("label-studio", folder / "label-studio/all.json", "label_studio_sdk")
    assert {row["path"]: row["label"] for row in rows} == LABELS


def test_torchvision_reads_a_folder_per_class(folder: Path, expected: dict[str, str]) -> None:
    rows = read("image-folder", folder / "class-copies", "torchvision")
    content = {(folder / "photos" / name).read_bytes(): name for name in NAMES}
    assert {content[Path(row["file"]).read_bytes()]: row["label"] for row in rows} == expected
    assert all(row["size"] == [36, 40] for row in rows)


def test_ultralytics_reads_the_splits(folder: Path, expected: dict[str, str]) -> None:
    rows = read("yolo", folder / "yolo", "ultralytics")
    content = {(folder / "photos" / name).read_bytes(): name for name in NAMES}
    assert {content[Path(row["file"]).read_bytes()]: row["label"] for row in rows} == expected
    validation = {content[Path(row["file"]).read_bytes()] for row in rows if row["split"] == "val"}
    assert len(validation) == 2 and validation <= LABELS.keys() and all(row["there"] for row in rows)
