"""Export: the folder that Hugging Face's `datasets` loads as `imagefolder`."""

from __future__ import annotations

import json

from initpools_cli.core.output_folders import Entry, file_of
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports
from initpools_cli.reporting.pool_table import records


@exports.register(images="content")
def imagefolder(data: ExportData) -> dict[str, Entry]:
    """A copy of each image, and metadata.jsonl with the columns of the table.

    ``datasets.load_dataset("imagefolder", data_dir=DIR)`` reads it: https://huggingface.co/docs/datasets/image_dataset.
    """
    # The folder is the name of the split: else a word such as "test" in the name of a file would be one. Images for
    # validation are not in a folder of their own, because columns without any value there would have another type.
    rows = [{"file_name": name, **row} for name, row in zip(data.image_names, records(data.rows), strict=True)]
    files = {f"train/{name}": image for name, image in zip(data.image_names, data.images, strict=True)}
    return {**files, "train/metadata.jsonl": file_of(lambda: _lines(rows))}


def _lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
