"""Export: tasks of Label Studio."""

from __future__ import annotations

from typing import Any, BinaryIO
from urllib.parse import quote

from initpools_cli.datasets.annotations.rows import LABEL, PREDICTION
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports
from initpools_cli.reporting.pool_table import encoded, records


@exports.register("label-studio", images="files", ending=".json")
def label_studio(data: ExportData, stream: BinaryIO) -> None:
    """Tasks to import: labels are annotations, predictions are pre-annotations."""
    # Label Studio shows `data` and exports it with the labels; `meta` is only stored.
    prefix = data.url or f"/data/local-files/?d={quote(data.base.name)}/"
    tasks: list[dict[str, Any]] = []
    for row, path in zip(records(data.rows), data.relative_paths, strict=True):
        task_data = {"image": prefix + quote(path), "index": row.pop("index"), "path": row.pop("path")}
        meta = {key: value for key, value in row.items() if value not in (None, "")}
        tasks.append(
            {
                "data": task_data,
                "meta": {"pool": data.name, **meta},
                **_answers(row, data.name, data.list_of(str(row["label"]))),
            }
        )
    stream.write(encoded(tasks))


def _answers(row: dict[str, Any], name: str, labels: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the label as an annotation, or as a prediction with its confidence; nothing for a pool."""
    source = row.get("source")
    value = {"choices": labels}
    result = [{"from_name": "choice", "to_name": "image", "type": "choices", "value": value}]
    if source == LABEL:
        return {"annotations": [{"result": result}]}
    if source == PREDICTION:
        return {"predictions": [{"model_version": f"initpools {name}", "score": row["confidence"], "result": result}]}
    return {}
