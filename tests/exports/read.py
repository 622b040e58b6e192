"""Read an export with a library of its users: `python read.py LIBRARY PATH` prints what it read as JSON.

It runs in an environment of its own (`make test-exports`), without `initpools`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: For each image: what identifies it, its label, the source of the label, the confidence, and the size of the image.
Rows = list[dict[str, Any]]


def _row(sample: dict[str, Any], split: str = "") -> dict[str, Any]:
    known = {key: sample.get(key) for key in ("index", "path", "label", "source", "confidence", "round")}
    return {**known, "size": list(sample["image"].size), "split": split}


def imagefolder(path: Path) -> Rows:
    from datasets import load_dataset

    loaded = load_dataset("imagefolder", data_dir=str(path), cache_dir=str(path.parent / "cache"))
    return [_row(sample, split) for split in loaded for sample in loaded[split]]


def parquet(path: Path) -> Rows:
    from datasets import load_dataset

    loaded = load_dataset("parquet", data_files=str(path), cache_dir=str(path.parent / "cache"))["train"]
    assert type(loaded.features["image"]).__name__ == "Image"
    return [_row(sample) for sample in loaded]


def jsonl(path: Path) -> Rows:
    from datasets import load_dataset

    return list(load_dataset("json", data_files=str(path), cache_dir=str(path.parent / "cache"))["train"])


def csv(path: Path) -> Rows:
    from datasets import load_dataset

    return list(load_dataset("csv", data_files=str(path), cache_dir=str(path.parent / "cache"))["train"])


def fiftyone(path: Path) -> Rows:
    """Read the samples with the importer of `fiftyone.types.FiftyOneDataset`, without the database."""
    from fiftyone.utils.data.importers import LegacyFiftyOneDatasetImporter

    rows = []
    with LegacyFiftyOneDatasetImporter(dataset_dir=str(path)) as samples:
        for sample in samples:
            answer = sample["prediction"] if sample["source"] == "prediction" else sample["ground_truth"]
            known = {key: sample[key] for key in ("index", "path", "source", "confidence", "round")}
            there = Path(sample.filepath).is_file()
            rows.append({**known, "label": answer.label, "there": there, "sure": answer.confidence})
    return rows


def cvat(path: Path) -> Rows:
    from datumaro import Dataset
    from datumaro.components.annotation import AnnotationType

    loaded = Dataset.import_from(str(path.parent), "cvat")
    names = loaded.categories()[AnnotationType.label]
    return [
        {"path": item.id, "label": names[each.label].name, "size": list(item.media.size)[::-1]}
        for item in loaded
        for each in item.annotations
    ]


def label_studio(path: Path) -> Rows:
    """Convert annotated tasks, as Label Studio does for an export as JSON-MIN."""
    from label_studio_sdk.converter import Converter

    interface = """<View><Image name="image" value="$image"/><Choices name="choice" toName="image">
    <Choice value="cat"/><Choice value="dog"/></Choices></View>"""
    config = path.parent / "interface.xml"
    config.write_text(interface)
    tasks = json.loads(path.read_text())
    labeled = [task for task in tasks if "annotations" in task]
    for number, task in enumerate(labeled):
        task["id"] = number
        for annotation in task["annotations"]:
            annotation |= {"id": number, "completed_by": {"email": "a@b.c"}}
    exported = path.parent / "labeled.json"
    exported.write_text(json.dumps(labeled))
    Converter(str(config), str(path.parent), download_resources=False).convert_to_json_min(
        str(exported), str(path.parent / "min"), is_dir=False
    )
    read = json.loads((path.parent / "min/result.json").read_text())
    return [{"index": row["index"], "path": row["path"], "label": row["choice"]} for row in read]


def image_folder(path: Path) -> Rows:
    """Read a folder per class with torchvision."""
    from torchvision.datasets import ImageFolder

    loaded = ImageFolder(str(path))
    return [
        {"file": file, "label": loaded.classes[code], "size": list(loaded[i][0].size)}
        for i, (file, code) in enumerate(loaded.samples)
    ]


def yolo(path: Path) -> Rows:
    """Read a split with the data set class of Ultralytics' trainer for classification."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset
    from ultralytics.data.utils import check_cls_dataset

    splits = check_cls_dataset(path)
    settings = get_cfg(overrides={"imgsz": 32})
    rows: Rows = []
    for split in ("train", "val", "test"):
        if splits[split]:
            loaded = ClassificationDataset(str(splits[split]), args=settings)
            rows += [
                {
                    "file": str(Path(file)),
                    "label": splits["names"][code],
                    "split": split,
                    "there": loaded[i] is not None,
                }
                for i, (file, code, *_) in enumerate(loaded.samples)
            ]
    return rows


if __name__ == "__main__":
    library, path = sys.argv[1:]
    print(json.dumps(globals()[library.replace("-", "_")](Path(path).resolve())))
