"""Rows of tables, of exports of annotation tools, and of data sets of files."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bad_arrays import N, parquet, table
from bad_rows import IRREGULAR, Row, Shut, damages

HEADER = "index,label"
GOOD = table(HEADER, *(f"{row},{row % 2}" for row in range(6)))
#: A table of labels by index, and what is said of it. An empty text: only that it is refused.
TABLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "spaces": (b" \n \n", "it is empty"),
    "NUL bytes": (b"index,label\n0\0,1\n", "NUL bytes"),
    "only NUL bytes": (bytes(512), "NUL bytes"),
    "UTF-16 without its end": (table(*[HEADER] * 3, encoding="utf-16")[:-1], "can't be read as a table"),
    "no column of images": (table("a,b", "1,2"), "has neither a column 'index' nor 'path', only a, b"),
    "an open quote": (table(HEADER, '0,"1', "1,0"), "can't be read as a table"),
    "a cell of a million characters": (table(HEADER, f"0,{'x' * 1_000_000}"), "can't be read as a table"),
    "a hundred thousand columns": (table(",".join(f"c{at}" for at in range(100_000))), "has neither a column"),
    "escapes in the header": (table("\x1b[2J,b", "1,2"), "\\x1b[2j"),
    "many cells": (table(HEADER, "0,1,2,3"), "has 4 cells, but the header has 2"),
    "no index": (table(HEADER, ",1"), "has neither a path nor an index"),
    "words": (table(HEADER, "x,1"), "which is not an integer"),
    "a fraction": (table(HEADER, "0.5,1"), "which is not an integer"),
    "negative": (table(HEADER, "-1,1"), "which is not an integer"),
    "outside": (table(HEADER, f"{N},1"), "train images"),
    "twenty digits": (table(HEADER, f"{'9' * 20},1"), "9" * 20),
    "ten thousand digits": (table(HEADER, f"{'9' * 10_000},1"), "9999"),
    "other digits": (table(HEADER, "٣,1"), "which is not an integer"),
    "an image of another set": (table("path,label", "no.png,1"), "is not an image of the data set"),
    "an address that is none": (table("path,label", "http://[x/a.png,1"), "is not an image of the data set"),
    "a path of NUL": (b'path,label\n"a\\0.png",1\n', "is not an image of the data set"),
    "a path of ten thousand characters": (table("path,label", f"{'a/' * 5000}b.png,1"), "a/a/a/a"),
    "a path that escapes": (table("path,label", "\x1b[2J\x07.png,1"), "is not an image of the data set"),
    "JSON": (b'[{"index": 0, "label": 1}]', ""),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "can't be read as a table"),
}
#: What is wrong only with labels.
LABELS: dict[str, tuple[bytes, str]] = {
    "no labels": (table("index", "0"), "has no column 'label'"),
    "only a header": (table(HEADER), ""),
    "empty labels": (table(HEADER, "0,", "1,"), ""),
    "two labels": (table(HEADER, "0,0", "0,1", "1,1"), ""),
    "an unknown class": (table(HEADER, "0,zebra", "1,0"), "zebra"),
    "a class of NaN": (table(HEADER, "0,0", "1,nan2"), "nan2"),
    "a class that escapes": (table(HEADER, "0,\x1b[2J", "1,0"), ""),
    "a class of surrogates": (b"index,label\n0,\xed\xa0\x80\n1,0\n", ""),
}
#: Reads labels, and refuses the first wrong one, before it trains.
STRICT = "rank entropy --run {run} --reference labeled --labels"
READ = {
    "--labels": f"{STRICT} x.csv",
    "--labeled": "select-pool kcenter --budget 2 --run {run} --labeled x.csv",
    "--exclude": "select-pool kcenter --budget 2 --run {run} --exclude x.csv",
    "--reference": "rank entropy --run {run} --reference x.csv",
    "--query-set": "select-pool similar --budget 2 --run {run} --query-set x.csv",
}


def table_rows() -> Iterator[Row]:
    for flag, words in READ.items():
        for kind, (content, message) in (TABLES | (LABELS if flag in ("--labels", "--reference") else {})).items():
            yield Row(f"{flag}: a table: {kind}", words, {"x.csv": content}, (message,))
        for kind, (make, message) in IRREGULAR.items():
            # A folder has a sub-folder for each class.
            known = message if kind != "folder" or flag in ("--labeled", "--exclude") else ""
            yield Row(f"{flag}: a table: {kind}", words, {"x.csv": make}, (known,))
    alone = "select-pool kcenter --budget 2 --embeddings e.npy"
    for index in ("9" * 20, "9" * 10_000, "-1", "x", "1.5"):
        content = table("index", index, "0")
        yield Row(f"--labeled without a run: {index:.25}", f"{alone} --labeled x.csv", {"x.csv": content}, ("x.csv",))
    for kind, content in {
        "BOM": b"\xef\xbb\xbf" + GOOD,
        "CRLF": GOOD.replace(b"\n", b"\r\n"),
        "CR": GOOD.replace(b"\n", b"\r"),
        "UTF-16": GOOD.decode().encode("utf-16"),
        "latin-1": GOOD + "\n7,é".encode("latin-1"),
        "semicolons": GOOD.replace(b",", b";"),
        "no end of line": GOOD.rstrip(),
    }.items():
        yield Row(f"--labeled: {kind}", f"{alone} --labeled x.csv", {"x.csv": content}, code=0)
    ids = "select-pool kcenter --budget 2 --embeddings e.npy --groups '(.)' --ids"
    for name, content in {
        "few.txt": b"a\nb\n",
        "empty.txt": b"",
        "twice.txt": b"a\n" * N,
        "NUL.txt": b"a\0\n" * N,
        "escapes.txt": b"".join(b"\x1b[%d\n" % row for row in range(N)),
        "no column.csv": table("a,b", "1,2"),
        "empty ids.csv": table("id,b", *[",2"] * N),
        "fractions.npy": b"\x93NUMPY\x01\x00",
    }.items():
        yield Row(f"--ids: {name}", [*ids.replace("'", "").split(), name], {name: content}, (name,))
    groups = "select-pool random --budget 2 --run {run} --groups"
    for name, content in {
        "empty.csv": b"",
        "no column.csv": table("a,b", "1,2"),
        "outside.csv": table("index,group", "99,a"),
        "twice.csv": table("index,group", "0,a", "0,b"),
        "NUL.csv": bytes(9),
    }.items():
        yield Row(f"--groups: {name}", [*groups.split(), name], {name: content}, (name,))
    yield Row("--groups: no expression", [*groups.split(), "(["], message=("([",))


# ---- exports of annotation tools

TASKS = json.dumps([{"index": row, "label": str(row % 2)} for row in range(6)]).encode()
JSON: dict[str, tuple[bytes, str]] = {
    "a number": (b"3", "it is not a list of tasks"),
    "null": (b"null", "it is not a list of tasks"),
    "a table": (b'{"index": 0}', "it is not a list of tasks"),
    "numbers": (b"[1, 2]", "it is not a list of tasks"),
    "an empty list": (b"[]", ""),
    "an empty task": (b"[{}]", "no task names its image"),
    "depth": (b"[" * 100_000 + b"]" * 100_000, "is not an export of tasks"),
    "deep tables": (b'[{"a":' * 30_000 + b"1" + b"}]" * 30_000, "is not an export of tasks"),
    "a million digits": (b'[{"index": ' + b"1" * 1_000_000 + b', "label": "1"}]', "is not an export of tasks"),
    "a hundred digits": (b'[{"index": ' + b"1" * 100 + b', "label": "1"}]', "train images"),
    "NaN": (b'[{"index": NaN, "label": "1"}]', "which is not an integer"),
    "infinity": (b'[{"index": -Infinity, "label": "1"}]', "which is not an integer"),
    "an index that is a table": (b'[{"index": {"a": 1}, "label": "1"}]', "which is not an integer"),
    "a truth value": (b'[{"index": true, "label": "1"}]', "which is not an integer"),
    "latin-1": ('[{"path": "é", "label": "1"}]'.encode("latin-1"), "is not an export of tasks"),
    "NUL": (b'[{"index": 0, "label": "1"}]\0', "is not an export of tasks"),
    "half a surrogate pair": (b'[{"path": "\\ud800", "label": "1"}]', ""),
    "a label of half a surrogate pair": (b'[{"index": 0, "label": "\\ud800"}, {"index": 1, "label": "0"}]', ""),
    "several labels": (b'[{"index": 0, "label": ["0", "1"]}]', "has 2 labels"),
    "annotations that are none": (b'[{"data": {"index": 0}, "annotations": 3}]', ""),
    "results that are none": (b'[{"data": {"index": 0}, "annotations": [{"result": [1, {"value": 2}]}]}]', ""),
    "two lists": (b"[][]", "is not an export of tasks"),
    "a comma": (b'[{"index": 0},]', "is not an export of tasks"),
}
IMAGES = '<annotations><image id="0" name="a.png"><tag label="1"/></image></annotations>'
LAUGHS = "".join(f'<!ENTITY l{at + 1} "{f"&l{at};" * 10}">' for at in range(9))
DOCTYPE = f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotations>&l9;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>'
XML: dict[str, tuple[bytes, str]] = {
    "another root": (b"<a/>", "it starts with <a>"),
    "a billion laughs": (DOCTYPE.encode(), "document type"),
    "a billion laughs in UTF-16": (DOCTYPE.encode("utf-16"), "document type"),
    "a billion laughs in EBCDIC": (b'<?xml version="1.0" encoding="cp037"?>' + DOCTYPE.encode("cp037"), ""),
    "an entity of a file": (OUTSIDE.encode(), "document type"),
    "a document type": (b"<!DOCTYPE annotations><annotations/>", "document type"),
    "depth": (b"<annotations>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</annotations>", ""),
    "an image that is not there": (IMAGES.encode(), "a.png"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><annotations/>', "is not an export of CVAT"),
    "NUL": (b"<annotations>\0</annotations>", "is not an export of CVAT"),
    "an unknown entity": (b"<annotations>&x;</annotations>", "is not an export of CVAT"),
    "two roots": (b"<annotations/><annotations/>", "is not an export of CVAT"),
    "latin-1": ("<annotations><image name='é'/></annotations>".encode("latin-1"), "is not an export of CVAT"),
    "a million attributes": (b"<annotations " + b"".join(b'a%d="" ' % at for at in range(50_000)) + b"/>", ""),
    "no images": (b"<annotations/>", ""),
    "two tags": (IMAGES.replace("</image>", '<tag label="0"/></image>').encode(), "has 2 labels"),
}


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return stream.getvalue()


def export_rows() -> Iterator[Row]:
    words = STRICT
    for ending, good, kinds in (
        (".json", TASKS, JSON),
        (".xml", IMAGES.encode(), XML),
        (".zip", zipped(annotations_xml=IMAGES.encode()), {}),
    ):
        for kind, (content, message) in kinds.items():
            yield Row(f"x{ending}: {kind}", f"{words} x{ending}", {f"x{ending}": content}, (message,))
        for kind, content in damages(good):
            yield Row(f"x{ending}: damage: {kind}", f"{words} x{ending}", {f"x{ending}": content}, (f"x{ending}",))
        for kind, (make, message) in IRREGULAR.items():
            known = message if kind != "folder" else ""
            yield Row(f"x{ending}: {kind}", f"{words} x{ending}", {f"x{ending}": make}, (known,))
    yield Row("x.zip: no XML", f"{words} x.zip", {"x.zip": zipped(a_txt=b"x")}, ("the archive has no .xml file",))
    yield Row("x.zip: laughs", f"{words} x.zip", {"x.zip": zipped(a_xml=DOCTYPE.encode())}, ("document type",))
    yield Row("labels: the root", f"{words} /", message=("root of the file system",))
    yield Row("labels: an ending", f"{words} x.xyz", {"x.xyz": TASKS}, ("x.xyz",))


# ---- data sets of files


def png(size: tuple[int, int] = (4, 4), mode: str = "L") -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, size, 7).save(stream, "png")
    return stream.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file whose header states a size that its pixels have not."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    good = png()
    return good[:12] + head + struct.pack(">I", zlib.crc32(head)) + good[33:]


def in_tar(*members: tuple[str | bytes, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name if isinstance(name, str) else name.decode("latin-1"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def folder(**files: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / name.replace("_", ".")).write_bytes(content)

    return make


def dicom(**tags: Any) -> bytes:
    """A DICOM image of 16 x 16 values of 16 bits, without the tags that are None."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 15, 0, bytes(512)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def nested() -> bytes:
    """A DICOM file of sequences in sequences without end."""
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return dicom()[:-524] + (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + item) * 5000


#: DICOM files, and whether only their pixels are damaged.
DICOM: dict[str, tuple[bytes, bool]] = {
    "no pixels": (dicom(PixelData=None), True),
    "few pixels": (dicom(PixelData=bytes(100)), True),
    "no size": (dicom(Rows=None), False),
    "a size of zero": (dicom(Rows=0), True),
    "a size of 4 billion pixels": (dicom(Rows=65535, Columns=65535), False),
    "no depth": (dicom(BitsStored=None), True),
    "three bits": (dicom(BitsAllocated=3), True),
    "a thousand frames": (dicom(NumberOfFrames=1000), True),
    "no colors": (dicom(PhotometricInterpretation="PALETTE COLOR"), True),
    "an unknown transfer syntax": (dicom().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"), True),
    "depth": (nested(), False),
    **{kind: (content, kind == "without its end") for kind, content in damages(dicom()) if kind != "another magic"},
}
PNG = png()
FILES: dict[str, tuple[Any, str]] = {
    "no file": (folder(), "no images"),
    "no image": (folder(a_txt=b"x", b_csv=b"a,b"), "no images"),
    "an empty image": (folder(a_png=b""), "not a readable image"),
    "half an image": (folder(a_png=PNG[:30]), "not a readable image"),
    "an image of zero pixels": (folder(a_png=png_of_size(0, 4)), "not a readable image"),
    "an image of 10**18 pixels": (folder(a_png=png_of_size(10**9, 10**9)), "more than 178 million pixels"),
    "text with a name of an image": (folder(a_png=b"hello", b_jpg=b"hello"), "not readable images"),
    "a GIF cut in half": (folder(a_gif=b"GIF89a\x04\x00\x04\x00\x80\x00\x00"), "x contains no"),
    "a link to itself": (lambda path: (path.mkdir(), (path / "a.png").symlink_to("a.png")), "no images"),
    "a link to the folder": (lambda path: (path.mkdir(), (path / "a").symlink_to(path)), "no images"),
    "a shut image": (Shut(folder(a_png=PNG), "a.png"), "not readable for lack of permission"),
    "a shut folder": (Shut(folder(a_png=PNG)), "x can't be read: permission denied"),
    "a shut folder in it": (Shut(lambda path: (path / "b").mkdir(parents=True), "b"), "x/b can't be read: permission"),
    "a pipe": (lambda path: (path.mkdir(), __import__("os").mkfifo(path / "a.png")), "no images"),
}  # fmt: skip
SHARDS: dict[str, tuple[bytes, str]] = {
    "no image.tar": (in_tar(("a.txt", b"x")), "no images"),
    "twice.tar": (in_tar(("a.png", PNG), ("a.png", PNG)), "has a.png 2 times"),
    "two of a sample.tar": (in_tar(("a.png", PNG), ("a.jpg", PNG)), "two images of the sample a"),
    "a deep label.tar": (in_tar(("a.png", PNG), ("a.json", b"[" * 50_000)), "a.json"),
    "a label that is none.tar": (in_tar(("a.png", PNG), ("a.json", b'{"label": [1]}')), "neither an integer nor a"),
    "a label in latin-1.tar": (in_tar(("a.png", PNG), ("a.cls", b"\xe9")), "a.cls"),
    "a large label.tar": (in_tar(("a.png", PNG), ("a.cls", bytes(2 << 20))), "too many for a label"),
    "a name in latin-1.tar": (in_tar((b"\xe9.png", PNG)), "is not UTF-8"),
    "compressed.tar": (b"\x1f\x8b" + bytes(600), "is compressed"),
    "no bytes.parquet": (parquet(a=[1, 2]), "has no column of lists"),
    "empty bytes.parquet": (parquet(image=[b"", b""]), "no bytes in its column"),
    "no images.parquet": (parquet(image=[b"x", b"y"]), "2 files are not readable images"),
    "two columns.parquet": (parquet(a=[b"x"], b=[b"y"]), "several columns of bytes"),
    "two labels.parquet": (parquet(image=[PNG], label=[1], class_label=[1]), "several columns of labels"),
}
PATHS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "no column": (table("a,b", "1,2"), "has no column of lists"),
    "no rows": (table("path,label"), "names no images"),
    "an empty path": (table("path,label", ",1"), "line 2 has no path"),
    "twice": (table("path", "a.png", "./a.png"), "more than once"),
    "missing": (table("path", "b.png"), "not there"),
    "a path of NUL": (b"path\na\0.png\n", "NUL bytes"),
    "a path that is too long": (table("path", "x" * 5000), ""),
    "a pipe": (table("path", "/dev/zero"), "not there"),
    "an unknown split": (table("path,split", "a.png,trian"), "has the split 'trian'"),
    "no train": (table("path,split", "a.png,test"), ""),
    "a hundred thousand columns": (table(",".join(f"c{at}" for at in range(100_000))), "x.csv"),
}


def file_rows() -> Iterator[Row]:
    words = ["select-pool", "random", "--budget", "1", "--run", "new", "--dataset"]
    for kind, (make, message) in FILES.items():
        yield Row(f"folder: {kind}", [*words, "./x"], {"x": make}, (message,))
    for kind, (content, pixels) in DICOM.items():
        message = "can be read" if pixels else "skipped"
        yield Row(f"DICOM: {kind}", [*words, "./x"], {"x": folder(a_dcm=content)}, (message, "a.dcm"))
    for name, (content, message) in SHARDS.items():
        yield Row(f"shard: {name}", [*words, name], {name: content}, (message,))
    for kind, (content, message) in PATHS.items():
        yield Row(f"paths: {kind}", [*words, "x.csv"], {"x.csv": content, "a.png": PNG}, (message,))
    goods = {".tar": in_tar(("a.png", PNG), ("b.png", PNG))[:3072], ".parquet": parquet(image=[PNG, PNG])}
    for ending, good in goods.items():
        for kind, content in damages(good):
            # An archive may end after the first of two empty blocks, and a parquet file is read from its end.
            if (ending, kind) in ((".tar", "without its end"), (".parquet", "another magic")):
                continue
            yield Row(f"shard{ending}: {kind}", [*words, f"x{ending}"], {f"x{ending}": content}, (f"x{ending}",))
        for kind, (make, _) in IRREGULAR.items():
            yield Row(f"shard{ending}: {kind}", [*words, f"x{ending}"], {f"x{ending}": make}, (f"x{ending}",))
