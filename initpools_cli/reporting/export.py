"""Export a pool as a table, Label Studio tasks, a FiftyOne data set, or a folder of links or copies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.files import write_array, write_text
from initpools_cli.core.output_folders import Entry, copy_of, file_of, link_to, refuse_used, write_folder
from initpools_cli.core.spreadsheet import write_table
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: File endings that `write_pool` supports.
FORMATS = (".npy", ".csv", ".json")
#: Maximum length of a file name, bytes.
MAX_NAME_BYTES = 255
#: Longer endings are treated as part of the stem, characters.
MAX_ENDING = 16


def write_pool(rows: pd.DataFrame, path: Path) -> None:
    """Write a pool as .npy (indices), .csv or .json (all columns), chosen by the ending of `path`.

    Raises
    ------
    UserError
        The file exists and has labels that would be lost.
    """
    refuse_losing_labels(path, rows)
    {".npy": _npy, ".csv": _csv, ".json": _json}[path.suffix.lower()](rows, path)


def refuse_losing_labels(path: Path, rows: pd.DataFrame) -> None:
    """Refuse to overwrite a table that has labels which `rows` does not have.

    Raises
    ------
    UserError
        With the number of labels.
    """
    from initpools_cli.datasets.annotations.label_studio import read as read_tasks
    from initpools_cli.datasets.annotations.table import read as read_table
    from initpools_cli.datasets.classes import plain, says_nothing

    reader = {".csv": read_table, ".json": read_tasks}.get(path.suffix.lower())
    if reader is None or not path.is_file():
        return
    try:
        existing, _ = reader(path, "-o")
    except UserError:
        # The file is not a pool.
        return
    new = dict(zip(rows["index"].astype(str), rows["label"], strict=True))
    lost = sum(not says_nothing(row.label) and new.get(row.index) != plain(row.label) for row in existing)
    if lost:
        raise UserError(
            f"{path} has {lost} labels that would be overwritten.", "Move the file away, or name another file.", path
        )


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert rows to dictionaries of column to value; missing and infinite values become None."""
    finite = rows.notna() & ~rows.isin([np.inf, -np.inf])
    values = rows.astype(object).where(finite, None).to_numpy().tolist()
    return [dict(zip(rows.columns, row, strict=True)) for row in values]


def _npy(rows: pd.DataFrame, path: Path) -> None:
    write_array(path, rows["index"].to_numpy(np.int64))


def _csv(rows: pd.DataFrame, path: Path) -> None:
    write_table(path, rows)


def _json(rows: pd.DataFrame, path: Path) -> None:
    write_text(path, _encoded(records(rows)).decode())


# ---- the option --export


@dataclass(frozen=True)
class Export:
    """An export: its kind, one of `KINDS`, and the file or folder to write."""

    kind: str
    path: Path


def read_exports(values: Sequence[str], output: Path | None, image_url: str = "") -> list[Export]:
    """Parse the values of ``--export KIND=PATH``.

    Parameters
    ----------
    values : sequence of str
    output : Path, optional
        The file of ``-o``.
    image_url : str
        The value of ``--image-url``.

    Raises
    ------
    UserError
        An unknown kind, a missing path, a path that equals or contains another one, or ``--image-url`` without
        ``--export label-studio``.
    """
    exports = [_parse(value) for value in values]
    if image_url and not any(export.kind == "label-studio" for export in exports):
        raise UserError(
            "--image-url has no effect without --export label-studio.",
            "Add --export label-studio=FILE.json, or leave out --image-url.",
            "--image-url",
        )
    outputs = [*(export.path for export in exports), *([output.resolve()] if output else [])]
    for path in (export.path for export in exports):
        if sum(each.is_relative_to(path) for each in outputs) > 1:
            raise UserError(
                f"Two outputs are written to {path} or into it.", "Give each output a path of its own.", path
            )
    return exports


def _parse(value: str) -> Export:
    kind, _, text = value.partition("=")
    if kind not in KINDS:
        raise unknown_name("export", kind, KINDS, "initpools select-pool --help")
    if not text:
        raise UserError(f"--export {kind} has no path.", f"Pass --export {kind}=PATH.", f"--export {kind}")
    # The shell does not expand a ~ after a =.
    path = Path(text).expanduser().resolve()
    if kind in FILES and path.suffix.lower() != ".json":
        raise UserError(
            f"--export {kind} writes a .json file, not '{path.name}'.", f"Pass --export {kind}=FILE.json.", path.name
        )
    if kind in FILES and path.is_dir():
        raise UserError(f"{path} is a folder.", f"Pass the name of a file: --export {kind}=FILE.json.", path)
    if kind in FOLDERS and path.is_file():
        raise UserError(f"{path} is a file.", f"Pass the name of a folder: --export {kind}=DIR.", path)
    return Export(kind, path)


# ---- the exports


@dataclass(frozen=True)
class Pool:
    """A pool with its images.

    Attributes
    ----------
    name : str
        Name of the pool's step.
    rows : DataFrame
        Rows of its items.csv.
    names : list of str
        A unique file name for each image, in alphabetical order.
    images : list of Entry
        Each image as a file to write.
    base : Path
        Folder of the image files.
    relative_paths : list of str
        Path of each image file relative to `base`, with ``/``.
    url : str
        Prefix of `relative_paths` in tasks.
    """

    name: str
    rows: pd.DataFrame
    names: list[str]
    images: list[Entry]
    base: Path
    relative_paths: list[str]
    url: str


def label_studio(pool: Pool) -> bytes:
    """Encode Label Studio tasks: ``data`` is shown and exported with the labels, ``meta`` is only stored."""
    tasks = []
    for row, path in zip(records(pool.rows), pool.relative_paths, strict=True):
        shown = {"image": pool.url + quote(path), "index": row.pop("index"), "path": row.pop("path")}
        stored = {key: value for key, value in row.items() if value not in (None, "")}
        tasks.append({"data": shown, "meta": {"pool": pool.name, **stored}})
    return _encoded(tasks)


def fiftyone(pool: Pool) -> dict[str, Entry]:
    """Build the folder that ``fiftyone.types.FiftyOneDataset`` reads: columns are fields, the pool's name is a tag."""
    samples = []
    for row, path in zip(records(pool.rows), pool.relative_paths, strict=True):
        label = row.pop("label")
        truth = {"ground_truth": {"_cls": "Classification", "label": label}} if label else {}
        # FiftyOne would derive the media type from the file ending, which some images lack.
        sample = {"filepath": str(pool.base / path), "_media_type": "image", "tags": [pool.name]}
        samples.append({**sample, **row, **truth})
    return {"samples.json": file_of(partial(_encoded, {"samples": samples}))}


def links(pool: Pool) -> dict[str, Entry]:
    """Build a folder with a symbolic link to each image."""
    return {name: link_to(pool.base / path) for name, path in zip(pool.names, pool.relative_paths, strict=True)}


def copies(pool: Pool) -> dict[str, Entry]:
    """Build a folder with a copy of each image."""
    return dict(zip(pool.names, pool.images, strict=True))


def _png(pixels: np.ndarray) -> bytes:
    from initpools_cli.figures.thumbnails import picture, png

    return png(picture(pixels))


def _encoded(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


#: Kinds that write one file.
FILES: Mapping[str, Callable[[Pool], bytes]] = {"label-studio": label_studio}
#: Kinds that write a folder.
FOLDERS: Mapping[str, Callable[[Pool], dict[str, Entry]]] = {"fiftyone": fiftyone, "links": links, "copies": copies}
KINDS = (*FILES, *FOLDERS)


def write_exports(
    context: Context, name: str, rows: pd.DataFrame, exports: Sequence[Export], image_url: str = ""
) -> None:
    """Check all exports, then write each of them completely or not at all.

    Parameters
    ----------
    name : str
        Name of the pool's step.
    rows : DataFrame
        Rows of its items.csv.
    image_url : str
        Prefix of the image paths in Label Studio tasks. Default: the address that Label Studio's server of local
        files uses if its document root is the parent of the image folder.

    Raises
    ------
    UserError
        Missing images, a data set without image files, or a folder with other content.
    """
    pool = _with_images(context, name, rows, exports, image_url)
    outputs: dict[Path, dict[str, Entry] | bytes] = {}
    # Copies first, because the others may point to them.
    for export in sorted(exports, key=lambda export: export.kind != "copies"):
        outputs[export.path] = FILES[export.kind](pool) if export.kind in FILES else FOLDERS[export.kind](pool)
    for path, content in outputs.items():
        if not isinstance(content, bytes):
            _refuse_in_dataset(path, context.data.root)
            refuse_used(path, content)
    for path, content in outputs.items():
        if isinstance(content, bytes):
            write_text(path, content.decode())
        else:
            write_folder(path, content, context.report)
    if any(export.kind in FILES for export in exports) and not image_url:
        context.report.say(
            f"To show the images, start Label Studio with LOCAL_FILES_SERVING_ENABLED=true and "
            f"LOCAL_FILES_DOCUMENT_ROOT={pool.base.parent}, and add {pool.base} to the project as local storage."
        )


def _with_images(context: Context, name: str, rows: pd.DataFrame, exports: Sequence[Export], image_url: str) -> Pool:
    data = context.data
    paths = rows["path"].tolist()
    names = file_names(rows, len(data.kept))
    base = next((export.path for export in exports if export.kind == "copies"), data.root)
    if base is None:
        raise UserError(
            f"The data set {data.spec.name} consists of arrays, without image files to point to.",
            "Write PNG files in the same command: --export copies=DIR.",
            data.spec.name,
        )
    if data.root is None:
        pixels = data.splits["train"].images
        images = [file_of(partial(_png, pixels[index])) for index in rows["index"]]
    else:
        _refuse_missing(data.root, paths)
        images = [copy_of(data.root / path) for path in paths]
    url = image_url or f"/data/local-files/?d={quote(base.name)}/"
    return Pool(name, rows, names, images, base, paths if base == data.root else names, url)


def file_names(rows: pd.DataFrame, n: int) -> list[str]:
    """Make a unique file name ``order-index-name`` for each pick of `n` images; sorted, they are in order of choice."""
    widths = len(str(max(len(rows) - 1, 0))), len(str(n - 1))
    names = []
    for order, index, path in zip(rows["order"], rows["index"], rows["path"], strict=True):
        prefix = f"{order:0{widths[0]}}-{index:0{widths[1]}}"
        names.append(_shortened(f"{prefix}-{path.rpartition('/')[2]}") if path else f"{prefix}.png")
    return names


def _shortened(name: str) -> str:
    """Shorten the stem of a name that is too long for a file name."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122 -- a name, not a path
    # An ending that long is not a file type.
    if len(ending) > MAX_ENDING:
        stem, ending = name, ""
    return stem.encode()[: MAX_NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending


def _refuse_in_dataset(path: Path, root: Path | None) -> None:
    if root is not None and path.is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is inside the data set's folder {root}, so its images would count as new ones.",
            "Name a folder outside it.",
            path,
        )


def _refuse_missing(root: Path, paths: Sequence[str]) -> None:
    from initpools_cli.datasets.labels import counted, named

    missing = [path for path in paths if not os.access(root / path, os.R_OK)]
    if missing:
        raise UserError(
            f"{counted(missing, 'image')} of the pool can't be read in {root}: {named(missing)}.",
            "Put the files back, or choose a new pool in another run (--run DIR).",
            named(missing),
        )
