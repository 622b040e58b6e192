"""Splits and classes of image files, from sub-folders or a CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from initpools_cli.core.errors import UserError
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.classes import KnownClasses, meanings, no_label_note, plain, unfit
from initpools_cli.datasets.label_sets import bar_note, classes_in, none_note, set_meanings, why_invalid
from initpools_cli.datasets.multilabel import require_classes
from initpools_cli.datasets.sources import Assignment

#: Split by name of a top-level folder.
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def assigner(
    how: str, classes: tuple[str, ...] = (), *, multilabel: bool = False
) -> Callable[[Sequence[str]], Assignment]:
    """Return the function for ``dataset.labels``: "auto", "none", "folders", or the path of a CSV file.

    Parameters
    ----------
    how : str
    classes : tuple of str
        The only classes there can be; empty: any.
    multilabel : bool
        Whether images can have several labels.
    """
    if how in BY_NAME:
        return lambda paths: _by_folder(BY_NAME[how](paths), classes, multilabel=multilabel)
    return lambda paths: from_csv(Path(how), paths, classes, multilabel=multilabel)


def no_labels(paths: Sequence[str]) -> Assignment:
    """Assign all images to train, without labels."""
    return Assignment(["train"] * len(paths), [""] * len(paths))


def auto_labels(paths: Sequence[str]) -> Assignment:
    """Assign splits and classes if there is ``train/`` with class folders; else no labels."""
    if _has_train_classes(paths):
        return _split_folders(paths)
    tops = sorted({path.split("/")[0] for path in paths if "/" in path})
    alike = len(tops) > 1 and all("/" in path for path in paths)
    note = f"Sub-folders ({named(tops)}) are not read as classes; use --set dataset.labels=folders to read them."
    plain = no_labels(paths)
    return Assignment(plain.splits, plain.labels, notes=[note] if alike else [])


def folder_labels(paths: Sequence[str]) -> Assignment:
    """Assign classes from top-level sub-folders, or from those below ``train/``, ``val/`` and ``test/``."""
    if _has_train_classes(paths):
        return _split_folders(paths)
    labels = [path.split("/")[0] if "/" in path else "" for path in paths]
    outside = [path for path, label in zip(paths, labels, strict=True) if not label]
    if len(outside) == len(paths):
        raise UserError(
            "No image is in a sub-folder, so dataset.labels=folders finds no classes.",
            "Leave out dataset.labels.",
            "dataset.labels=folders",
        )
    notes = [f"Left out {counted(outside, 'image')} outside any class folder: {named(outside)}"] if outside else []
    return Assignment(["train" if label else "" for label in labels], labels, notes=notes)


def from_csv(
    file: Path, paths: Sequence[str], classes: tuple[str, ...] = (), *, multilabel: bool = False
) -> Assignment:
    """Assign classes from a CSV file with a column `path` (or `image_id`) and a column `label` (or `dx`) or `labels`.

    A row names a file by its path relative to the folder or, if that is unique, by its file name with or without
    suffix. A label may be missing.

    Parameters
    ----------
    file : Path
    paths : sequence of str
        The paths of all images.
    classes : tuple of str
        The only classes there can be; empty: any.
    multilabel : bool
        Whether images can have several labels; a column `labels` implies it.

    Raises
    ------
    UserError
        A missing file or column, two labels for one file, images without a row, or invalid classes.
    """
    rows, guess_notes = _read_rows(file)
    find = _finder(paths)
    matches = [(row, find(_name_of(row))) for row in rows]
    rows_of_images = [(row, path) for row, path in matches if path is not None]
    unmatched_rows = [_name_of(row) for row, path in matches if path is None]
    multilabel = multilabel or any(row.multilabel for row in rows)
    meaning = (set_meanings if multilabel else meanings)(
        Counter(row.label for row, _ in rows_of_images),
        KnownClasses(classes, origin="one of dataset.classes"),
        what=str(file),
        remedy="Use one spelling for each class in that file.",
    )
    labels: dict[str, str] = {}
    for row, path in rows_of_images:
        label = meaning.of[row.label]
        if label is None:
            raise _unknown_class(file, row, path, classes, multilabel=multilabel)
        other = labels.get(path, "")
        if label and other and other != label:
            raise UserError(
                f"{file} has two labels for {path}: {other!r} and {label!r}.", "Keep one row for each file.", path
            )
        labels[path] = label or other
    _refuse_without_row(file, paths, labels, unmatched_rows)
    notes = (
        [f"Left out {counted(unmatched_rows, 'row')} of {file} without an image: {named(unmatched_rows)}"]
        if unmatched_rows
        else []
    )
    none = [row for row, _ in rows_of_images if not meaning.of[row.label]]
    if none:
        spellings = {row.label for row in none}
        notes.append(no_label_note(str(file), [row.place for row in none], len(rows), spellings))
    notes = guess_notes + list(meaning.notes) + notes
    path_labels = [labels[path] for path in paths]
    if multilabel:
        if any(path_labels):
            require_classes(classes or classes_in(path_labels), str(file))
        notes += none_note(str(file), [label for label in path_labels if label])
    else:
        notes += bar_note(str(file), path_labels, classes)
    return Assignment(
        ["train"] * len(paths),
        path_labels,
        classes or (classes_in(path_labels) if multilabel else ()),
        notes,
        multilabel,
    )


def _name_of(row: Row) -> str:
    """Return the path or name of the image of a row."""
    return row.path.strip() or row.index


def _unknown_class(file: Path, row: Row, path: str, classes: tuple[str, ...], *, multilabel: bool) -> UserError:
    """Return the error for a label that is none of the classes."""
    label = plain(row.label)
    if multilabel:
        why = why_invalid(row.label, KnownClasses(classes))
        return UserError(f"{file}, {row.place}: {path} {why}.", "Correct that line.", repr(label))
    return UserError(
        f"{file}, {row.place}: {label!r} is not among the classes {', '.join(classes[:10])}.",
        "List all classes with --classes, or correct that line.",
        repr(label),
    )


def _refuse_without_row(
    file: Path, paths: Sequence[str], labels: Mapping[str, str], unmatched_rows: Sequence[str]
) -> None:
    """Refuse images that no row of the table is about."""
    missing = [path for path in paths if path not in labels]
    if missing:
        others = f" Rows without an image: {named(unmatched_rows)}." if unmatched_rows else ""
        raise UserError(
            f"{file} has no row for {len(missing)} of {len(paths)} images: {named(missing)}.{others}",
            "Add rows for them, with an empty label if it is not known, or move those files away; to work without "
            "labels, leave out dataset.labels.",
            named(missing),
        )


def _by_folder(assignment: Assignment, classes: tuple[str, ...], *, multilabel: bool) -> Assignment:
    """Convert the names of class folders in an assignment to classes."""
    counts = Counter(label for label in assignment.labels if label)
    if multilabel and counts:
        raise UserError(
            "dataset.multilabel = true, but the labels are folders, which give one class per image.",
            "Pass a table of labels: --set dataset.labels=FILE.csv, or leave out dataset.multilabel.",
            "dataset.multilabel = true",
        )
    if multilabel:
        return replace(assignment, classes=classes, multilabel=True)
    for name in counts:
        if why := unfit(plain(name)):
            raise UserError(f"The class folder {name[:40]!a} {why}.", "Rename the folder.", ascii(name[:40]))
    meaning = meanings(
        counts,
        KnownClasses(classes, origin="one of dataset.classes"),
        what="The folder",
        remedy="Move the images of each class into one folder.",
    )
    unknown = [name for name, label in meaning.of.items() if label is None]
    if unknown:
        raise UserError(
            f"The class folder {unknown[0]!r} is not among the classes {', '.join(classes[:10])}.",
            "List all classes with --classes, or rename the folder.",
            repr(unknown[0]),
        )
    none = sorted(name for name, label in meaning.of.items() if not label)
    notes = [*assignment.notes, *meaning.notes]
    if none:
        images = sum(counts[name] for name in none)
        notes.append(f"{images} images in {named(none)} have no label: these folder names stand for a missing label.")
    labels = [meaning.of[label] or "" if label else "" for label in assignment.labels]
    return replace(assignment, labels=labels, classes=classes, notes=notes)


def _has_train_classes(paths: Sequence[str]) -> bool:
    return any(path.startswith("train/") and path.count("/") > 1 for path in paths)


def _split_folders(paths: Sequence[str]) -> Assignment:
    parts = [path.split("/") for path in paths]
    splits = [SPLIT_FOLDERS.get(part[0], "") if len(part) > 1 else "" for part in parts]
    labels = [part[1] if split and len(part) > 2 else "" for part, split in zip(parts, splits, strict=True)]
    labeled = {split for split, label in zip(splits, labels, strict=True) if label}
    for row, split in enumerate(splits):
        if split in labeled and not labels[row]:
            splits[row] = ""
    outside = [path for path, split in zip(paths, splits, strict=True) if not split]
    notes = (
        [f"Left out {counted(outside, 'image')} outside the class folders of train, val and test: {named(outside)}"]
        if outside
        else []
    )
    notes += [
        f"The images of {split} are not in class folders and have no labels."
        for split in sorted({*splits} - {"", *labeled})
    ]
    return Assignment(splits, labels, notes=notes)


def _read_rows(file: Path) -> tuple[list[Row], list[str]]:
    from initpools_cli.datasets.annotations.table import read

    rows, notes = read(file, "dataset.labels")
    for row in rows:
        if problem := row.problem or unfit(plain(row.label)):
            raise UserError(f"{file}, {row.place}: {row.path} {problem}.", "Correct that line.", row.place)
    return rows, notes


def _finder(paths: Sequence[str]) -> Callable[[str], str | None]:
    whole = set(paths)
    by_name = _unique({path: PurePosixPath(path).name for path in paths})
    by_stem = _unique({path: PurePosixPath(path).stem for path in paths})

    def find(name: str) -> str | None:
        tidy = name.replace("\\", "/").removeprefix("./")
        for candidate in (name, tidy):
            if candidate in whole:
                return candidate
        return by_name.get(name, by_stem.get(name))

    return find


def _unique(short: dict[str, str]) -> dict[str, str]:
    counts = Counter(short.values())
    return {name: path for path, name in short.items() if counts[name] == 1}


BY_NAME = {"auto": auto_labels, "none": no_labels, "folders": folder_labels}
