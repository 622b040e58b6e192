"""Tar archives of images in the layout of WebDataset: files of one sample have one stem."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.system_errors import no_permission
from initpools_cli.datasets.stored.find import image_suffixes
from initpools_cli.datasets.stored.index import Index

BLOCK = 512
#: WebDataset's key and suffix: the name up to the first dot of its last part, and the rest.
KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")
LABELS = (".cls", ".json")
#: The largest file of a label that is read, bytes.
LONGEST_LABEL = 1 << 20


def index_of(file: Path) -> Index:
    """Index a tar archive without extracting it; see `Index`.

    Labels are those of ``NAME.cls``, or of ``label`` in ``NAME.json``; they are numbers if all of them are integers.

    Raises
    ------
    UserError
        The archive is cut off or compressed, names a file twice, or has two images in a sample.
    """
    import pyarrow

    images: dict[str, tuple[int, int]] = {}
    texts: dict[str, str] = {}
    names: Counter[str] = Counter()
    end = 0
    try:
        with tarfile.open(file, "r:") as archive:
            for member in iter(archive.next, None):
                end = archive.offset
                name = member.name.removeprefix("./")
                if not member.isreg() or name.rpartition("/")[2].startswith("."):
                    continue
                _refuse_surrogates(file, name)
                names[name] += 1
                if name.lower().endswith(image_suffixes()):
                    images[name] = member.offset_data, member.size
                elif name.lower().endswith(LABELS):
                    if member.size > LONGEST_LABEL:
                        raise tarfile.ReadError(f"{name} in it has {member.size:,} bytes, too many for a label")
                    texts[name] = _label(file, name, _content(archive, member))
                # The list of members, which the archive keeps, would grow with it.
                archive.members = []  # type: ignore[attr-defined]
    except PermissionError:
        raise no_permission(file) from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged_error(file, str(error)) from None
    _refuse_cut_off(file, end)
    duplicates = [name for name, count in names.items() if count > 1]
    if duplicates:
        raise UserError(
            f"{file} has {duplicates[0]} {names[duplicates[0]]} times.",
            "Write it again, with another name for each file.",
            duplicates[0],
        )
    image_names = _samples(file, list(images))
    labels = [_label_of(name, texts) for name in image_names]
    index = {
        "image": image_names,
        "start": pyarrow.array([images[name][0] for name in image_names], pyarrow.int64()),
        "size": pyarrow.array([images[name][1] for name in image_names], pyarrow.int64()),
    }
    if any(labels):
        index["label"] = pyarrow.array([label or None for label in labels], pyarrow.string())
    return pyarrow.table(index)


def read_image(file: Path, offset: int, nbytes: int) -> bytes:
    """Read an image by its offset.

    Raises
    ------
    OSError
        The archive is missing or cut off.
    """
    with file.open("rb") as stream:
        stream.seek(offset)
        content = stream.read(nbytes)
    if len(content) != nbytes:
        raise OSError(f"{file} is cut off")
    return content


def _samples(file: Path, names: list[str]) -> list[str]:
    """Return the images of samples: ``0001.mask.png`` belongs to ``0001.jpg`` if there is one."""
    plain: dict[str, str] = {}
    for name in names:
        key, suffix = _key(name)
        if "." in suffix:
            continue
        if key in plain:
            raise UserError(
                f"{file} has two images of the sample {key}: {plain[key]} and {name}.",
                "Keep one image for each sample, or name the other like NAME.mask.png.",
                key,
            )
        plain[key] = name
    return [name for name in names if plain.get(_key(name)[0], name) == name]


def _key(name: str) -> tuple[str, str]:
    match = KEY.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def _label_of(name: str, texts: dict[str, str]) -> str:
    """Return the label beside an image, of the same name but for its suffix; empty for none."""
    for stem in (name.rpartition(".")[0], _key(name)[0]):
        for suffix in LABELS:
            if texts.get(f"{stem}{suffix}"):
                return texts[f"{stem}{suffix}"]
    return ""


def _refuse_surrogates(file: Path, name: str) -> None:
    """Raise an error if a name is not UTF-8; tarfile decodes the other bytes to surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        text = ascii(name)
        raise UserError(
            f"{file} has a file whose name {text} is not UTF-8.", "Write it again, with names in UTF-8.", text
        ) from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def _label(file: Path, name: str, content: bytes) -> str:
    """Return the label in a file of a sample; empty for none."""
    try:
        text = content.decode()
        if not name.lower().endswith(".json"):
            return text.strip()
        record: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} in {file} can't be read: {error}.", "Correct it, and pack it again.", name) from None
    value = record.get("label") if isinstance(record, dict) else None
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise UserError(
            f"{name} in {file} has the label {value!r}, which is neither an integer nor a string.",
            "Store one class per image, and pack it again.",
            repr(value),
        )
    return str(int(value) if isinstance(value, bool) else value).strip()


def _refuse_cut_off(file: Path, end: int) -> None:
    """Raise an error if no empty block follows the last file: copying stopped at the end of a file, or in one."""
    with file.open("rb") as stream:
        stream.seek(end)
        if stream.read(BLOCK) != bytes(BLOCK):
            raise _damaged_error(file, f"it ends after {end} bytes without the mark of its end")


def _damaged_error(file: Path, why: str) -> UserError:
    with file.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if compressed:
        return UserError(
            f"{file} is compressed, so its images can't be read one by one.",
            f"Decompress it: `gunzip --suffix .tar {file}`.",
            file,
        )
    return UserError(f"{file} is not a complete tar archive: {why.rstrip('.')}.", "Copy or download it again.", file)
