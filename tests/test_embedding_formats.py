"""Embeddings in every format that is read: the same array and ids as an .npy of the same numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Initpools
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from initpools_cli import select
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.run_location import ENDINGS, run_name
from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.embedding_formats.registry import READERS
from initpools_cli.datasets.embeddings import as_dataset, is_embeddings, is_source, read_embeddings
from initpools_cli.datasets.row_ids import StoredRows

N, D = 40, 6
IDS = [f"photos/{(7 * row) % N:02}.jpg" for row in range(N)]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Embeddings in three groups, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INITPOOLS_DATA", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    return (rng.normal(size=(N, D)) + 8 * np.eye(D)[np.arange(N) % 3]).astype(np.float32)


def write_csv(path: Path, rows: np.ndarray, ids: list[str], separator: str = ",", name: str = "filename") -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=separator)
        writer.writerow([name, *(f"embedding_{at}" for at in range(rows.shape[1])), "labels"])
        writer.writerows([name, *map(str, row), 0] for name, row in zip(ids, rows, strict=True))


def write_parquet(path: Path, rows: np.ndarray, ids: list[str], **columns: Any) -> None:
    flat = pa.array(rows.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    pq.write_table(pa.table({"image_id": ids, "embedding": lists, **columns}), path)


def write_h5(path: Path, rows: np.ndarray, ids: list[str]) -> None:
    with h5py.File(path, "w") as file:
        file["train/features"] = rows
        file["train/paths"] = ids


#: How users store embeddings with ids, by suffix.
WRITERS: dict[str, Callable[[Path, np.ndarray, list[str]], object]] = {
    ".npz": lambda path, rows, ids: np.savez(path, emb=rows, filenames=np.array(ids), labels=np.zeros(len(ids), int)),
    ".safetensors": lambda path, rows, ids: save_file({"x": rows}, path, {"ids": json.dumps(ids)}),
    ".pt": lambda path, rows, ids: torch.save({"filenames": ids, "embeddings": torch.tensor(rows)}, path),
    ".pth": lambda path, rows, ids: torch.save({"id": ids, "features": torch.tensor(rows)}, path),
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".tsv": lambda path, rows, ids: write_csv(path, rows, ids, "\t", "path"),
    ".h5": write_h5,
    ".hdf5": write_h5,
}


def test_every_format_is_written_here() -> None:
    assert {*WRITERS, ".npy"} == {*READERS}
    # Names of runs leave them out.
    assert {*READERS} <= {*ENDINGS}
    assert {run_name(f"a/feats{suffix}") for suffix in READERS} == {"feats"}
    assert run_name("a/feats.npz:b/c") == run_name("x/feats/*.npy") == "feats"


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_format_gives_the_array_and_the_ids_that_were_written(rows: np.ndarray, suffix: str) -> None:
    path = Path(f"feats{suffix}")
    WRITERS[suffix](path, rows, IDS)
    for _ in range(2):
        embeddings = read_embeddings(path)
        # Strategies read memory maps in blocks.
        assert (
            isinstance(embeddings.array, np.memmap)
            and embeddings.array.dtype == np.float32
            and not embeddings.array.flags.writeable
        )
        np.testing.assert_array_equal(embeddings.array, rows)
        assert embeddings.ids is not None and [row.path for row in embeddings.ids.rows] == IDS
        assert embeddings.files == (path,)
    # Without ids, and in a run of its own.
    assert read_embeddings(path, "none").ids is None
    assert is_source(str(path)) and is_embeddings(as_dataset(str(path)))


DTYPES: dict[str, Callable[[Path, torch.Tensor], object]] = {
    ".npz": lambda path, rows: np.savez(path, emb=rows.numpy()),
    ".pt": lambda path, rows: torch.save(rows, path),
    ".safetensors": lambda path, rows: save_tensors({"emb": rows}, path),
    ".parquet": lambda path, rows: write_parquet(path, rows.numpy(), IDS),
    ".h5": lambda path, rows: write_h5(path, rows.numpy(), IDS),
}


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "bfloat16"])
@pytest.mark.parametrize("suffix", DTYPES)
def test_values_are_kept_in_their_type(rows: np.ndarray, suffix: str, dtype: str) -> None:
    if dtype == "bfloat16" and suffix not in (".pt", ".safetensors"):
        pytest.skip("NumPy has no bfloat16")
    path, tensor = Path(f"feats{suffix}"), torch.tensor(rows).to(getattr(torch, dtype))
    DTYPES[suffix](path, tensor)
    # float32 has all values of bfloat16.
    expected = tensor.float().numpy() if dtype == "bfloat16" else tensor.numpy()
    array = read_embeddings(path).array
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("suffix", DTYPES)
@pytest.mark.parametrize("per", ["all", "dimension", "row"])
def test_int8_is_multiplied_by_its_scale(rows: np.ndarray, suffix: str, per: str) -> None:
    if suffix == ".parquet" and per != "row":
        pytest.skip("a table has one scale per row")
    scale = np.float32(0.1) + np.zeros({"all": (1,), "dimension": (D,), "row": (N, 1)}[per], np.float32)
    scale *= 1 + np.arange(scale.size, dtype=np.float32).reshape(scale.shape) / 64
    small = np.rint(rows / scale).clip(-128, 127).astype(np.int8)
    path = Path(f"feats{suffix}")
    if suffix == ".parquet":
        write_parquet(path, small, IDS, scale=scale[:, 0])
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["emb"], file["emb_scale"] = small, scale
    elif suffix == ".npz":
        np.savez(path, emb=small, scale=scale)
    elif suffix == ".pt":
        torch.save({"emb": torch.tensor(small), "scale": torch.tensor(scale)}, path)
    else:
        save_file({"emb": small, "scale": scale}, path)
    np.testing.assert_array_equal(read_embeddings(path).array, small.astype(np.float32) * scale)


def test_files_that_can_be_mapped_are_not_copied(rows: np.ndarray, tmp_path: Path) -> None:
    save_file({"emb": rows}, "feats.safetensors")
    # A name of 14 characters puts the array at a multiple of 64 bytes.
    np.savez("feats.npz", embeddings=rows)
    for file in ("feats.safetensors", "feats.npz"):
        np.testing.assert_array_equal(read_embeddings(Path(file)).array, rows)
    assert not (tmp_path / "cache").exists()
    np.savez_compressed("feats.npz", embeddings=np.asfortranarray(rows))
    first = read_embeddings(Path("feats.npz")).array
    assert isinstance(first, np.memmap) and (tmp_path / "cache/embeddings") in Path(first.filename).parents
    # A damaged copy is made again.
    with Path(first.filename).open("r+b") as stream:
        stream.seek(200)
        stream.write(b"\1\2\3")
    np.testing.assert_array_equal(read_embeddings(Path("feats.npz")).array, rows)
    assert len([*(tmp_path / "cache/embeddings").glob("*.damaged")]) == 1


def test_other_layouts_in_memory_and_of_pandas_are_read(rows: np.ndarray) -> None:
    for array in (rows.astype(">f4"), np.asfortranarray(rows), np.asfortranarray(rows.astype(">f4"))):
        np.savez("embeddings.npz", embeddings=array)
        np.savez("other.npz", embedding=array)
        np.savez_compressed("packed.npz", x=array)
        with h5py.File("feats.h5", "w") as file:
            file["x"] = array
        for file in ("embeddings.npz", "other.npz", "packed.npz", "feats.h5"):
            np.testing.assert_array_equal(read_embeddings(Path(file)).array, rows)
    pd.DataFrame(rows, index=IDS).rename(columns=str).to_parquet("index.parquet")
    pd.DataFrame(rows, index=pd.Index(IDS, name="path")).rename(columns=str).to_parquet("path.parquet")
    pd.DataFrame(rows, index=pd.Index(IDS, name="path")).to_csv("path.csv")
    for file in ("index.parquet", "path.parquet", "path.csv"):
        embeddings = read_embeddings(Path(file))
        np.testing.assert_array_equal(embeddings.array, rows)
        assert embeddings.ids is not None and [row.path for row in embeddings.ids.rows] == IDS
    pd.DataFrame(rows).to_csv("numbers.csv")
    np.testing.assert_array_equal(read_embeddings(Path("numbers.csv")).array, rows)


def test_one_of_several_arrays_is_named(rows: np.ndarray, initpools: Initpools) -> None:
    np.savez("feats.npz", clip=rows, dino=rows[:, :3], id=np.arange(N) * 10)
    several = initpools("select-pool", "kcenter", "-n", 2, "--embeddings", "feats.npz")
    assert several.code == 2 and "clip (40, 6) float32, dino (40, 3) float32" in several.err
    embeddings = read_embeddings(Path("feats.npz:dino"))
    np.testing.assert_array_equal(embeddings.array, rows[:, :3])
    assert embeddings.ids is not None and embeddings.ids.rows[3].path == "30"
    result = initpools("embed", "feats.npz:dino")
    assert result.code == 0 and Path("runs/feats/embed/feats/train.npy").is_file(), result.err
    assert "already done" in initpools("embed").err
    assert initpools("select-pool", "kcenter", "-n", 2).code == 0


def test_ids_in_the_file_name_the_images_everywhere(rows: np.ndarray, initpools: Initpools) -> None:
    np.save("feats.npy", rows)
    Path("ids.txt").write_text("\n".join(IDS))
    write_csv(Path("feats.csv"), rows, IDS, name="filenames")
    options = ["--embeddings", "feats.npy", "--ids", "ids.txt"]
    stored = ["--embeddings", "feats.csv"]
    pick = ["select-pool", "typiclust", "--budget", 4, "-o", "pool.csv"]
    assert initpools(*pick, *stored).code == 0
    first = Path("pool.csv").read_text()
    assert initpools(*pick, *options).code == 0
    assert first == Path("pool.csv").read_text() and "photos/" in first
    Path("labels.csv").write_text(f"id,label\n{IDS[3]},a\n{IDS[5]},b\n")
    Path("groups.csv").write_text("id,group\n" + "".join(f"{name},{at % 4}\n" for at, name in enumerate(IDS)))
    for words in (
        ["select-pool", "kcenter", "-n", 3, "--labeled", "pool.csv", "--exclude", "labels.csv"],
        ["select-pool", "kcenter", "-n", 3, "--labels", "labels.csv"],
        ["select-pool", "kcenter@groups", "-n", 3, "--groups", "groups.csv", "--card", "full"],
        ["rank", "typicality", "--labeled", "pool.csv"],
    ):
        by_list, by_file = initpools(*words, *options), initpools(*words, *stored)
        assert by_file.code == 0 and by_file.out == by_list.out, by_file.err
        assert set(by_file.out.split()) <= {*IDS}
    both = initpools(*pick, *stored, "--ids", "ids.txt")
    assert both.code == 2 and "feats.csv (column 'filenames')" in both.err
    assert initpools(*pick, *stored, "--ids", "ids.txt", "--id-column", "none").code == 0
    assert initpools("score", "duplicate", *stored, "-o", "copies.csv").code == 0


def test_rows_are_matched_by_id_in_a_run(rows: np.ndarray, initpools: Initpools) -> None:
    WRITERS[".parquet"](Path("feats.parquet"), rows, IDS)
    started = initpools("embed", "feats.parquet", "--run", "run")
    assert started.code == 0 and "column 'image_id'" in started.err, started.err
    order = np.random.default_rng(1).permutation(N)
    shuffled = [IDS[row] for row in order]
    for suffix in (".parquet", ".csv", ".pt"):
        WRITERS[suffix](Path(f"other{suffix}"), rows[order], shuffled)
        added = initpools("embed", f"other{suffix}", "--run", "run")
        assert added.code == 0, added.err
        assert "already done" in initpools("embed", f"other{suffix}", "--run", "run").err
    for folder in Path("run/embed").iterdir():
        np.testing.assert_array_equal(np.load(folder / "train.npy"), rows)
    pick = ["select-pool", "kcenter", "-n", 5, "--run", "run"]
    of_run = initpools(*pick)
    of_file = initpools(*pick, "--embeddings", "other.pt")
    assert of_file.code == 0 and of_file.out.split() == of_run.out.split()
    assert initpools("score", "typicality", "--run", "run", "--embeddings", "other.csv").code == 0
    assert initpools("verify", "--run", "run").code == 0
    WRITERS[".pt"](Path("few.pt"), rows[3:], IDS[3:])
    lacking = initpools(*pick, "--embeddings", "few.pt")
    assert lacking.code == 2 and "few.pt ('filenames') lacks 3 of the 40 train images" in lacking.err


# ---- shards

ENDS = [(0, 7), (7, 20), (20, N)]


def write_shards(folder: str, suffix: str, rows: np.ndarray, name: str = "train-{:05}-of-00003") -> list[Path]:
    Path(folder).mkdir(exist_ok=True)
    files = [Path(folder, f"{name.format(number)}{suffix}") for number in range(3)]
    for file, (start, end) in zip(files, ENDS, strict=True):
        WRITERS[suffix](file, rows[start:end], IDS[start:end])
    return files


@pytest.mark.parametrize("suffix", WRITERS)
def test_shards_are_one_array(rows: np.ndarray, suffix: str) -> None:
    files = write_shards("shards", suffix, rows)
    for reference in ("shards", f"shards/train-*{suffix}", str(Path("shards/*").resolve())):
        embeddings = read_embeddings(Path(reference))
        np.testing.assert_array_equal(embeddings.array, rows)
        assert embeddings.ids is not None and [row.path for row in embeddings.ids.rows] == IDS
        assert [file.resolve() for file in embeddings.files] == [file.resolve() for file in files]
    assert is_source("./shards") and is_embeddings(as_dataset("./shards")) and is_embeddings(as_dataset("shards/*"))


def test_shards_are_in_the_order_of_their_numbers(rows: np.ndarray, initpools: Initpools) -> None:
    Path("shards").mkdir()
    for row in range(N):
        np.save(f"shards/part{row}.npy", rows[row : row + 1].astype(np.float16))
    embeddings = read_embeddings(Path("shards"))
    assert embeddings.array.dtype == np.float16 and embeddings.ids is None
    np.testing.assert_array_equal(embeddings.array, rows.astype(np.float16))
    result = initpools("embed", "shards/")
    assert result.code == 0 and "already done" in initpools("embed", "./shards").err, result.err
    assert initpools("select-pool", "kcenter", "-n", 2).code == 0 and Path("runs/shards").is_dir()
    of_many = initpools("select-pool", "kcenter", "-n", 4, "--embeddings", "shards/*.npy")
    assert of_many.out.split() == [str(row) for row in select("shards", "kcenter", 4)]


class Meddler(Reporter):
    """Changes a folder as soon as its shards are read."""

    def say(self, text: str) -> None:
        np.save("shards/part3.npy", np.zeros((2, D), np.float32))


def test_a_folder_that_changes_while_it_is_read_is_refused(rows: np.ndarray) -> None:
    Path("shards").mkdir()
    for number in range(3):
        np.save(f"shards/part{number}.npy", rows)
    for changed in ("shards", "shards/part3.npy"):
        with pytest.raises(UserError, match=f"^{changed} changed while it was being read"):
            read_embeddings(Path("shards"), report=Meddler(quiet=True))


def test_embeddings_are_written_as_shards_with_ids_and_encoder(rows: np.ndarray, initpools: Initpools) -> None:
    WRITERS[".pt"](Path("feats.pt"), rows, IDS)
    result = initpools("embed", "feats.pt", "--set", "embed.shards=3")
    assert result.code == 0 and "shards: runs/feats/shards/feats" in result.err, result.err
    folder = Path("runs/feats/shards/feats")
    files = sorted(folder.glob("*.safetensors"))
    assert [file.name for file in files] == [f"train-{number:05}-of-00003.safetensors" for number in range(3)]
    with safe_open(files[1], "np") as file:
        metadata = file.metadata()
        part = file.get_tensor("embeddings")
    start = len(read_embeddings(files[0]).array)
    np.testing.assert_array_equal(part, rows[start : start + len(part)])
    assert json.loads(metadata["ids"]) == IDS[start : start + len(part)]
    assert len(metadata["encoder"]) == 64 and metadata["split"] == "train" and metadata["source"] == "feats.pt"
    # They are written once, read as one array, and make the same picks.
    again = initpools("embed", "--set", "embed.shards=3")
    assert again.err.count("already done") == 2 and initpools("verify").code == 0
    by_file = initpools("select-pool", "typiclust", "-n", 4, "--embeddings", folder)
    assert by_file.out == initpools("select-pool", "typiclust", "-n", 4, "--embeddings", "feats.pt").out
    files[1].unlink()
    lacking = initpools("rank", "kcenter", "--embeddings", folder)
    assert lacking.code == 2 and "train-00001-of-00003" in lacking.err
    renewed = initpools("embed", "--set", "embed.shards=3")
    assert renewed.code == 0 and files[1].is_file(), renewed.err
    for number, message in ((N + 1, "more than the 40 images of train"), (-1, "embed.shards")):
        refused = initpools("embed", "--set", f"embed.shards={number}")
        assert refused.code == 2 and message in refused.err, refused.err


# ---- bad input


def table(**columns: Any) -> Callable[[np.ndarray], object]:
    return lambda rows: pq.write_table(pa.table(columns), "bad.parquet")


def lines(*text: str) -> Callable[[np.ndarray], object]:
    return lambda rows: Path("bad.csv").write_text("\n".join(text) + "\n")


def shards(*arrays: Callable[[np.ndarray], np.ndarray], name: str = "bad/part{}.npy") -> Callable[[np.ndarray], object]:
    def write(rows: np.ndarray) -> None:
        Path("bad").mkdir()
        for number, array in enumerate(arrays):
            np.save(name.format(number), array(rows))

    return write


def encoders(rows: np.ndarray) -> None:
    Path("bad").mkdir()
    for number in range(2):
        metadata = {"encoder": "ab" * 32 if number else "cd" * 32}
        save_file({"e": rows}, f"bad/{number}.safetensors", metadata)


def repeated(rows: np.ndarray) -> None:
    Path("bad").mkdir()
    for name in "ab":
        write_parquet(Path(f"bad/{name}.parquet"), rows[:2], ["x.jpg", f"{name}.jpg"])


def several_formats(rows: np.ndarray) -> None:
    Path("bad").mkdir()
    np.save("bad/a.npy", rows)
    write_csv(Path("bad/b.csv"), rows, IDS)


def damaged(suffix: str) -> Callable[[np.ndarray], object]:
    def write(rows: np.ndarray) -> None:
        path = Path(f"bad{suffix}")
        WRITERS[suffix](path, rows, IDS)
        path.write_bytes(path.read_bytes()[:-100])

    return write


#: What is written, the path that is named, and what the error says.
BAD: dict[str, tuple[Callable[[np.ndarray], object], str, str]] = {
    "no vectors": (table(path=["a"], width=[3], label=["x"]), "bad.parquet", "only path, width, label"),
    "two vectors": (table(clip=[[1.0, 2.0]], dino=[[1.0]]), "bad.parquet", "several columns that may be"),
    "not a column": (table(clip=[[1.0, 2.0]]), "bad.parquet:dino", "no column of lists 'dino'"),
    "ragged": (table(v=[[1.0, 2.0], [1.0]]), "bad.parquet", "1 values in 'v' of row 1, but 2 in row 0"),
    "null": (table(v=[[1.0, 2.0], None]), "bad.parquet", "no value in 'v' of row 1"),
    "null inside": (table(v=[[1.0, 2.0], [None, 1.0]]), "bad.parquet", "no value in 'v' of row 1"),
    "null id": (table(id=["a", None], v=[[1.0, 2.0]] * 2), "bad.parquet", "(column 'id'), row 1 has no id"),
    "same id": (table(id=["a", "a"], v=[[1.0, 2.0]] * 2), "bad.parquet", "more than once: a (row 0 and row 1)"),
    "no rows": (table(v=pa.array([], pa.list_(pa.float32()))), "bad.parquet", "the shape (0, 0)"),
    "no text": (lines("id,e0,e1", "a,1,x"), "bad.csv", "invalid value 'x'"),
    "empty cell": (lines("id,e0,e1", "a,1,2", "b,,2"), "bad.csv", "no value in 'e0' of row 1"),
    "more cells": (lines("id,e0,e1", "a,1,2,3"), "bad.csv", "Expected 3 columns, got 4"),
    "no numbers": (lines("id,width,height", "a,1,2"), "bad.csv", "only id, width, height"),
    "a gap": (lines("id,e0,e2", "a,1,2"), "bad.csv", "no column e1"),
    "too large": (lines("id,e0,e1", "a,1,1e300"), "bad.csv", "column 'e1', which is too large for float32"),
    "not finite": (lines("id,e0,e1", "a,1,nan", "b,1,2"), "bad.csv", "NaN or infinity in 1 of its rows: 0"),
    "no header": (lines(""), "bad.csv", "it has no header"),
    "not text": (lambda rows: Path("bad.csv").write_bytes(b"\xff\xfe"), "bad.csv", "not a text in UTF-8"),
    "width": (shards(lambda rows: rows, lambda rows: rows[:, :3]), "bad", "bad/part1.npy differs from bad/part0.npy"),
    "dtype": (shards(lambda rows: rows, lambda rows: rows.astype("f2")), "bad", "type: float16, not float32"),
    "encoder": (encoders, "bad", "in its encoder: abababababab, not cdcdcdcdcdcd"),
    "same ids": (repeated, "bad", "x.jpg (a.parquet row 0 and b.parquet row 0)"),
    "formats": (several_formats, "bad", "several formats: .csv, .npy"),
    "missing": (
        shards(lambda rows: rows, name="bad/train-{:05}-of-00003.npy"),
        "bad",
        "lacks 2 of the shards that its other files are numbered for: train-00001-of-00003, train-00002-of-00003",
    ),
    "huge count": (shards(lambda rows: rows, name="bad/a-{}-of-99999999999.npy"), "bad", "a-5-of-99999999999 and"),
    "no shards": (shards(), "bad", "is a folder without files of embeddings"),
    "no match": (shards(), "bad/*.npy", "No file of embeddings matches bad/*.npy"),
    "two arrays": (lambda rows: np.savez("bad.npz", a=rows, b=rows), "bad.npz", "2 arrays that may be the embeddings"),
    "images": (
        lambda rows: np.savez("bad.npz", train_images=np.zeros((3, 8, 8)), train_labels=np.zeros((3, 1), int)),
        "bad.npz",
        "only train_images (3, 8, 8) float64, train_labels (3, 1) int64",
    ),
    "objects": (
        lambda rows: np.savez("bad.npz", e=rows, ids=np.array(IDS, dtype=object)),
        "bad.npz",
        "pickled Python objects ('ids')",
    ),
    "scale": (
        lambda rows: np.savez("bad.npz", e=rows.astype(np.int8), scale=np.ones(N)),
        "bad.npz",
        "The scale 'scale' of bad.npz has the shape (40,)",
    ),
    "few ids": (
        lambda rows: save_file({"e": rows}, "bad.safetensors", {"ids": '["a"]'}),
        "bad.safetensors",
        "1 ids (metadata 'ids') for 40 rows",
    ),
    "no list": (
        lambda rows: save_file({"e": rows}, "bad.safetensors", {"ids": "a"}),
        "bad.safetensors",
        "not a JSON list",
    ),
    "pickle": (lambda rows: torch.save({"e": Path("x")}, "bad.pt"), "bad.pt", "could run code and are never loaded"),
    "unknown format": (lambda rows: Path("bad.mat").write_text("x"), "bad.mat", "bad.mat ends in none of .npy, .npz"),
    **{f"cut {suffix}": (damaged(suffix), f"bad{suffix}", f"bad{suffix}") for suffix in WRITERS if suffix != ".tsv"},
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_embeddings_are_refused(rows: np.ndarray, initpools: Initpools, kind: str) -> None:
    write, name, message = BAD[kind]
    write(rows)
    refused = initpools("select-pool", "kcenter", "-n", 1, "--embeddings", name)
    assert refused.code == 2 and message in refused.err, refused.err
    assert "Traceback" not in refused.err
    assert not [*Path("cache").glob(".scratch-*")]


def test_an_unknown_column_of_ids_is_refused(rows: np.ndarray, initpools: Initpools) -> None:
    for suffix, write in WRITERS.items():
        write(Path(f"feats{suffix}"), rows, IDS)
        refused = initpools("rank", "kcenter", "--embeddings", f"feats{suffix}", "--id-column", "nothing")
        assert refused.code == 2 and f"feats{suffix} has no 'nothing' (--id-column), only " in refused.err, refused.err
    np.save("feats.npy", rows)
    refused = initpools("embed", "feats.npy", "--id-column", "id")
    assert refused.code == 2 and "feats.npy is a single array without ids" in refused.err
    for words in (["rank", "random", "--scores", "x.npy"], ["embed", "pca", "--dataset", "digits"]):
        assert "--id-column id" in initpools(*words, "--id-column", "id").err


# ---- from Python


def test_select_takes_paths_tensors_and_data_frames(rows: np.ndarray) -> None:
    WRITERS[".csv"](Path("feats.csv"), rows, IDS)
    np.savez("feats.npz", a=rows, b=-rows)
    expected = select(rows, "kcenter", 5)
    numbered = pd.DataFrame(rows).add_prefix("e").assign(path=IDS, width=3)
    for argument in (
        "feats.csv",
        Path("feats.csv"),
        "feats.npz:a",
        torch.tensor(rows),
        torch.tensor(rows, requires_grad=True),
        pd.DataFrame(rows),
        pd.DataFrame(rows, index=IDS, columns=list("uvwxyz")),
        numbered[[*reversed(numbered.columns)]],
        pd.DataFrame({"id": IDS, "embedding": list(rows)}),
        pa.table({"embedding": list(rows)}),
    ):
        np.testing.assert_array_equal(select(argument, "kcenter", 5), expected)
    half = torch.tensor(rows).bfloat16()
    np.testing.assert_array_equal(select(half, "kcenter", 5), select(half.float().numpy(), "kcenter", 5))
    more = select(torch.tensor(rows), "kcenter", 2, labeled=torch.tensor(expected), exclude=pd.Series([0]))
    np.testing.assert_array_equal(more, select(rows, "kcenter", 2, labeled=expected, exclude=[0]))
    for argument, message in (
        (pd.DataFrame({"id": IDS, "width": 3}), "only id, width"),
        (pd.DataFrame({"e": [[1.0, 2.0], [1.0]]}), "1 values in 'e' of row 1"),
        (torch.tensor(rows).to_sparse(), "a tensor that NumPy can't read"),
        ("none.npy", "There is no file none.npy"),
    ):
        with pytest.raises(UserError, match=message):
            select(argument, "kcenter", 1)
    with pytest.raises(UserError, match=r"labeled is the path pool\.csv"):
        select(rows, "kcenter", 1, labeled="pool.csv")


def test_stored_ids_are_a_sequence_of_rows():
    rows = StoredRows([" a", "b", "c "], ("x.npy", "y.npy"), (2, 1))
    expected = [Row("x.npy row 0", "a"), Row("x.npy row 1", "b"), Row("y.npy row 0", "c")]
    assert list(rows) == expected == rows[:] and rows[::-1] == expected[::-1]
    assert [rows[at] for at in (0, 1, -1)] == expected and len(rows) == 3
    assert StoredRows(["a"], ("x.npy",), (1,))[0].place == "row 0"
    with pytest.raises(IndexError):
        rows[3]
