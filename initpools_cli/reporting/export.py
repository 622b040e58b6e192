"""Hand a pool to those who label it: tables, Label Studio, FiftyOne, folders of links or of copies."""

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
from initpools_cli.core.files import write_array, write_frame, write_text
from initpools_cli.core.output_folders import Entry, copy_of, file_of, link_to, refuse_used, write_folder
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd

#: Endings of what `write_pool` writes.
FORMATS = (".npy", ".csv", ".json")
#: The longest name of a file in bytes.
LONGEST_NAME = 255
#: The longest ending that is kept where a name is cut, characters.
LONGEST_ENDING = 16


def write_pool(rows: pd.DataFrame, path: Path) -> None:
    """Write a pool as .npy (indices), .csv or .json (all columns), by one of the endings in `FORMATS`.

    Raises
    ------
    UserError
        The file is there and has labels that would be lost.
    """
    refuse_losing_labels(path, rows)
    {".npy": _npy, ".csv": _csv, ".json": _json}[path.suffix.lower()](rows, path)


def refuse_losing_labels(path: Path, rows: pd.DataFrame) -> None:
    """Refuse to write over a table in which somebody has filled labels in, if these rows don't have them too.

    Raises
    ------
    UserError
        How many labels there are.
    """
    from initpools_cli.datasets.annotations.label_studio import read as read_tasks
    from initpools_cli.datasets.annotations.table import read as read_table
    from initpools_cli.datasets.classes import plain, says_nothing

    reader = {".csv": read_table, ".json": read_tasks}.get(path.suffix.lower())
    if reader is None or not path.is_file():
        return
    try:
        there, _ = reader(path, "-o")
    except UserError:
        # It is something else, and no pool.
        return
    kept = dict(zip(rows["index"].astype(str), rows["label"], strict=True))
    lost = sum(not says_nothing(row.label) and kept.get(row.index) != plain(row.label) for row in there)
    if lost:
        raise UserError(f"{path} has {lost} labels that would be written over.", "Move it away, or name another file.")


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping of column to value a pick; None where there is no value, or one that JSON has no number for."""
    there = rows.notna() & ~rows.isin([np.inf, -np.inf])
    values = rows.astype(object).where(there, None).to_numpy().tolist()
    return [dict(zip(rows.columns, row, strict=True)) for row in values]


def _npy(rows: pd.DataFrame, path: Path) -> None:
    write_array(path, rows["index"].to_numpy(np.int64))


def _csv(rows: pd.DataFrame, path: Path) -> None:
    write_frame(path, rows)


def _json(rows: pd.DataFrame, path: Path) -> None:
    write_text(path, _encoded(records(rows)).decode())


# ---- what --export asks for


@dataclass(frozen=True)
class Export:
    """A kind of `KINDS`, and the file or folder that it is written to."""

    kind: str
    path: Path


def read_exports(given: Sequence[str], output: Path | None, image_url: str = "") -> list[Export]:
    """What the user asks for with ``--export KIND=PATH``.

    Parameters
    ----------
    given : sequence of str
    output : Path, optional
        What ``-o`` names.
    image_url : str
        ``--image-url``.

    Raises
    ------
    UserError
        An unknown kind, no path, one path that is another's or lies inside it, or an address of tasks that are not
        asked for.
    """
    exports = [_read(text) for text in given]
    if image_url and not any(export.kind == "label-studio" for export in exports):
        raise UserError(
            "--image-url is of Label Studio's tasks, and none are asked for.", "Add --export label-studio=FILE.json."
        )
    written = [*(export.path for export in exports), *([output.resolve()] if output else [])]
    for place in (export.path for export in exports):
        if sum(path.is_relative_to(place) for path in written) > 1:
            raise UserError(f"{place} is to be written twice, or something inside it.", "Give each a place of its own.")
    return exports


def _read(text: str) -> Export:
    kind, _, place = text.partition("=")
    if kind not in KINDS:
        raise unknown_name("export", kind, KINDS, "initpools select-pool --help")
    if not place:
        raise UserError(f"--export {kind} does not say where to.", f"Give --export {kind}=PATH.")
    # The shell leaves a ~ alone that stands behind a =.
    path = Path(place).expanduser().resolve()
    if kind in FILES and path.suffix.lower() != ".json":
        raise UserError(f"'{path.name}' is no name for tasks.", f"Give --export {kind}=FILE.json.")
    if kind in FILES and path.is_dir():
        raise UserError(f"{path} is a folder.", f"Give --export {kind} the name of a file.")
    if kind in FOLDERS and path.is_file():
        raise UserError(f"{path} is a file.", f"Give --export {kind} the name of a folder.")
    return Export(kind, path)


# ---- the exports


@dataclass(frozen=True)
class Pool:
    """A pool with its images.

    Attributes
    ----------
    name : str
        Of its step.
    rows : DataFrame
        As in its items.csv.
    names : list of str
        A file name for each image, none twice, alphabetical in order of choice.
    images : list of Entry
        Each image as a file of its own.
    base : Path
        The folder that the images are found in.
    found : list of str
        Where in `base` each of them is found, with ``/``.
    url : str
        What stands before `found` in tasks.
    """

    name: str
    rows: pd.DataFrame
    names: list[str]
    images: list[Entry]
    base: Path
    found: list[str]
    url: str


def label_studio(pool: Pool) -> bytes:
    """Label Studio's tasks: ``data`` is what it shows and gives back with the labels, ``meta`` what it keeps."""
    tasks = []
    for row, found in zip(records(pool.rows), pool.found, strict=True):
        shown = {"image": pool.url + quote(found), "index": row.pop("index"), "path": row.pop("path")}
        kept = {key: value for key, value in row.items() if value not in (None, "")}
        tasks.append({"data": shown, "meta": {"pool": pool.name, **kept}})
    return _encoded(tasks)


def fiftyone(pool: Pool) -> dict[str, Entry]:
    """What ``fiftyone.types.FiftyOneDataset`` reads: fields are named by the columns, the pool is a tag."""
    samples = []
    for row, found in zip(records(pool.rows), pool.found, strict=True):
        label = row.pop("label")
        truth = {"ground_truth": {"_cls": "Classification", "label": label}} if label else {}
        # Said, because FiftyOne would go by the ending of the name, and some images have none.
        sample = {"filepath": str(pool.base / found), "_media_type": "image", "tags": [pool.name]}
        samples.append({**sample, **row, **truth})
    return {"samples.json": file_of(partial(_encoded, {"samples": samples}))}


def links(pool: Pool) -> dict[str, Entry]:
    """A symbolic link to each image."""
    return {name: link_to(pool.base / found) for name, found in zip(pool.names, pool.found, strict=True)}


def copies(pool: Pool) -> dict[str, Entry]:
    """A copy of each image."""
    return dict(zip(pool.names, pool.images, strict=True))


def _png(pixels: np.ndarray) -> bytes:
    from initpools_cli.figures.thumbnails import picture, png

    return png(picture(pixels))


def _encoded(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


#: Kinds that are one file.
FILES: Mapping[str, Callable[[Pool], bytes]] = {"label-studio": label_studio}
#: Kinds that are a folder.
FOLDERS: Mapping[str, Callable[[Pool], dict[str, Entry]]] = {"fiftyone": fiftyone, "links": links, "copies": copies}
KINDS = (*FILES, *FOLDERS)


def write_exports(
    context: Context, name: str, rows: pd.DataFrame, exports: Sequence[Export], image_url: str = ""
) -> None:
    """Check everything that can be checked, then write each export whole or not at all.

    Parameters
    ----------
    name : str
        The name of the pool's step.
    rows : DataFrame
        As in its items.csv.
    image_url : str
        What stands before the path of an image in Label Studio's tasks; default: where its server of local files
        finds the folder of the images, if the folder above that one is its document root.

    Raises
    ------
    UserError
        Images that are gone, no image files, or a folder that holds something else.
    """
    pool = _with_images(context, name, rows, exports, image_url)
    ready: dict[Path, dict[str, Entry] | bytes] = {}
    # Copies first: the others may point to them.
    for export in sorted(exports, key=lambda export: export.kind != "copies"):
        ready[export.path] = FILES[export.kind](pool) if export.kind in FILES else FOLDERS[export.kind](pool)
    for path, content in ready.items():
        if not isinstance(content, bytes):
            _refuse_in_dataset(path, context.data.root)
            refuse_used(path, content)
    for path, content in ready.items():
        if isinstance(content, bytes):
            write_text(path, content.decode())
        else:
            write_folder(path, content, context.report)
    if any(export.kind in FILES for export in exports) and not image_url:
        context.report.say(
            f"Label Studio shows the images with LOCAL_FILES_SERVING_ENABLED=true, "
            f"LOCAL_FILES_DOCUMENT_ROOT={pool.base.parent} and {pool.base} as a local storage of the project."
        )


def _with_images(context: Context, name: str, rows: pd.DataFrame, exports: Sequence[Export], image_url: str) -> Pool:
    data = context.data
    paths = rows["path"].tolist()
    names = file_names(rows, len(data.kept))
    base = next((export.path for export in exports if export.kind == "copies"), data.root)
    if base is None:
        raise UserError(
            f"{data.spec.name} is made of arrays: there are no image files to point to.",
            "Have them written as PNG files in the same command: --export copies=DIR.",
        )
    if data.root is None:
        pixels = data.splits["train"].images
        images = [file_of(partial(_png, pixels[index])) for index in rows["index"]]
    else:
        _refuse_gone(data.root, paths)
        images = [copy_of(data.root / path) for path in paths]
    url = image_url or f"/data/local-files/?d={quote(base.name)}/"
    return Pool(name, rows, names, images, base, paths if base == data.root else names, url)


def file_names(rows: pd.DataFrame, n: int) -> list[str]:
    """``order-index-name`` for each pick of `n` images; no two are the same, and sorted they are in order of choice."""
    widths = len(str(max(len(rows) - 1, 0))), len(str(n - 1))
    names = []
    for order, index, path in zip(rows["order"], rows["index"], rows["path"], strict=True):
        begins = f"{order:0{widths[0]}}-{index:0{widths[1]}}"
        names.append(_shortened(f"{begins}-{path.rpartition('/')[2]}") if path else f"{begins}.png")
    return names


def _shortened(name: str) -> str:
    """The same with the end of its stem cut off where it is too long for a file name."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122 -- a name, and no path
    # What is that long after a dot does not say what kind of file it is.
    if len(ending) > LONGEST_ENDING:
        stem, ending = name, ""
    return stem.encode()[: LONGEST_NAME - len(ending.encode())].decode(errors="ignore") + ending


def _refuse_in_dataset(path: Path, root: Path | None) -> None:
    if root is not None and path.is_relative_to(root.resolve()):
        raise UserError(
            f"{path} lies in the data set's folder {root}, and its images would be taken for new ones.",
            "Name a folder outside it.",
        )


def _refuse_gone(root: Path, paths: Sequence[str]) -> None:
    from initpools_cli.datasets.labels import counted, named

    gone = [path for path in paths if not os.access(root / path, os.R_OK)]
    if gone:
        raise UserError(
            f"{counted(gone, 'image')} of the pool can't be read in {root} any more: {named(gone)}.",
            "Put them back, or choose again in another run (--run DIR).",
        )
