"""Several annotators: who labels what, which label counts, and how well they agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from initpools_cli.cli.labeler.label_lock import label_lock
from initpools_cli.cli.options import Common
from initpools_cli.core.errors import UserError
from initpools_cli.datasets.annotations.annotators import decide
from initpools_cli.labeling import review
from initpools_cli.labeling.batch import Batch
from initpools_cli.labeling.page import files_with, open_labeling
from initpools_cli.labeling.shares import share_of
from initpools_cli.stats.krippendorff import nominal_alpha

CLASSES = ("amber", "blue", "green")
RUN = ("--run", "run")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A run of 24 images that are easily told apart, and a pool of ten of them; it is in the current folder."""
    monkeypatch.chdir(tmp_path)
    # Doubtful labels, which take most of a round, are tested in tests/test_review.py.
    monkeypatch.setattr(review, "REPETITIONS", 1)
    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for number in range(24):
        pixels = rng.integers(0, 120, (8, 8, 3)) + 80 * np.eye(3, dtype=int)[number % 3]
        Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{number:02}.png")
    assert initpools("embed", "pixels", "--dataset", "photos", *RUN).code == 0
    assert initpools("select-pool", "random", "-n", 10, *RUN).code == 0
    return tmp_path / "run"


def write_labels(file: str, wrong: dict[int, str], annotator: str = "", count: int = 12) -> str:
    """Write the labels of an annotator who is right but for some images."""
    labels = [wrong.get(number, CLASSES[number % 3]) for number in range(count)]
    table = pd.DataFrame({"path": [f"{number:02}.png" for number in range(count)], "label": labels})
    (table.assign(annotator=annotator) if annotator else table).to_csv(file, index=False)
    return file


# ---- agreement


def counts_of(*annotators: str) -> np.ndarray:
    """Count the classes of each image; one string per annotator, a dot for no label."""
    classes = sorted({*"".join(annotators)} - {"."})
    images = zip(*annotators, strict=True)
    return np.array([[labels.count(name) for name in classes] for labels in images])


@pytest.mark.parametrize(
    ("annotators", "alpha"),
    [
        # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": A and B (two observers), and C.
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".33323422" + "51.", "12332441251."), 0.743),
    ],
)
def test_alpha_is_that_of_the_published_examples(annotators: tuple[str, ...], alpha: float) -> None:
    estimate = nominal_alpha(counts_of(*annotators), np.random.default_rng(0))
    assert estimate.alpha == pytest.approx(alpha, abs=5e-4) and estimate.low <= estimate.alpha <= estimate.high


@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 4), st.integers(2, 4))
def test_alpha_is_one_minus_observed_by_expected_disagreement_of_pairs(seed: int, n: int, k: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((n, k)) < 0.8, rng.integers(0, c, (n, k)), -1)
    counts = np.stack([(labels == number).sum(axis=1) for number in range(c)], axis=1)
    units = [row[row >= 0] for row in labels if (row >= 0).sum() >= 2]
    pooled = np.concatenate(units) if units else np.empty(0, int)
    value = nominal_alpha(counts, rng, samples=20).alpha
    if len(np.unique(pooled)) < 2:
        assert np.isnan(value)
        return
    observed = sum((unit[:, None] != unit).sum() / (len(unit) - 1) for unit in units) / len(pooled)
    expected = (pooled[:, None] != pooled).sum() / (len(pooled) * (len(pooled) - 1))
    assert value == pytest.approx(1 - observed / expected)


def test_agreement_that_is_perfect_or_unknown() -> None:
    rng = np.random.default_rng(0)
    assert nominal_alpha(np.array([[2, 0], [0, 2]] * 4), rng) == (1, 1, 1)
    assert np.isnan(nominal_alpha(np.array([[2, 0], [3, 0]]), rng)).all()
    assert np.isnan(nominal_alpha(np.array([[1, 0], [0, 1]]), rng)).all()
    # As often right by chance as not: the interval contains 0, and narrows with more images.
    few, many = (nominal_alpha(rng.multinomial(2, [0.5, 0.5], n), rng) for n in (50, 5000))
    assert few.low < 0 < few.high and many.high - many.low < 0.2 * (few.high - few.low)


# ---- which label counts


@pytest.mark.parametrize(
    ("labels", "last", "majority", "strict"),
    [
        ({"a": "x"}, "x", "x", "x"),
        ({"a": "x", "b": "x"}, "x", "x", "x"),
        ({"a": "x", "b": "y"}, "y", "", ""),
        ({"a": "x", "b": "y", "c": "x"}, "x", "x", ""),
        ({"a": "x", "b": "x", "c": "y", "d": "z", "e": "y"}, "y", "", ""),
        ({"a": "x", "b": "y", "c": "z", "d": "y"}, "y", "y", ""),
        ({"a": "x", "": "y", "b": "x"}, "y", "y", "y"),
    ],
)
def test_rules(labels: dict[str, str], last: str, majority: str, strict: str) -> None:
    assert [decide(labels, rule) for rule in ("last", "majority", "strict")] == [last, majority, strict]


def labels_of(folder: str) -> dict[int, str]:
    return pd.read_csv(f"run/loop/{folder}/labels.csv", index_col="index")["label"].to_dict()


def test_annotators_are_compared_and_ties_are_listed_until_somebody_settles_them(
    run: Path, initpools: Initpools
) -> None:
    parts = [
        pd.read_csv(write_labels("ann.csv", {}, "ann")),
        pd.read_csv(write_labels("bob.csv", {3: "blue", 7: "green"}, "bob")),
        pd.read_csv(write_labels("cy.csv", {3: "blue"}, "cy", count=6)),
    ]
    pd.concat(parts).to_csv("all.csv", index=False)
    result = initpools("al-run", "--labels", "all.csv", *RUN)
    assert result.code == 0 and "they differ on 2. Agreement: Krippendorff's alpha 0.8" in result.err
    # The last label of each image, as in files without annotators.
    right = {number: CLASSES[number % 3] for number in range(12)}
    assert labels_of("round-1") == right | {3: "blue", 7: "green"}
    ended = initpools("al-run", "--labels", "all.csv", "--annotators", "majority", *RUN, "--json")
    agreement = json.loads(ended.out)["agreement"]
    assert (agreement["ties"], agreement["images"], agreement["annotators"]) == (1, 12, ["ann", "bob", "cy"])
    assert agreement["low"] < agreement["alpha"] < agreement["high"] <= 1
    expected = {image: label for image, label in (right | {3: "blue"}).items() if image != 7}
    assert labels_of("round-2") == expected
    assert "no decision for 07.png: ann: blue, bob: green" in ended.err
    assert "`initpools label --batch run/loop/round-2/ties.csv --run run`" in ended.err
    # A label without an annotator is final, and the votes of earlier rounds still count.
    Path("final.csv").write_text("path,label\n07.png,blue\n")
    result = initpools("al-run", "--labels", "final.csv", "--annotators", "majority", *RUN)
    assert result.code == 0 and "no decision" not in result.err and "3 annotators: 12 images" in result.err
    assert labels_of("round-3") == right | {3: "blue"}
    again = initpools("al-run", "--labels", "final.csv", "--annotators", "majority", *RUN)
    assert "already done: run/loop/round-3" in again.err
    assert "agreement of annotators 0.8" in initpools("status", *RUN).out
    assert initpools("plot", "report", "-o", "report.html", *RUN).code == 0
    assert "Krippendorff&#39;s alpha 0.8" in Path("report.html").read_text(encoding="utf-8")


def test_a_second_opinion_that_changes_no_label_is_counted(run: Path, initpools: Initpools) -> None:
    files = ["--labels", write_labels("a.csv", {}), "--labels", write_labels("b.csv", {}, count=9)]
    assert initpools("al-run", *files[:2], *RUN).code == 0
    assert not Path("run/loop/round-1/annotators.csv").exists()
    result = initpools("al-run", *files, *RUN)
    assert result.code == 0 and "9 images have labels of two or more, and they differ on 0" in result.err
    assert [path.name for path in Path("run/loop").iterdir()] == ["round-1"]
    assert set(pd.read_csv("run/loop/round-1/annotators.csv")["annotator"]) == {"a", "b"}
    outcome = tomli.loads(Path("run/loop/round-1/step.toml").read_text())["outcome"]
    assert outcome["annotations"] == [str(Path(name).resolve()) for name in ("a.csv", "b.csv")]
    assert len(outcome["annotations_sha256"]) == 2


def test_classes_that_were_renamed_are_renamed_in_votes(run: Path, initpools: Initpools) -> None:
    files = ["--labels", write_labels("a.csv", {}), "--labels", write_labels("b.csv", {3: "blue"})]
    assert initpools("al-run", *files, "--annotators", "strict", *RUN).code == 0
    assert initpools("label", "--rename", "blue=azure", *RUN).code == 0
    result = initpools("al-run", *files, "--annotators", "strict", *RUN)
    assert result.code == 0 and "no decision for 03.png: a: amber, b: azure" in result.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--labels", "a.csv", "--annotators", "majority"], "a.csv does not say it"),
        (["--labels", "a.csv", "--labels", "./a.csv"], "names a.csv twice"),
        (["--labels", "case.csv"], "'Ann' and 'ann', which differ only in case"),
        (["--labels", "a.csv", "--annotators", "most"], "al.annotators = 'most'"),
        (["--annotators", "strict"], "--annotators requires --labels"),
        (["--labels", "tie.csv", "--annotators", "strict"], "disagree on all 1 images"),
        (["--labels", "a.csv", "--labels", "b.csv", "--next", "b.csv"], "b.csv is the file of --labels"),
    ],
)
def test_bad_inputs_get_a_sentence_and_change_nothing(
    run: Path, initpools: Initpools, more: list[str], says: str
) -> None:
    write_labels("a.csv", {})
    write_labels("b.csv", {})
    Path("case.csv").write_text("path,label,annotator\n00.png,amber,ann\n01.png,blue,Ann\n")
    Path("tie.csv").write_text("path,label,annotator\n00.png,amber,ann\n00.png,blue,bob\n")
    ended = initpools("al-run", *more, *RUN)
    assert ended.code == 2 and says in ended.err and not Path("run/loop").exists()


def test_rows_of_one_annotator_that_differ_are_left_out_and_others_count(run: Path, initpools: Initpools) -> None:
    text = "path,label,annotator\n00.png,amber,ann\n00.png,blue,ann\n00.png,green,bob\n01.png,blue,\n02.png,blue,bob\n"
    Path("mixed.csv").write_text(text)
    result = initpools("al-run", "--labels", "mixed.csv", *RUN)
    assert result.code == 0 and "line 2: 00.png has different labels by 'ann': amber, blue" in result.err
    assert "1 label has no annotator and is final" in result.err
    assert labels_of("round-1") == {0: "green", 1: "blue", 2: "blue"}


# ---- who labels what


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 2**32))
def test_parts_cover_a_batch_and_share_the_overlap(n: int, parts: int, overlap: float, seed: int) -> None:
    indices = np.random.default_rng(seed).permutation(n).tolist()
    batch = Batch("batch", indices, [f"label {index}" for index in indices])
    common = {*share_of(batch, None, overlap, seed).indices} if overlap else set()
    assert len(common) == (max(1, round(overlap * n)) if overlap else 0)
    if n - len(common) < parts and not overlap:
        with pytest.raises(UserError, match="too few for"):
            share_of(batch, (parts, parts), overlap, seed)
        return
    shares = [share_of(batch, (part, parts), overlap, seed) for part in range(1, parts + 1)]
    assert {index for share in shares for index in share.indices} == {*indices}
    assert sum(len(share.indices) - len(common) for share in shares) == n - len(common)
    sizes = [len(share.indices) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    for share in shares:
        assert common <= {*share.indices} and sorted(share.indices, key=indices.index) == share.indices
        assert share.labels == [f"label {index}" for index in share.indices]


def test_two_annotators_label_a_batch_at_the_same_time(run: Path, initpools: Initpools) -> None:
    def opened(annotator: str, part: str | None = None, output: Path | None = None):
        context = Common(run=run, quiet=True).start("dataset")
        return open_labeling(context, None, ["cat", "dog"], output, annotator=annotator, part=part, overlap="20%")

    ann, bob = opened("ann", "1/2"), opened("bob", "2/2")
    both = {*ann.indices} & {*bob.indices}
    assert len(both) == 2 and len(ann.indices) == len(bob.indices) == 6
    assert {*opened("cy").indices} == both
    with label_lock(ann.file), label_lock(bob.file):
        ann.label(ann.indices, "cat")
        bob.label(bob.indices, "dog")
    assert ann.file.name == "random-b10-s0.by-ann.csv" and files_with(ann) == [ann.file, bob.file]
    assert {*pd.read_csv(ann.file)["annotator"]} == {"ann"} and {*pd.read_csv(bob.file)["annotator"]} == {"bob"}
    state = json.loads(initpools("status", "--json", *RUN).out)
    assert state["next"] == (
        "initpools al-run --labels run/labels/random-b10-s0.by-ann.csv --labels run/labels/random-b10-s0.by-bob.csv "
        "--budget 10 --next next.csv --run run"
    )
    words = ["--labels", ann.file, "--labels", bob.file, "--annotators", "strict"]
    result = initpools("al-run", *words, *RUN)
    assert result.code == 0 and "8 new labels" in result.err and "no decision for" in result.err
    # Who opens a file goes on as its annotator, and nobody else writes to it.
    assert opened("", output=ann.file).annotator == "ann"
    with pytest.raises(UserError, match="has labels of ann, and the page writes a file of one annotator"):
        opened("bob", output=ann.file)
    plain = Path(write_labels("plain.csv", {}))
    with pytest.raises(UserError, match="has labels without an annotator"):
        opened("bob", output=plain)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--part", "1/2"], "--part 1/2 needs the name of who labels"),
        (["--overlap", "10%"], "--overlap 10% needs the name of who labels"),
        (["--annotator", "ann", "--part", "3/2"], "--part 3/2 is not a part"),
        (["--annotator", "ann", "--part", "0/2"], "--part 0/2 is not a part"),
        (["--annotator", "ann", "--part", "half"], "--part half is not a part"),
        (["--annotator", "ann", "--part", "11/11"], "has 10 images, too few for 11 parts"),
        (["--annotator", "ann", "--overlap", "10"], "--overlap 10 is not a share"),
        (["--annotator", "ann", "--overlap", "0%"], "--overlap 0% is not a share"),
        (["--annotator", "ann", "--overlap", "200%"], "--overlap 200% is not a share"),
        (["--annotator", "../ann"], "cannot be part of a file name"),
    ],
)
def test_parts_that_are_none_get_a_sentence(run: Path, initpools: Initpools, more: list[str], says: str) -> None:
    ended = initpools("label", *more, "--no-browser", *RUN)
    assert ended.code == 2 and says in ended.err and not Path("run/labels").exists()
