"""Images in parquet files, tar archives and tables of paths are those of the same files in a folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Initpools
from PIL import Image
from sklearn.datasets import load_digits

from initpools_cli.cli.options import Common
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.run_location import run_name
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.spec import Dataset, DatasetSpec
from initpools_cli.datasets.stored.find import find_shards
from initpools_cli.reporting.image_bytes import changed_since, original, small
from initpools_cli.steps import write_embeddings
from initpools_cli.training import frozen_features

N, N_TRAIN, PER_SHARD = 40, 30, 15
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUIET = Reporter(quiet=True)
SHARDS = {"train-00000-of-00002": (0, 15), "train-00001-of-00002": (15, 30), "test-00000-of-00001": (30, 40)}


def encoded() -> list[bytes]:
    contents = []
    for image in load_digits().images[:N]:
        stream = io.BytesIO()
        Image.fromarray((image * 15).astype(np.uint8)).save(stream, "PNG")
        contents.append(stream.getvalue())
    return contents


CONTENT = encoded()
TARGET = load_digits().target[:N]


def huggingface(columns: Mapping[str, Sequence[str]]) -> dict[bytes, bytes]:
    features = {name: {"_type": "ClassLabel", "names": list(names)} for name, names in columns.items()}
    return {b"huggingface": json.dumps({"info": {"features": features | {"image": {"_type": "Image"}}}}).encode()}


def write_parquet(file: Path, rows: range, *, paths: bool = True, **columns: Sequence[object]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": CONTENT[row], "path": f"{row:03}.png" if paths else None} for row in rows]
    labels = {"label": TARGET[rows.start : rows.stop]}
    table = pa.table({"image": images, **labels, **columns}).replace_schema_metadata(huggingface({"label": NAMES}))
    pq.write_table(table, file, row_group_size=4)
    return file


def write_tar(file: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def sample(row: int) -> list[tuple[str, bytes]]:
    label = str(TARGET[row]).encode()
    kinds = [(f"{row:03}.cls", label), (f"{row:03}.json", json.dumps({"label": int(TARGET[row])}).encode())]
    return [(f"{row:03}.png", CONTENT[row]), kinds[row % 2]]


def folder(root: Path) -> Path:
    for row, content in enumerate(CONTENT):
        file = root / ("train" if row < N_TRAIN else "test") / NAMES[TARGET[row]] / f"{row:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def parquet(root: Path) -> Path:
    for name, (start, stop) in SHARDS.items():
        write_parquet(root / "data" / f"{name}.parquet", range(start, stop))
    return root


def plain_parquet(root: Path) -> Path:
    """Without Hugging Face's metadata: bytes, and classes as strings."""
    root.mkdir()
    for name, (start, stop) in SHARDS.items():
        classes = [NAMES[each] for each in TARGET[start:stop]]
        pq.write_table(pa.table({"jpeg": CONTENT[start:stop], "class": classes}), root / f"{name}.parquet")
    return root


def tar(root: Path) -> Path:
    for name, (start, stop) in SHARDS.items():
        write_tar(root / f"{name}.tar", [member for row in range(start, stop) for member in sample(row)])
    return root


def table(root: Path) -> Path:
    """Half of the paths are absolute."""
    images = folder(root / "images")
    rows = []
    for row, digit in enumerate(TARGET):
        split = "train" if row < N_TRAIN else "test"
        path = images / split / NAMES[digit] / f"{row:03}.png"
        rows.append((path if row % 2 else path.relative_to(root), NAMES[digit], split))
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(root / "images.csv", index=False)
    return root / "images.csv"


KINDS = {"parquet": parquet, "plain_parquet": plain_parquet, "tar": tar, "table": table}


def opened(path: Path | str, cache: Path, known: pd.DataFrame | None = None, **facts: object) -> Dataset:
    spec = DatasetSpec(str(path), **{"size": 8, **facts})
    return open_dataset(spec, seed=0, cache=cache, report=QUIET, stored_items=known)


def by_content(data: Dataset) -> dict[str, tuple[str, str, int, bytes]]:
    """Split, class, size and pixels of each image by its checksum."""
    content = {}
    for split, images in data.splits.items():
        rows = data.items[data.items["split"] == split]
        for row, (sha, name, nbytes) in enumerate(zip(rows["sha256"], rows["class"], rows["bytes"], strict=True)):
            content[sha] = split, name, int(nbytes), images.images[row].tobytes()
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_stored_images_are_those_of_a_folder(tmp_path, kind):
    expected = by_content(opened(folder(tmp_path / "photos"), tmp_path / "cache"))
    source = KINDS[kind](tmp_path / "stored")
    data = opened(source, tmp_path / "cache")
    content = by_content(data)
    if kind == "tar":
        content = {sha: (split, NAMES[int(name)], *rest) for sha, (split, name, *rest) in content.items()}
    assert content == expected and len(expected) == N
    if kind == "parquet":
        # All classes are in the order of the metadata.
        assert data.classes == NAMES
        assert data.items["label"].tolist() == TARGET.tolist()
    names = {
        "parquet": "data/train-00001-of-00002.parquet/017.png",
        "plain_parquet": "train-00001-of-00002.parquet/2",
        "tar": "train-00001-of-00002.tar/017.png",
        "table": str(tmp_path / f"stored/images/train/{NAMES[TARGET[17]]}/017.png"),
    }
    assert data.items["path"][17] == names[kind]
    # For the pages: the same bytes, and thumbnails.
    assert original(data, 17) == (CONTENT[17], "image/png")
    assert Image.open(io.BytesIO(small(data, 17, 8).content)).size == (8, 8)
    assert changed_since(data, 17) == ""
    # Opened again, nothing is written but what is new.
    again = opened(source, tmp_path / "cache", data.items)
    assert again.items is data.items and original(again, 29).content == CONTENT[29]
    if kind == "table":
        return
    shutil.rmtree(source)
    with pytest.raises(UserError, match="no file or folder"):
        opened(source, tmp_path / "cache", data.items)


def test_new_shards_are_appended_and_missing_ones_are_read_from_the_cache(tmp_path):
    root = tar(tmp_path / "tar")
    (root / "train-00001-of-00002.tar").rename(tmp_path / "away.tar")
    data = opened(root, tmp_path / "cache")
    assert len(data.splits["train"]) == 15
    (tmp_path / "away.tar").rename(root / "train-00001-of-00002.tar")
    both = opened(root, tmp_path / "cache", data.items)
    assert both.splits["train"].paths[14:16] == ["train-00000-of-00002.tar/014.png", "train-00001-of-00002.tar/015.png"]
    (root / "train-00000-of-00002.tar").rename(tmp_path / "away.tar")
    fewer = opened(root, tmp_path / "cache", both.items)
    assert "15 files are missing" in fewer.notes[0]
    with pytest.raises(UserError, match=r"00000-of-00002.tar/003.png is no longer in"):
        original(fewer, 3)
    # Another size is noticed.
    write_tar(root / "train-00000-of-00002.tar", [(f"{row:03}.png", CONTENT[row] + b"\0") for row in range(15)])
    with pytest.raises(UserError, match="has changed since this run was started"):
        opened(root, tmp_path / "cache", both.items)


def test_patterns_name_shards_and_one_shard_is_all_train(tmp_path):
    tar(tmp_path)
    both = [tmp_path / f"train-0000{number}-of-00002.tar" for number in range(2)]
    assert find_shards(tmp_path / "train-{00000..00001}-of-00002.tar") == both
    assert find_shards(tmp_path / "train-*.tar") == both
    assert run_name("shards/train-{00000..00001}.tar") == "train-00000..00001" and run_name("a/b.parquet") == "b"
    data = opened(tmp_path / "test-00000-of-00001.tar", tmp_path / "cache", test=0.5)
    assert len(data.splits["train"]) + len(data.splits["test"]) == 10
    # Archives beside images are not the data set.
    (tmp_path / "000.png").write_bytes(CONTENT[0])
    assert find_shards(tmp_path) == []


def test_labels_are_chosen_by_column_or_come_from_a_table(tmp_path):
    coarse = (TARGET > 4).astype(int)
    file = write_parquet(tmp_path / "a.parquet", range(N), paths=False, coarse_label=coarse)
    assert opened(file, tmp_path / "cache").classes == NAMES
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    with pytest.raises(UserError, match="several columns of labels: label, coarse_label") as error:
        opened(file, tmp_path / "cache")
    assert "--set dataset.label_column=" in error.value.remedy
    data = opened(file, tmp_path / "cache", label_column="coarse_label", test=0.25)
    assert data.classes == ("0", "1") and len(data.splits["test"]) == 10
    named = data.items["path"].str.rpartition("/")[2].astype(int)
    assert (data.items["label"].to_numpy() == coarse[named]).all()
    assert opened(file, tmp_path / "cache", labels="none").splits["train"].labels is None
    rows = [f"a.parquet/{row},{'odd' if row % 2 else 'even'}" for row in range(N)]
    (tmp_path / "own.csv").write_text("path,label\n" + "\n".join(rows))
    assert opened(file, tmp_path / "cache", labels=str(tmp_path / "own.csv")).classes == ("even", "odd")
    with pytest.raises(UserError, match="'folders' has no effect"):
        opened(file, tmp_path / "cache", labels="folders")
    with pytest.raises(UserError, match="has no column 'fine'"):
        opened(file, tmp_path / "cache", label_column="fine")
    with pytest.raises(UserError, match="label_column = 'x' has no effect"):
        opened(tar(tmp_path / "tar"), tmp_path / "cache", label_column="x")


def test_damaged_rows_are_skipped_and_named(tmp_path):
    images = [{"bytes": content, "path": None} for content in CONTENT]
    images[7]["bytes"], images[8]["bytes"] = CONTENT[7][:50], None
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", row_group_size=6)
    data = opened(tmp_path / "a.parquet", tmp_path / "cache")
    assert len(data.items) == N - 2
    assert "2 files are not readable images and were skipped: a.parquet/7, a.parquet/8" in " ".join(data.notes)


def cut(file: Path, size: int) -> Path:
    file.write_bytes(file.read_bytes()[:size])
    return file


def csv(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def one_image(root: Path, table: str) -> Path:
    (root / "x.png").write_bytes(CONTENT[0])
    return csv(root / "a.csv", table)


def pathless(root: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    write_table(root / "a.parquet", image=pa.array([{"bytes": None, "path": "a.png"}], kind))


def unlike(root: Path) -> None:
    write_parquet(root / "a.parquet", range(4))
    write_table(root / "b.parquet", image=[b""])


def both(root: Path) -> None:
    write_parquet(root / "a.parquet", range(4))
    write_tar(root / "a.tar", [])


def write_table(file: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), file)


TWO = sample(0) + sample(1)
SAMPLE = [("0.png", CONTENT[0])]
BAD = {
    "no images": (
        lambda root: write_table(root / "a.parquet", label=[1], text=["a"]),
        r"no column of image bytes, only label \(int64\), text \(string\)",
    ),
    "paths alone": (pathless, "has no bytes in its column 'image'"),
    "two columns": (
        lambda root: write_table(root / "a.parquet", left=[b"a"], right=[b"b"]),
        "several columns of bytes: left, right",
    ),
    "cut parquet": (lambda root: cut(write_parquet(root / "a.parquet", range(9)), 900), "not a complete parquet file"),
    "other columns": (unlike, "a.parquet and .*b.parquet have different columns or classes"),
    "both kinds": (both, "both .parquet and .tar files"),
    "cut tar": (lambda root: cut(write_tar(root / "a.tar", TWO), 1900), "not a complete tar archive"),
    "cut after a file": (lambda root: cut(write_tar(root / "a.tar", TWO), 2048), "without the mark of its end"),
    "compressed": (lambda root: tarfile.open(root / "a.tar", "w:gz").close(), "is compressed"),
    "repeated member": (lambda root: write_tar(root / "a.tar", SAMPLE * 2), "has 0.png 2 times"),
    "two images": (
        lambda root: write_tar(root / "a.tar", [*SAMPLE, ("0.jpg", CONTENT[1])]),
        "two images of the sample 0: 0.png and 0.jpg",
    ),
    "bad json": (lambda root: write_tar(root / "a.tar", [*SAMPLE, ("0.json", b"{")]), "0.json in .* can't be read"),
    "no path": (lambda root: csv(root / "a.csv", "index,label\n0,a\n"), "a.csv"),
    "missing file": (
        lambda root: csv(root / "a.csv", "path\nx.png\ny.png\n"),
        "2 of 2 images that are not there: x.png",
    ),
    "repeated path": (lambda root: csv(root / "a.csv", "path\nx.png\n./x.png\n"), "1 image more than once: x.png"),
    "unknown split": (lambda root: one_image(root, "path,split\nx.png,fold1\n"), "line 2 has the split 'fold1'"),
    "no train": (lambda root: one_image(root, "path,split\nx.png,test\n"), "no train images, only test"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_shards_and_tables_are_errors(tmp_path, case):
    make, message = BAD[case]
    root = tmp_path / "stored"
    root.mkdir()
    make(root)
    path = next(iter(root.glob("a.csv")), root)
    with pytest.raises(UserError, match=message):
        opened(path, tmp_path / "cache")


@pytest.mark.parametrize("pattern", ["none-*.tar", "train-{00000..00002}-of-00002.tar"])
def test_a_pattern_without_all_of_its_files_is_an_error(tmp_path, pattern):
    tar(tmp_path)
    with pytest.raises(UserError, match=r"No file matches|train-00002-of-00002.tar of .* is missing"):
        opened(tmp_path / pattern, tmp_path / "cache")


def test_commands_read_shards(tmp_path, monkeypatch, initpools: Initpools):
    """Embeddings, labels and picks are those of the folder; exports write the stored bytes."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "photos")
    parquet(tmp_path / "hf")
    tar(tmp_path / "tar")
    embeddings = {}
    for source in ("photos", "hf", "tar"):
        done = initpools("embed", "pixels", "--dataset", source, "--set", "dataset.size=8")
        assert done.code == 0, done.err
        items = pd.read_csv(f"runs/{source}/data/items.csv")
        train = items[items["split"] == "train"]
        order = np.argsort(train["sha256"].to_numpy())
        embeddings[source] = np.load(f"runs/{source}/embed/pixels/train.npy")[order]
        assert initpools("verify", "--run", f"runs/{source}").code == 0
    assert np.array_equal(embeddings["hf"], embeddings["photos"])
    assert np.array_equal(embeddings["tar"], embeddings["photos"])
    picked = initpools(
        "select-pool",
        "kcenter",
        "--budget",
        "4",
        "--run",
        "runs/hf",
        "--with-labels",
        "-o",
        "pool.csv",
        "--export",
        "copies=copies",
    )
    assert picked.code == 0, picked.err
    pool = pd.read_csv("pool.csv")
    numbers = pool["path"].str.rpartition("/")[2].str.removesuffix(".png").astype(int)
    assert pool["label"].tolist() == [NAMES[TARGET[row]] for row in numbers]
    assert {file.read_bytes() for file in Path("copies").iterdir()} == {CONTENT[row] for row in numbers}
    links = initpools("select-pool", "kcenter", "--budget", "4", "--run", "runs/hf", "--export", "links=links")
    assert links.code == 2 and "consists of shards" in links.err


def test_finished_parts_of_embeddings_survive_an_interruption(tmp_path, monkeypatch, initpools: Initpools):
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "hf")
    assert initpools("select-pool", "random", "--budget", 3, "--dataset", "hf", "--set", "dataset.size=8").code == 0
    monkeypatch.setattr(write_embeddings, "PART", 8)
    computed: list[tuple[str, int, int]] = []

    def embed(stop_at: int) -> Path:
        context = Common(run=Path("runs/hf"), quiet=True).start("dataset")
        step = context.run.step("embed", "mine", {"source": "mine"}, context.items_checksum())

        def compute(split: str, rows: slice, machine: object) -> Iterator[np.ndarray]:
            computed.append((split, rows.start, rows.stop))
            for start in range(rows.start, rows.stop, 4):
                if start >= stop_at:
                    raise KeyboardInterrupt
                images = context.data.splits[split].images[start : min(start + 4, rows.stop)]
                yield images.reshape(len(images), -1).astype(np.float32)

        return write_embeddings.write_embeddings(context, step, compute, batch=4)[0].folder

    with pytest.raises(KeyboardInterrupt):
        embed(stop_at=20)
    assert computed == [("train", 0, 8), ("train", 8, 16), ("train", 16, 24)]
    computed.clear()
    folder = embed(stop_at=N)
    assert computed == [("train", 16, 24), ("train", 24, 30), ("test", 0, 8), ("test", 8, 10)]
    assert initpools("embed", "pixels", "--run", "runs/hf").code == 0
    for split in ("train", "test"):
        expected = np.load(f"runs/hf/embed/pixels/{split}.npy")
        assert np.array_equal(np.load(folder / f"{split}.npy") / np.float32(255), expected)
    assert not (folder / "work").exists()


#: `initpools` with parts of 8 images in blocks of 4; notes each part, and dies at one of them.
IN_PARTS = """
import os
import signal
from pathlib import Path

from initpools_cli.cli.app import main
from initpools_cli.steps import write_embeddings
from initpools_cli.training import frozen_features
from initpools_cli.training import frozen_features

write_embeddings.PART, frozen_features.backbone_batch = 8, lambda *_: 4
features = frozen_features.backbone_features


def noted(model, preprocess, split, rows, *others, **settings):
    part = f"{'train' if len(split) == 30 else 'test'}-{rows.start}-{rows.stop}.npy"
    if part == os.environ.get("DIES_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    with Path("computed").open("a") as file:
        file.write(part + "\\n")
    return features(model, preprocess, split, rows, *others, **settings)


frozen_features.backbone_features = noted
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("write", [parquet, tar])
def test_parts_of_two_processes_survive_a_kill(tmp_path, monkeypatch, initpools: Initpools, write):
    monkeypatch.chdir(tmp_path)
    name = str(write(tmp_path / "shards").relative_to(tmp_path))
    words = ["embed", "efficientnet-lite0", "--set", "embed.size=32", "--device", "cpu", "--threads", "1"]
    for run in ("one", "two"):
        assert initpools("select-pool", "random", "--budget", 3, "--dataset", name, "--run", run).code == 0
    monkeypatch.setattr(frozen_features, "backbone_batch", lambda *_: 4)
    assert initpools(*words, "--run", "one").code == 0
    Path("in_parts.py").write_text(IN_PARTS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "in_parts.py"]
    settings = {**os.environ, "INITPOOLS_RUN": "two", "OMP_NUM_THREADS": "1"}

    def embed(**more: str) -> tuple[int, list[str]]:
        Path("computed").write_text("")
        ended = subprocess.run([*torchrun, *words], env=settings | more, capture_output=True, text=True, check=False)
        assert "Traceback" not in ended.stderr or more, ended.stderr
        return ended.returncode, Path("computed").read_text().split()

    code, _ = embed(DIES_AT="train-24-30.npy")
    finished = {file.name for file in Path("two/.partial/embed/efficientnet-lite0/work").glob("*.npy")}
    assert code and "train-16-24.npy" in finished and "train-24-30.npy" not in finished
    code, computed = embed()
    every = {"train-0-8.npy", "train-8-16.npy", "train-16-24.npy", "train-24-30.npy", "test-0-4.npy", "test-4-10.npy"}
    assert code == 0 and sorted(computed) == sorted(every - finished)
    for split in ("train", "test"):
        one, two = (Path(run) / f"embed/efficientnet-lite0/{split}.npy" for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert not Path("two/.partial/embed/efficientnet-lite0").exists()
