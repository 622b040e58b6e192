"""Label files as they come: every format says the same, one bad row costs itself alone, nothing is guessed silently."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.annotations.check import read_annotations, validate
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.classes import KnownClasses

PATHS = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/ü, 3.jpg", "b/ 4 .jpg"]
LABELS = ["cat", "dog", "cat", "dog", "cat"]


@pytest.fixture
def items(tmp_path: Path) -> pd.DataFrame:
    """Five images in a folder, the last line one of the test split."""
    (tmp_path / "photos").mkdir()
    sums = []
    for number, path in enumerate([*PATHS, "t/9.jpg"]):
        file = tmp_path / "photos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number * 20, np.uint8)).save(file)
        sums.append(hashlib.sha256(file.read_bytes()).hexdigest())
    split = ["train"] * len(PATHS) + ["test"]
    return pd.DataFrame({"index": [0, 1, 2, 3, 4, 0], "path": [*PATHS, "t/9.jpg"], "split": split, "sha256": sums})


def _table(separator: str = ",", end: str = "\n", change: Callable[[str], str] = str) -> str:
    rows = [["order", "path", "label"]]
    rows += [[str(order), change(path), label] for order, (path, label) in enumerate(zip(PATHS, LABELS, strict=True))]
    return end.join(separator.join(f'"{cell}"' for cell in row) for row in rows) + end


def _studio(path: str, label: str, **more: object) -> dict[str, object]:
    return {
        "id": 7,
        "data": {"image": f"/data/local-files/?d=photos/{path}", **more},
        "annotations": [{"was_cancelled": False, "result": [{"type": "choices", "value": {"choices": [label]}}]}],
    }


def _cvat() -> str:
    tags = zip(PATHS, LABELS, strict=True)
    images = "".join(f'<image id="7" name="{path}"><tag label="{label}"/></image>' for path, label in tags)
    return f"<annotations><version>1.1</version>{images}</annotations>"


SAME = {
    "plain.csv": _table().encode(),
    "semicolons, Windows line ends, and Excel's mark.csv": _table(";", "\r\n").encode("utf-8-sig"),
    "tabs.tsv": _table("\t").encode(),
    "Excel's first line.csv": b"sep=;\r\n" + _table(";", "\r\n").encode(),
    "UTF-16.csv": _table().encode("utf-16"),
    "Windows-1252.csv": _table().encode("cp1252"),
    "Windows paths.csv": _table(change=lambda path: path.replace("/", "\\")).encode(),
    "absolute Windows paths.csv": _table(change=lambda path: "C:\\photos\\" + path.replace("/", "\\")).encode(),
    "paths of another machine.csv": _table(change=lambda path: f"/home/ann/photos/{path}").encode(),
    "a blank line first.csv": b"\r\n" + _table(";", "\r\n").encode(),
    "Excel's first line, an old Mac's line ends.csv": b"sep=;\r" + _table(";", "\r").encode(),
    "Excel's first line with tabs.csv": b"sep=\t\r\n" + _table("\t", "\r\n").encode(),
    "separators inside a name.csv": ('order,path,label,"a; b; c; d"\n' + _table().partition("\n")[2]).encode(),
    "accents of macOS.csv": _table(change=lambda path: path.replace("ü", "u\u0308")).encode(),
    "Label Studio.json": json.dumps([_studio(p, c) for p, c in zip(PATHS, LABELS, strict=True)]).encode(),
    "Label Studio's short form.json": json.dumps(
        [{"image": p, "choice": c} for p, c in zip(PATHS, LABELS, strict=True)]
    ).encode(),
    "CVAT.xml": _cvat().encode(),
}


@pytest.mark.parametrize("name", SAME)
def test_every_format_says_the_same(name: str, items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SAME[name])
    read = read_annotations(tmp_path / name, items, KnownClasses())
    assert read.problems == [] and read.rows.tolist() == [0, 1, 2, 3, 4]
    assert read.labels == LABELS
    assert bool(read.notes) == ("1252" in name)


def test_an_archive_and_a_folder_per_class_say_the_same(items: pd.DataFrame, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cvat.zip", "w") as archive:
        archive.writestr("annotations.xml", _cvat())
    for number, (path, label) in enumerate(zip(PATHS, LABELS, strict=True)):
        # As an export of copies names them: they are known by their content.
        target = tmp_path / "sorted" / label / f"{number:02d}-renamed.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tmp_path / "photos" / path).read_bytes())
    (tmp_path / "sorted/notes.txt").write_text("mine")
    for source in ("cvat.zip", "sorted"):
        read = read_annotations(tmp_path / source, items, KnownClasses())
        assert read.problems == [] and read.rows.tolist() == [0, 1, 2, 3, 4] and read.labels == LABELS
    assert "1 files in" in read.notes[0]


def test_a_link_to_an_image_that_is_gone_is_told(items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "sorted" / "cat").mkdir(parents=True)
    (tmp_path / "sorted" / "cat" / "0-0-1.jpg").symlink_to(tmp_path / "photos" / "a" / "1.jpg")
    (tmp_path / "sorted" / "cat" / "1-1-2.jpg").symlink_to(tmp_path / "gone.jpg")
    read = read_annotations(tmp_path / "sorted", items, KnownClasses())
    assert read.rows.tolist() == [0]
    assert [str(problem) for problem in read.problems] == ["cat/1-1-2.jpg: 1-1-2.jpg is a broken link"]


def test_a_folder_per_class_of_an_array_is_known_by_its_pixels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 5, 5, 1), dtype=np.uint8)
    items = pd.DataFrame(
        {
            "index": range(4),
            "path": "",
            "split": "train",
            "sha256": [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images],
        }
    )
    for number, image in enumerate(images):
        file = tmp_path / "sorted" / str(number % 2) / f"x{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(file)
    read = read_annotations(tmp_path / "sorted", items, KnownClasses(("zero", "one")))
    assert read.rows.tolist() == [0, 1, 2, 3] and read.labels == ["zero", "one", "zero", "one"]


def test_an_exported_copy_is_known_by_its_name(items: pd.DataFrame) -> None:
    names = ["00-2-1.jpg", "01-3-ü, 3.jpg", "task/02-0-1.jpg", "03-1-1.jpg", "04-9-1.jpg", "05-1.png"]
    matches = find([Row("", name) for name in names], items)
    assert matches[:3] == [2, 3, 0] and all(isinstance(each, str) for each in matches[3:])
    arrays = items.assign(path="")
    assert find([Row("", "05-1.png"), Row("", "05-1-1.jpg")], arrays)[0] == 1


WRONG = [
    ("nope.jpg,cat", "is not an image of the data set"),
    ("c/1.jpg,cat", "is not an image of the data set"),
    ("1.jpg,cat", "matches 2 images: a/1.jpg, b/1.jpg"),
    ("t/9.jpg,cat", "is in the test split"),
    (",cat", "has neither a path nor an index"),
    ("a/1.jpg,bird", "has the label 'bird', which is not a class: cat, dog"),
    ("a/1.jpg,catt", "has the label 'catt', which is not a class (did you mean 'cat'?)"),
    ("a/1.jpg,c\x07t", "has a label with control characters"),
    (f"a/1.jpg,{'c' * 101}", "has a label of 101 characters, but at most 100 are allowed"),
    ("a/1.jpg,cat,really", "has 3 cells, but the header has 2: quote cells that contain a separator"),
]


@pytest.mark.parametrize(("line", "why"), WRONG, ids=[line for line, _ in WRONG])
def test_a_bad_row_is_told_with_its_line_and_the_good_ones_are_kept(
    line: str, why: str, items: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "l.csv").write_text(f"path,label\na/2.jpg,dog\n\n{line}\nb/1.jpg,cat\n")
    read = read_annotations(tmp_path / "l.csv", items, KnownClasses(("cat", "dog")))
    assert [(problem.place, problem.problem) for problem in read.problems] == [("line 4", why)]
    assert read.rows.tolist() == [1, 2] and read.labels == ["dog", "cat"]
    assert read.notes == []


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        # Of classes that are called by numbers, none is meant by its place.
        (("1", "2", "3"), ["0", "1", "3"], {1: "1", 2: "3"}),
        (("cat", "dog"), ["0", "1.0", "2"], {0: "cat", 1: "dog"}),
        (("caf\u00e9", "big dog"), ["caf\u00e9", "big dog", "cafe"], {0: "caf\u00e9", 1: "big dog"}),
        (("3", "cat"), ["3.0", " 3 ", "03"], {0: "3", 1: "3"}),
        (("03", "4"), ["3.0", "+3", "4e0"], {0: "03", 1: "03", 2: "4"}),
    ],
)
def test_a_class_is_known_by_what_people_read(
    classes: tuple[str, ...], names: list[str], expected: dict[int, str], items: pd.DataFrame
) -> None:
    rows = [
        Row(f"line {number}", path, label=label) for number, (path, label) in enumerate(zip(PATHS, names, strict=False))
    ]
    read = validate(rows, items, KnownClasses(classes), None)
    assert dict(zip(read.rows.tolist(), read.labels, strict=True)) == expected
    assert len(read.problems) == len(names) - len(expected)


def test_many_labels_of_one_image_are_told_in_few_words(items: pd.DataFrame) -> None:
    read = validate([Row("line", PATHS[0], label=f"c{number}") for number in range(2000)], items, KnownClasses(), None)
    assert len(read.problems) == 2000
    assert read.problems[0].problem == "has different labels in this file: c0, c1, c2, c3, c4 and 1995 more"


@pytest.mark.parametrize(
    "task",
    [
        {"annotations": [1]},
        {"annotations": "cat"},
        {"annotations": {"a": 1}},
        {"annotations": [{"result": 1}]},
        {"annotations": [{"result": [1, {"value": None}, {"value": {"choices": None}}]}]},
    ],
)
def test_a_task_that_is_built_otherwise_has_no_label(
    task: dict[str, object], items: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "l.json").write_text(json.dumps([{"data": {"image": "a/1.jpg"}, **task}, _studio("a/2.jpg", "cat")]))
    read = read_annotations(tmp_path / "l.json", items, KnownClasses())
    assert (read.rows.tolist(), read.labels, read.empty) == ([1], ["cat"], 1)


def test_what_utf_8_can_not_say_is_told_in_what_it_can(items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(json.dumps([{"path": "a/1.jpg", "label": "\ud800"}, {"path": "\ud800"}]))
    read = read_annotations(tmp_path / "l.json", items, KnownClasses())
    assert len(read.problems) == 2 and not len(read.rows)
    assert all("".join(problem).encode() for problem in read.problems)


def test_an_archive_that_can_not_be_opened_is_refused(items: pd.DataFrame, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.writestr("a.xml", "<annotations/>")
    content = bytearray((tmp_path / "l.zip").read_bytes())
    # The flag of encryption, in both headers.
    for at in (6, content.find(b"PK\x01\x02") + 8):
        content[at] |= 1
    (tmp_path / "l.zip").write_bytes(content)
    with pytest.raises(UserError, match="encrypted"):
        read_annotations(tmp_path / "l.zip", items, KnownClasses())


def test_an_index_that_is_not_that_of_the_path_is_told(items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "index,path,label\n0,a/2.jpg,cat\n2.0,,cat\n7,,dog\nx,,dog\n4, b/ 4 .jpg ,dog\n" + "9" * 5000 + ",,dog\n"
    )
    read = read_annotations(tmp_path / "l.csv", items, KnownClasses())
    assert [problem.problem for problem in read.problems] == [
        "has index 1, but the row has index 0",
        "has the index 7, but there are 5 train images",
        "has the index 'x', which is not an integer",
        f"has the index {'9' * 5000}, but there are 5 train images",
    ]
    assert read.rows.tolist() == [2, 4]


def test_skipped_is_not_empty_and_a_task_of_two_annotators_may_conflict(items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label,skipped\na/1.jpg,,yes\na/2.jpg,,\nb/1.jpg,cat,\n")
    read = read_annotations(tmp_path / "l.csv", items, KnownClasses())
    assert (read.skipped.tolist(), read.empty, read.rows.tolist()) == ([0], 1, [2])
    tasks = [_studio("a/1.jpg", "cat"), _studio("a/2.jpg", "dog"), _studio("b/1.jpg", "cat")]
    tasks[0]["annotations"].append(_studio("", "dog")["annotations"][0])  # type: ignore[attr-defined, index]
    tasks[1]["annotations"][0]["was_cancelled"] = True  # type: ignore[index]
    tasks[2]["annotations"][0]["result"][0]["value"]["choices"].append("dog")  # type: ignore[index]
    tasks[2]["data"]["image"] = "/data/upload/3/0123abcd-1.jpg"  # type: ignore[index]
    (tmp_path / "l.json").write_text(json.dumps(tasks))
    read = read_annotations(tmp_path / "l.json", items, KnownClasses())
    assert read.skipped.tolist() == [1] and not len(read.rows)
    assert [str(problem) for problem in read.problems] == [
        "task 1: /data/local-files/?d=photos/a/1.jpg has different labels in this file: cat, dog",
        "task 1: /data/local-files/?d=photos/a/1.jpg has different labels in this file: cat, dog",
        "task 3: /data/upload/3/0123abcd-1.jpg has 2 labels: cat, dog",
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.csv", b"", "it is empty"),
        ("l.csv", b"\x89PNG\0\0", "it contains NUL bytes"),
        ("l.csv", b'path,label\n"a', "can't be read as a table"),
        ("l.csv", b"name,label\na,b\n", "has neither a column 'index' nor 'path', only name, label"),
        ("l.csv", b"path,what\na,b\n", "has no column 'label', only path, what"),
        ("l.json", b"{", "is not an export of tasks"),
        ("l.json", b'{"a": 1}', "it is not a list of tasks"),
        ("l.json", b'[{"data": {"text": "hello"}}]', "no task names its image"),
        ("l.csv", b"sep=ab\npath,label\n", "has neither a column 'index' nor 'path', only sep=ab"),
        ("l.xml", b'<?xml version="1.0" encoding="no"?><annotations/>', "is not an export of CVAT: unknown encoding"),
        ("l.xml", b"<a>", "is not an export of CVAT"),
        ("l.xml", b"<a/>", "it starts with <a>, not <annotations>"),
        ("l.xls", b"", "has an unsupported format"),
    ],
)
def test_what_is_no_file_of_labels_is_refused(
    name: str, content: bytes, says: str, items: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"l\.") as refused:
        read_annotations(tmp_path / name, items, KnownClasses())
    assert says in refused.value.fact


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "x"]), st.sampled_from(["", "cat", "dog"])), max_size=12))
def test_what_is_kept_is_what_a_plain_reading_keeps(entries: list[tuple[str, str]]) -> None:
    items = pd.DataFrame({"index": [0, 1, 2], "path": list("abc"), "split": "train", "sha256": list("123")})
    rows = [Row(f"line {number}", path, label=label) for number, (path, label) in enumerate(entries)]
    read = validate(rows, items, KnownClasses(), None)
    by_image = {path: {label for other, label in entries if other == path and label} for path in "abc"}
    good = {"abc".index(path): labels.pop() for path, labels in by_image.items() if len(labels) == 1}
    assert dict(zip(read.rows.tolist(), read.labels, strict=True)) == good
    wrong = [
        path == "x" or (label != "" and len({o for p, o in entries if p == path and o}) > 1) for path, label in entries
    ]
    assert [problem.place for problem in read.problems] == [f"line {i}" for i, bad in enumerate(wrong) if bad]
    assert read.empty == sum(path != "x" and not label for path, label in entries)
