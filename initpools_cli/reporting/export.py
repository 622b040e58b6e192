"""Exports of pools and of labels: paths are checked first, then each is written completely or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.output_folders import Entry, refuse_used, write_folder
from initpools_cli.core.registry import Method
from initpools_cli.datasets.multilabel import one_class_error
from initpools_cli.datasets.spec import Dataset
from initpools_cli.datasets.stored.shards import Root, is_readable
from initpools_cli.reporting.exports.data import MAX_NAME_BYTES, TABLE, ExportData
from initpools_cli.reporting.exports.registry import ExportTraits, exports, place_of
from initpools_cli.reporting.pool_table import refuse_losing_labels
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Export:
    """An export: its kind, one of `exports`, and the file or folder to write."""

    kind: str
    path: Path

    @property
    def method(self) -> Method[ExportTraits]:
        """The kind as registered."""
        return exports.get(self.kind)


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
    requests = [_parse(value) for value in values]
    if image_url and not any(export.kind == "label-studio" for export in requests):
        raise UserError(
            "--image-url has no effect without --export label-studio.",
            "Add --export label-studio=FILE.json, or leave out --image-url.",
            "--image-url",
        )
    refuse_overlap([*(export.path for export in requests), *([output.resolve()] if output else [])])
    return requests


def refuse_overlap(paths: Sequence[Path]) -> None:
    """Raise an error if one of the outputs is or contains another."""
    for path in paths:
        if sum(each.is_relative_to(path) for each in paths) > 1:
            raise UserError(
                f"Two outputs are written to {path} or into it.", "Give each output a path of its own.", path
            )


def _parse(value: str) -> Export:
    kind, _, text = value.partition("=")
    method = exports.get(kind)
    if not text:
        raise UserError(f"--export {kind} has no path.", f"Pass --export {kind}=PATH.", f"--export {kind}")
    # The shell does not expand a ~ after a =.
    return valid_export(kind, Path(text).expanduser(), f"--export {kind}", f"--export {kind}={place_of(method)}")


def valid_export(kind: str, path: Path, option: str, remedy: str) -> Export:
    """Return an export whose path fits its kind.

    Parameters
    ----------
    option : str
        The option that names the kind, for messages.
    remedy : str
        What to type instead, for messages.

    Raises
    ------
    UserError
        An unknown kind, the wrong ending, a folder in place of a file, or a file in place of a folder.
    """
    path, ending = path.resolve(), exports.get(kind).traits.ending
    if ending and path.suffix.lower() != ending:
        raise UserError(f"{option} writes a {ending} file, not '{path.name}'.", f"Pass {remedy}.", path.name)
    if ending and path.is_dir():
        raise UserError(f"{path} is a folder.", f"Pass the name of a file: {remedy}.", path)
    if not ending and path.is_file():
        raise UserError(f"{path} is a file.", f"Pass the name of a folder: {remedy}.", path)
    return Export(kind, path)


def require_images(context: Context, requests: Sequence[Export], option: str = "--export") -> None:
    """Raise an error if an export needs images and the data set has only embeddings."""
    for export in requests:
        if export.method.traits.images in ("content", "files"):
            instead = "Export a table: csv, jsonl or parquet." if option != "--export" else ""
            context.require_images(f"{option} {export.kind}", instead)


def write_exports(
    context: Context,
    name: str,
    rows: pd.DataFrame,
    requests: Sequence[Export],
    image_url: str = "",
    copies_flag: str = "--export copies=DIR",
) -> None:
    """Check all exports, then write each of them completely or not at all.

    Parameters
    ----------
    name : str
        Name of the pool or the round.
    rows : DataFrame
        See `ExportData`.
    image_url : str
        Prefix of the image paths in Label Studio tasks. Default: the address that Label Studio's server of local
        files uses if its document root is the parent of the image folder.
    copies_flag : str
        The option that writes copies of the images, for an error.

    Raises
    ------
    UserError
        Missing images or labels, a data set without image files, or a folder with other content.
    """
    copies = next((export.path for export in requests if export.kind == "copies"), None)
    data = ExportData(name, rows, context.data, copies, image_url)
    for export in requests:
        _refuse_unfit(data, export, copies_flag)
        if not export.method.traits.ending:
            _refuse_in_dataset(export.path, context.data)
        refuse_losing_labels(export.path, rows)
    folders: dict[Path, dict[str, Entry]] = {
        export.path: export.method.build(data) for export in requests if not export.method.traits.ending
    }
    for path, content in folders.items():
        refuse_used(path, content)
    # Copies first, because the others may point to them.
    for export in sorted(requests, key=lambda export: export.kind != "copies"):
        if export.path in folders:
            write_folder(export.path, folders[export.path], context.report)
        else:
            with atomic_file(export.path) as stream:
                export.method.build(data, stream)
    if any(export.kind == "label-studio" for export in requests) and not image_url:
        context.report.say(
            f"To show the images, start Label Studio with LOCAL_FILES_SERVING_ENABLED=true and "
            f"LOCAL_FILES_DOCUMENT_ROOT={data.base.parent}, and add {data.base} to the project as local storage."
        )


def _refuse_unfit(data: ExportData, export: Export, copies_flag: str) -> None:
    """Raise an error if an export lacks labels, files of images, or images."""
    traits, dataset = export.method.traits, data.dataset
    if traits.classes and dataset.multilabel:
        raise one_class_error(f"The export {export.kind}", "Export a table or tasks: csv, jsonl, parquet, cvat.")
    if traits.classes:
        _refuse_classes(data, export.kind)
    if traits.images == "files" and not isinstance(dataset.root, Path) and data.copies is None:
        content = "arrays" if dataset.root is None else "shards"
        raise UserError(
            f"The data set {dataset.spec.name} consists of {content}, without image files to point to.",
            f"Write PNG files in the same command: {copies_flag}.",
            dataset.spec.name,
        )
    if traits.images != "none" and dataset.root is not None and dataset.has_images:
        _refuse_missing(dataset.root, data.rows["path"].tolist())


def _refuse_classes(data: ExportData, kind: str) -> None:
    """Raise an error for images without a label, and for classes that can't be the name of a folder."""
    unlabeled = data.labels.count("")
    if unlabeled:
        raise UserError(
            f"{kind} needs the label of every image, and {unlabeled} of {len(data.labels)} have none.",
            "Use `initpools export` after labeling, or add --with-labels if the data set has labels.",
            unlabeled,
        )
    classes = {*data.labels, *data.dataset.classes}
    spellings = Counter(name.casefold() for name in classes)
    for name in sorted(classes):
        if spellings[name.casefold()] > 1 or not _fits_folder(name):
            raise UserError(
                f"The class {name!r} can't be the name of a folder for {kind}.",
                "Rename it, or use a format that stores classes as text: csv, jsonl, parquet or imagefolder.",
                repr(name),
            )


def _fits_folder(name: str) -> bool:
    """Return whether a class can be the name of a folder on every system that reads it."""
    return name != TABLE and not (
        name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES
    )


def _refuse_in_dataset(path: Path, data: Dataset) -> None:
    root = data.root
    # Only a folder is searched for new images.
    if root is not None and not Path(data.spec.name).is_file() and path.is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is inside the data set's folder {root}, so its images would count as new ones.",
            "Name a folder outside it.",
            path,
        )


def _refuse_missing(root: Root, paths: Sequence[str]) -> None:
    from initpools_cli.core.wording import counted, named

    missing = [path for path in paths if not is_readable(root / path)]
    if missing:
        raise UserError(
            f"{counted(missing, 'image')} to export can't be read in {root}: {named(missing)}.",
            "Put the files back, or export a table: csv or jsonl.",
            named(missing),
        )
