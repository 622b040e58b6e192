"""Reading of .npz files in MedMNIST's layout: ``{train,val,test}_{images,labels}``."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import check_npy
from initpools_cli.core.system_errors import no_permission, place_errors
from initpools_cli.datasets.array_pixels import refuse_type, to_bytes
from initpools_cli.datasets.label_arrays import EncodedLabels, encode_labels
from initpools_cli.datasets.multilabel import array_notes, checked_names, labels_of_array
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Arrays
from initpools_cli.datasets.spec import SPLITS

LAYOUT = "Save train_images (n, h, w) or (n, h, w, 3) in it, and optionally train_labels, val_… and test_…."


def read_npz(
    path: Path, scratch: Path, classes: tuple[str, ...] = (), *, scale: Scale | None = None, seed: int = 0
) -> Arrays:
    """Read images and labels of an .npz file; images are unpacked to disk and memory-mapped.

    Parameters
    ----------
    path : Path
        The file.
    scratch : Path
        An existing folder to unpack into; it must outlive the arrays.
    classes : tuple of str
        Class names: labels are these names, or numbers from 0. Empty: the values that occur are the classes, in order.
    scale : Scale, optional
        Conversion of pixels to uint8; default: with a range estimated from a sample.
    seed : int
        The root seed; it draws that sample.

    Raises
    ------
    UserError
        A missing, corrupt or truncated file, pickled objects, or invalid keys, types or shapes.
    """
    members = _unpack(path, scratch)
    images: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray | None] = {}
    if "train_images" not in members:
        has = ", ".join(sorted(members)) or "no arrays"
        raise UserError(f"{path} has no train_images, only {has}.", LAYOUT, "train_images")
    for split in SPLITS:
        labels = members.get(f"{split}_labels")
        if f"{split}_images" not in members:
            if labels is not None:
                raise UserError(f"{path} has {split}_labels but no {split}_images.", LAYOUT, f"{split}_images")
            continue
        split_images = _checked_images(path, f"{split}_images", members[f"{split}_images"])
        if split != "train" and len(split_images) == 0:
            continue
        images[split] = split_images
        values[split] = None if labels is None else _checked_labels(path, f"{split}_labels", labels, len(split_images))
    _refuse_unlike(path, images)
    arrays = {f"{split}_labels": labels for split, labels in values.items() if labels is not None}
    multilabel = any(labels.ndim == 2 for labels in arrays.values())
    encoded_labels = _several(path, arrays, classes) if multilabel else encode_labels(arrays, str(path), classes)
    numbers = {split: encoded_labels.codes.get(f"{split}_labels") for split in values}
    pixels = to_bytes(images, scale or Scale(), seed, scratch)
    notes = [*encoded_labels.notes, *pixels.notes]
    return Arrays(pixels.images, numbers, encoded_labels.classes, notes, pixels.conversions)


def _several(path: Path, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> EncodedLabels:
    """Validate labels with a column per class."""
    shapes = {key: labels.shape for key, labels in arrays.items()}
    widths = {labels.shape[1] if labels.ndim == 2 else 1 for labels in arrays.values()}
    if len(widths) > 1:
        text = " and ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise UserError(
            f"{path} has labels of different shapes: {text}.", "Save the same columns of labels in all splits.", text
        )
    width = widths.pop()
    if classes and len(classes) != width:
        raise UserError(
            f"{path} has {width} columns of labels, but there are {len(classes)} classes ({', '.join(classes[:10])}).",
            "List one class per column with --classes.",
            len(classes),
        )
    names = checked_names(classes or tuple(map(str, range(width))), str(path))
    codes = {key: labels_of_array(path, key, labels) for key, labels in arrays.items()}
    return EncodedLabels(names, codes, array_notes(str(path), list(codes.values())))


def _unpack(path: Path, scratch: Path) -> dict[str, np.ndarray]:
    keys = {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")}
    damaged_error = UserError(f"{path} is not a complete .npz file.", "Copy or download it again.", path)
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.", path) from None
    except PermissionError:
        raise no_permission(path) from None
    except (zipfile.BadZipFile, OSError, ValueError):
        raise damaged_error from None
    arrays: dict[str, np.ndarray] = {}
    with archive:
        _require_room(archive, keys, path, scratch)
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if not member.filename.endswith(".npy") or (key not in keys and "train_images.npy" in archive.namelist()):
                continue
            if key not in keys:
                # Only for the message about missing keys.
                arrays[key] = np.empty(0)
                continue
            target = scratch / f"{key}.npy"
            try:
                with archive.open(member) as source, place_errors(scratch.parent), target.open("wb") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
                # Copying verified the archive's checksum; errors from here on are in the saved array.
                shape, dtype = check_npy(target)
                if dtype.hasobject:
                    raise UserError(
                        f"{path} contains pickled Python objects ({key}), which could run code and are never loaded.",
                        "Save it again with numeric arrays.",
                        key,
                    )
                # Empty arrays can't be memory-mapped.
                arrays[key] = np.load(target, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
            except (ValueError, OverflowError):
                raise damaged_error from None
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
                raise damaged_error from None
    return arrays


def _require_room(archive: zipfile.ZipFile, keys: set[str], path: Path, scratch: Path) -> None:
    sizes = [member.file_size for member in archive.infolist() if member.filename.removesuffix(".npy") in keys]
    require_disk(
        scratch.parent,
        sum(sizes),
        f"The arrays of {path} take",
        "Free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )


def _checked_images(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """Validate images and return them as (n, h, w, c)."""
    refuse_type(path, key, images.dtype)
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        hint = (
            "Move the channels, which seem to be the second axis, to the end. "
            if len(shape) == 4 and shape[1] in (1, 3)
            else ""
        )
        raise UserError(
            f"{key} in {path} has the shape {shape}, not (n, h, w), (n, h, w, 1) or (n, h, w, 3).",
            f"{hint}{LAYOUT}",
            shape,
        )
    if key == "train_images" and len(images) == 0:
        raise UserError(f"{key} in {path} has no images.", LAYOUT, key)
    return images


def _checked_labels(path: Path, key: str, labels: np.ndarray, n: int) -> np.ndarray:
    """Validate the shape of labels and return them as (n,), or (n, c) with several labels per image."""
    if labels.ndim == 2 and labels.shape[1] > 1 and len(labels) == n:
        return np.array(labels)
    if labels.ndim == 0 or labels.size != len(labels) or len(labels) != n:
        raise UserError(
            f"{key} in {path} has the shape {labels.shape} for {n} images.",
            "Save one class per image, with the shape (n,) or (n, 1), or a column of 0 and 1 for each class.",
            labels.shape,
        )
    return np.array(labels).reshape(n)


def _refuse_unlike(path: Path, images: dict[str, np.ndarray]) -> None:
    first = images["train"].shape[1:]
    for split, array in images.items():
        if array.shape[1:] != first:
            raise UserError(
                f"{path} has images of shape {first} in train but {array.shape[1:]} in {split}.",
                "Save all splits with the same height, width and channels.",
                array.shape[1:],
            )
