"""Rows of arrays and of files of embeddings, data sets and weights."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bad_rows import IRREGULAR, SELECT, Row, Shut, damages

N, D = 40, 4
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(N, D)).astype(np.float32)


def npy(shape: str, body: int, descr: str = "'<f4'") -> bytes:
    """A .npy file whose header says a shape, as text, with so many bytes after it."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(body)


#: A .npy file, and what is said of it.
ARRAYS: dict[str, tuple[bytes, str]] = {
    "negative": (npy("(-4, 4)", 64), "(-4, 4)"),
    "forty digits": (npy(f"({'9' * 40}, 4)", 64), "1e+40"),
    "product overflows": (npy(f"({2**32}, {2**32})", 0), "bytes follow"),
    "five thousand digits": (npy(f"({'9' * 5000},)", 64), "header"),
    "too short": (npy("(10, 4)", 64), "(10, 4) float32, but 64 bytes follow"),
    "too long": (npy("(2, 4)", 64), "(2, 4) float32, but 64 bytes follow"),
    "no integer": (npy("(4.5, 4)", 64), "shape is not valid"),
    "a truth value": (npy("(True, 16)", 64), "(True, 16)"),
    "no end": (npy("(4, 4", 64), "its header is damaged"),
    "no type": (npy("(4, 4)", 64, "'x9'"), "can't be read as a .npy array"),
    "objects": (npy("(4,)", 64, "'|O'"), "pickled Python objects"),
    "no header": (b"\x93NUMPY\x01\x00\xff\xff{", "header"),
    "a version to come": (b"\x93NUMPY\x09\x00\x00\x00\x00\x00", "header"),
    "text": (b"1,2\n3,4\n", "not a .npy file"),
    "an archive": (b"PK\x03\x04\x14\x00" + bytes(60), ".npz archive"),
    "nothing": (b"", "not a .npy file"),
    "a pickle": (pickle.dumps([1, 2]), "not a .npy file"),
}
BRING = (
    "--embeddings", "--probs", "--scores", "--clusters", "--ranking", "--patches", "--labeled", "--labels",
    "--exclude", "--query-set",
)  # fmt: skip


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


#: Arrays of a kind that no option takes.
KINDS = {
    "complex": saved(np.ones((N, D), complex)),
    "letters": saved(np.full((N, D), "x")),
    "dates": saved(np.zeros((N, D), "datetime64[s]")),
    "records": saved(np.zeros(N, [("a", "f4"), ("b", "i4")])),
    "bytes": saved(np.full((N, D), b"x")),
    "no axis": saved(np.array(3.0)),
    "five axes": saved(np.zeros((N, 1, 1, 1, 1))),
}


def with_value(value: float, shape: tuple[int, ...] = (N, D)) -> bytes:
    array = np.ones(shape) + np.arange(N).reshape(-1, *[1] * (len(shape) - 1))
    array.reshape(-1)[5] = value
    return saved(array)


def of_flag(flag: str) -> str:
    """A command that reads the array of an option."""
    strategy = {
        "--probs": "entropy", "--scores": "score", "--ranking": "file", "--query-set": "similar",
        "--patches": "freesel",
    }.get(flag, "kcenter")  # fmt: skip
    given = "" if flag == "--embeddings" else " --embeddings e.npy"
    return f"select-pool {strategy} --budget 2{given} {flag} x.npy"


def array_rows() -> Iterator[Row]:
    for flag in BRING:
        for kind, (make, message) in IRREGULAR.items():
            yield Row(f"{flag}: {kind}", of_flag(flag), {"x.npy": make}, ("x.npy", message))
        for kind, (content, message) in ARRAYS.items():
            yield Row(f"{flag}: {kind}", of_flag(flag), {"x.npy": content}, ("x.npy", message))
        for kind, content in KINDS.items():
            if flag != "--labels":
                yield Row(f"{flag}: {kind}", of_flag(flag), {"x.npy": content})
    for value, message in ((np.nan, "NaN"), (np.inf, "infinit")):
        yield Row(f"--embeddings: {value}", of_flag("--embeddings"), {"x.npy": with_value(value)}, (message,))
    for value in (np.nan, np.inf):
        yield Row(f"--scores: {value}", of_flag("--scores"), {"x.npy": with_value(value, (N,))})
    for value in (np.nan, -0.5, 7.0):
        yield Row(f"--probs: {value}", of_flag("--probs"), {"x.npy": with_value(value)})
    for words, message in SLIPS.items():
        yield Row(f"arrays: {words}", f"select-pool {words}", SLIP_FILES, (message,))


SLIP_FILES = {
    "emb.npy": saved(np.random.default_rng(0).normal(size=(N, 3))),
    "zero.npy": saved(np.array(3.0)),
    "none.npy": saved(np.zeros((0, 3))),
    "empty.npy": saved(np.zeros((N, 0))),
    "all.npy": saved(np.arange(N)),
    "even.npy": saved(np.full((N, 4), 0.25)),
    "views.npy": saved(np.full((3, N, 4), 0.25)),
    "far.npy": saved(np.array([10**12, 3, 7])),
    "twice.npy": saved(np.array([3, 3])),
    "nothing.npy": saved(np.zeros(0, int)),
    "negative.npy": saved(np.array([-1])),
    "mask.npy": saved(np.ones(N - 1, bool)),
    "half.npy": saved(np.array([0.5])),
}
SLIPS = {
    "random --embeddings zero.npy -n 1": "zero.npy has the shape (), not (images, dimensions)",
    "random --embeddings none.npy -n 1": "none.npy has the shape (0, 3), not (images, dimensions)",
    "random --embeddings empty.npy -n 1": "empty.npy has the shape (40, 0), not (images, dimensions)",
    "random --scores zero.npy -n 1": "scores has shape ()",
    "file --ranking twice.npy -n 1": "The ranking has image 3 more than once",
    "file --ranking far.npy --embeddings emb.npy -n 1": "The ranking has image 1000000000000, but there are 40 images",
    "file --ranking nothing.npy -n 1": "The ranking is empty: it has 0 images. Use a ranking",
    "kcenter --embeddings emb.npy -n 1 --labeled all.npy": "All 40 images are labeled: there is nothing to select. Use",
    "kcenter --embeddings emb.npy -n 1 --labeled twice.npy": "3",
    "kcenter --embeddings emb.npy -n 1 --labeled far.npy": "1000000000000",
    "kcenter --embeddings emb.npy -n 1 --labeled negative.npy": "-1",
    "kcenter --embeddings emb.npy -n 1 --labeled mask.npy": "39",
    "kcenter --embeddings emb.npy -n 1 --labeled half.npy": "labeled",
    "kcenter --embeddings emb.npy -n 1 --exclude all.npy": "exclude",
    "entropy --probs even.npy -n 1": "constant within rounding",
    "margin --probs even.npy -n 3": "constant within rounding",
    "consistency --probs views.npy -n 3": "constant within rounding",
    "least-confidence --probs even.npy --embeddings emb.npy --balance kmeans -n 3": "constant within rounding",
    "kcenter --embeddings emb.npy -n 1 --clusters mask.npy": "39",
}


# ---- files of embeddings


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def safetensors(header: Any, body: int = 4 * N * D, text: bytes | None = None) -> bytes:
    head = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(head)) + head + bytes(body)


def tensor(shape: list[Any], end: int, kind: str = "F32", **more: Any) -> dict[str, Any]:
    return {"embeddings": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}, **more}


def torch_file(make: Callable[[Any], Any]) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(make(torch), stream)
    return stream.getvalue()


class Runs:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("it-ran"),)  # type: ignore[return-value]


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def repeated_columns() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table([pa.array([1.0, 2.0])] * 3, names=["e_0", "e_0", "e_1"]), stream)
    return stream.getvalue()


def hdf5(**arrays: Any) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return stream.getvalue()


def hdf5_with(make: Callable[[Any], object]) -> bytes:
    """An HDF5 file with what a function adds."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        make(file)
    return stream.getvalue()


def damaged_chunk() -> bytes:
    """An HDF5 file whose compressed values are damaged."""
    whole = hdf5_with(lambda file: file.create_dataset("embeddings", data=POINTS, compression="gzip"))
    start = whole.index(zlib.compress(POINTS.tobytes(), 4)[:8])
    return whole[: start + 8] + bytes(40) + whole[start + 48 :]


def virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((N, D), "f4")
    layout[:] = h5py.VirtualSource("e.h5", "embeddings", (N, D))
    file.create_virtual_dataset("embeddings", layout)


def table(*lines: str, encoding: str = "utf-8") -> bytes:
    return "\n".join(lines).encode(encoding)


HEADER = "path,e_0,e_1"
GOOD = {
    ".npz": npz(embeddings=saved(POINTS)),
    ".safetensors": safetensors(tensor([N, D], 4 * N * D)),
    ".pt": torch_file(lambda torch: torch.ones(N, D)),
    ".parquet": parquet(embedding=[[1.0, 2.0]] * N),
    ".csv": table(HEADER, *(f"{row}.png,{row},1" for row in range(N))),
    ".h5": hdf5(embeddings=POINTS),
}
EMBEDDINGS: dict[str, tuple[bytes, str]] = {
    "objects.npz": (npz(embeddings=npy("(40, 4)", 64, "'|O'")), "pickled Python objects"),
    "ids of objects.npz": (npz(embeddings=saved(POINTS), ids=npy("(40,)", 64, "'|O'")), "pickled Python objects"),
    "huge.npz": (npz(embeddings=npy(f"({10**11}, 4)", 64)), "can't be read"),
    "huge ids.npz": (npz(embeddings=saved(POINTS), ids=npy(f"({10**10},)", 64, "'<i8'")), "can't be read"),
    "huge text.npz": (npz(embeddings=saved(POINTS), ids=npy("(40,)", 64, "'<U100000000'")), "can't be read"),
    "negative.npz": (npz(embeddings=npy("(-40, 4)", 64)), ""),
    "labels only.npz": (npz(labels=saved(np.arange(N)), more=saved(np.arange(N))), "has no array"),
    "two.npz": (npz(a=saved(POINTS), b=saved(POINTS)), "2 arrays that may be the embeddings"),
    "no array.npz": (npz(), "has no array"),
    "few ids.npz": (npz(embeddings=saved(POINTS), ids=saved(np.arange(3))), ""),
    "ids twice.npz": (npz(embeddings=saved(POINTS), ids=saved(np.zeros(N, int))), ""),
    "a header of 2**60 bytes.safetensors": (struct.pack("<Q", 2**60) + b"{}", "can't be read"),
    "no JSON.safetensors": (safetensors({}, text=b"{" * 50), "can't be read"),
    "deep JSON.safetensors": (safetensors({}, text=b'{"a":' * 5000 + b"1" + b"}" * 5000), "can't be read"),
    "an offset outside.safetensors": (safetensors(tensor([N, D], 10**9)), "can't be read"),
    "another length.safetensors": (safetensors(tensor([N, D + 1], 4 * N * D)), "can't be read"),
    "a negative length.safetensors": (safetensors(tensor([-1, D], 4 * N * D)), "can't be read"),
    "an unknown type.safetensors": (safetensors(tensor([N, D], 4 * N * D, "F7")), "can't be read"),
    "8-bit floats.safetensors": (safetensors(tensor([N, D], N * D, "F8_E4M3"), N * D), "F8_E4M3"),
    "no tensor.safetensors": (safetensors({}, 0), "has no tensor"),
    "ids of depth.safetensors": (
        safetensors(tensor([N, D], 4 * N * D, __metadata__={"ids": "[" * 100_000 + "]" * 100_000})),
        "JSON list",
    ),
    "ids of digits.safetensors": (
        safetensors(tensor([N, D], 4 * N * D, __metadata__={"ids": f"[{'1' * 5000}]"})),
        "JSON list",
    ),
    "code.pt": (torch_file(lambda torch: {"embeddings": torch.ones(N, D), "x": Runs()}), "never loaded"),
    "a module.pt": (torch_file(lambda torch: torch.nn.Linear(2, 2)), "never loaded"),
    "complex.pt": (torch_file(lambda torch: torch.ones(N, D, dtype=torch.complex64)), "complex64"),
    "sparse.pt": (torch_file(lambda torch: torch.eye(N).to_sparse()), "sparse"),
    "8-bit floats.pt": (torch_file(lambda torch: torch.ones(N, D).to(torch.float8_e4m3fn)), "float8"),
    "without values.pt": (torch_file(lambda torch: torch.ones(N, D, device="meta")), "meta"),
    "a list.pt": (torch_file(lambda torch: {"embeddings": ["a"] * N}), "is a list"),
    "a number.pt": (torch_file(lambda torch: 3), "has no tensor"),
    "a scale of text.pt": (
        torch_file(lambda torch: {"embeddings": torch.ones(N, D, dtype=torch.int8), "scale": ["a", "b"]}),
        "scale",
    ),
    "a pickle.pt": (pickle.dumps({"a": 1}), ""),
    "code in a pickle.pt": (pickle.dumps(Runs()), ""),
    "columns twice.parquet": (repeated_columns(), "several columns 'e_0'"),
    "missing.parquet": (parquet(e_0=[1.0, None], e_1=[1.0, 2.0]), "has no value in 'e_0' of row 1"),
    "ragged.parquet": (parquet(embedding=[[1.0, 2.0], [1.0]]), "has 1 values in 'embedding' of row 1"),
    "a missing list.parquet": (parquet(embedding=[[1.0, 2.0], None]), "row 1"),
    "text.parquet": (parquet(a=["x", "y"]), "no column"),
    "nested.parquet": (parquet(embedding=[[[1.0]], [[2.0]]]), "no column"),
    "no columns.parquet": (parquet(), "no column"),
    "no rows.parquet": (parquet(e_0=np.zeros(0), e_1=np.zeros(0)), "(images, dimensions)"),
    "a header.csv": (table(HEADER), "can't be read as a CSV file"),
    "no columns.csv": (table("a,b", "1,2"), "no "),
    "columns twice.csv": (table("e_0,e_0", "1,2"), "several columns 'e_0'"),
    "a gap.csv": (table("e_0,e_2", "1,2"), "e_1"),
    "words.csv": (table(HEADER, "a.png,x,1"), "can't be read as a CSV file"),
    "few cells.csv": (table(HEADER, "a.png,1"), "can't be read as a CSV file"),
    "many cells.csv": (table(HEADER, "a.png,1,2,3"), "can't be read as a CSV file"),
    "an empty cell.csv": (table(HEADER, "a.png,,1"), "has no value in 'e_0' of row 0"),
    "a large number.csv": (table(HEADER, "a.png,1e300,1"), "too large for float32"),
    "a number of a million digits.csv": (table(HEADER, f"a.png,{'1' * 1_000_000},1"), ""),
    "NaN.csv": (table(HEADER, "a.png,nan,1", "b.png,1,2", "c.png,1,2"), ""),
    "latin-1.csv": (table("path,é_0,é_1", "a.png,1,2", encoding="latin-1"), "not a text in UTF-8"),
    "latin-1 below.csv": (table(HEADER, "é.png,1,2", encoding="latin-1"), ""),
    "UTF-16.csv": (table(HEADER, "a.png,1,2", encoding="utf-16"), "not a text in UTF-8"),
    "an open quote.csv": (table('path,"e_0,e_1', "a.png,1,2"), ""),
    "a long cell.csv": (table(f"{'x' * 200_000},e_0,e_1", "a.png,1,2"), ""),
    "many columns.csv": (table(",".join(f"c{at}x" for at in range(100_000)), "1"), "no "),
    "ids twice.csv": (table(HEADER, *["a.png,1,2"] * 3), "a.png"),
    "an escape.csv": (table("\x1b[2Jx,b", "1,2"), "\\x1b[2J"),
    "no array.h5": (hdf5(), "has no array"),
    "labels.h5": (hdf5(labels=np.arange(N)), "(images, dimensions)"),
    "two.h5": (hdf5(a=POINTS, b=POINTS), "2 arrays that may be the embeddings"),
    "a damaged chunk.h5": (damaged_chunk(), "can't be read"),
    "in another file.h5": (
        hdf5_with(lambda file: file.create_dataset("a", (N, D), "u1", external=[("/etc/passwd", 0, N * D)])),
        "has the values of '/a' in other files",
    ),
    "virtual.h5": (hdf5_with(virtual), "has the values of '/embeddings' in other files"),
    "huge.h5": (hdf5_with(lambda file: file.create_dataset("a", (10**12, D), "f4", chunks=(1000, D))), ""),
    "text.h5": (hdf5(embeddings=[["a", "b"]] * 3), "not a numeric one"),
    "an ending.xyz": (saved(POINTS), ".xyz"),
}


def embedding_rows() -> Iterator[Row]:
    for ending, good in GOOD.items():
        for kind, content in damages(good):
            yield Row(
                f"x{ending}: {kind}", f"{SELECT} --embeddings x{ending}", {f"x{ending}": content}, (f"x{ending}",)
            )
        for kind, (make, _) in IRREGULAR.items():
            # A folder is one of several files of embeddings.
            message = "x" if kind == "folder" else f"x{ending}"
            yield Row(f"x{ending}: {kind}", f"{SELECT} --embeddings x{ending}", {f"x{ending}": make}, (message,))
    yield Row("embeddings: a shut folder", f"{SELECT} --embeddings x", {"x": Shut(Path.mkdir)}, ("permission denied",))
    for name, (content, message) in EMBEDDINGS.items():
        yield Row(f"embeddings: {name}", [*SELECT.split(), "--embeddings", name], {name: content}, (message,))
    # What spreadsheets write is read.
    for kind, content in {"BOM": b"\xef\xbb\xbf" + GOOD[".csv"], "CRLF": GOOD[".csv"].replace(b"\n", b"\r\n")}.items():
        yield Row(f"x.csv: {kind}", f"{SELECT} --embeddings x.csv", {"x.csv": content}, code=0)


# ---- data sets of arrays


IMAGES = RNG.integers(0, 255, (N, 4, 4), dtype=np.uint8)
LABELS = np.arange(N) % 2


def images_file(**arrays: Any) -> bytes:
    return npz(**{name: saved(array) for name, array in arrays.items()})


DATASETS: dict[str, tuple[bytes, str]] = {
    "no images": (images_file(images=IMAGES), "has no train_images, only images"),
    "a thousand arrays": (npz(**{f"a{at}": saved(np.zeros(1)) for at in range(1000)}), "has no train_images"),
    "one axis": (images_file(train_images=np.arange(N)), "has the shape (40,)"),
    "channels first": (images_file(train_images=np.zeros((N, 3, 4, 4), np.uint8)), "Move the channels"),
    "no pixels": (images_file(train_images=np.zeros((N, 0, 4), np.uint8)), "has the shape"),
    "none": (images_file(train_images=np.zeros((0, 4, 4), np.uint8)), "has no images"),
    "text": (images_file(train_images=np.full((N, 4, 4), "x")), "train_images"),
    "complex": (images_file(train_images=np.ones((N, 4, 4), complex)), "train_images"),
    "NaN": (images_file(train_images=np.full((N, 4, 4), np.nan)), "No sampled pixel is a finite number"),
    "few labels": (images_file(train_images=IMAGES, train_labels=LABELS[:3]), "train_labels"),
    "labels of three axes": (images_file(train_images=IMAGES, train_labels=np.zeros((N, 2, 2))), "train_labels"),
    "labels of fractions": (images_file(train_images=IMAGES, train_labels=LABELS + 0.5), "x.npz"),
    "labels without images": (images_file(train_images=IMAGES, test_labels=LABELS), "but no test_images"),
    "other sizes": (images_file(train_images=IMAGES, test_images=np.zeros((2, 5, 5), np.uint8)), "images of shape"),
    "columns of labels that differ": (
        images_file(train_images=IMAGES, train_labels=np.eye(2)[LABELS], test_images=IMAGES, test_labels=np.eye(3)[
            LABELS]), "labels of different shapes",
    ),
}  # fmt: skip


def dataset_rows() -> Iterator[Row]:
    words = "select-pool random --budget 2 --dataset x.npz --run new"
    for kind, (content, message) in DATASETS.items():
        yield Row(f"data set: {kind}", words, {"x.npz": content}, (message,))
    for kind, (content, _) in ARRAYS.items():
        if kind not in ("an archive", "nothing", "text", "a pickle"):
            yield Row(f"train_images: {kind}", words, {"x.npz": npz(train_images=content)}, ("x.npz",))
    for kind, content in damages(images_file(train_images=IMAGES, train_labels=LABELS)):
        yield Row(f"data set x.npz: {kind}", words, {"x.npz": content}, ("x.npz",))
    for kind, (make, _) in IRREGULAR.items():
        # In a folder, images are looked for.
        yield Row(f"data set x.npz: {kind}", words, {"x.npz": make}, ("x.npz",))


# ---- weights


WEIGHTS: dict[str, tuple[bytes, str]] = {
    "a key that is a number.pth": (torch_file(lambda torch: {0: torch.zeros(1)}), "has no tensors by name"),
    "a key inside.pth": (torch_file(lambda torch: {"state_dict": {1: torch.zeros(1)}}), "has no tensors by name"),
    "a list.pth": (torch_file(lambda torch: [1]), "has no tensors by name"),
    "a number.pth": (torch_file(lambda torch: {"a": 1}), "has no tensors by name"),
    "one tensor.pth": (torch_file(lambda torch: torch.zeros(1)), "has no tensors by name"),
    "code.pth": (torch_file(lambda torch: {"a": Runs()}), "can't be read as weights"),
    "a module.pth": (torch_file(lambda torch: torch.nn.Linear(2, 2)), "can't be read as weights"),
    "a pickle.pth": (pickle.dumps(Runs()), "can't be read as weights"),
    "another network.pth": (torch_file(lambda torch: {"a": torch.zeros(1)}), "conv1.weight"),
    "another network.safetensors": (safetensors(tensor([N, D], 4 * N * D)), "conv1.weight"),
    "a header of 2**60 bytes.safetensors": (struct.pack("<Q", 2**60) + b"{}", "not a safetensors file"),
}


def weight_rows() -> Iterator[Row]:
    words = "embed resnet18 --run {run} --weights"
    for name, (content, message) in WEIGHTS.items():
        yield Row(f"weights: {name}", [*words.split(), name], {name: content}, (message,))
    for ending in (".pt", ".safetensors"):
        for kind, content in damages(GOOD[ending]):
            yield Row(
                f"weights{ending}: {kind}", [*words.split(), f"w{ending}"], {f"w{ending}": content}, (f"w{ending}",)
            )
        for kind, (make, message) in IRREGULAR.items():
            message = "There is no weights file" if kind == "no file" else message
            yield Row(f"weights{ending}: {kind}", [*words.split(), f"w{ending}"], {f"w{ending}": make}, (message,))
