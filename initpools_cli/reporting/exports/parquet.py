"""Export: a parquet file, with the images in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports

if TYPE_CHECKING:
    import pyarrow as pa

#: Images in a row group: readers load a whole one.
GROUP = 100


@exports.register(images="optional", ending=".parquet")
def parquet(data: ExportData, stream: BinaryIO) -> None:
    """A table with the columns of the CSV, and `image` with the bytes and the path of each image.

    The schema says that `image` is an image, as Hugging Face's `datasets` writes it and reads it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(data.rows.reset_index(drop=True), preserve_index=False).replace_schema_metadata(None)
    if not data.dataset.has_images:
        pq.write_table(table, stream)
        return
    image = pa.field("image", pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    schema = pa.schema([image, *table.schema], metadata={"huggingface": json.dumps(_features(table.schema))})
    with pq.ParquetWriter(stream, schema) as writer:
        for start in range(0, len(table), GROUP):
            part = table.slice(start, GROUP)
            names = data.image_names[start : start + GROUP]
            pictures = [
                {"bytes": data.content(position), "path": name} for position, name in enumerate(names, start=start)
            ]
            writer.write_table(pa.table([pa.array(pictures, image.type), *part.columns], schema=schema))


def _features(columns: pa.Schema) -> dict[str, Any]:
    """Return the types of the columns in the words of `datasets`."""
    import pyarrow as pa

    words = {pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool", pa.large_string(): "large_string"}
    values = {field.name: {"dtype": words.get(field.type, "string"), "_type": "Value"} for field in columns}
    return {"info": {"features": {"image": {"_type": "Image"}, **values}}}
