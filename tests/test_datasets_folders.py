"""Data sets that come as folders: every kind of file, labels, and what happens when the folder changes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.wording import named
from initpools_cli.datasets.classes import in_order
from initpools_cli.datasets.decode import square
from initpools_cli.datasets.files import list_files
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.spec import Dataset, DatasetSpec
from initpools_cli.datasets.to_uint8 import UPRIGHT
from initpools_cli.steps.user_files import images_of_table

QUIET = Reporter(quiet=True)


def opened(folder: Path, cache: Path, items: pd.DataFrame | None = None, **facts: object) -> Dataset:
    spec = DatasetSpec(str(folder), **{"size": 16, **facts})
    return open_dataset(spec, seed=0, cache=cache, report=QUIET, stored_items=items)


def through_csv(items: pd.DataFrame) -> pd.DataFrame:
    """The items as a run reads them back."""
    text = items.to_csv(index=False)
    types = {"path": str, "class": str, "sha256": str}
    table = pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False, na_values={"label": [""]})
    return table.astype({"label": "Int64"})


def photo(file: Path, value: int = 0, mode: str = "RGB", size: tuple[int, int] = (20, 18), **save: object) -> Path:
    """A small random image of any mode, different for every value."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, **save)
    return file


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def classes(tmp_path):
    """Three classes with ten images each."""
    for number in range(30):
        photo(tmp_path / "photos" / "abc"[number % 3] / f"{number:02}.png", number)
    return tmp_path / "photos"


def test_small_images_are_opened_once(classes, cache):
    photo(classes / "large.png", 99, size=(200, 200))
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(classes / "deep.png")
    counts = Counter()
    listening = True

    def count(event, arguments):
        # A hook can't be taken away.
        if listening and event == "open" and str(arguments[0]).startswith(str(classes)):
            counts[Path(arguments[0]).name] += 1

    sys.addaudithook(count)
    opened(classes, cache)
    listening = False
    assert counts.pop("large.png") == 2 and len(counts) == 31 and {*counts.values()} == {1}


def test_a_folder_is_one_array_in_the_order_of_its_path_bytes(tmp_path, cache):
    names = ["b/2.png", "a.png", "B.png", "b/10.png", "b.png", "ü/ß 'q\" ,;.png", "z/ä\nö.png", "deep/er/still/x.png"]
    for value, name in enumerate(names):
        photo(tmp_path / "f" / name, value)
    data = opened(tmp_path / "f", cache)
    train = data.splits["train"]
    assert train.paths == sorted(names, key=str.encode)
    assert train.images.shape == (8, 16, 16, 3) and isinstance(train.images, np.memmap)
    assert train.labels is None and data.classes == () and data.root == tmp_path / "f"
    for row, path in enumerate(train.paths):
        content = (tmp_path / "f" / path).read_bytes()
        assert data.items["sha256"][row] == hashlib.sha256(content).hexdigest()
        assert data.items["bytes"][row] == len(content)
        assert np.array_equal(train.images[row], square(np.asarray(Image.open(tmp_path / "f" / path)), 16))
    items = through_csv(data.items)
    again = opened(tmp_path / "f", cache, items)
    assert again.items.equals(items) and again.splits["train"].paths == train.paths


def test_native_size_of_folders_is_64_and_small_images_are_enlarged(tmp_path, cache):
    photo(tmp_path / "f" / "a.png", size=(200, 90))
    photo(tmp_path / "f" / "b.png", size=(3, 5))
    photo(tmp_path / "f" / "c.png", size=(1, 900))
    assert opened(tmp_path / "f", cache, size=0).splits["train"].images.shape == (3, 64, 64, 3)


def test_resizing_is_shorter_side_then_center_crop(tmp_path, cache):
    big = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 160, 3), dtype=np.uint8))
    (tmp_path / "f").mkdir()
    big.save(tmp_path / "f" / "a.png")
    resized = big.resize((40, 16), Image.Resampling.BICUBIC).crop((12, 0, 28, 16))
    difference = np.asarray(resized).astype(int) - opened(tmp_path / "f", cache).splits["train"].images[0]
    assert np.abs(difference).max() <= 1


MODES = [
    ("L", "png"),
    ("1", "png"),
    ("LA", "png"),
    ("P", "png"),
    ("P", "gif"),
    ("RGB", "png"),
    ("RGB", "jpg"),
    ("RGB", "webp"),
    ("RGB", "bmp"),
    ("RGB", "tiff"),
    ("RGBA", "png"),
    ("CMYK", "jpg"),
    ("CMYK", "tiff"),
    ("I", "tiff"),
    ("I;16", "tiff"),
    ("F", "tiff"),
]


DEEP = ("I", "I;16", "F")


@pytest.mark.parametrize(("mode", "ending"), MODES)
def test_every_mode_is_read_alone_and_beside_color(tmp_path, cache, mode, ending):
    if mode == "I;16":
        (tmp_path / "f").mkdir()
        values = np.random.default_rng(0).integers(0, 65_536, (20, 20), dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / "f" / f"a.{ending}")
    else:
        photo(tmp_path / "f" / f"a.{ending}", mode=mode)
    gray = mode in ("L", "1", "LA", "I", "I;16", "F")
    alone = opened(tmp_path / "f", cache)
    assert ["not stored as 8 bits" in note for note in alone.notes if "clipped" not in note] == [True] * (mode in DEEP)
    assert alone.splits["train"].images.shape == (1, 16, 16, 1 if gray else 3)
    photo(tmp_path / "f" / "b.png")
    both = opened(tmp_path / "f", cache).splits["train"].images
    assert both.shape == (2, 16, 16, 3)
    assert np.array_equal(both[0].min(axis=-1, keepdims=True) if gray else both[0], alone.splits["train"].images[0])


@pytest.mark.parametrize("ending", ["jpg", "png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_the_camera_noted_is_applied(tmp_path, cache, ending, orientation):
    pixels = np.kron(np.random.default_rng(1).integers(0, 256, (2, 2, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "f").mkdir()
    Image.fromarray(pixels).save(tmp_path / "f" / f"a.{ending}", exif=exif)
    array = opened(tmp_path / "f", cache).splits["train"].images[0]
    with Image.open(tmp_path / "f" / f"a.{ending}") as image:
        assert np.array_equal(array, np.asarray(ImageOps.exif_transpose(image)))
    assert orientation == 1 or orientation in UPRIGHT


def test_broken_exif_does_not_lose_the_image(tmp_path, cache):
    photo(tmp_path / "f" / "a.jpg", exif=b"Exif\x00\x00garbage that is no TIFF header")
    data = opened(tmp_path / "f", cache)
    assert len(data.items) == 1 and data.notes == []


def test_large_photos_are_as_good_as_resized_in_full(tmp_path, cache):
    smooth = np.add.outer(np.arange(512), np.arange(512))[..., None] * np.array([1, 2, 3]) / 12
    (tmp_path / "f").mkdir()
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "f" / "a.jpg", quality=95)
    pixels = opened(tmp_path / "f", cache).splits["train"].images[0].astype(int)
    with Image.open(tmp_path / "f" / "a.jpg") as image:
        whole = square(np.asarray(image), 16)
    assert np.abs(pixels - whole).max() <= 4


def nasty(folder: Path) -> Path:
    """Everything that a real folder has beside its images."""
    photo(folder / "good.png", 1)
    photo(folder / "sub" / "good.jpg", 2)
    (folder / "notes.txt").write_text("not an image")
    (folder / "zero.jpg").touch()
    whole = photo(folder / "cut.jpg", 3, size=(200, 200)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    whole = photo(folder / "cut.png", 4, size=(200, 200)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("<html>404</html>")
    photo(folder / ".hidden.png")
    photo(folder / ".thumbnails" / "small.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_what_is_no_image_is_named_counted_and_skipped(tmp_path, cache):
    data = opened(nasty(tmp_path / "f"), cache)
    assert data.splits["train"].paths == ["good.png", "sub/good.jpg"]
    skipped = "5 files are not readable images and were skipped: cut.jpg, cut.png, notes.txt, text.png, zero.jpg"
    assert data.notes == [skipped]
    assert opened(tmp_path / "f", cache, through_csv(data.items)).notes == [skipped]


def test_a_name_that_no_table_gives_back_is_skipped(tmp_path, cache):
    photo(tmp_path / "f" / "a.png")
    shutil.copy(tmp_path / "f" / "a.png", os.fsencode(tmp_path / "f") + b"/\xff.png")
    photo(tmp_path / "f" / "Icon\r.png")
    data = opened(tmp_path / "f", cache)
    assert data.notes == ["2 files are not readable images and were skipped: Icon\\r.png, \\udcff.png"]


def test_a_name_may_hold_a_backslash_and_so_may_a_table_from_windows(tmp_path, cache):
    for name in ("a\\b.png", "c/d.png"):
        photo(tmp_path / "f" / name)
    items = opened(tmp_path / "f", cache).items
    pd.DataFrame({"path": ["c\\d.png", "a\\b.png"]}).to_csv(tmp_path / "t.csv")
    rows = images_of_table(tmp_path / "t.csv", "--labeled", items)
    assert items["path"].iloc[rows].tolist() == ["c/d.png", "a\\b.png"]


def test_a_broken_color_image_does_not_make_gray_ones_color(tmp_path, cache):
    photo(tmp_path / "f" / "a.png", mode="L")
    whole = photo(tmp_path / "f" / "b.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "f" / "b.jpg").write_bytes(whole[: len(whole) // 2])
    data = opened(tmp_path / "f", cache)
    assert data.splits["train"].images.shape == (1, 16, 16, 1)
    expected = square(np.asarray(Image.open(tmp_path / "f" / "a.png"))[..., None], 16)
    assert np.array_equal(data.splits["train"].images[0], expected)


def test_links_are_followed_and_loops_end(tmp_path, cache):
    photo(tmp_path / "f" / "a" / "1.png", 1)
    (tmp_path / "f" / "a" / "up").symlink_to("..")
    (tmp_path / "f" / "self").symlink_to(".")
    photo(tmp_path / "elsewhere" / "2.png", 2)
    (tmp_path / "f" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "f")
    photo(tmp_path / "3.png", 3)
    (tmp_path / "f" / "3.png").symlink_to(tmp_path / "3.png")
    assert opened(tmp_path / "f", cache).splits["train"].paths == ["3.png", "a/1.png", "link/2.png"]


@pytest.mark.parametrize("content", [{}, {"a.txt": b"x", "b/c.md": b"y"}, {"a.jpg": b""}])
def test_a_folder_without_images_is_refused(tmp_path, cache, content):
    folder = tmp_path / "f"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text)
    with pytest.raises(UserError, match="contains no images") as caught:
        opened(folder, cache)
    assert all(Path(name).name in caught.value.fact for name in content)


def test_a_folder_of_broken_images_is_refused(tmp_path, cache):
    whole = photo(tmp_path / "f" / "cut.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "f" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"can be read.*cut.jpg"):
        opened(tmp_path / "f", cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path, cache):
    photo(tmp_path / "f" / "shut" / "a.png").parent.chmod(0)
    with pytest.raises(UserError, match="shut can't be read"):
        opened(tmp_path / "f", cache)


def test_folder_names_are_no_labels_unless_asked_for(classes, cache):
    data = opened(classes, cache)
    assert data.splits["train"].labels is None and len(data.items) == 30
    assert data.notes == [
        "Sub-folders (a, b, c) are not read as classes; use --set dataset.labels=folders to read them."
    ]
    assert opened(classes, cache, labels="none").notes == []


def test_sub_folders_are_classes_where_asked_for(classes, cache):
    photo(classes / "stray.png", 99)
    data = opened(classes, cache, labels="folders")
    assert data.classes == ("a", "b", "c") and list(data.splits) == ["train", "test"]
    assert np.bincount(data.splits["test"].labels).tolist() == [2, 2, 2]
    for part in data.splits.values():
        assert [data.classes[label] for label in part.labels] == [path[0] for path in part.paths]
        assert part.paths == sorted(part.paths)
    assert data.notes == ["Left out 1 image outside any class folder: stray.png"]
    items = through_csv(data.items)
    assert opened(classes, cache, items, labels="folders").items.equals(items)


def test_classes_without_sub_folders_are_refused(tmp_path, cache):
    photo(tmp_path / "f" / "a.png")
    with pytest.raises(UserError, match="no classes"):
        opened(tmp_path / "f", cache, labels="folders")


@pytest.mark.parametrize("how", ["auto", "folders"])
def test_train_with_class_folders_is_read_as_it_stands(tmp_path, cache, how):
    for number, name in enumerate(
        ["train/b/1.png", "train/a/x/2.png", "validation/b/3.png", "test/c/4.png", "test/a/5.png"]
    ):
        photo(tmp_path / "f" / name, number)
    photo(tmp_path / "f" / "train" / "loose.png", 8)
    photo(tmp_path / "f" / "more" / "a" / "9.png", 9)
    data = opened(tmp_path / "f", cache, labels=how)
    assert data.classes == ("a", "b", "c")
    assert {split: part.paths for split, part in data.splits.items()} == {
        "train": ["train/a/x/2.png", "train/b/1.png"],
        "val": ["validation/b/3.png"],
        "test": ["test/a/5.png", "test/c/4.png"],
    }
    assert data.splits["test"].labels.tolist() == [0, 2]
    assert data.items["index"].tolist() == [0, 1, 0, 0, 1]
    assert data.notes == [
        "Left out 2 images outside the class folders of train, val and test: more/a/9.png, train/loose.png"
    ]


def test_a_test_folder_without_classes_has_no_labels(tmp_path, cache):
    for number, name in enumerate(["train/b/1.png", "train/a/2.png", "test/3.png"]):
        photo(tmp_path / "f" / name, number)
    data = opened(tmp_path / "f", cache)
    assert data.splits["test"].labels is None and data.splits["train"].labels.tolist() == [0, 1]
    assert data.notes == ["The images of test are not in class folders and have no labels."]


def write_csv(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_labels_come_from_a_csv_by_path_name_or_stem(tmp_path, cache):
    for number, name in enumerate(["x/a.png", "x/b.png", "y/c.png", "y/ü.png"]):
        photo(tmp_path / "f" / name, number)
    table = write_csv(
        tmp_path / "l.csv", "\ufeffpath,label,who\nx/a.png,10,me\nb.png,9,me\n./y/c.png,10,me\nü,9,me\nq.png,9,me\n"
    )
    data = opened(tmp_path / "f", cache, labels=table, test=0.5)
    assert data.classes == ("9", "10")
    assert dict(zip(data.items["path"], data.items["class"], strict=True)) == {
        "x/a.png": "10",
        "x/b.png": "9",
        "y/c.png": "10",
        "y/ü.png": "9",
    }
    assert data.notes == [f"Left out 1 row of {table} without an image: q.png"]
    again = opened(tmp_path / "f", cache, through_csv(data.items), labels=table)
    assert again.classes == data.classes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\nx/a.png,1\n", r"no row for 1 of 2 images: y/a.png"),
        ("path,label\na.png,1\n", r"no row for 2 of 2 images: x/a.png, y/a.png. Rows without an image: a.png."),
        ("path,label\nx/a.png,1\nx/a.png,2\ny/a.png,1\n", r"has two labels for x/a.png: '1' and '2'"),
        ("file,kind\nx/a.png,1\n", r"has no column 'label', only file, kind"),
        ("", r"can't be read as a table: it is empty"),
        ('path,label\n"x', r"can't be read as a table: line 2"),
        ("path,label\nx/a.png,2\nx/a.png,2,3\n", r"line 3: x/a.png has 3 cells, but the header has 2"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(tmp_path, cache, text, says):
    photo(tmp_path / "f" / "x" / "a.png")
    photo(tmp_path / "f" / "y" / "a.png")
    with pytest.raises(UserError, match=says):
        opened(tmp_path / "f", cache, labels=write_csv(tmp_path / "l.csv", text))


def test_a_csv_in_another_encoding_is_read_and_said_and_a_missing_one_is_refused(tmp_path, cache):
    for name in "abcde":
        photo(tmp_path / "f" / f"{name}.png", ord(name))
    (tmp_path / "l.csv").write_bytes(b"path;label\r\n" + b"".join(b"%c.png;\xe4\r\n" % name for name in b"abcde"))
    data = opened(tmp_path / "f", cache, labels=str(tmp_path / "l.csv"))
    assert data.classes == ("ä",) and "was read as Windows-1252" in data.notes[0]
    with pytest.raises(UserError, match=r"There is no file nothing.csv"):
        opened(tmp_path / "f", cache, labels="nothing.csv")
    with pytest.raises(UserError, match=r"is a folder\. Name a file\."):
        opened(tmp_path / "f", cache, labels=str(tmp_path))


def test_new_images_go_to_the_end_and_nothing_is_renumbered(tmp_path, cache):
    for name in "bdf":
        photo(tmp_path / "f" / f"{name}.png", ord(name))
    first = opened(tmp_path / "f", cache)
    items = through_csv(first.items)
    pixels = np.array(first.splits["train"].images)
    for name in "eac":
        photo(tmp_path / "f" / f"{name}.png", ord(name))
    grown = opened(tmp_path / "f", cache, items)
    assert grown.splits["train"].paths == ["b.png", "d.png", "f.png", "a.png", "c.png", "e.png"]
    assert grown.items["index"].tolist() == list(range(6))
    assert grown.items[:3].equals(items) and grown.items.dtypes.equals(items.dtypes)
    assert np.array_equal(grown.splits["train"].images[:3], pixels)
    fresh = opened(tmp_path / "f", cache)
    assert np.array_equal(grown.splits["train"].images[3:], fresh.splits["train"].images[[0, 2, 4]])
    assert grown.notes == ["3 new images appended: a.png, c.png, e.png"] and grown.kept.tolist() == [True] * 6
    # The next time they are known, and there is nothing to tell, with or without the cache.
    again = opened(tmp_path / "f", cache, through_csv(grown.items))
    assert again.notes == [] and again.items.equals(through_csv(grown.items))
    shutil.rmtree(cache)
    again = opened(tmp_path / "f", cache, through_csv(grown.items))
    assert np.array_equal(again.splits["train"].images, grown.splits["train"].images)


def test_new_images_of_a_labeled_folder_join_train_with_their_class(classes, cache):
    first = opened(classes, cache, labels="folders")
    items = through_csv(first.items)
    photo(classes / "a" / "new.png", 50)
    photo(classes / "Z" / "new.png", 51)
    grown = opened(classes, cache, items, labels="folders")
    # A new class takes the next number although it sorts first.
    assert grown.classes == ("a", "b", "c", "Z")
    n = len(first.splits["train"].paths)
    assert grown.splits["train"].paths[n:] == ["Z/new.png", "a/new.png"]
    assert grown.splits["train"].labels[n:].tolist() == [3, 0]
    assert grown.splits["test"].paths == first.splits["test"].paths
    assert np.array_equal(grown.splits["test"].images, first.splits["test"].images)
    rows = grown.items[~grown.items["path"].isin(["Z/new.png", "a/new.png"])].reset_index(drop=True)
    assert rows.equals(items)
    again = opened(classes, cache, through_csv(grown.items), labels="folders")
    assert again.classes == grown.classes and again.items.equals(through_csv(grown.items))


def test_new_images_stay_in_their_split(tmp_path, cache):
    for number, name in enumerate(["train/a/1.png", "train/b/2.png", "test/a/3.png"]):
        photo(tmp_path / "f" / name, number)
    items = through_csv(opened(tmp_path / "f", cache).items)
    for number, name in enumerate(["train/a/0.png", "test/b/0.png", "other.png"], 5):
        photo(tmp_path / "f" / name, number)
    grown = opened(tmp_path / "f", cache, items)
    assert grown.splits["train"].paths == ["train/a/1.png", "train/b/2.png", "train/a/0.png"]
    assert grown.splits["test"].paths == ["test/a/3.png", "test/b/0.png"]
    assert grown.splits["test"].labels.tolist() == [0, 1]
    assert grown.notes[0] == "Left out 1 image outside the splits: other.png"


def test_new_images_need_a_label_where_the_others_have_one(tmp_path, cache):
    for name in "abcd":
        photo(tmp_path / "f" / f"{name}.png", ord(name))
    table = write_csv(tmp_path / "l.csv", "path,label\na,1\nb,2\nc,1\nd,2\n")
    items = through_csv(opened(tmp_path / "f", cache, labels=table).items)
    # The table is needed again only for new images.
    (tmp_path / "l.csv").rename(tmp_path / "m.csv")
    assert opened(tmp_path / "f", cache, items, labels=table).items.equals(items)
    (tmp_path / "m.csv").rename(tmp_path / "l.csv")
    photo(tmp_path / "f" / "e.png", 9)
    with pytest.raises(UserError, match=r"no row for 1 of 5 images: e.png"):
        opened(tmp_path / "f", cache, items, labels=table)
    write_csv(tmp_path / "l.csv", "path,label\na,1\nb,2\nc,1\nd,2\ne,2\n")
    assert opened(tmp_path / "f", cache, items, labels=table).splits["train"].labels[-1] == 1


def test_a_long_tail_is_not_joined_by_new_images(classes, cache):
    tail = {"labels": "folders", "imbalance": "exp", "ratio": 0.2}
    first = opened(classes, cache, **tail)
    assert np.bincount(first.splits["train"].labels[first.kept]).tolist() == [8, 3, 1]
    photo(classes / "a" / "new.png", 50)
    with pytest.raises(
        UserError, match=r"1 new image is in .*, but the long tail of this run can't be extended: a/new.png"
    ):
        opened(classes, cache, through_csv(first.items), **tail)
    with pytest.raises(UserError, match="needs labels"):
        opened(classes, cache, imbalance="exp")


def test_a_color_image_does_not_join_gray_ones(tmp_path, cache):
    photo(tmp_path / "f" / "a.png", mode="L")
    items = through_csv(opened(tmp_path / "f", cache).items)
    photo(tmp_path / "f" / "b.png")
    with pytest.raises(UserError, match=r"1 new image is in color, but all images of this run are gray: b.png"):
        opened(tmp_path / "f", cache, items)


def test_a_gray_image_joins_color_ones_as_color(tmp_path, cache):
    photo(tmp_path / "f" / "a.png")
    items = through_csv(opened(tmp_path / "f", cache).items)
    photo(tmp_path / "f" / "b.png", mode="L")
    assert opened(tmp_path / "f", cache, items).splits["train"].images.shape == (2, 16, 16, 3)


def test_a_file_that_vanished_keeps_its_row_and_its_pixels(tmp_path, cache):
    for name in "abc":
        photo(tmp_path / "f" / f"{name}.png", ord(name))
    first = opened(tmp_path / "f", cache)
    items = through_csv(first.items)
    (tmp_path / "f" / "b.png").unlink()
    photo(tmp_path / "f" / "d.png", 7)
    grown = opened(tmp_path / "f", cache, items)
    assert grown.splits["train"].paths == ["a.png", "b.png", "c.png", "d.png"]
    assert np.array_equal(grown.splits["train"].images[:3], first.splits["train"].images)
    assert grown.notes == [
        f"1 file is missing in {tmp_path / 'f'}; cached pixels are used: b.png",
        "1 new image appended: d.png",
    ]
    shutil.rmtree(cache)
    with pytest.raises(UserError, match=r"missing in .*, and there are no cached pixels: b.png"):
        opened(tmp_path / "f", cache, items)


def test_a_file_that_changed_is_refused(tmp_path, cache):
    for name in "ab":
        photo(tmp_path / "f" / f"{name}.bmp", ord(name))
    items = through_csv(opened(tmp_path / "f", cache).items)
    size = (tmp_path / "f" / "a.bmp").stat().st_size
    photo(tmp_path / "f" / "a.bmp", 1, size=(40, 40))
    with pytest.raises(UserError, match=rf"a.bmp has changed since this run was started: it had {size} bytes and has"):
        opened(tmp_path / "f", cache, items)
    # The same number of bytes is found out when the pixels are read again.
    photo(tmp_path / "f" / "a.bmp", 1)
    assert opened(tmp_path / "f", cache, items).items.equals(items)
    shutil.rmtree(cache)
    with pytest.raises(UserError, match=r"1 file changed since this run was started: a.bmp"):
        opened(tmp_path / "f", cache, items)


def test_opening_again_decodes_nothing(tmp_path, cache):
    file = photo(tmp_path / "f" / "a.bmp")
    items = through_csv(opened(tmp_path / "f", cache).items)
    file.write_bytes(b"x" * file.stat().st_size)
    assert opened(tmp_path / "f", cache, items).notes == []


def test_decoders_warn_nobody(tmp_path, cache):
    palette = Image.new("P", (20, 20))
    palette.info["transparency"] = bytes(range(200))
    (tmp_path / "f").mkdir()
    palette.save(tmp_path / "f" / "a.png", transparency=bytes(range(200)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(tmp_path / "f", cache).splits["train"].images.shape == (1, 16, 16, 3)


def test_files_are_listed_without_the_hidden(tmp_path):
    for name in ("a", ".b", "c/d", ".e/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["a", "c/d"]


def test_names_are_sorted_as_numbers_where_all_are_and_shortened():
    assert in_order(["10", "9", "2"]) == ("2", "9", "10")
    assert in_order(["10", "9", "b"]) == ("10", "9", "b")
    assert named(list("abcde")) == "a, b, c, d, e"
    assert named(list("abcdefg")) == "a, b, c, d, e and 2 more"
