"""Groups of images that belong together, such as the frames of one video or the images of one patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import ID_NAMES, INDEX_NAMES, PATH_NAMES, Row
from initpools_cli.datasets.annotations.table import read_table
from initpools_cli.datasets.classes import folded, plain, says_nothing, unfit, value_of
from initpools_cli.datasets.multilabel import NONE as NO_CLASS
from initpools_cli.datasets.multilabel import SEPARATOR
from initpools_cli.datasets.path_pattern import search_paths
from initpools_cli.datasets.spec import GROUP, SPLITS
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.datasets.sources import Arrays

#: The option and the setting, for messages.
FLAG = "--groups"
#: The value of the setting that leaves out the groups that a data set has of its own.
NONE = "none"
FILES = (".csv", ".tsv", ".npy")
#: The column of groups in a table of the user.
GROUP_NAMES = ("group",)


@dataclass(frozen=True)
class Groups:
    """The group of every image.

    Attributes
    ----------
    names : list of str
        One per image; an image without a group in the source is a group of its own, named by its path or index.
    notes : list of str
        Notes for the user.
    """

    names: list[str]
    notes: list[str] = field(default_factory=list)


def is_file(how: str) -> bool:
    """Whether groups come from a file, and not from a regular expression."""
    return Path(how).suffix.lower() in FILES or ("\0" not in how and len(how) < 256 and Path(how).is_file())


def read_groups(
    how: str,
    images: pd.DataFrame,
    root: Root | None = None,
    *,
    what: str = FLAG,
    columns: Sequence[str] = GROUP_NAMES,
) -> Groups:
    """Read the group of every image.

    Parameters
    ----------
    how : str
        The path of a table (.csv, .tsv) with ``path``, ``id`` or ``index``, and ``group``; of an .npy with one group
        for each train image; or a regular expression with one group in parentheses, which is searched in the paths.
    images : DataFrame
        One row per image: index (-1 if it is not known yet), path (may be empty) and split. A table may name images of
        val and test by index if it has a column ``split``.
    root : Path or Shards, optional
        The folder of the images, for absolute paths.
    what : str
        The option, for messages.
    columns : sequence of str
        Names of the column of groups; the first present one is used.

    Raises
    ------
    UserError
        The file or the expression is not valid, an image has two groups, two names may be the same group, or no image
        has a group.
    """
    notes: list[str] = []
    if not is_file(how):
        texts = search_paths(how, images["path"].tolist(), what)
    elif Path(how).suffix.lower() == ".npy":
        texts = _from_array(Path(how), images, what)
    else:
        texts, notes = _from_table(Path(how), images, root, what, columns)
    texts = ["" if says_nothing(text) else text for text in texts]
    alone = [row for row, text in enumerate(texts) if not text]
    if len(alone) == len(texts):
        raise UserError(
            f"{how} ({what}) gives none of the {len(texts)} images a group.",
            "Correct it, and compare with the paths and indices of the images.",
            how,
        )
    means, merge_notes = _meanings(Counter(filter(None, texts)), how, what)
    names = [means.get(text, "") for text in texts]
    for row in alone:
        names[row] = _own_name(images, row)
    if alone:
        verb = "is a group of its own" if len(alone) == 1 else "are groups of their own"
        examples = named([names[row] for row in alone])
        notes.append(f"{how}: {len(alone):,} of {len(texts):,} images have no group and {verb}: {examples}.")
    return Groups(names, [*merge_notes, *notes])


def groups_of_arrays(how: str, source: Arrays, paths: Sequence[str] = ()) -> tuple[dict[str, list[str]], list[str]]:
    """Return the group of every image of arrays by split, and notes.

    Parameters
    ----------
    how : str
        See `read_groups`.
    paths : sequence of str
        The ids of the train images, if they have any.
    """
    import pandas as pd

    parts = {split: len(source.images[split]) for split in SPLITS if split in source.images}
    frames = [pd.DataFrame({"index": range(size), "path": "", "split": split}) for split, size in parts.items()]
    images = pd.concat(frames, ignore_index=True)
    if paths:
        images["path"] = [*paths, *[""] * (len(images) - len(paths))]
    image_groups = read_groups(how, images)
    names = dict(
        zip(parts, np.split(np.array(image_groups.names, dtype=object), np.cumsum([*parts.values()])[:-1]), strict=True)
    )
    return {split: part.tolist() for split, part in names.items()}, [
        *image_groups.notes,
        f"groups: {summary(image_groups.names)}",
    ]


def summary(names: Sequence[str]) -> str:
    """Return the note on the number and the sizes of groups."""
    sizes = sorted(Counter(names).values())
    if sizes[-1] == 1:
        return f"each of the {len(names):,} images is a group of its own, so groups change nothing."
    span = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
    middle = f" (median {sizes[len(sizes) // 2]:,})" if sizes[0] != sizes[-1] else ""
    return f"{len(names):,} images in {len(sizes):,} groups of {span}{middle}."


def split_notes(items: pd.DataFrame, mask: np.ndarray, shared_groups: str, *, multilabel: bool = False) -> list[str]:
    """Return notes on the groups of the splits of a new data set, or of one with new images.

    Parameters
    ----------
    items : DataFrame
        All rows of items.csv.
    mask : ndarray of shape (n_train,), bool
        The train images to choose from.
    shared_groups : {"refuse", "allow"}
        Whether splits may share groups.
    multilabel : bool
        Whether images have several labels.

    Raises
    ------
    UserError
        Two splits share groups, and they may not.
    """
    train = items["split"] == "train"
    images = items[~train.to_numpy() | np.pad(mask, (0, len(items) - len(mask)))]
    groups = {
        split: images.loc[images["split"] == split, GROUP] for split in SPLITS if (images["split"] == split).any()
    }
    if len(groups) < 2:
        return []
    sizes = [f"{split} {len(part):,} images in {counted(part.unique(), 'group')}" for split, part in groups.items()]
    notes = [f"splits: {', '.join(sizes)}."]
    for first, second in combinations(groups, 2):
        both = groups[first][groups[first].isin(set(groups[second]))]
        if not len(both):
            continue
        names = list(dict.fromkeys(both))
        verb = "is" if len(names) == 1 else "are"
        fact = f"{counted(names, 'group')} of {second} {verb} also in {first}: {named(names)}."
        if shared_groups != "allow":
            raise UserError(
                fact,
                "Move the images of each group into one split; or accept that results are too good, with "
                "--set dataset.shared_groups=allow.",
                named(names),
            )
        notes.append(f"{fact} Accuracy on these images says little about new groups.")
    labeled = images[images["label"].notna()]
    names_of = labeled["class"].str.split(SEPARATOR, regex=False) if multilabel else labeled["class"]
    by_split = {split: set(names_of[labeled["split"] == split].explode()) - {NO_CLASS} for split in groups}
    absent = sorted(by_split["train"] - by_split.get("test", set()))
    if "test" in groups and absent and (labeled["split"] == "test").any():
        notes.append(f"No test image has the {'class' if len(absent) == 1 else 'classes'} {named(absent)}.")
    return notes


def _own_name(images: pd.DataFrame, row: int) -> str:
    """Return the name of the group of a single image: its path, else its index."""
    path, split, index = (images[key].iloc[row] for key in ("path", "split", "index"))
    return str(path) or (f"#{index}" if split == "train" else f"{split}#{index}")


def _meanings(counts: Mapping[str, int], how: str, what: str) -> tuple[dict[str, str], list[str]]:
    """Return the group of each spelling, and notes; equal numbers are one group if all names are numbers."""
    texts = {spelling: plain(spelling) for spelling in counts}
    for text in texts.values():
        if why := unfit(text).replace("label", "group"):
            raise UserError(f"{how} ({what}) {why}: {text[:20]!a}.", "Use short names of groups.", ascii(text[:20]))
    values = {spelling: value_of(text) for spelling, text in texts.items()}
    numbers = None not in values.values()
    same: dict[object, list[str]] = defaultdict(list)
    for spelling, text in texts.items():
        same[folded(text) if values[spelling] is None else values[spelling]].append(spelling)
    means: dict[str, str] = {}
    equal: list[str] = []
    for spellings in same.values():
        distinct = sorted({texts[each] for each in spellings}, key=lambda text: (len(text), text))
        if len(distinct) > 1 and not numbers:
            variants = " and ".join(
                f"{text!r} ({sum(counts[s] for s in spellings if texts[s] == text)}×)" for text in distinct
            )
            raise UserError(
                f"{how} ({what}) has groups that may be the same: {variants}.",
                "Write each group in one way in that file.",
                variants,
            )
        if len(distinct) > 1:
            equal.append(" and ".join(distinct))
        means |= dict.fromkeys(spellings, distinct[0])
    return means, [f"{how}: equal numbers are one group: {named(equal)}."] if equal else []


def _from_array(path: Path, images: pd.DataFrame, what: str) -> list[str]:
    array = read_array(path, what)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise UserError(
            f"{path} ({what}) has the shape {array.shape} and the type {array.dtype}, not (n,) strings or integers.",
            "Save one group per train image, or name a .csv file with the columns path or index, and group.",
            array.dtype,
        )
    if (images["index"] < 0).any():
        raise _no_indices(path, what)
    train = (images["split"] == "train").to_numpy()
    if len(array) != train.sum():
        raise UserError(
            f"{path} ({what}) has {len(array)} groups for {int(train.sum())} train images.",
            "Save one group per train image.",
            len(array),
        )
    texts = np.full(len(images), "", dtype=object)
    texts[train] = [str(value) for value in array.tolist()]
    return [str(text) for text in texts]


def _from_table(
    path: Path, images: pd.DataFrame, root: Root | None, what: str, columns: Sequence[str]
) -> tuple[list[str], list[str]]:
    table = read_table(path, what)
    place, index, group, split = (
        table.place_of(names) for names in ((*PATH_NAMES, *ID_NAMES), INDEX_NAMES, columns, ("split",))
    )
    has = ", ".join(table.columns)
    if place is None and index is None:
        raise UserError(f"{path} ({what}) has no column 'path', 'id' or 'index', only {has}.", "Add one of them.", path)
    if group is None:
        raise UserError(
            f"{path} ({what}) has no column '{columns[0]}', only {has}.",
            f"Name the column of groups '{columns[0]}'.",
            path,
        )
    rows, texts = [], []
    for number, line in table.lines:
        name, count, text, part = (
            line[at] if at is not None and at < len(line) else "" for at in (place, index, group, split)
        )
        rows.append((Row(f"line {number}", name, count.strip()), part.strip() or "train"))
        texts.append(text)
    images_of = _image_of(rows, path, images, root, what)
    of_image: dict[int, tuple[str, Row]] = {}
    unknown = []
    for (row, _), image, text in zip(rows, images_of, texts, strict=True):
        if isinstance(image, str):
            unknown.append(f"{row.place}: {row.path.strip() or row.index} {image}")
            continue
        if says_nothing(text):
            of_image.setdefault(image, ("", row))
            continue
        before = of_image.get(image, ("", row))
        of_image[image] = (text, row)
        if before[0] and plain(before[0]) != plain(text) and _differ(before[0], text):
            raise UserError(
                f"{path} ({what}) has two groups for {row.path.strip() or f'index {row.index}'}: {plain(before[0])!r} "
                f"({before[1].place}) and {plain(text)!r} ({row.place}).",
                "Give each image one group.",
                row.path.strip() or row.index,
            )
    if not of_image:
        raise UserError(
            f"{path} ({what}) names no image of the data set; {unknown[0] if unknown else 'it has no rows'}.",
            "Name images by their path below the folder, or by index.",
            path,
        )
    notes = list(table.notes)
    if unknown:
        notes.append(f"{path}: left out {counted(unknown, 'row')} without an image: {named(unknown)}.")
    return [of_image[row][0] if row in of_image else "" for row in range(len(images))], notes


def _differ(one: str, other: str) -> bool:
    """Whether two texts are not the same number."""
    value = value_of(plain(one))
    return value is None or value != value_of(plain(other))


def _image_of(
    rows: Sequence[tuple[Row, str]], path: Path, images: pd.DataFrame, root: Root | None, what: str
) -> list[int | str]:
    """Return the position of the image of each row, or the reason why there is none."""
    paths = images["path"].tolist()
    position = {key: at for at, key in enumerate(zip(images["split"], images["index"], strict=True))}
    with_paths = any(paths)
    if with_paths and not any(row.path.strip() for row, _ in rows) and (images["index"] < 0).any():
        raise _no_indices(path, what)
    everything = images.assign(split="train", index=range(len(images)), sha256="-")
    by_path = find([Row(row.place, row.path) for row, _ in rows], everything, root) if with_paths else [""] * len(rows)
    stems = Counter(PurePosixPath(name).stem for name in paths)
    by_stem = {PurePosixPath(name).stem: at for at, name in enumerate(paths) if stems[PurePosixPath(name).stem] == 1}
    sizes = images["split"].value_counts()
    positions: list[int | str] = []
    for (row, split), image in zip(rows, by_path, strict=True):
        if with_paths and row.path.strip():
            positions.append(by_stem.get(row.path.strip(), image) if isinstance(image, str) else image)
            continue
        # An id that is a number is the index of an image without a path.
        text = (row.index or row.path.strip()).removesuffix(".0")
        if not (text.isascii() and text.isdigit()):
            raise UserError(
                f"{path} ({what}), {row.place} has the index {text!r}, which is not an integer.",
                "Name the images by index in a column 'index', or, for a file of embeddings, the rows with --ids FILE.",
                repr(text),
            )
        if (split, int(text)) not in position:
            raise UserError(
                f"{path} ({what}), {row.place} has the index {text}, but there are {int(sizes.get(split, 0))} {split} "
                "images.",
                "Correct that line; indices count from 0.",
                text,
            )
        positions.append(position[split, int(text)])
    return positions


def _no_indices(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} ({what}) names images by index, but the indices of a folder follow from the groups.",
        "Name the images by path: a .csv file with the columns path and group.",
        path,
    )
