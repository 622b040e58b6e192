"""Export: the folders that Ultralytics' YOLO reads for classification."""

from __future__ import annotations

from functools import partial

from initpools_cli.core.output_folders import Entry, file_of
from initpools_cli.reporting.exports.data import ExportData, copy_of_image, encoded_png, shortened
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="content", classes=True)
def yolo(data: ExportData) -> dict[str, Entry]:
    """A copy of each image in train/CLASS/ (and val/CLASS/, test/CLASS/), as YOLO reads for classification.

    Splits of the data set that have labels are exported too: https://docs.ultralytics.com/datasets/classify/.
    """
    names = [
        f"{split}/{label}/{name}" for split, label, name in zip(data.splits, data.labels, data.image_names, strict=True)
    ]
    return dict(zip(names, data.images, strict=True)) | _held_out(data) | data.table(names)


def _held_out(data: ExportData) -> dict[str, Entry]:
    """Return the labeled images of the data set's own val and test splits."""
    files: dict[str, Entry] = {}
    for split in sorted(data.dataset.splits.keys() - {"train"}):
        items = data.dataset.items[data.dataset.items["split"] == split]
        has_label = items["label"].notna()
        width = len(str(len(items)))
        for position, (path, label) in enumerate(zip(items["path"], items["class"], strict=True)):
            if not has_label.iloc[position]:
                continue
            name = f"{position:0{width}}-{path.rpartition('/')[2]}" if path else f"{position:0{width}}.png"
            if data.dataset.root is None:
                image = file_of(partial(encoded_png, data.dataset.splits[split].images[position]))
            else:
                image = copy_of_image(data.dataset.root / path)
            files[f"{split}/{label}/{shortened(name)}"] = image
    return files
