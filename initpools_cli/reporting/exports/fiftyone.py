"""Export: a data set of FiftyOne."""

from __future__ import annotations

from functools import partial
from typing import Any

from initpools_cli.core.output_folders import Entry, file_of
from initpools_cli.datasets.annotations.rows import PREDICTION
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports
from initpools_cli.reporting.pool_table import encoded, records


@exports.register(images="files")
def fiftyone(data: ExportData) -> dict[str, Entry]:
    """The folder that fiftyone.types.FiftyOneDataset reads: columns are fields, the name of the pool is a tag."""
    samples = []
    for row, path in zip(records(data.rows), data.relative_paths, strict=True):
        # FiftyOne would derive the media type from the file ending, which some images lack.
        sample = {"filepath": str(data.base / path), "_media_type": "image", "tags": [data.name]}
        answer = _answers(row, data) if data.dataset.multilabel else _answer(row)
        samples.append({**sample, **row, **answer})
    return {"samples.json": file_of(partial(encoded, {"samples": samples}))}


def _answers(row: dict[str, Any], data: ExportData) -> dict[str, dict[str, Any]]:
    """Take the labels out of a row, and return them as the field `ground_truth` or `prediction`; maybe none."""
    text = row.pop("label")
    if not text:
        return {}
    is_prediction = row.get("source") == PREDICTION
    facts = {"confidence": row["confidence"]} if is_prediction else {}
    labels = [{"_cls": "Classification", "label": name, **facts} for name in data.list_of(text)]
    return {"prediction" if is_prediction else "ground_truth": {"_cls": "Classifications", "classifications": labels}}


def _answer(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take the label out of a row, and return it as the field `ground_truth` or `prediction`."""
    label = {"_cls": "Classification", "label": row.pop("label")}
    if not label["label"]:
        return {}
    if row.get("source") == PREDICTION:
        return {"prediction": {**label, "confidence": row["confidence"]}}
    return {"ground_truth": label}
