"""Parquet files with a column of encoded images, as Hugging Face's ``datasets`` and pandas write them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.system_errors import no_permission
from initpools_cli.datasets.stored.index import Index

LAYOUT = (
    "Save the encoded files (JPEG, PNG …) in a column of bytes, or in a struct of bytes and path as Hugging Face "
    "datasets does."
)
#: Columns of labels where Hugging Face's metadata names none; so do names that end in `LABEL_ENDING`.
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")
LABEL_ENDING = "_label"
#: Columns of images that win over others.
IMAGE_COLUMNS = ("image", "img")
#: Row groups kept decoded in a process: threads that read in order need at most two.
GROUPS_KEPT = 2
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Columns:
    """The columns to read, the same in every shard.

    Attributes
    ----------
    image : str
        The column of images.
    nested : bool
        Whether it is a struct of ``bytes`` and perhaps ``path``.
    label : str
        The column of labels; empty for none.
    classes : tuple of str
        Names of classes by number, from Hugging Face's metadata; empty if it has none.
    """

    image: str
    nested: bool
    label: str
    classes: tuple[str, ...]

    @property
    def content(self) -> str:
        """The leaf column of bytes."""
        return f"{self.image}.bytes" if self.nested else self.image


def has_images(file: Path) -> bool:
    """Whether a parquet file has a column of bytes; False for a damaged one."""
    try:
        return any(_holds_bytes(field.type) for field in _schema(file))
    except UserError:
        return False


def columns_of(files: Sequence[Path], label_column: str, *, labeled: bool) -> Columns:
    """Choose the columns of images and labels.

    Parameters
    ----------
    files : sequence of Path
    label_column : str
        ``dataset.label_column``; empty: the only one that can have labels.
    labeled : bool
        Whether labels are read at all.

    Raises
    ------
    UserError
        A damaged file, no column of images, several columns of labels, or files with different columns.
    """
    columns: Columns | None = None
    for file in files:
        schema = _schema(file)
        features = _features(schema)
        file_columns = _columns(file, schema, features, label_column, labeled=labeled)
        if columns is None:
            columns = file_columns
        elif file_columns != columns:
            raise UserError(
                f"{files[0]} and {file} have different columns or classes: {_columns_text(columns)}, and "
                f"{_columns_text(file_columns)}.",
                "Save all of them with the same columns, or name those that belong together.",
                file,
            )
    assert columns is not None, "there is a file"
    return columns


def index_of(file: Path, columns: Columns) -> Index:
    """Index a parquet file; see `Index`.

    Images have the names stored beside them if those are distinct, else the numbers of their rows.

    Raises
    ------
    UserError
        The file is damaged, or has no bytes.
    """
    import pyarrow
    import pyarrow.compute

    names: list[str | None] = []
    sizes, labels = [], []
    with _parquet_file(file) as source:
        with_paths = columns.nested and _has_paths(source.schema_arrow.field(columns.image).type)
        leaves = [columns.content]
        leaves += [f"{columns.image}.path"] if with_paths else []
        leaves += [columns.label] if columns.label else []
        for group in range(source.num_row_groups):
            table = source.read_row_group(group, columns=leaves)
            images = table[columns.image]
            content = pyarrow.compute.struct_field(images, "bytes") if columns.nested else images
            lengths = pyarrow.compute.fill_null(pyarrow.compute.binary_length(content), 0)
            sizes.append(lengths.to_numpy().astype(np.int64))
            if with_paths:
                names += pyarrow.compute.struct_field(images, "path").to_pylist()
            if columns.label:
                labels.append(_plain(table[columns.label]))
        count = source.metadata.num_rows
    nbytes = np.concatenate([*sizes, np.empty(0, np.int64)])
    if count and not nbytes.any():
        raise UserError(f"{file} has no bytes in its column {columns.image!r}.", LAYOUT, repr(columns.image))
    index = {"image": _distinct(names) or [str(row) for row in range(count)], "start": np.arange(count), "size": nbytes}
    if columns.label and labels:
        index["label"] = pyarrow.chunked_array([chunk for each in labels for chunk in each.chunks])
    return pyarrow.table(index)


def read_image(file: Path, row: int, nbytes: int, *, column: str) -> bytes:
    """Read an image by its row; its row group stays in memory.

    Raises
    ------
    OSError
        The file is missing, damaged or has no such row.
    """
    import pyarrow

    # A file that is replaced while a page is open is read again.
    stamp = file.stat().st_mtime_ns
    # One thread reads a row group that several wait for.
    with _LOCK:
        try:
            ends = _group_ends(file, stamp)
            group = int(np.searchsorted(ends, row, side="right"))
            if group >= len(ends):
                raise OSError(f"{file} has no row {row}")
            images = _row_group(file, stamp, group, column)
        except pyarrow.ArrowException as error:
            raise OSError(f"{file}: {error}") from None
    content = images[row - (int(ends[group - 1]) if group else 0)].as_py()
    return content or b""


@lru_cache(maxsize=GROUPS_KEPT)
def _row_group(file: Path, stamp: int, group: int, column: str) -> Any:
    import pyarrow.compute
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as source:
        images = source.read_row_group(group, columns=[column], use_threads=False).column(0)
    return pyarrow.compute.struct_field(images, "bytes") if _is_struct(images.type) else images


@lru_cache(maxsize=256)
def _group_ends(file: Path, stamp: int) -> NDArray[np.int64]:
    """Return the number of rows up to the end of each row group."""
    import pyarrow.parquet

    facts = pyarrow.parquet.read_metadata(file)
    return np.cumsum([facts.row_group(group).num_rows for group in range(facts.num_row_groups)], dtype=np.int64)


@contextmanager
def _parquet_file(file: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as source:
            yield source
    except PermissionError:
        raise no_permission(file) from None
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"{file} is not a complete parquet file: {reason}.", "Copy or download it again.", file
        ) from None


def _schema(file: Path) -> Any:
    with _parquet_file(file) as source:
        return source.schema_arrow


def _features(schema: Any) -> dict[str, Any]:
    """Return Hugging Face's description of the columns; empty without."""
    try:
        return dict(json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _columns(file: Path, schema: Any, features: dict[str, Any], label_column: str, *, labeled: bool) -> Columns:
    image = _image_column(file, schema)
    nested = _is_struct(schema.field(image).type)
    label = _label_column(file, schema, features, label_column) if labeled else ""
    names = features.get(label, {}).get("names") if isinstance(features.get(label), dict) else None
    classes = tuple(map(str, names)) if isinstance(names, list) and not _is_text(schema.field(label).type) else ()
    return Columns(image, nested, label, classes)


def _image_column(file: Path, schema: Any) -> str:
    candidates = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for name in candidates if name in IMAGE_COLUMNS]
    if not candidates:
        raise UserError(f"{file} has no column of image bytes, only {_fields_text(schema)}.", LAYOUT, file)
    if len(candidates) > 1 and len(usual) != 1:
        raise UserError(
            f"{file} has several columns of bytes: {', '.join(candidates)}.",
            "Name that of the images 'image', or save a file without the others.",
            ", ".join(candidates),
        )
    return usual[0] if len(usual) == 1 else candidates[0]


def _label_column(file: Path, schema: Any, features: dict[str, Any], column: str) -> str:
    if column:
        if column not in schema.names:
            raise UserError(
                f"{file} has no column {column!r} (dataset.label_column), only {_fields_text(schema)}.",
                "Name one of its columns with --set dataset.label_column=NAME.",
                repr(column),
            )
        if not _holds_labels(schema.field(column).type):
            raise UserError(
                f"The column {column!r} of {file} has the type {schema.field(column).type}, not integers or strings.",
                "Name another with --set dataset.label_column=NAME, or use --set dataset.labels=none.",
                repr(column),
            )
        return column
    class_labels = [
        name for name, each in features.items() if isinstance(each, dict) and each.get("_type") == "ClassLabel"
    ]
    usual = [name for name in schema.names if name in LABEL_COLUMNS or name.endswith(LABEL_ENDING)]
    names = [name for name in class_labels or usual if name in schema.names]
    candidates = [name for name in names if _holds_labels(schema.field(name).type)]
    if len(candidates) > 1:
        raise UserError(
            f"{file} has several columns of labels: {', '.join(candidates)}.",
            f"Choose one: --set dataset.label_column={candidates[0]}; or none: --set dataset.labels=none.",
            ", ".join(candidates),
        )
    return candidates[0] if candidates else ""


def _plain(column: Any) -> Any:
    """Return labels as int64, float64 or strings, whatever their width and encoding."""
    import pyarrow

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    if _is_text(kind):
        return column.cast(pyarrow.string())
    return column.cast(pyarrow.float64() if pyarrow.types.is_floating(kind) else pyarrow.int64())


def _distinct(names: list[str | None]) -> list[str]:
    """Return the stored names if every image has one of its own; else an empty list."""
    paths = [name.lstrip("/") for name in names if name]
    return paths if len(paths) == len(names) == len(set(paths)) and all(paths) else []


def _has_paths(kind: Any) -> bool:
    """Whether a struct of an image has a path; without any, its type is null."""
    return kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type)


def _is_struct(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _holds_bytes(kind: Any) -> bool:
    import pyarrow

    if _is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _holds_labels(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or _is_text(kind))


def _fields_text(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "no columns"


def _columns_text(columns: Columns) -> str:
    label = f"labels in {columns.label!r}" if columns.label else "no labels"
    return f"images in {columns.image!r} and {label}" + (
        f" of {len(columns.classes)} classes" if columns.classes else ""
    )
