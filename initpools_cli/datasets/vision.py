"""Data sets of torchvision, with its addresses, checksums and parsers."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.files import atomic_file
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.cache import scratch_folder
from initpools_cli.datasets.sources import Arrays, DatasetFacts, Entry

#: Files to download, each with its folder below that of the data set.
Downloads = list[tuple[str, RemoteFile]]


#: SHA-256 of files by the MD5 that torchvision has.
SHA256 = {
    # CIFAR-10 and CIFAR-100.
    "c58f30108f718f92721af3b95e74349a": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "eb9058c3a382ffc7106e4002c42a8d85": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    # MNIST: images and labels of train and test.
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "d53e105ee54ea40749a09fcbcd1e9432": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "9fb629c4189551a2d022fa330f9573f3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "ec29112dd5afa0611ce80d1b7f02629c": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    # Fashion-MNIST, the same.
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "25c81989df183df01b3e8a0aad5dffbe": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "bef4ecab320f06d8554ea6380940ec79": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "bb300cfdad3c16e7a12a480ee83cd310": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    # SVHN, train and test.
    "e26dedcc434d2e4c54c9b2d4a06d8373": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "eb5a983be6a315427106f1b164d9cef3": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}


def _remote(urls: tuple[str, ...], name: str, md5: str) -> RemoteFile:
    """Return a file with its SHA-256; where that is not known, with its MD5, and from an https address first."""
    if md5 not in SHA256:
        urls = (*(f"https:{url.removeprefix('http:')}" for url in urls if url.startswith("http:")), *urls)
    return RemoteFile(urls, name, SHA256.get(md5, md5))


@dataclass(frozen=True)
class Family:
    """How a torchvision class lists its files, how they are unpacked, and its arguments for each split."""

    downloads: Callable[[Any], Downloads]
    unpack: Callable[[Path], None]
    splits: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def _of_archive(dataset: Any) -> Downloads:
    return [("", _remote((dataset.url,), dataset.filename, dataset.tgz_md5))]


def _of_resources(dataset: Any) -> Downloads:
    return [
        (f"{dataset.__name__}/raw", _remote(tuple(mirror + name for mirror in dataset.mirrors), name, md5))
        for name, md5 in dataset.resources
    ]


def _of_split_list(dataset: Any) -> Downloads:
    return [
        ("", _remote((url,), name, md5)) for split, (url, name, md5) in dataset.split_list.items() if split != "extra"
    ]


def _untar(archive: Path) -> None:
    """Unpack beside the archive, and move each folder into place when it is complete."""
    with scratch_folder(archive.parent) as scratch, place_errors(archive.parent):
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        for folder in scratch.iterdir():
            remove_folder(archive.parent / folder.name)
            folder.rename(archive.parent / folder.name)


def _gunzip(archive: Path) -> None:
    with gzip.open(archive) as source, place_errors(archive.parent), atomic_file(archive.with_suffix("")) as stream:
        shutil.copyfileobj(source, stream)


def _leave(file: Path) -> None:
    """Do nothing: the file is read as it is."""


BY_TRAIN = {"train": {"train": True}, "test": {"train": False}}
BY_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
CIFAR = Family(_of_archive, _untar, BY_TRAIN)
MNIST = Family(_of_resources, _gunzip, BY_TRAIN)
SVHN = Family(_of_split_list, _leave, BY_SPLIT)
STL = Family(_of_archive, _untar, BY_SPLIT, ("The 100000 unlabeled images of STL-10 are not used.",))

FAMILIES = {"CIFAR10": CIFAR, "CIFAR100": CIFAR, "MNIST": MNIST, "FashionMNIST": MNIST, "SVHN": SVHN, "STL10": STL}
FACTS = {
    "CIFAR10": DatasetFacts(
        "cifar10",
        "CIFAR-10, 60000 photos, 32×32",
        10,
        3,
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "not stated",
        True,
    ),
    "CIFAR100": DatasetFacts(
        "cifar100",
        "CIFAR-100, 60000 photos, 32×32",
        100,
        3,
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "not stated",
        True,
    ),
    "MNIST": DatasetFacts(
        "mnist",
        "MNIST, 70000 handwritten digits, 28×28",
        10,
        1,
        "http://yann.lecun.com/exdb/mnist/",
        "CC BY-SA 3.0",
        True,
    ),
    "FashionMNIST": DatasetFacts(
        "fashionmnist",
        "Fashion-MNIST, 70000 articles of clothing, 28×28",
        10,
        1,
        "https://github.com/zalandoresearch/fashion-mnist",
        "MIT",
        True,
    ),
    "SVHN": DatasetFacts(
        "svhn",
        "Street View House Numbers, 99289 cropped digits, 32×32",
        10,
        3,
        "http://ufldl.stanford.edu/housenumbers/",
        "non-commercial use only",
        True,
    ),
    "STL10": DatasetFacts(
        "stl10",
        "STL-10, 13000 labeled photos, 96×96",
        10,
        3,
        "https://cs.stanford.edu/~acoates/stl10/",
        "not stated",
        True,
    ),
}


def entries() -> list[Entry]:
    """Return one entry per class of torchvision."""
    return [Entry(facts, partial(_load_named, name)) for name, facts in FACTS.items()]


def load(dataset: Any, family: Family, root: Path, report: Reporter) -> Arrays:
    """Download missing files and read them with torchvision.

    Parameters
    ----------
    dataset : class
        One of torchvision's, or one with the same class attributes.
    family : Family
        Describes its files.
    root : Path
        The folder of the data set.
    report : Reporter
        Reports progress.
    """
    try:
        return _read(dataset, family, root)
    # torchvision raises this for missing or damaged files.
    except RuntimeError:
        for folder, remote in family.downloads(dataset):
            family.unpack(fetch(remote, root / folder, report))
        return _read(dataset, family, root)


def _load_named(name: str, home: Path, size: int, scratch: Path, report: Reporter) -> Arrays:
    import torchvision

    return load(getattr(torchvision.datasets, name), FAMILIES[name], home / FACTS[name].name, report)


def _read(dataset: Any, family: Family, root: Path) -> Arrays:
    parts = {split: dataset(str(root), download=False, **call) for split, call in family.splits.items()}
    images = {split: _channels_last(np.asarray(part.data)) for split, part in parts.items()}
    labels: dict[str, np.ndarray | None] = {
        split: np.asarray(part.targets if hasattr(part, "targets") else part.labels).astype(np.int64)
        for split, part in parts.items()
    }
    names = getattr(parts["train"], "classes", None)
    count = max(int(numbers.max()) for numbers in labels.values() if numbers is not None) + 1
    return Arrays(images, labels, tuple(names or map(str, range(count))), list(family.notes))


def _channels_last(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        return images[..., None]
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)
