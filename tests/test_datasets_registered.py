"""The registered data sets, with small stand-ins behind file:// addresses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from initpools_cli.core.download import RemoteFile
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets import medmnist_sets, tiny_imagenet, vision
from initpools_cli.datasets.catalog import catalog, entries
from initpools_cli.datasets.file_items import Storage
from initpools_cli.datasets.files import open_files
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Arrays, Files
from initpools_cli.datasets.spec import DatasetSpec

QUIET = Reporter(quiet=True)
RNG = np.random.default_rng(0)


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def put(file: Path, content: bytes) -> str:
    """Write a file; its MD5."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return md5(content)


def tarred(file: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return md5(file.read_bytes())


def test_the_catalog_holds_what_is_promised():
    facts = {one.name: one for one in catalog()}
    medmnist = [
        "path",
        "chest",
        "derma",
        "oct",
        "pneumonia",
        "retina",
        "breast",
        "blood",
        "tissue",
        "organa",
        "organc",
        "organs",
    ]
    promised = [f"{name}mnist" for name in medmnist]
    promised += ["digits", "cifar10", "cifar100", "mnist", "fashionmnist", "svhn", "stl10", "tinyimagenet", "ham10000"]
    assert sorted(facts) == sorted(promised)
    assert (facts["pathmnist"].classes, facts["pathmnist"].channels) == (9, 3)
    assert (facts["organamnist"].classes, facts["organamnist"].channels) == (11, 1)
    assert all(one.title and one.source and one.license for one in facts.values())
    json.dumps([asdict(one) for one in facts.values()])


def test_naming_the_data_sets_loads_no_torch():
    code = "import sys; from initpools_cli.datasets.catalog import catalog; catalog(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_what_is_no_image_set_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(UserError, match="volumes"):
        open_dataset(DatasetSpec("organmnist3d"), seed=0, cache=tmp_path, report=QUIET)


def test_every_refusal_is_kept_out_of_the_catalog():
    refused = {name for name, entry in entries().items() if entry.refusal}
    assert refused == {f"{name}mnist3d" for name in ("organ", "nodule", "adrenal", "fracture", "vessel", "synapse")}


@pytest.mark.parametrize(
    ("size", "file"),
    [
        (0, "pathmnist.npz"),
        (20, "pathmnist.npz"),
        (28, "pathmnist.npz"),
        (32, "pathmnist_64.npz"),
        (64, "pathmnist_64.npz"),
        (128, "pathmnist_128.npz"),
        (224, "pathmnist_224.npz"),
        (256, "pathmnist_224.npz"),
    ],
)
def test_the_size_picks_the_medmnist_file(size, file):
    from medmnist import INFO

    remote = medmnist_sets.remote_of(INFO["pathmnist"], size)
    assert remote.name == file and f"/{file}?" in remote.urls[0]
    mark = file.removeprefix("pathmnist").removesuffix(".npz")
    assert remote.checksum == INFO["pathmnist"][f"MD5{mark}"]


def test_a_medmnist_set_is_fetched_verified_and_opened(tmp_path):
    packed = io.BytesIO()
    labels = {f"{split}_labels": np.arange(n)[:, None] % 2 for split, n in (("train", 6), ("val", 2), ("test", 4))}
    images = {f"{split}_images": bytes_of(n, 28, 28) for split, n in (("train", 6), ("val", 2), ("test", 4))}
    np.savez(packed, **images, **labels)
    checksum = put(tmp_path / "server" / "tinymnist.npz", packed.getvalue())
    info = {
        "python_class": "TinyMNIST",
        "task": "multi-class",
        "label": {"0": "left", "1": "right", "2": "never seen"},
        "n_channels": 1,
        "n_samples": {"train": 6, "val": 2, "test": 4},
        "license": "CC BY 4.0",
        **{f"url{mark}": (tmp_path / "server" / "tinymnist.npz").as_uri() for mark in medmnist_sets.SIZES.values()},
        **{f"MD5{mark}": checksum for mark in medmnist_sets.SIZES.values()},
    }
    (entry,) = medmnist_sets.entries({"tinymnist": info})
    (tmp_path / "scratch").mkdir()
    source = entry.load(tmp_path / "home", 0, tmp_path / "scratch", QUIET)
    assert isinstance(source, Arrays) and entry.facts.classes == 3 and entry.refusal == ""
    assert source.classes == ("left", "right", "never seen")
    assert np.array_equal(source.images["test"][..., 0], images["test_images"])
    assert source.labels["train"].tolist() == [0, 1, 0, 1, 0, 1]
    assert (tmp_path / "home" / "medmnist" / "tinymnist.npz").exists()


def tiny_cifar(server: Path, coarse: bool) -> tuple[type, np.ndarray, np.ndarray]:
    """A class like torchvision's CIFAR-10 (or -100) with its archive, and the pixels of train."""
    images = bytes_of(6, 3, 32, 32)
    labels = [0, 1, 1, 0, 1, 0]
    key = "fine_labels" if coarse else "labels"
    batches = {
        name: pickle.dumps({"data": images[rows].reshape(len(images[rows]), -1), key: labels[rows]})
        for name, rows in {"one": slice(0, 3), "two": slice(3, 6), "test": slice(0, 2)}.items()
    }
    meta = pickle.dumps({"names": ["cat", "dog"]})
    folder = "batches"
    server.mkdir()
    checksum = tarred(
        server / "a.tar.gz", {f"{folder}/{name}": content for name, content in {**batches, "meta": meta}.items()}
    )

    facts = {
        "base_folder": folder,
        "url": (server / "a.tar.gz").as_uri(),
        "filename": "a.tar.gz",
        "tgz_md5": checksum,
        "train_list": [[name, md5(batches[name])] for name in ("one", "two")],
        "test_list": [["test", md5(batches["test"])]],
        "meta": {"filename": "meta", "key": "names", "md5": md5(meta)},
    }
    Tiny = type("Tiny", (datasets.CIFAR100 if coarse else datasets.CIFAR10,), facts)
    return Tiny, images.transpose(0, 2, 3, 1), np.array(labels)


@pytest.mark.parametrize("coarse", [False, True])
def test_cifar_is_fetched_unpacked_and_read_by_torchvision(tmp_path, coarse):
    dataset, images, labels = tiny_cifar(tmp_path / "server", coarse)
    source = vision.load(dataset, vision.CIFAR, tmp_path / "home", QUIET)
    assert source.classes == ("cat", "dog")
    assert np.array_equal(source.images["train"], images) and np.array_equal(source.labels["train"], labels)
    assert np.array_equal(source.images["test"], images[:2]) and source.labels["test"].dtype == np.int64
    # A damaged file is unpacked again from the archive that is there, without the server.
    (tmp_path / "server" / "a.tar.gz").unlink()
    (tmp_path / "home" / "batches" / "two").write_bytes(b"damaged")
    assert np.array_equal(vision.load(dataset, vision.CIFAR, tmp_path / "home", QUIET).images["train"], images)
    assert {file.name for file in (tmp_path / "home").iterdir()} == {"a.tar.gz", "batches"}


@pytest.mark.parametrize("base", [datasets.MNIST, datasets.FashionMNIST])
def test_mnist_is_fetched_from_its_mirrors(tmp_path, base):
    images, labels = bytes_of(5, 28, 28), np.array([1, 0, 9, 3, 1], dtype=np.uint8)
    sizes = (28).to_bytes(4, "big") * 2
    files = {
        "train-images-idx3-ubyte": b"\0\0\x08\x03" + (5).to_bytes(4, "big") + sizes + images.tobytes(),
        "train-labels-idx1-ubyte": b"\0\0\x08\x01" + (5).to_bytes(4, "big") + labels.tobytes(),
        "t10k-images-idx3-ubyte": b"\0\0\x08\x03" + (2).to_bytes(4, "big") + sizes + images[:2].tobytes(),
        "t10k-labels-idx1-ubyte": b"\0\0\x08\x01" + (2).to_bytes(4, "big") + labels[:2].tobytes(),
    }
    packed = [
        (f"{name}.gz", put(tmp_path / "server" / f"{name}.gz", gzip.compress(text))) for name, text in files.items()
    ]

    mirrors = [(tmp_path / place).as_uri() + "/" for place in ("nowhere", "server")]
    Tiny = type("Tiny", (base,), {"mirrors": mirrors, "resources": packed})
    source = vision.load(Tiny, vision.MNIST, tmp_path / "home", QUIET)
    assert np.array_equal(source.images["train"][..., 0], images)
    assert source.labels["test"].tolist() == [1, 0] and source.classes == tuple(base.classes)


def test_svhn_has_its_zeros_as_class_zero(tmp_path):
    images, digits = bytes_of(4, 32, 32, 3), np.array([10, 1, 9, 2])
    checksums = {}
    for split, rows in (("train", slice(None)), ("test", slice(0, 2))):
        (tmp_path / "server").mkdir(exist_ok=True)
        file = tmp_path / "server" / f"{split}.mat"
        savemat(file, {"X": images[rows].transpose(1, 2, 3, 0), "y": digits[rows, None].astype(np.uint8)})
        checksums[split] = [file.as_uri(), file.name, md5(file.read_bytes())]

    checksums["extra"] = ["file:///nowhere", "extra.mat", "0" * 32]
    Tiny = type("Tiny", (datasets.SVHN,), {"split_list": checksums})
    source = vision.load(Tiny, vision.SVHN, tmp_path / "home", QUIET)
    assert np.array_equal(source.images["train"], images)
    assert source.labels["train"].tolist() == [0, 1, 9, 2] and source.classes == tuple("0123456789")


def test_stl_is_read_without_its_unlabeled_images(tmp_path):
    images = bytes_of(3, 3, 96, 96)
    files = {
        "train_X.bin": images.tobytes(),
        "train_y.bin": bytes([1, 2, 1]),
        "test_X.bin": images[:1].tobytes(),
        "test_y.bin": bytes([2]),
        "unlabeled_X.bin": b"",
        "class_names.txt": b"airplane\nbird\n",
    }
    (tmp_path / "server").mkdir()
    archive = tmp_path / "server" / "s.tar.gz"
    checksum = tarred(archive, {f"stl10_binary/{name}": content for name, content in files.items()})

    facts = {
        "url": archive.as_uri(),
        "filename": "s.tar.gz",
        "tgz_md5": checksum,
        "train_list": [[name, md5(files[name])] for name in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")],
        "test_list": [[name, md5(files[name])] for name in ("test_X.bin", "test_y.bin")],
    }
    Tiny = type("Tiny", (datasets.STL10,), facts)
    source = vision.load(Tiny, vision.STL, tmp_path / "home", QUIET)
    # Stored column by column.
    assert np.array_equal(source.images["train"], images.transpose(0, 3, 2, 1))
    assert source.labels["train"].tolist() == [0, 1, 0] and source.classes == ("airplane", "bird")
    assert source.notes == ["The 100000 unlabeled images of STL-10 are not used."]


def test_torchvision_states_the_facts_that_are_read_from_it():
    for name, family in vision.FAMILIES.items():
        for _, remote in family.downloads(getattr(datasets, name)):
            assert remote.name and all(url.startswith(("http://", "https://")) for url in remote.urls)
            # Of STL-10 no SHA-256 is published; its MD5 is at least not asked for over http first.
            assert len(remote.checksum) == (32 if name == "STL10" else 64)
            assert len(remote.checksum) == 64 or remote.urls[0].startswith("https://")
        assert name in vision.FACTS


def test_an_unreachable_source_says_what_to_put_where(tmp_path):
    dataset, _, _ = tiny_cifar(tmp_path / "server", False)
    (tmp_path / "server" / "a.tar.gz").unlink()
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        vision.load(dataset, vision.CIFAR, tmp_path / "home", QUIET)
    for fact in (dataset.url, str(tmp_path / "home" / "a.tar.gz"), dataset.tgz_md5):
        assert fact in str(caught.value)


def picture(value: int) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(packed, "JPEG")
    return packed.getvalue()


def test_tiny_imagenet_is_unpacked_with_its_validation_images_as_test(tmp_path):
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in {
            "wnids.txt": b"n2\nn1\nn3\n",
            "words.txt": b"n1\tcrane\nn2\tcrane, bird\nn3\tgoldfish, carp\nn9\tother\n",
            "val/val_annotations.txt": b"v0.JPEG\tn3\t0\t0\t9\t9\nv1.JPEG\tn1\t0\t0\t9\t9\n",
            "train/n1/images/n1_0.JPEG": picture(10),
            "train/n2/images/n2_0.JPEG": picture(20),
            "train/n2/n2_boxes.txt": b"n2_0.JPEG\t0\t0\t9\t9\n",
            "train/n3/images/n3_0.JPEG": picture(30),
            "val/images/v0.JPEG": picture(40),
            "val/images/v1.JPEG": picture(50),
            "test/images/t0.JPEG": picture(60),
        }.items():
            packed.writestr(f"tiny-imagenet-200/{name}", content)
    remote = RemoteFile((archive.as_uri(),), "tiny.zip", md5(archive.read_bytes()))
    home, scratch = tmp_path / "home", tmp_path / "home" / "scratch"
    scratch.mkdir(parents=True)
    source = tiny_imagenet.load(remote, home, 0, scratch, QUIET)
    assert isinstance(source, Files)
    files = open_files(source, DatasetSpec("tinyimagenet"), Scale(), 0, Storage(home, scratch, QUIET))
    assert files.classes == ("crane (n1)", "crane (n2)", "goldfish")
    assert files.items["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert files.items["label"].tolist() == [0, 1, 2, 2, 0]
    assert files.arrays["test"][:, 0, 0, 0].tolist() == [40, 50]
    # It is there now, and fetched no more.
    (home / "tinyimagenet" / "tiny.zip").unlink()
    archive.unlink()
    assert tiny_imagenet.load(remote, home, 0, scratch, QUIET).root == source.root


def test_tiny_imagenet_comes_from_its_makers():
    assert tiny_imagenet.ARCHIVE.algorithm == "sha256" and tiny_imagenet.ARCHIVE.urls[0].startswith("https:")


def test_ham10000_is_read_where_it_was_put_by_hand(tmp_path):
    open_ham = partial(open_dataset, DatasetSpec("ham10000", size=8), seed=0, cache=tmp_path, report=QUIET)
    with pytest.raises(UserError, match="HAM10000 is not in") as caught:
        open_ham()
    assert str(tmp_path / "ham10000") in caught.value.fact and "10.7910/DVN/DBW86T" in caught.value.remedy
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number in range(12):
        put(tmp_path / "ham10000" / f"HAM10000_images_part_{number % 2 + 1}" / f"ISIC_{number:07}.jpg", picture(number))
        rows.append(f"HAM_{number % 6},ISIC_{number:07},{['nv', 'mel', 'bcc'][number % 3]},histo,50,male,back")
    put(tmp_path / "ham10000" / "ISIC2018_Task3_Test_Images" / "ISIC_9.jpg", picture(99))
    (tmp_path / "ham10000" / "HAM10000_metadata.csv").write_text("\n".join(rows) + "\n")
    data = open_ham()
    assert data.classes == ("bcc", "mel", "nv") and data.root == tmp_path / "ham10000" and data.root is not None
    # Images of one lesion stay together.
    assert data.notes[0] == "groups (lesion_id): 12 images in 6 groups of 2."
    assert (data.items.groupby("group")["split"].nunique() == 1).all()
    assert {split: len(part.images) for split, part in data.splits.items()} == {"train": 10, "test": 2}
    again = open_ham(stored_items=data.items)
    assert again.items.equals(data.items) and again.notes == []
    # Runs of older versions have no groups, and stay so.
    older = open_ham(stored_items=data.items.drop(columns="group"))
    assert older.groups is None and older.group_names == () and older.notes == []
