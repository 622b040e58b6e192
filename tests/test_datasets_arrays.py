"""Data sets that come as arrays: digits, .npz files, and the cache."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.cache import data_home, scratch_folder
from initpools_cli.datasets.open import open_dataset, path_of
from initpools_cli.datasets.spec import COLUMNS, Dataset, DatasetSpec

QUIET = Reporter(quiet=True)


def opened(name: object, cache: Path, items: pd.DataFrame | None = None, seed: int = 0, **facts: object) -> Dataset:
    return open_dataset(DatasetSpec(str(name), **facts), seed=seed, cache=cache, report=QUIET, stored_items=items)


def through_csv(items: pd.DataFrame) -> pd.DataFrame:
    """The items as a run reads them back."""
    text = items.to_csv(index=False)
    types = {"path": str, "class": str, "sha256": str}
    table = pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False, na_values={"label": [""]})
    return table.astype({"label": "Int64"})


def random_images(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def medmnist_like(tmp_path):
    labels = np.arange(40) % 4
    return npz(
        tmp_path / "like.npz",
        train_images=random_images(40, 9, 9, 3),
        train_labels=labels[:, None],
        val_images=random_images(8, 9, 9, 3, seed=1),
        val_labels=labels[:8, None],
        test_images=random_images(12, 9, 9, 3, seed=2),
        test_labels=labels[:12, None],
    )


def test_digits_are_all_there_once_and_scaled_to_bytes(tmp_path):
    data = opened("digits", tmp_path)
    train, test = data.splits["train"], data.splits["test"]
    assert (len(train.images), data.kept.sum(), len(test.images)) == (1797, 1438, 359)
    assert train.images.shape[1:] == (8, 8, 1) and train.images.dtype == np.uint8
    assert isinstance(train.images, np.memmap) and not train.images.flags.writeable
    assert (train.images.min(), train.images.max()) == (0, 255)
    assert data.classes == tuple("0123456789") and data.root is None and data.notes == []
    # An index is a row of what the user brought, and the held-out images are not there to choose from.
    original = np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]
    assert np.array_equal(train.images, original)
    assert np.array_equal(test.images, original[~data.kept])


def test_items_name_every_image_with_its_checksum(tmp_path):
    data = opened("digits", tmp_path)
    items = data.items
    assert tuple(items.columns) == COLUMNS
    assert items["split"].tolist() == ["train"] * 1797 + ["test"] * 359
    assert items["index"].tolist() == [*range(1797), *range(359)]
    assert items["sha256"][5] == hashlib.sha256(data.splits["train"].images[5].tobytes()).hexdigest()
    assert items["bytes"].unique().tolist() == [64]
    assert items["label"].dtype == "Int64" and items["class"][0] == str(items["label"][0])
    assert np.array_equal(items["label"][:1797].to_numpy(np.int64), data.splits["train"].labels)
    assert data.splits["train"].paths == [""] * 1797 and data.kept.shape == (1797,)


def test_the_test_split_follows_the_seed_and_the_share(tmp_path):
    data = opened("digits", tmp_path)
    assert opened("digits", tmp_path).items.equals(data.items)
    assert not opened("digits", tmp_path, seed=1).items.equals(data.items)
    assert len(opened("digits", tmp_path, test=0.5).splits["test"].images) in (898, 899)


def test_what_a_run_knows_comes_back_unchanged(tmp_path, medmnist_like):
    for name in ("digits", medmnist_like):
        first = opened(name, tmp_path / "cache")
        items = through_csv(first.items)
        again = opened(name, tmp_path / "cache", items, seed=99)
        assert again.items.equals(items) and again.classes == first.classes
        for split, images in first.splits.items():
            assert np.array_equal(images.images, again.splits[split].images)
            assert np.array_equal(images.labels, again.splits[split].labels)


def test_a_cache_that_is_gone_or_damaged_is_made_again(tmp_path, medmnist_like):
    cache = tmp_path / "cache"
    first = opened(medmnist_like, cache)
    items = through_csv(first.items)
    pixels = np.array(first.splits["val"].images)
    (array,) = cache.glob("arrays/*/val.npy")
    array.write_bytes(array.read_bytes()[:-10])
    assert np.array_equal(opened(medmnist_like, cache, items).splits["val"].images, pixels)
    array.unlink()
    assert np.array_equal(opened(medmnist_like, cache).splits["val"].images, pixels)
    assert {file.name for file in cache.iterdir()} == {"arrays"}


def test_an_npz_is_opened_with_its_splits(tmp_path, medmnist_like):
    data = opened(medmnist_like, tmp_path)
    assert {split: len(part.images) for split, part in data.splits.items()} == {"train": 40, "val": 8, "test": 12}
    assert list(data.splits) == ["train", "val", "test"] and data.classes == ("0", "1", "2", "3")
    assert np.array_equal(data.splits["test"].images, random_images(12, 9, 9, 3, seed=2))
    assert data.items["split"].tolist() == ["train"] * 40 + ["val"] * 8 + ["test"] * 12


def test_an_npz_without_labels_is_all_train(tmp_path):
    data = opened(npz(tmp_path / "a.npz", train_images=random_images(7, 5, 6)), tmp_path)
    assert list(data.splits) == ["train"] and data.splits["train"].labels is None and data.classes == ()
    assert data.splits["train"].images.shape == (7, 5, 6, 1)
    assert data.items["label"].isna().all() and (data.items["class"] == "").all()
    again = opened(tmp_path / "a.npz", tmp_path, through_csv(data.items))
    assert again.splits["train"].labels is None


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([3, 7, 7, 3, 12, 12]), ("3", "7", "12")),
        (np.array([0.0, 1.0, 1.0, 0.0, 2.0, 2.0]), ("0", "1", "2")),
        (np.array(["cat", "dog", "dog", "cat", "ant", "ant"]), ("ant", "cat", "dog")),
        (np.array([0, 1, 1, 0, 1, 1], dtype=bool), ("0", "1")),
    ],
)
def test_labels_are_numbered_by_the_values_that_occur(tmp_path, values, names):
    data = opened(
        npz(tmp_path / "a.npz", train_images=random_images(6, 4, 4), train_labels=values), tmp_path, test=0.34
    )
    assert data.classes == names
    train = data.items[data.items["split"] == "train"]
    assert train["class"].tolist() == [str(value) if isinstance(value, str) else f"{value:g}" for value in values]


def test_arrays_are_resized_only_where_asked_for(tmp_path):
    file = npz(tmp_path / "a.npz", train_images=random_images(5, 20, 30, 3))
    assert opened(file, tmp_path).splits["train"].images.shape == (5, 20, 30, 3)
    small = opened(file, tmp_path, size=10)
    assert small.splits["train"].images.shape == (5, 10, 10, 3)
    flat = npz(tmp_path / "flat.npz", train_images=np.full((2, 20, 30), 77, np.uint8))
    assert (opened(flat, tmp_path, size=12).splits["train"].images == 77).all()
    # The checksum is that of the original.
    assert small.items["sha256"].equals(opened(file, tmp_path).items["sha256"])


def test_resizing_keeps_the_center(tmp_path):
    image = np.zeros((1, 20, 60), np.uint8)
    image[:, :, 20:40] = 200
    data = opened(npz(tmp_path / "a.npz", train_images=image), tmp_path, size=10)
    # Cubic interpolation overshoots a little beside an edge.
    assert np.abs(data.splits["train"].images[0, :, 1:9].astype(int) - 200).max() < 5


def test_a_long_tail_is_a_mask_over_the_same_rows(tmp_path):
    whole, tail = opened("digits", tmp_path), opened("digits", tmp_path, imbalance="exp", ratio=0.1)
    assert np.array_equal(whole.splits["train"].images, tail.splits["train"].images)
    assert whole.items.equals(tail.items) and tail.kept.sum() < len(tail.kept)
    assert not (tail.kept & ~whole.kept).any()


def test_the_mask_of_a_run_comes_back_as_it_was_stored(tmp_path):
    first = opened("digits", tmp_path)
    mask = np.arange(1797) % 2 == 0
    again = open_dataset(
        first.spec, seed=0, cache=tmp_path, report=QUIET, stored_items=through_csv(first.items), mask=mask
    )
    assert np.array_equal(again.kept, mask)


def refuse(file: Path, cache: Path, says: str, **facts: object) -> UserError:
    with pytest.raises(UserError, match=says) as caught:
        opened(file, cache, **facts)
    assert not list(cache.glob("arrays/*")) and not list(cache.glob(".scratch*"))
    return caught.value


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": random_images(3, 4, 4)}, "no train_images, only images"),
        ({"train_images": random_images(3, 4, 4).astype(np.complex64)}, "type complex64, not a numeric one"),
        ({"train_images": random_images(3, 4, 4).astype(str)}, "type <U3, not a numeric one"),
        ({"train_images": np.full((3, 4, 4), np.nan)}, "No sampled pixel is a finite number"),
        ({"train_images": random_images(3, 16)}, r"shape \(3, 16\)"),
        (
            {"train_images": random_images(3, 3, 8, 8)},
            r"shape \(3, 3, 8, 8\).* Move the channels, which seem to be the second axis",
        ),
        ({"train_images": random_images(3, 8, 8, 4)}, r"shape \(3, 8, 8, 4\)"),
        ({"train_images": random_images(3, 0, 8)}, r"shape \(3, 0, 8\)"),
        ({"train_images": random_images(0, 8, 8)}, "has no images"),
        ({"train_images": random_images(3, 4, 4), "train_labels": np.arange(4)}, r"shape \(4,\) for 3 images"),
        ({"train_images": random_images(3, 4, 4), "train_labels": np.array(1)}, r"shape \(\) for 3 images"),
        ({"train_images": random_images(3, 4, 4), "train_labels": 2 * np.eye(3)}, "the value 2.0, which is neither"),
        (
            {"train_images": random_images(3, 4, 4), "train_labels": np.array([0.5, 1, 2])},
            "contains 0.5, which is not an integer",
        ),
        ({"train_images": random_images(3, 4, 4), "train_labels": np.array([np.inf, 1, 2])}, "which is not an integer"),
        ({"train_images": random_images(3, 4, 4), "test_labels": np.arange(3)}, "test_labels but no test_images"),
        (
            {"train_images": random_images(3, 4, 4), "test_images": random_images(3, 5, 4)},
            r"\(4, 4, 1\) in train but \(5, 4, 1\) in test",
        ),
        (
            {
                "train_images": random_images(2, 4, 4),
                "train_labels": np.array(["a", "b"]),
                "test_images": random_images(2, 4, 4),
                "test_labels": np.arange(2),
            },
            "strings as labels in one split and numbers in another",
        ),
    ],
)
def test_an_npz_that_does_not_fit_is_refused_with_the_reason(tmp_path, arrays, says):
    refuse(npz(tmp_path / "a.npz", **arrays), tmp_path / "cache", says)


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images"])
def test_pickled_objects_are_refused_and_never_loaded(tmp_path, key):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    arrays = {"train_images": random_images(2, 4, 4), key: np.array([Trap(), Trap()], dtype=object)}
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    refuse(tmp_path / "a.npz", tmp_path / "cache", "pickled Python objects")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_truncated_npz_is_refused(tmp_path, share, compressed):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", train_images=random_images(50, 8, 8), train_labels=np.arange(50))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: int(len(content) * share)])
    refuse(tmp_path / "a.npz", tmp_path / "cache", "not a complete .npz file")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_in_an_npz_is_found(tmp_path, compressed):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", train_images=random_images(50, 8, 8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    refuse(tmp_path / "a.npz", tmp_path / "cache", "not a complete .npz file")


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("train_images.npy", b"no array at all")
    refuse(tmp_path / "a.npz", tmp_path / "cache", "not a complete .npz file")
    np.save(tmp_path / "b.npy", random_images(3, 4, 4))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    refuse(tmp_path / "b.npz", tmp_path / "cache", "not a complete .npz file")


def test_an_npz_that_changed_is_refused_and_one_that_was_only_touched_is_not(tmp_path, medmnist_like):
    items = through_csv(opened(medmnist_like, tmp_path / "cache").items)
    os.utime(medmnist_like, (1, 1))
    assert opened(medmnist_like, tmp_path / "cache", items).items.equals(items)
    npz(medmnist_like, train_images=random_images(40, 9, 9, 3, seed=5), train_labels=np.arange(40) % 4)
    with pytest.raises(UserError, match="has changed since this run was started: it has other images or labels"):
        opened(medmnist_like, tmp_path / "cache", items)


def test_an_npz_that_is_gone_leaves_its_cached_pixels(tmp_path, medmnist_like):
    first = opened(medmnist_like, tmp_path / "cache")
    medmnist_like.unlink()
    with pytest.raises(UserError, match="There is no file"):
        opened(medmnist_like, tmp_path / "cache")
    assert first.splits["train"].images.shape == (40, 9, 9, 3)


def test_names_are_resolved_registered_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert path_of("digits") is None and path_of("./digits") == Path("digits")
    npz(Path("a.npz"), train_images=random_images(2, 3, 3))
    assert path_of("a.npz") == Path("a.npz")
    Path("notes.txt").write_text("x")
    with pytest.raises(
        UserError,
        match=r"notes.txt is neither a folder of images, a .parquet, .tar, .csv or .npz file, nor a file of embeddings",
    ):
        path_of("notes.txt")
    with pytest.raises(UserError, match=r"There is no file or folder missing.npz"):
        path_of("missing.npz")
    with pytest.raises(UserError, match=r"There is no data set 'digit'. Did you mean 'digits'.*path of an .npz file"):
        path_of("digit")
    with pytest.raises(UserError, match=r"no data set 'pathmist'. Did you mean 'pathmnist'"):
        path_of("pathmist")
    Path("photos").mkdir()
    with pytest.raises(UserError, match=r"no data set 'photo'. Did you mean 'photos'"):
        path_of("photo")


def test_the_labels_setting_is_for_folders(tmp_path):
    with pytest.raises(UserError, match=r"dataset.labels = 'folders' has no effect: digits is not a folder of images"):
        opened("digits", tmp_path, labels="folders")


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file") as caught:
        opened("digits", tmp_path / "file" / "cache")
    assert "INITPOOLS_DATA" in caught.value.remedy


def photo_folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    Image.fromarray(random_images(1, 90, 90, 3)[0]).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("kind", ["digits", "npz", "folder"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, kind):
    source = {
        "digits": lambda: "digits",
        "npz": lambda: npz(tmp_path / "a.npz", train_images=random_images(100, 16, 16)),
        "folder": lambda: photo_folder(tmp_path),
    }[kind]()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this, which the system reports much like a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        with pytest.raises(UserError, match="no space left") as caught:
            opened(source, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / "cache") in caught.value.fact and "INITPOOLS_DATA" in caught.value.remedy
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied") as caught:
        opened("digits", tmp_path / "cache")
    assert "INITPOOLS_DATA" in caught.value.remedy


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(tmp_path):
    (tmp_path / ".scratch-left").mkdir()
    (tmp_path / ".scratch-left" / "pixels").write_text("x")
    (tmp_path / ".scratch-old.lock").write_text("")
    with scratch_folder(tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}.lock"}
        with scratch_folder(tmp_path) as second:
            assert folder.is_dir() and second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_data_home_is_a_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("INITPOOLS_DATA", str(tmp_path))
    assert data_home() == tmp_path
    monkeypatch.delenv("INITPOOLS_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_home() == Path("/home/someone/.cache/initpools")


def test_an_earlier_cache_stays_in_use_until_there_is_another(monkeypatch, tmp_path):
    monkeypatch.delenv("INITPOOLS_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    earlier, usual = tmp_path / ".cache/initpools", tmp_path / "caches/initpools"
    assert data_home() == usual
    earlier.mkdir(parents=True)
    assert data_home() == earlier
    usual.mkdir(parents=True)
    assert data_home() == usual


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    monkeypatch.setenv("INITPOOLS_DATA", "~nobody-of-that-name/data")
    with pytest.raises(UserError, match="INITPOOLS_DATA=~nobody-of-that-name/data"):
        data_home()
