"""Embeddings in every format that is read: the same array and ids as an .npy of the same numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Initpools
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from initpools_cli.core.run_location import ENDINGS, run_name
from initpools_cli.datasets.embedding_formats.registry import READERS
from initpools_cli.datasets.embeddings import as_dataset, is_embeddings, is_source, read_embeddings

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
        found = read_embeddings(path)
        assert found.array.dtype == np.float32 and not found.array.flags.writeable
        np.testing.assert_array_equal(found.array, rows)
        assert found.ids is not None and [row.path for row in found.ids.rows] == IDS
        assert found.files == (path,)
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
    found = read_embeddings(path).array
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


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
    torch.save(torch.tensor(rows), "feats.pt")
    # A name of 14 characters puts the array at a multiple of 64 bytes.
    np.savez("feats.npz", embeddings=rows)
    for file in ("feats.safetensors", "feats.pt", "feats.npz"):
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


def test_one_of_several_arrays_is_named(rows: np.ndarray, initpools: Initpools) -> None:
    np.savez("feats.npz", clip=rows, dino=rows[:, :3], id=np.arange(N) * 10)
    several = initpools("select-pool", "kcenter", "-n", 2, "--embeddings", "feats.npz")
    assert several.code == 2 and "clip (40, 6) float32, dino (40, 3) float32" in several.err
    found = read_embeddings(Path("feats.npz:dino"))
    np.testing.assert_array_equal(found.array, rows[:, :3])
    assert found.ids is not None and found.ids.rows[3].path == "30"
    began = initpools("embed", "feats.npz:dino")
    assert began.code == 0 and Path("runs/feats/embed/feats/train.npy").is_file(), began.err
    assert "already done" in initpools("embed").err
    assert initpools("select-pool", "kcenter", "-n", 2).code == 0


def test_ids_in_the_file_name_the_images_everywhere(rows: np.ndarray, initpools: Initpools) -> None:
    np.save("feats.npy", rows)
    Path("ids.txt").write_text("\n".join(IDS))
    write_csv(Path("feats.csv"), rows, IDS, name="filenames")
    listed = ["--embeddings", "feats.npy", "--ids", "ids.txt"]
    stored = ["--embeddings", "feats.csv"]
    pick = ["select-pool", "typiclust", "--budget", 4, "-o", "pool.csv"]
    assert initpools(*pick, *stored).code == 0
    first = Path("pool.csv").read_text()
    assert initpools(*pick, *listed).code == 0
    assert first == Path("pool.csv").read_text() and "photos/" in first
    Path("labels.csv").write_text(f"id,label\n{IDS[3]},a\n{IDS[5]},b\n")
    Path("groups.csv").write_text("id,group\n" + "".join(f"{name},{at % 4}\n" for at, name in enumerate(IDS)))
    for words in (
        ["select-pool", "kcenter", "-n", 3, "--labeled", "pool.csv", "--exclude", "labels.csv"],
        ["select-pool", "kcenter", "-n", 3, "--labels", "labels.csv"],
        ["select-pool", "kcenter@groups", "-n", 3, "--groups", "groups.csv", "--card", "full"],
        ["rank", "typicality", "--labeled", "pool.csv"],
    ):
        by_list, by_file = initpools(*words, *listed), initpools(*words, *stored)
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
