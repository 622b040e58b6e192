"""What a pool is handed over as: every kind read back, names that bite, somebody's folders, images that are gone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.core.output_folders import copy_of, file_of, link_to, refuse_used, write_folder
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.spreadsheet import unescaped
from initpools_cli.datasets.annotations.table import read as read_table
from initpools_cli.reporting.export import read_exports
from initpools_cli.reporting.exports.data import file_names
from initpools_cli.reporting.pool_table import write_pool

NAMES = [
    "a/same.png", "b/same.png", "b/deep/same.png", "with space & 'quotes' \".png", "<script>alert(1)</script>.png",
    "100% +#?=.png", "ünï/日本語.png", "a/line\nbreak.png", "=1+1,;.png", f"{'long' * 62}.png", "no ending",
    "back\\slash.png",
]  # fmt: skip
#: Folders that a pool without labels is exported to.
POOL_FOLDERS = ("fiftyone", "links", "copies", "imagefolder")
POOL = ("select-pool", "kcenter", "--budget", len(NAMES), "--threads", 1)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A folder of images with names of every kind, in the current folder, and a run with embeddings of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in NAMES:
        file = tmp_path / "photos & more" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(file, "PNG")
    assert initpools("embed", "pixels", "--dataset", "photos & more", "--threads", 1).code == 0
    return tmp_path / "photos & more"


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A run of the digits with embeddings; its folder is the current one."""
    monkeypatch.chdir(tmp_path)
    assert initpools("embed", "pca", "--dataset", "digits", "--threads", 1).code == 0
    return tmp_path


def picks(run: str) -> pd.DataFrame:
    return pd.read_csv(next(Path("runs", run, "pool").glob("*/items.csv")), keep_default_na=False)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---- tables


def test_tables_give_every_value_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = 50
    rows = pd.DataFrame(
        {
            "order": np.arange(count),
            "index": rng.permutation(count),
            "path": [NAMES[i % len(NAMES)] for i in range(count)],
            "label": [f"class {i % 3}" for i in range(count)],
            "score": rng.normal(size=count) * 10.0 ** rng.integers(-12, 12, count),
            "cluster": pd.array([pd.NA, *range(count - 1)], dtype="Int64"),
        }
    )
    for ending in ("npy", "csv", "json"):
        write_pool(rows, tmp_path / f"p.{ending}")
    table = pd.read_csv(tmp_path / "p.csv").astype({"cluster": "Int64"})
    # What a spreadsheet would run is written as text; `initpools` reads it as it was.
    table["path"] = table["path"].map(unescaped)
    assert [row.path for row in read_table(tmp_path / "p.csv", "--labels")[0]] == rows["path"].tolist()
    records = json.loads((tmp_path / "p.json").read_text())
    assert (tmp_path / "p.json").read_bytes().isascii()
    pd.testing.assert_frame_equal(table, rows, check_exact=True)
    pd.testing.assert_frame_equal(pd.DataFrame(records).astype({"cluster": "Int64"}), rows, check_exact=True)
    assert records[0]["cluster"] is None and records[1]["cluster"] == 0
    write_pool(rows.assign(score=np.inf), tmp_path / "p.json")
    assert {row["score"] for row in json.loads((tmp_path / "p.json").read_text())} == {None}
    assert np.load(tmp_path / "p.npy").tolist() == rows["index"].tolist()


def test_tables_name_paths_of_folders_and_indices_without_a_run(photos: Path, initpools: Initpools) -> None:
    assert initpools(*POOL, "-o", "p.json").code == 0 and initpools(*POOL, "-o", "p.csv").code == 0
    records, table = json.loads(Path("p.json").read_text()), pd.read_csv("p.csv")
    assert sorted(row["path"] for row in records) == sorted(map(unescaped, table["path"])) == sorted(NAMES)
    assert [row["index"] for row in records] == table["index"].tolist()
    np.save("emb.npy", np.random.default_rng(0).normal(size=(30, 4)))
    alone = ("select-pool", "typiclust", "--budget", 5, "--embeddings", "emb.npy", "--threads", 1)
    for ending in ("csv", "json"):
        assert initpools(*alone, "-o", f"alone.{ending}").code == 0
    records, table = json.loads(Path("alone.json").read_text()), pd.read_csv("alone.csv")
    assert [row["index"] for row in records] == table["index"].tolist() and {row["path"] for row in records} == {""}
    assert [row["score"] for row in records] == table["score"].tolist()
    assert [row["cluster"] for row in records] == table["cluster"].tolist()
    refused = initpools(*alone, "--export", "copies=c")
    assert refused.code == 2 and "--run DIR" in refused.err and not Path("c").exists()


# ---- folders of images


def test_label_studio_finds_every_image_of_a_folder(photos: Path, initpools: Initpools) -> None:
    ended = initpools(*POOL, "--export", "label-studio=tasks.json")
    assert ended.code == 0 and ended.out.split() == [str(Path("tasks.json").resolve())]
    assert f"LOCAL_FILES_DOCUMENT_ROOT={photos.parent}" in ended.err
    tasks, rows = json.loads(Path("tasks.json").read_text()), picks("photos & more")
    assert [task["data"]["index"] for task in tasks] == rows["index"].tolist()
    assert [task["data"]["path"] for task in tasks] == rows["path"].tolist()
    for task in tasks:
        address = urlsplit(task["data"]["image"])
        assert address.path == "/data/local-files/" and not address.fragment
        query = parse_qs(address.query, strict_parsing=True)
        assert photos.parent / query["d"][0] == photos / task["data"]["path"]
    assert all(set(task["meta"]) == {"pool", "order", "score", "represents"} for task in tasks[1:])
    # The first has no distance to any other.
    assert "score" not in tasks[0]["meta"]
    assert tasks[3]["meta"] == {"pool": "kcenter-b12-s0", "order": 3, "score": rows["score"][3], "represents": 1}


def test_the_address_of_images_can_be_given(photos: Path, initpools: Initpools) -> None:
    ended = initpools(*POOL, "--export", "label-studio=t.json", "--image-url", "https://host/x y/")
    images = [task["data"]["image"] for task in json.loads(Path("t.json").read_text())]
    assert "https://host/x y/100%25%20%2B%23%3F%3D.png" in images and "LOCAL_FILES" not in ended.err
    refused = initpools(*POOL, "--image-url", "https://host/")
    assert refused.code == 2 and "--export label-studio=FILE.json" in refused.err


def test_fiftyone_gets_files_fields_and_a_tag(photos: Path, initpools: Initpools) -> None:
    assert initpools(*POOL, "--export", "fiftyone=fo").code == 0
    assert tree(Path("fo")) == ["samples.json"]
    samples, rows = json.loads(Path("fo/samples.json").read_text())["samples"], picks("photos & more")
    assert [sample["filepath"] for sample in samples] == [str(photos / path) for path in rows["path"]]
    assert all(Path(sample["filepath"]).is_file() for sample in samples)
    assert {tuple(sample["tags"]) for sample in samples} == {("kcenter-b12-s0",)}
    assert [sample["score"] for sample in samples] == [None, *rows["score"][1:]]
    assert {sample["_media_type"] for sample in samples} == {"image"}
    assert [sample["order"] for sample in samples] == list(range(12)) and "ground_truth" not in samples[0]


@pytest.mark.parametrize("kind", ["links", "copies"])
def test_a_folder_holds_every_pick_in_order_of_choice(kind: str, photos: Path, initpools: Initpools) -> None:
    Path("out").mkdir()
    assert initpools(*POOL, "--export", f"{kind}=out").code == 0
    rows, names = picks("photos & more"), tree(Path("out"))
    assert [name.split("-")[:2] for name in names] == [
        [f"{order:02}", f"{index:02}"] for order, index in zip(rows["order"], rows["index"], strict=True)
    ]
    for name, path in zip(names, rows["path"], strict=True):
        assert (Path("out") / name).read_bytes() == (photos / path).read_bytes()
        assert (Path("out") / name).is_symlink() is (kind == "links")
        assert len(os.fsencode(name)) <= 255 and Path(name).suffix == Path(path).suffix
    assert list(Path().glob(".*")) == []
    umask = os.umask(0)
    os.umask(umask)
    assert Path("out").stat().st_mode & 0o777 == 0o777 & ~umask


def test_with_copies_everything_else_points_to_them(photos: Path, initpools: Initpools) -> None:
    options = [
        "--export",
        "label-studio=hand/tasks.json",
        "--export",
        "copies=hand/images",
        "--export",
        "fiftyone=hand/fo",
    ]
    ended = initpools(*POOL, *options, "-o", "hand/pool.csv")
    assert ended.code == 0 and len(ended.out.split()) == 4
    tasks = json.loads(Path("hand/tasks.json").read_text())
    samples = json.loads(Path("hand/fo/samples.json").read_text())["samples"]
    names = tree(Path("hand/images"))
    root = Path("hand").resolve()
    assert [sample["filepath"] for sample in samples] == [str(root / "images" / name) for name in names]
    paths = [parse_qs(urlsplit(task["data"]["image"]).query)["d"][0] for task in tasks]
    assert paths == [f"images/{name}" for name in names] and f"LOCAL_FILES_DOCUMENT_ROOT={root}" in ended.err


# ---- arrays


def test_arrays_are_copied_as_png_and_others_point_to_the_copies(digits: Path, initpools: Initpools) -> None:
    pool = ("select-pool", "kcenter", "--budget", 11, "--threads", 1)
    for kind in ("label-studio=t.json", "fiftyone=fo", "links=l"):
        refused = initpools(*pool, "--export", kind)
        assert refused.code == 2 and "--export copies=DIR" in refused.err
    assert not any(map(os.path.exists, ("t.json", "fo", "l")))
    options = [
        word for kind in ("label-studio=t.json", "links=l", "fiftyone=fo", "copies=c") for word in ("--export", kind)
    ]
    assert initpools(*pool, *options, "--with-labels").code == 0
    from sklearn.datasets import load_digits

    truth, rows = load_digits(), picks("digits")
    names = [f"{order:02}-{index:04}.png" for order, index in zip(rows["order"], rows["index"], strict=True)]
    assert tree(Path("c")) == tree(Path("l")) == names
    scaled = np.asarray(Image.open(f"c/{names[0]}")).astype(float)
    image = truth.images[rows["index"][0]]
    assert scaled.shape == (8, 8) and np.corrcoef(scaled.ravel(), image.ravel())[0, 1] > 0.999
    assert Path("l", names[0]).read_bytes() == Path("c", names[0]).read_bytes()
    samples = json.loads(Path("fo/samples.json").read_text())["samples"]
    assert [sample["filepath"] for sample in samples] == [str(digits / "c" / name) for name in names]
    labels = [sample["ground_truth"] for sample in samples]
    assert labels == [{"_cls": "Classification", "label": str(truth.target[index])} for index in rows["index"]]
    tasks = json.loads(Path("t.json").read_text())
    assert tasks[0]["data"] == {
        "image": f"/data/local-files/?d=c/{names[0]}", "index": int(rows["index"][0]), "path": "",
    }  # fmt: skip
    assert tasks[0]["meta"]["label"] == labels[0]["label"]


# ---- again, and what is somebody's


def test_again_changes_nothing_and_what_is_there_is_never_overwritten(photos: Path, initpools: Initpools) -> None:
    options = [word for kind in POOL_FOLDERS for word in ("--export", f"{kind}={kind}")]
    assert initpools(*POOL, *options).code == 0
    stamps = {path: path.lstat().st_mtime_ns for kind in POOL_FOLDERS for path in Path(kind).rglob("*")}
    again = initpools(*POOL, *options)
    assert again.code == 0 and again.err.count("already exists") == 4
    assert {path: path.lstat().st_mtime_ns for kind in POOL_FOLDERS for path in Path(kind).rglob("*")} == stamps


@pytest.mark.parametrize("kind", POOL_FOLDERS)
def test_what_somebody_keeps_in_a_folder_is_never_overwritten(kind: str, photos: Path, initpools: Initpools) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    refused = initpools(*POOL, "--export", "label-studio=t.json", "--export", f"{kind}=mine", "-o", "p.csv")
    assert refused.code == 2 and "contains 'notes.txt'" in refused.err and "Name a new folder" in refused.err
    assert tree(Path("mine")) == ["notes.txt"] and not Path("t.json").exists() and not Path("p.csv").exists()


def test_images_that_are_gone_are_named_before_anything_is_written(photos: Path, initpools: Initpools) -> None:
    assert initpools(*POOL).code == 0
    (photos / "a/same.png").unlink()
    (photos / "100% +#?=.png").unlink()
    for kind in ("label-studio=t.json", *(f"{folder}=out" for folder in POOL_FOLDERS)):
        refused = initpools(*POOL, "--export", kind, "-o", "p.csv")
        assert refused.code == 2 and "2 images to export can't be read" in refused.err
        assert "a/same.png" in refused.err and "100% +#?=.png" in refused.err
    assert not any(map(os.path.exists, ("t.json", "out", "p.csv")))


def test_images_are_not_put_among_those_to_choose_from(photos: Path, initpools: Initpools) -> None:
    refused = initpools(*POOL, "--export", "copies=photos & more/picked")
    assert refused.code == 2 and "Name a folder outside it" in refused.err and not (photos / "picked").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["label_studio=t.json"], "Did you mean 'label-studio'?"),
        (["copy=c"], "Did you mean 'copies'?"),
        (["nothing"], "initpools list exports"),
        (["links"], "--export links=PATH"),
        (["links="], "--export links=PATH"),
        (["label-studio=t.csv"], "label-studio=FILE.json"),
        (["label-studio=there.json"], "the name of a file"),
        (["copies=file"], "the name of a folder"),
        (["copies=a", "links=./a"], "a path of its own"),
        (["copies=a", "label-studio=a/t.json"], "a path of its own"),
        (["label-studio=o.json"], "a path of its own"),
    ],
)
def test_slips_are_told_before_anything_is_computed(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").mkdir()
    Path("file").touch()
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        read_exports(options, Path("o.json"))


def test_the_help_names_the_usual_kinds(initpools: Initpools) -> None:
    text = " ".join(initpools("select-pool", "--help").out.replace("│", " ").split())
    assert all(f"{kind}=" in text for kind in ("label-studio", "fiftyone", "links", "copies"))


# ---- folders


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "f", {"a": file_of(lambda: b"a"), "b": file_of(fails)}, Reporter(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_where_links_are_not_to_be_had_copies_are_the_remedy(tmp_path: Path) -> None:
    """A name that a link can't take stands for a file system or a Windows that gives none."""
    with pytest.raises(UserError, match="`copies`"):
        write_folder(tmp_path / "f", {"x" * 300: link_to(tmp_path)}, Reporter(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_only_the_very_same_files_are_taken_for_done(tmp_path: Path) -> None:
    content = {"a": file_of(lambda: b"a"), "b": file_of(lambda: b"b")}
    write_folder(tmp_path / "f", content, Reporter(quiet=True))
    refuse_used(tmp_path / "f", content)
    with pytest.raises(UserError, match="contains 'b'"):
        refuse_used(tmp_path / "f", {"a": content["a"]})
    with pytest.raises(UserError, match="2 of the 3 files"):
        refuse_used(tmp_path / "f", {**content, "c": content["a"]})
    (tmp_path / "f/a").write_bytes(b"mine")
    with pytest.raises(UserError, match="contains 'a'"):
        refuse_used(tmp_path / "f", content)


def test_a_link_is_no_copy_and_a_copy_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"i")
    link, copy = link_to(tmp_path / "image"), copy_of(tmp_path / "image")
    for name, one, other in (("l", link, copy), ("c", copy, link)):
        write_folder(tmp_path / name, {"image": one}, Reporter(quiet=True))
        refuse_used(tmp_path / name, {"image": one})
        with pytest.raises(UserError, match="contains 'image'"):
            refuse_used(tmp_path / name, {"image": other})


@pytest.mark.slow
def test_ten_thousand_links_take_seconds(tmp_path: Path) -> None:
    count = 10_000
    rows = pd.DataFrame(
        {"order": range(count), "index": range(count), "path": ["sub/" * (i % 3) + "x.jpg" for i in range(count)]}
    )
    start = time.process_time()
    names = file_names(rows, count)
    content = {name: link_to(tmp_path / "x.jpg") for name in names}
    write_folder(tmp_path / "links", content, Reporter(quiet=True))
    refuse_used(tmp_path / "links", content)
    assert time.process_time() - start < 5
    assert sorted(names) == names and len(tree(tmp_path / "links")) == count
