"""What a label means: one rule, the same in every file that labels come in, and kept across rounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.annotations.check import read_annotations
from initpools_cli.datasets.classes import KnownClasses, alike, class_list, folded, in_order, meanings, value_of
from initpools_cli.datasets.label_arrays import encode_labels
from initpools_cli.datasets.labels import assigner
from initpools_cli.datasets.user_labels import label_numbers


def _meant(labels: list[str], classes: KnownClasses = KnownClasses()) -> dict[str, str | None]:  # noqa: B008
    return meanings(dict.fromkeys(labels, 1), classes, what="l.csv", remedy="Write it in one way.").of


MEANT = [
    (["3", "3.0", " 3 ", "+3", "3.00", "dog"], ["3", "3", "3", "3", "3", "dog"]),
    # Leading zeros and exponents may be names, where other classes are no numbers.
    (["3", "03", "3e0"], ["3", "3", "3"]),
    (["3", "03", "3e0", "dog"], ["3", "03", "3e0", "dog"]),
    (["01", "02"], ["01", "02"]),
    (["1e3", "1000.0"], ["1000", "1000"]),
    (["-0.0", "0", ".50", "0.5"], ["0", "0", "0.5", "0.5"]),
    # Exact where floats are not.
    (["9007199254740993", "9007199254740992.0"], ["9007199254740993", "9007199254740992"]),
    (["1" * 40, "1" * 40 + ".0", "1e999999"], ["1" * 40, "1" * 40, "1e999999"]),
    # Digits of other scripts, and the minus of typesetters.
    (["٣", "３", "3", "−2"], ["3", "3", "3", "-2"]),
    (["", " ", "nan", "NaN", "None", "NULL", "n/a", "NA", "?", "-1", "-1.0", "2", "3"], [""] * 11 + ["2", "3"]),
    (["unknown", "-2", "no"], ["unknown", "-2", "no"]),
    (["Straße", "cat"], ["Straße", "cat"]),
]


@pytest.mark.parametrize(("labels", "classes"), MEANT, ids=[str(labels)[:40] for labels, _ in MEANT])
def test_labels_mean_what_people_take_them_for(labels: list[str], classes: list[str]) -> None:
    assert list(map(_meant(labels).get, labels)) == classes
    assert list(map(_meant(labels[::-1]).get, labels)) == classes


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (("None", "-1", "cat"), ["None", "-1.0", "nan", "cat"], ["None", "-1", "", "cat"]),
        (("-1", "1"), ["-1", "1"], ["-1", "1"]),
        (("1",), ["-1", "1"], ["", "1"]),
        # By its place, where no class is a number.
        (("cat", "dog"), ["0", "1.0", "2", "-1", "1e300"], ["cat", "dog", None, "", None]),
        (("1", "dog"), ["1", "0", "1.0"], ["1", None, "1"]),
        (("01", "02"), ["1", "2.0", "3"], ["01", "02", None]),
    ],
)
def test_named_classes_come_first(classes: tuple[str, ...], labels: list[str], expected: list[str | None]) -> None:
    assert list(map(_meant(labels, KnownClasses(classes)).get, labels)) == expected


REFUSED = [
    ["dog", "Dog", "cat"],
    ["dog", " dog", "cat"],
    ["big dog", "big  dog"],
    ["caf\u00e9", "cafe\u0301"],
    ["dog", "dog\u200b"],
    ["Straße", "STRASSE"],
    ["\uff21", "a"],
    ["2", "²"],
]


@pytest.mark.parametrize("labels", REFUSED, ids=ascii)
def test_names_that_nobody_can_tell_apart_are_refused(labels: list[str]) -> None:
    with pytest.raises(UserError, match="differ only in case, spaces or Unicode form") as refused:
        _meant(labels)
    assert refused.value.remedy == "Write it in one way."
    for name in labels[:2]:
        assert repr(name) in refused.value.fact or ascii(name) in refused.value.fact
    with pytest.raises(UserError, match="a class of the data set"):
        _meant(labels[1:2], KnownClasses((labels[0], "bird")))


@pytest.mark.parametrize("labels", [["-1", "1"], ["-1.0", "1.0", ""], ["1", "nan", "−1"]])
def test_minus_one_and_one_alone_are_not_guessed(labels: list[str]) -> None:
    with pytest.raises(UserError, match="-1 may be a class") as refused:
        _meant(labels)
    assert "--classes=-1,1" in refused.value.remedy and "--classes=1 " in refused.value.remedy


def test_classes_that_are_named_are_each_named_once() -> None:
    assert class_list([" cat", "dog ", "cat"], "--classes") == ("cat", "dog")
    for names in (["cat", "Cat"], ["3", "3.0"], [""], ["x" * 101], ["a\x07"]):
        with pytest.raises(UserError, match="--classes"):
            class_list(names, "--classes")
    assert alike(" DOG", ["cat", "dog"]) == "dog" and alike("3.0", ["3", "x"]) == "3"
    assert alike("DOG", ["Dog", "dog"]) is None and alike("03", ["3", "x"]) is None


@settings(max_examples=50)
@given(st.lists(st.text(alphabet="aA1.0 -é\u0301", max_size=4), min_size=1, max_size=6))
def test_what_has_a_meaning_keeps_it(labels: list[str]) -> None:
    """A class is its own name, whatever else is in the file; and no two classes look alike."""
    try:
        of = _meant(labels)
    except UserError:
        return
    names = {name for name in of.values() if name}
    assert len({folded(name) for name in names}) == len(names)
    again = _meant(sorted(names))
    assert {name: name for name in names} == again
    numbers = [value_of(name) for name in names]
    assert None in numbers or len(set(numbers)) == len(numbers)


def test_numbers_are_ordered_as_numbers() -> None:
    assert in_order(["10", "9", "-2", "1.5"]) == ("-2", "1.5", "9", "10")
    assert in_order(["10", "9", "a"]) == ("10", "9", "a")


# ---- every way in which labels come

LABELS = ["3", "3.0", "dog", "None", "cat", "?"]
CLASSES = ["3", "3", "dog", "", "cat", ""]
Read = Callable[[Path, list[str]], list[str]]


def _items(folder: Path, count: int) -> pd.DataFrame:
    images = [np.full((4, 4), number, np.uint8) for number in range(count)]
    folder.mkdir(parents=True)
    sums = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
        sums.append(hashlib.sha256((folder / f"{number}.png").read_bytes()).hexdigest())
    paths = [f"{number}.png" for number in range(count)]
    return pd.DataFrame({"index": range(count), "path": paths, "split": "train", "sha256": sums})


def _annotated(name: str, text: Callable[[list[str]], str]) -> Read:
    def read(folder: Path, labels: list[str]) -> list[str]:
        items = _items(folder / "images", len(labels))
        (folder / name).write_text(text(labels), encoding="utf-8")
        annotations = read_annotations(folder / name, items, KnownClasses())
        label_of = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
        return [label_of.get(number, "") for number in range(len(labels))]

    return read


def _sorted_into_folders(folder: Path, labels: list[str]) -> list[str]:
    items = _items(folder / "images", len(labels))
    for number, label in enumerate(labels):
        (folder / "sorted" / label.replace("/", "-")).mkdir(parents=True, exist_ok=True)
        (folder / "images" / f"{number}.png").rename(folder / "sorted" / label / f"{number}.png")
    annotations = read_annotations(folder / "sorted", items, KnownClasses())
    label_of = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
    return [label_of.get(number, "") for number in range(len(labels))]


def _array(folder: Path, labels: list[str]) -> list[str]:
    codes, names = label_numbers(np.array(labels), "l.npy", ())
    return [names[code] if code >= 0 else "" for code in codes]


def _npz(folder: Path, labels: list[str]) -> list[str]:
    half = len(labels) // 2
    coding = encode_labels({"train_labels": np.array(labels[:half]), "test_labels": np.array(labels[half:])}, "l.npz")
    codes = np.concatenate([coding.codes["train_labels"], coding.codes["test_labels"]])
    return [coding.classes[code] if code >= 0 else "" for code in codes]


def _table_of_a_folder(folder: Path, labels: list[str]) -> list[str]:
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (folder / "l.csv").write_text(f"path,label\n{rows}", encoding="utf-8")
    paths = [f"{number}.png" for number in range(len(labels))]
    return assigner(str(folder / "l.csv"))(paths).labels


def _folders(folder: Path, labels: list[str]) -> list[str]:
    return assigner("folders")([f"{label}/{number}.png" for number, label in enumerate(labels)]).labels


def _csv(labels: list[str]) -> str:
    return "path,label\n" + "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))


def _studio(labels: list[str]) -> str:
    return json.dumps([{"image": f"{number}.png", "choice": label} for number, label in enumerate(labels)])


def _cvat(labels: list[str]) -> str:
    images = (f'<image name="{number}.png"><tag label="{label}"/></image>' for number, label in enumerate(labels))
    return f"<annotations>{''.join(images)}</annotations>"


WAYS: dict[str, Read] = {
    "table": _annotated("l.csv", _csv),
    "Label Studio": _annotated("l.json", _studio),
    "CVAT": _annotated("l.xml", _cvat),
    "a folder per class": _sorted_into_folders,
    ".npy": _array,
    ".npz": _npz,
    "dataset.labels=FILE.csv": _table_of_a_folder,
    "dataset.labels=folders": _folders,
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_mean_the_same_whatever_they_come_in(way: str, tmp_path: Path) -> None:
    assert WAYS[way](tmp_path, LABELS) == CLASSES
    for number, labels in enumerate((["dog", "cat", "Dog", "cat"], ["dog", "cat", "dog ", "cat"])):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(UserError, match=r"differ only in case, spaces or Unicode form: '[dD]og"):
            WAYS[way](tmp_path / str(number), labels)
    (tmp_path / "two").mkdir()
    with pytest.raises(UserError, match="-1 may be a class"):
        WAYS[way](tmp_path / "two", ["-1", "1", "-1.0", "1"])


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (np.array([0, -1, 2, 1]), [0, -1, 2, 1]),
        (np.array([0, np.nan, 2, -1]), [0, -1, 2, -1]),
        (np.array([True, False, True]), [1, 0, 1]),
        (np.array(["b", "", "a", "nan"]), [1, -1, 0, -1]),
        (np.array([b"b", b"?", b"a"]), [1, -1, 0]),
        (np.array([3, 7], np.uint64), [3, 7]),
    ],
)
def test_an_array_of_labels_may_be_of_any_type(labels: np.ndarray, codes: list[int]) -> None:
    assert label_numbers(labels, "l.npy", ())[0].tolist() == codes


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([0, 2**63], np.uint64), "9223372036854775808"),
        (np.array([0, -2]), "label -2"),
        (np.array([0.5, 1]), "contains 0.5, which is not an integer"),
        (np.array([np.inf, 1]), "contains inf, which is not an integer"),
        (np.array([1j]), "not integers or strings"),
        (np.array(["\ud800", "a"]), "a label with control characters"),
        (np.array([b"\xff"]), "not UTF-8"),
    ],
)
def test_an_array_that_holds_no_labels_is_refused(labels: np.ndarray, says: str) -> None:
    with pytest.raises(UserError, match=says):
        label_numbers(labels, "l.npy", ())


def test_a_space_after_every_separator_is_no_part_of_a_label(tmp_path: Path) -> None:
    items = _items(tmp_path / "images", 3)
    (tmp_path / "l.csv").write_text("index, label\n0, dog\n1, cat\n2, dog\n")
    assert read_annotations(tmp_path / "l.csv", items, KnownClasses(("cat", "dog"))).labels == ["dog", "cat", "dog"]


def test_rows_without_a_label_are_counted_and_the_first_ten_named(tmp_path: Path) -> None:
    items = _items(tmp_path / "images", 14)
    (tmp_path / "l.csv").write_text("index,label\n0,dog\n1,cat\n" + "".join(f"{i},nan\n" for i in range(2, 14)))
    annotations = read_annotations(tmp_path / "l.csv", items, KnownClasses())
    assert annotations.empty == 12 and annotations.notes == [
        f"{tmp_path / 'l.csv'} (--labels): 12 of 14 have no label (nan): lines 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and 2 "
        "more."
    ]


# ---- rounds of the labeling loop


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A run of twelve unlabeled images; gives its folder."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number:02d}.png")
    assert initpools("embed", "pixels", "--dataset", "photos", "--quiet").code == 0
    return tmp_path / "runs/photos"


def _known(run: Path, number: int) -> dict[int, str]:
    table = pd.read_csv(run / f"loop/round-{number}/labels.csv", dtype={"label": str}, keep_default_na=False)
    return dict(zip(table["index"].tolist(), table["label"].tolist(), strict=True))


def _file(name: str, labels: list[str], start: int = 0) -> str:
    Path(name).write_text("index,label\n" + "".join(f"{start + i},{label}\n" for i, label in enumerate(labels)))
    return name


def test_rounds_of_whole_numbers_and_of_floats_are_of_the_same_classes(photos: Path, initpools: Initpools) -> None:
    first = initpools("al-run", "--labels", _file("a.csv", ["0.0", "1.0", "", "0.0", "1.0"]))
    assert first.code == 0 and "1 of 5 has no label (empty): line 4." in first.err
    second = initpools("al-run", "--labels", _file("b.csv", ["0", "1", "0", "1", "0"], 5), "--json")
    assert second.code == 0 and json.loads(second.out)["class_names"] == ["0", "1"]
    assert _known(photos, 2) == dict(zip([0, 1, 3, 4, 5, 6, 7, 8, 9], "010101010", strict=True))


def test_what_an_older_version_stored_is_read_by_the_rules_of_now(photos: Path, initpools: Initpools) -> None:
    labels = _file("a.csv", ["x0", "x1", "x2", "x3", "cat"])
    assert initpools("al-run", "--labels", labels, "--quiet").code == 0
    table, step = photos / "loop/round-1/labels.csv", photos / "loop/round-1/step.toml"
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    stored = table.read_text()
    for old, new in (("x0", "0.0"), ("x1", "0"), ("x2", "nan"), ("x3", "-1")):
        stored = stored.replace(old, new)
    table.write_text(stored)
    # As an older version wrote it: without a seal and a schema.
    lines = step.read_text().replace(before, hashlib.sha256(table.read_bytes()).hexdigest()).splitlines(keepends=True)
    step.write_text("".join(line for line in lines if not line.startswith(("checksum = ", "schema = "))))
    ended = initpools("al-run", "--labels", _file("b.csv", ["0.00", "cat"], 5), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["class_names"] == ["0", "cat"]
    assert _known(photos, 2) == {0: "0", 1: "0", 4: "cat", 5: "0", 6: "cat"}


def test_a_round_refuses_names_that_clash_and_says_how_to_merge_them(photos: Path, initpools: Initpools) -> None:
    clash = initpools("al-run", "--labels", _file("case.csv", ["dog", "Dog", "cat", "cat"]))
    assert clash.code == 2 and "'dog' (1×) and 'Dog' (1×)" in clash.err and "one spelling" in clash.err
    assert not (photos / "loop").exists()
    padded = _file("a.csv", [" dog", "cat", "cat"])
    assert initpools("al-run", "--labels", padded).code == 0 and _known(photos, 1)[0] == "dog"
    # The same file again is no clash with itself; another spelling is one with the round before.
    assert "already done" in initpools("al-run", "--labels", padded).err
    for label in ("DOG", "dog  "):
        clash = initpools("al-run", "--labels", _file("b.csv", [label, "cat"], 6))
        assert clash.code == 2 and "'dog' (1×)" in clash.err and f"'{label}'" in clash.err
        assert "label --rename OLD=NEW" in clash.err and not (photos / "loop/round-2").exists()
    # To merge them, the images of one get the name of the other.
    assert initpools("al-run", "--labels", _file("c.csv", ["Dog"])).code == 0
    assert initpools("al-run", "--labels", _file("d.csv", ["Dog"], 6)).code == 0
    assert _known(photos, 3) == {0: "Dog", 1: "cat", 2: "cat", 6: "Dog"}


def test_a_class_may_be_called_as_if_it_were_none_once_it_is_named(photos: Path, initpools: Initpools) -> None:
    labels = _file("a.csv", ["None", "cat", "nan", "None"])
    assert initpools("al-run", "--labels", labels, "--classes", "None,cat").code == 0
    assert _known(photos, 1) == {0: "None", 1: "cat", 3: "None"}
    assert initpools("al-run", "--labels", _file("b.csv", ["None", "?"], 6)).code == 0
    assert _known(photos, 2) == {0: "None", 1: "cat", 3: "None", 6: "None"}
    alone = initpools("al-run", "--labels", _file("c.csv", ["-1", "1", "-1"]), "--run", "runs/photos", "--force")
    assert alone.code == 0, "other classes are known, so that -1 is none"


# ---- data sets of which only some images have a label


@pytest.fixture
def partly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A run of an .npz of four plain kinds of image, where every third train and every fifth test label is missing."""
    monkeypatch.chdir(tmp_path)
    kinds = np.arange(90) % 4
    images = np.random.default_rng(0).integers(0, 60, (90, 6, 6)) + 60 * kinds[:, None, None]
    train = np.where(np.arange(90) % 3 == 0, np.nan, kinds)
    test = np.where(np.arange(40) % 5 == 0, -1, kinds[:40])
    np.savez(
        "partly.npz",
        train_images=images.astype(np.uint8),
        train_labels=train[:, None],
        val_images=images[:9].astype(np.uint8),
        val_labels=np.full(9, -1),
        test_images=images[:40].astype(np.uint8),
        test_labels=test,
    )
    result = initpools("embed", "pixels", "--dataset", "partly.npz", "--threads", 1)
    assert (
        result.code == 0
        and "train_labels in" in result.err
        and "30 of 90 have no label (nan): rows 0, 3, 6" in result.err
    )
    assert "9 of 9 have no label (-1)" in result.err and "60 train, 32 test" in result.err
    return tmp_path / "runs/partly"


def test_an_image_without_a_label_has_none_in_the_table(partly: Path) -> None:
    items = pd.read_csv(partly / "data/items.csv", dtype=str, keep_default_na=False)
    train = items[items["split"] == "train"]
    assert train["label"].tolist() == ["" if i % 3 == 0 else str(i % 4) for i in range(90)]
    assert train["class"].tolist() == train["label"].tolist()
    assert set(items.loc[items["split"] == "val", "label"]) == {""}


def test_a_sweep_buys_only_images_that_have_a_label(partly: Path, initpools: Initpools) -> None:
    words = ["--init", "random,class-balanced", "--query", "margin", "--budget", 8, "--rounds", 1, "--seeds", 2]
    ended = initpools("al-run", *words, "--threads", 1)
    assert ended.code == 0 and "leaves out the 30 of 90 images that have no label" in ended.err
    assert "32 of the 40 test images have labels" in ended.err
    with np.load(partly / "al/main/picks.npz") as picks:
        assert len(picks.files) == 4
        for name in picks.files:
            assert len(picks[name]) == 16 and (picks[name] % 3 != 0).all(), name
    rounds = pd.read_csv(partly / "al/main/rounds.csv")
    # The kinds differ by their brightness alone: a share of the 32 images, and more than by chance.
    assert np.allclose(rounds["accuracy"] * 32 % 1, 0) and rounds["accuracy"].max() > 0.5
    none = initpools("al-run", *words, "--init-budget", 55, "--name", "most", "--threads", 1)
    assert none.code == 2 and "54 candidates" in none.err


def test_pools_and_rankings_know_the_labels_there_are(partly: Path, initpools: Initpools) -> None:
    pool = initpools("select-pool", "kmeans", "--budget", 12, "--with-labels", "--json", "--threads", 1)
    payload = json.loads(pool.out)
    unknown = [row["index"] for row in payload["pool"] if not row["label"]]
    assert unknown and all(index % 3 == 0 for index in unknown)
    assert payload["card"]["class_unknown"] == len(unknown)
    assert set(payload["card"]["class_counts"]) == {"0", "1", "2", "3"}
    assert sum(payload["card"]["class_counts"].values()) == 12 - len(unknown)
    oracle = initpools("select-pool", "class-balanced", "--budget", 60, "--threads", 1)
    assert oracle.code == 0 and sorted(map(int, oracle.out.split())) == [i for i in range(90) if i % 3]
    result = initpools("rank", "class-balanced", "--threads", 1)
    order = list(map(int, result.out.split()))
    assert sorted(order) == list(range(90)) and order[60:] == list(range(0, 90, 3))


def test_held_out_images_and_long_tails_are_drawn_from_labels_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = np.where(np.arange(80) % 4 == 0, "None", np.array(["ant", "bee"])[np.arange(80) % 2])
    images = np.random.default_rng(0).integers(0, 255, (80, 4, 4), dtype=np.uint8)
    np.savez("s.npz", train_images=images, train_labels=labels)
    tail = ["--set", "dataset.imbalance=step", "--set", "dataset.ratio=0.5"]
    for more, name in (([], "plain"), (tail, "tail")):
        assert initpools("embed", "pixels", "--dataset", "s.npz", "--run", name, *more, "--quiet").code == 0
        items = pd.read_csv(f"{name}/data/items.csv", dtype=str, keep_default_na=False)
        test, mask = items[items["split"] == "test"], np.load(f"{name}/data/kept.npy")
        # 60 of 80 have a label, and a fifth of those is held out.
        assert len(test) == 12 and set(test["class"]) == {"ant", "bee"}
        assert mask.sum() == (68 if name == "plain" else mask[labels != "None"].sum())


# ---- classes that are named


def test_the_classes_of_a_run_are_part_of_what_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 4), dtype=np.uint8)
    np.savez("two.npz", train_images=images, train_labels=np.where(np.arange(20) % 2, 1, -1))
    refused = initpools("embed", "pixels", "--dataset", "two.npz")
    assert refused.code == 2 and "--classes=-1,1" in refused.err and not Path("runs/two").exists()
    assert initpools("embed", "pixels", "--dataset", "two.npz", "--classes=-1,1", "--quiet").code == 0
    items = pd.read_csv("runs/two/data/items.csv", dtype=str, keep_default_na=False)
    assert items["class"].tolist()[:4] == ["-1", "1", "-1", "1"]
    assert "classes = [" in Path("runs/two/run.toml").read_text()
    other = initpools("embed", "pca", "--run", "runs/two", "--classes", "0,1")
    assert other.code == 2 and "dataset.classes" in other.err
    one = initpools("embed", "pixels", "--dataset", "two.npz", "--classes=1", "--run", "one", "--quiet")
    items = pd.read_csv("one/data/items.csv", dtype=str, keep_default_na=False)
    assert one.code == 0 and set(items.loc[items["split"] == "train", "class"]) == {"", "1"}
    options = ["--dataset", "two.npz", "--run", "named", "--classes"]
    assert initpools("embed", "pixels", *options, "cat,dog", "--quiet").code == 0
    assert set(pd.read_csv("named/data/items.csv", keep_default_na=False)["class"]) == {"", "dog"}
    digits = initpools("embed", "pixels", "--dataset", "digits", "--classes", "a,b")
    assert digits.code == 2 and "has classes of its own" in digits.err
    # A run that names none is the same as before there was the setting.
    np.savez("three.npz", train_images=images, train_labels=np.arange(20) % 3)
    assert initpools("embed", "pixels", "--dataset", "three.npz", "--quiet").code == 0
    assert "classes =" not in Path("runs/three/run.toml").read_text()


def test_labels_of_a_file_alone_go_by_the_same_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("e.npy", np.random.default_rng(0).normal(size=(20, 3)))
    np.save("l.npy", np.where(np.arange(20) < 6, np.arange(20) % 3, np.nan))
    words = ["select-pool", "kcenter", "--embeddings", "e.npy", "--labels", "l.npy", "--budget", 14]
    ended = initpools(*words)
    assert ended.code == 0 and "14 of 20 have no label (nan)" in ended.err
    assert sorted(map(int, ended.out.split())) == list(range(6, 20))
    np.save("l.npy", np.where(np.arange(20) < 6, 1, -1))
    refused = initpools(*words)
    assert refused.code == 2 and "--classes=-1,1" in refused.err
    assert initpools(*words, "--classes=0,1").code == 0
