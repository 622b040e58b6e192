"""Embeddings that users bring: as a source in a run, and as a data set without images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.embeddings import READERS, UNREAD, refuse_other_file
from initpools_cli.training.learners.registry import learners

N, D = 60, 4
IDS = [f"photos/{number:02}.jpg" for number in range(N)]
CLASSES = np.arange(N) % 3
RESULT = "runs/feats/embed/feats/train.npy"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Three groups of embeddings in feats.npy of the current folder, with ids.txt and labels.csv."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    embeddings: np.ndarray = (rng.normal(size=(N, D)) + 8 * np.eye(D)[CLASSES]).astype(np.float32)
    np.save("feats.npy", embeddings)
    Path("ids.txt").write_text("\n".join(IDS) + "\n")
    write_table("labels.csv", ("id", "label"), zip(IDS, map("abc".__getitem__, CLASSES), strict=True))
    write_table("numbers.csv", ("index", "label"), enumerate(map("abc".__getitem__, CLASSES)))
    return embeddings


def write_table(path: str, *lines: object) -> None:
    header, rows = lines
    with Path(path).open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])  # type: ignore[misc, list-item]


def column(path: str | Path, name: str) -> list[str]:
    with Path(path).open(newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def test_a_run_of_embeddings_alone_goes_from_the_file_to_a_sweep(rows: np.ndarray, initpools: Initpools) -> None:
    began = initpools("embed", "feats.npy", "--ids", "ids.txt", "--set", "dataset.labels=labels.csv")
    assert began.code == 0, began.err
    assert "60 train, 12 test" in began.err and "next: initpools al-run" in began.err
    np.testing.assert_array_equal(np.load(RESULT), rows)
    paths, splits = (column("runs/feats/data/items.csv", name) for name in ("path", "split"))
    assert paths[:N] == IDS and splits == ["train"] * N + ["test"] * 12
    test = [IDS.index(name) for name in paths[N:]]
    np.testing.assert_array_equal(np.load("runs/feats/embed/feats/test.npy"), rows[test])
    assert not np.load("runs/feats/data/kept.npy")[test].any()

    # The run holds everything that later steps read.
    for file in ("feats.npy", "ids.txt", "labels.csv"):
        Path(file).unlink()
    pool = initpools("select-pool", "typiclust", "--budget", 6, "-o", "pool.csv")
    assert pool.code == 0, pool.err
    chosen = column("pool.csv", "path")
    assert len(set(chosen)) == 6 and not set(chosen) & {IDS[row] for row in test}
    more = initpools("select-pool", "kcenter", "--budget", 6, "--labeled", "pool.csv", "--exclude", "pool.csv")
    assert more.code == 0 and not set(more.out.split()) & set(chosen), more.err
    sweep = initpools("al-run", "--init", "random,typiclust", "--query", "margin", "--budget", 5, "--rounds", 1,
                      "--seeds", 2, "--threads", 1)  # fmt: skip
    assert sweep.code == 0, sweep.err
    assert initpools("rank", "typiclust", "-o", "order.npy").code == 0
    assert sorted([*np.load("order.npy").tolist(), *test]) == list(range(N))
    assert initpools("compare", "pool/typiclust-b6-s0", "pool.csv").code == 0
    assert "data set feats.npy" in initpools("status").out
    assert initpools("plot", "scatter").code == 0
    assert initpools("verify").code == 0


@pytest.mark.slow
def test_the_report_of_a_run_of_embeddings_has_no_pictures(rows: np.ndarray, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "--budget", 3, "--dataset", "feats.npy").code == 0
    report = initpools("plot", "report")
    assert report.code == 0 and "A gallery needs images" in Path("runs/feats/plot/report.html").read_text()


def test_the_labeling_loop_works_by_id_in_a_run_of_embeddings(rows: np.ndarray, initpools: Initpools) -> None:
    # One command starts the run, embeds the file and chooses.
    words = ["--dataset", "feats.npy", "--set", "dataset.ids=ids.txt"]
    first = initpools("select-pool", "typiclust", "--budget", 6, "-o", "pool.csv", *words)
    assert first.code == 0 and "embeddings: embed/feats" in first.err, first.err
    assert "al-run --labels labels.csv" in first.err and "initpools label " not in first.err
    chosen = column("pool.csv", "path")
    write_table("mine.csv", ("id", "label"), [(name, "abc"[CLASSES[IDS.index(name)]]) for name in chosen])
    again = initpools("al-run", "--labels", "mine.csv", "--query", "margin", "--budget", 4, "--next", "next.csv",
                      "--exclude", "pool.csv", "--threads", 1)  # fmt: skip
    assert again.code == 2 and "all 6 labeled images are excluded" in again.err, again.err
    done = initpools("al-run", "--labels", "mine.csv", "--query", "margin", "--budget", 4, "--next", "next.csv",
                     "--predictions", "predictions.csv", "--threads", 1)  # fmt: skip
    assert done.code == 0, done.err
    assert len(set(column("next.csv", "path")) - set(chosen)) == 4
    predicted = dict(zip(column("predictions.csv", "path"), column("predictions.csv", "label"), strict=True))
    right = [predicted[name] == "abc"[CLASSES[IDS.index(name)]] for name in predicted]
    assert len(right) == N - 6 and np.mean(right) > 0.9


@pytest.mark.parametrize("ids", ["text", "table", "index", "array"])
def test_rows_in_any_order_are_matched_by_id(rows: np.ndarray, initpools: Initpools, ids: str) -> None:
    order = np.random.default_rng(1).permutation(N)
    np.save("shuffled.npy", rows[order])
    names = [IDS[row] for row in order]
    if ids == "text":
        Path("other").write_bytes("\r\n".join(names).encode("utf-16"))
    elif ids == "table":
        write_table("other.csv", ("id", "index"), [(name, 7) for name in names])
    elif ids == "index":
        write_table("other.csv", ("index",), [(row,) for row in order])
    else:
        np.save("other.npy", order)
    other = {"text": "other", "array": "other.npy"}.get(ids, "other.csv")
    # Integers number the images of a new run too, where they are in a column of that name.
    start = () if ids == "index" else ("--ids", "ids.txt")
    assert initpools("embed", "feats.npy", *start).code == 0
    added = initpools("embed", "shuffled.npy", "--ids", other)
    assert added.code == 0, added.err
    np.testing.assert_array_equal(np.load("runs/feats/embed/shuffled/train.npy"), rows)
    if ids == "index":
        alone = initpools(
            "embed", "shuffled.npy", "--ids", other, "--run", "alone", "--set", "dataset.labels=numbers.csv"
        )
        assert alone.code == 0, alone.err
        np.testing.assert_array_equal(np.load("alone/embed/shuffled/train.npy"), rows)
        assert column("alone/data/items.csv", "class")[:3] == ["a", "b", "c"]
    if ids == "text":
        # A run whose ids are in no order gives no meaning to the order of another file.
        assert initpools("embed", "shuffled.npy", "--ids", other, "--run", "alone").code == 0
        unknown = initpools("embed", "feats.npy", "--run", "alone")
        assert unknown.code == 2 and "order of the 60 rows of feats.npy is not known" in unknown.err
        assert "already done" in initpools("embed", "--run", "alone").err


def test_a_file_is_one_more_source_in_a_run_of_arrays(copied_run: Path, initpools: Initpools) -> None:
    folder = copied_run / "runs/digits/embed"
    stored = {split: np.load(folder / f"simclr/{split}.npy") for split in ("train", "test")}
    order = np.random.default_rng(0).permutation(len(stored["train"]))
    np.save("mine.npy", stored["train"][order].astype(np.float64))
    Path("ids.txt").write_text("\n".join(map(str, order)))
    added = initpools("embed", "mine.npy", "--ids", "ids.txt")
    assert added.code == 0 and "float64 is stored as float32" in added.err, added.err
    # Test images are held out of train.
    for split, array in stored.items():
        np.testing.assert_array_equal(np.load(folder / f"mine/{split}.npy"), array)
    assert "embeddings: embed/mine" in initpools("select-pool", "kcenter", "--budget", 3).err
    assert "embeddings: embed/mine" in initpools("select-pool", "kcenter", "--budget", 4, "--from", "mine").err
    made = initpools("select-pool", "kcenter", "--budget", 3, "--from", "train.npy")
    assert made.code == 2 and "There is no file train.npy" in made.err
    # A file with the name of a method gets another folder than that method's.
    np.save("simclr.npy", np.concatenate([stored["train"], stored["test"]]))
    assert initpools("embed", "simclr.npy").code == 0
    for split, array in stored.items():
        np.testing.assert_array_equal(np.load(folder / f"simclr-file/{split}.npy"), array)
    np.save("few.npy", stored["train"][:100])
    few = initpools("embed", "few.npy")
    assert few.code == 2 and "100 rows, but digits has 1797 train images" in few.err and "--run DIR" in few.err
    named = initpools("embed", "few.npy", "--ids", "ids.txt")
    assert named.code == 2 and "1797 ids for 100 rows" in named.err


@pytest.mark.usefixtures("rows")
def test_a_file_of_a_folder_with_splits_needs_ids(initpools: Initpools) -> None:
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10)]
    for number, name in enumerate(names):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(Path("photos", name))
    np.save("mine.npy", np.arange(20.0)[:, None] + [0, 1])
    words = ["embed", "mine.npy", "--dataset", "photos", "--set", "dataset.labels=folders"]
    unknown = initpools(*words)
    assert unknown.code == 2 and "--ids FILE" in unknown.err and not Path("runs").exists()
    Path("names.txt").write_text("\n".join(names))
    assert initpools(*words, "--ids", "names.txt").code == 0
    items = Path("runs/photos/data/items.csv")
    for split in ("train", "test"):
        own = [name for name, each in zip(column(items, "path"), column(items, "split"), strict=True) if each == split]
        array = np.load(f"runs/photos/embed/mine/{split}.npy")
        np.testing.assert_array_equal(array[:, 0], [names.index(name) for name in own])
    # Embeddings of train alone are enough to choose, not to measure.
    train = [name for name, each in zip(column(items, "path"), column(items, "split"), strict=True) if each == "train"]
    np.save("train.npy", np.arange(16.0)[:, None] + [0, 1])
    Path("names.txt").write_text("\n".join(train))
    assert "no rows for the images of test" in initpools("embed", "train.npy", "--ids", "names.txt").err
    assert initpools("select-pool", "kcenter", "--budget", 2).code == 0
    sweep = initpools("al-run", "--budget", 2, "--rounds", 1, "--seeds", 2)
    assert sweep.code == 2 and "embed/train has no rows for the test images" in sweep.err


DTYPES = ["float16", "float32", "float64", "longdouble", ">f4", "int8", "bool", "fortran"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numeric_type_is_stored_as_float32(rows: np.ndarray, initpools: Initpools, dtype: str) -> None:
    array = np.asfortranarray(rows) if dtype == "fortran" else rows.astype(dtype)
    np.save("feats.npy", array)
    assert initpools("embed", "feats.npy").code == 0
    embeddings = np.load(RESULT)
    assert embeddings.dtype == np.float32 and embeddings.flags.c_contiguous
    np.testing.assert_array_equal(embeddings, array.astype(np.float32))


def _with(rows: np.ndarray, value: float) -> np.ndarray:
    array = rows.astype(np.float64)
    array[17, 1] = value
    return array


BAD_ARRAYS = {
    "nan": (lambda rows: _with(rows, np.nan), "nan in row 17"),
    "infinite": (lambda rows: _with(rows, -np.inf), "-inf in row 17"),
    "too large": (lambda rows: _with(rows, 1e300), "too large for float32"),
    "one axis": (lambda rows: rows[:, 0], "the shape (60,)"),
    "three axes": (lambda rows: rows[:, None], "--patches"),
    "no rows": (lambda rows: rows[:0], "the shape (0, 4)"),
    "no columns": (lambda rows: rows[:, :0], "the shape (60, 0)"),
    "scalar": (lambda rows: rows[0, 0], "the shape ()"),
    "text": (lambda rows: rows.astype(str), "not a numeric one"),
    "complex": (lambda rows: rows + 1j, "complex"),
    "objects": (lambda rows: rows.astype(object), "pickled Python objects"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_a_file_that_holds_no_embeddings_is_refused(rows: np.ndarray, initpools: Initpools, kind: str) -> None:
    change, message = BAD_ARRAYS[kind]
    np.save("bad.npy", change(rows), allow_pickle=True)
    refused = initpools("embed", "bad.npy")
    assert refused.code == 2 and "bad.npy" in refused.err and message in refused.err, refused.err
    assert not Path("runs").exists()


def test_files_of_other_formats_are_refused_by_name(rows: np.ndarray, initpools: Initpools) -> None:
    assert {*READERS}.isdisjoint(UNREAD)
    np.savez("archive.npz", rows)
    Path("cut.npy").write_bytes(Path("feats.npy").read_bytes()[:-8])
    Path("archive.npy").write_bytes(Path("archive.npz").read_bytes())
    Path("folder.npy").mkdir()
    for suffix in UNREAD:
        with pytest.raises(UserError, match=rf"There is no file none\{suffix}"):
            refuse_other_file(f"none{suffix}")
    for file, message in (
        ("none.npy", "There is no file none.npy"),
        ("none.pkl", "numpy.save"),
        ("cut.npy", "numpy.save"),
        ("archive.npy", "numpy.save"),
        ("folder.npy", "folder.npy is a folder without files of embeddings"),
    ):
        refused = initpools("embed", file)
        assert refused.code == 2 and file in refused.err, refused.err
        assert message in refused.err, refused.err
    for name in ("", "simclr", "resnet18", "timm/vit_small_patch14_dinov2.lvd142m"):
        refuse_other_file(name)
    assert not Path("runs").exists()
    for words, message in (
        (["embed", "pca", "--ids", "ids.txt", "--dataset", "digits"], "--ids ids.txt needs a file of embeddings"),
        (["embed", "feats.npy", "--weights", "w.pth"], "--weights has no effect"),
        (["embed", "feats.npy", "--set", "embed.patches=true"], "embed.patches has no effect"),
        (["embed", "feats.npy", "--set", "dataset.size=32"], "dataset.size = 32 has no effect"),
        (["embed", "feats.npy", "--set", "dataset.labels=folders"], "is not a folder of images"),
        (["embed", "feats.npy", "--set", "dataset.labels=none.csv"], "none.csv (dataset.labels)"),
        (["embed", "pca", "--dataset", "digits", "--set", "dataset.ids=ids.txt"], "dataset.ids"),
    ):
        refused = initpools(*words)
        assert refused.code == 2 and message in refused.err, refused.err
    assert not Path("runs").exists()


BAD_IDS = {
    "repeated": ([*IDS[:-1], IDS[4]], "more than once: photos/04.jpg (line 5 and line 60)"),
    "repeated in part": ([*IDS[:-1], "04.jpg"], "photos/04.jpg and 04.jpg (line 5 and line 60)"),
    "unknown": ([*IDS[:-1], "other.jpg"], "line 60: other.jpg is not an image"),
    "too few": (IDS[:-1], "59 ids for 60 rows"),
    "too many": ([*IDS, "more.jpg"], "61 ids for 60 rows"),
    "empty": ([*IDS[:5], " ", *IDS[6:]], "line 6 has no id"),
    "control": ([*IDS[:-1], "a\x01.jpg"], "'\\x01'"),
    "index": (["60", *map(str, range(1, N))], "the index 60, but there are 60 train images"),
}


@pytest.mark.parametrize("kind", BAD_IDS)
def test_ids_that_repeat_or_name_no_image_are_named(rows: np.ndarray, initpools: Initpools, kind: str) -> None:
    lines, message = BAD_IDS[kind]
    Path("bad.txt").write_text("\n".join(lines))
    if kind in ("repeated", "too few", "too many", "empty", "control"):
        refused = initpools("embed", "feats.npy", "--ids", "bad.txt")
        assert refused.code == 2 and message in refused.err, refused.err
        assert not Path("runs").exists()
    assert initpools("embed", "feats.npy", "--ids", "ids.txt").code == 0
    refused = initpools("embed", "feats.npy", "--ids", "bad.txt")
    assert refused.code == 2 and message in refused.err, refused.err


def test_ids_must_cover_all_images(rows: np.ndarray, initpools: Initpools) -> None:
    assert initpools("embed", "feats.npy", "--ids", "ids.txt").code == 0
    np.save("few.npy", rows[3:])
    Path("few.txt").write_text("\n".join(IDS[3:]))
    lacking = initpools("embed", "few.npy", "--ids", "few.txt")
    assert lacking.code == 2 and "lacks 3 of the 60 train images: photos/00.jpg, photos/01.jpg" in lacking.err
    table = "bad.csv"
    write_table(table, ("name",), [(name,) for name in IDS])
    assert "no column 'path', 'id' or 'index', only name" in initpools("embed", "feats.npy", "--ids", table).err
    write_table(table, ("index",), [(row + 1,) for row in range(N)])
    counted = initpools("embed", "feats.npy", "--ids", table, "--run", "other")
    assert counted.code == 2 and "has 60, not an index from 0 to 59" in counted.err and not Path("other").exists()


def test_what_needs_images_says_so(rows: np.ndarray, initpools: Initpools) -> None:
    assert initpools("embed", "feats.npy", "--ids", "ids.txt", "--set", "dataset.labels=labels.csv").code == 0
    assert initpools("select-pool", "random", "--budget", 5).code == 0
    of_pixels = [each.name for each in learners if {"images", "encoder"} & {*each.inputs}]
    assert of_pixels
    commands = [
        *(["pretrain", name] for name in ("simclr", "scan")),
        *(["embed", source] for source in ("pca", "resnet18")),
        *(["al-run", "--learner", name] for name in of_pixels),
        *(["score", name] for name in ("simclr", "el2n")),
        ["select-pool", "typiclust", "--budget", 3, "--export", "copies=out"],
        ["al-run", "--query", "vaal"],
        ["select-pool", "rotation", "--budget", 3],
        ["rank", "margin"],
        ["label", "--no-browser"],
        ["plot", "gallery"],
    ]
    for words in commands:
        refused = initpools(*words)
        assert refused.code == 2, words
        assert "needs images, and" in refused.err and "feats.npy has only embeddings" in refused.err, refused.err
    assert "--probs FILE.npy" in initpools("rank", "margin").err
    assert "`initpools al-run --labels FILE.csv`" in initpools("label", "--no-browser").err
    assert "Pass them with --clusters" in initpools("select-pool", "scan", "--budget", 3).err
    other = initpools("al-run", "--set", "dataset.labels=numbers.csv")
    assert other.code == 2 and "--run DIR" in other.err
