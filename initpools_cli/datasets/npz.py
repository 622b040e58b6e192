"""Files in MedMNIST's layout: ``{train,val,test}_{images,labels}`` in one .npz."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import check_npy
from initpools_cli.datasets.array_pixels import refuse_type, to_bytes
from initpools_cli.datasets.cache import place_errors
from initpools_cli.datasets.label_arrays import coded
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Arrays
from initpools_cli.datasets.spec import SPLITS

LAYOUT = "It must hold train_images (n, h, w) or (n, h, w, 3), and may hold train_labels, val_… and test_…."


def read_npz(
    path: Path, scratch: Path, classes: tuple[str, ...] = (), *, scale: Scale | None = None, seed: int = 0
) -> Arrays:
    """Images and labels of an .npz file; the images are unpacked to disk and memory-mapped, never held whole.

    Parameters
    ----------
    path : Path
        The file.
    scratch : Path
        An existing folder to unpack into; it must outlive the arrays.
    classes : tuple of str
        Class names where they are known from elsewhere: labels are then these names, or numbers from 0. Else the values
        that occur are the classes, in order.
    scale : Scale, optional
        How pixels that are not uint8 become that; default: by a range that is estimated from a sample.
    seed : int
        The root seed: it draws that sample.

    Raises
    ------
    UserError
        Missing, corrupt or truncated file; pickled objects; keys, types or shapes that don't fit.
    """
    found = _unpack(path, scratch)
    images: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray | None] = {}
    if "train_images" not in found:
        has = ", ".join(sorted(found)) or "nothing"
        raise UserError(f"{path} has no train_images; it holds {has}.", LAYOUT)
    for split in SPLITS:
        labels = found.get(f"{split}_labels")
        if f"{split}_images" not in found:
            if labels is not None:
                raise UserError(f"{path} has {split}_labels but no {split}_images.", LAYOUT)
            continue
        stored = _checked_images(path, f"{split}_images", found[f"{split}_images"])
        if split != "train" and len(stored) == 0:
            continue
        images[split] = stored
        values[split] = None if labels is None else _checked_labels(path, f"{split}_labels", labels, len(stored))
    _refuse_unlike(path, images)
    given = {f"{split}_labels": labels for split, labels in values.items() if labels is not None}
    found_labels = coded(given, str(path), classes)
    numbers = {split: found_labels.codes.get(f"{split}_labels") for split in values}
    pixels = to_bytes(images, scale or Scale(), seed, scratch)
    notes = [*found_labels.notes, *pixels.notes]
    return Arrays(pixels.images, numbers, found_labels.classes, notes, pixels.conversions)


def _unpack(path: Path, scratch: Path) -> dict[str, np.ndarray]:
    wanted = {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")}
    broken = UserError(f"{path} is not a whole .npz file.", "It may be cut off: copy or download it again.")
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except PermissionError:
        raise UserError(
            f"{path} can't be read: permission denied.", f"Change its permissions, for example with chmod +r {path}."
        ) from None
    except (zipfile.BadZipFile, OSError, ValueError):
        raise broken from None
    found: dict[str, np.ndarray] = {}
    with archive:
        _require_room(archive, wanted, path, scratch)
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if not member.filename.endswith(".npy") or (key not in wanted and "train_images.npy" in archive.namelist()):
                continue
            if key not in wanted:
                # Only for the message that names what the file holds instead.
                found[key] = np.empty(0)
                continue
            target = scratch / f"{key}.npy"
            try:
                with archive.open(member) as packed, place_errors(scratch.parent), target.open("wb") as stream:
                    shutil.copyfileobj(packed, stream, 1 << 20)
                # Copying checked the archive's checksum, so what fails from here on is what was saved.
                shape, dtype = check_npy(target)
                if dtype.hasobject:
                    raise UserError(
                        f"{path} holds pickled Python objects ({key}), which could run code and are never loaded.",
                        "Save it again with numeric arrays.",
                    )
                # What is empty can't be memory-mapped.
                found[key] = np.load(target, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
            except (ValueError, OverflowError):
                raise broken from None
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
                raise broken from None
    return found


def _require_room(archive: zipfile.ZipFile, wanted: set[str], path: Path, scratch: Path) -> None:
    sizes = [member.file_size for member in archive.infolist() if member.filename.removesuffix(".npy") in wanted]
    require_disk(
        scratch.parent,
        sum(sizes),
        f"The arrays of {path} take",
        "Free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )


def _checked_images(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """As (n, h, w, c)."""
    refuse_type(path, key, images.dtype)
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        hint = (
            "Its channels seem to come first: move them to the end. " if len(shape) == 4 and shape[1] in (1, 3) else ""
        )
        raise UserError(
            f"{key} in {path} has the shape {shape}, not (n, h, w), (n, h, w, 1) or (n, h, w, 3).", f"{hint}{LAYOUT}"
        )
    if key == "train_images" and len(images) == 0:
        raise UserError(f"{key} in {path} holds no images.", LAYOUT)
    return images


def _checked_labels(path: Path, key: str, labels: np.ndarray, n: int) -> np.ndarray:
    """As (n,)."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"{key} in {path} has {labels.shape[1]} labels an image; multi-label data sets are not supported.",
            "Give one class an image: (n,) or (n, 1).",
        )
    if labels.ndim == 0 or labels.size != len(labels) or len(labels) != n:
        raise UserError(
            f"{key} in {path} has the shape {labels.shape} for {n} images.", "Give one class an image: (n,) or (n, 1)."
        )
    return np.array(labels).reshape(n)


def _refuse_unlike(path: Path, images: dict[str, np.ndarray]) -> None:
    first = images["train"].shape[1:]
    for split, array in images.items():
        if array.shape[1:] != first:
            raise UserError(
                f"{path} has images of {first} in train but {array.shape[1:]} in {split}.",
                "Save all splits with the same height, width and channels.",
            )
