"""Renamed, merged and split classes: label files, the list of classes and finished rounds stay consistent."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from PIL import Image

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.labeler.label_lock import label_lock
from initpools_cli.cli.labeler.state import LabelingState
from initpools_cli.cli.options import Common
from initpools_cli.core.rundir import Run
from initpools_cli.labeling import change_classes as module
from initpools_cli.labeling.change_classes import change_classes, valid_change
from initpools_cli.labeling.class_changes import Change, read_changes, successors, through
from initpools_cli.labeling.classes import ClassList, InvalidClass
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.page import open_labeling
from initpools_cli.labeling.session import LabelingSession
from initpools_cli.labeling.stored_rounds import classes_of_rounds, read_predictions, read_round_labels, rounds
from initpools_cli.labeling.verdict import verdict

NAMES = ["cat", "dog", "owl"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 18 photos in three classes, nine of them labeled in a finished round; never written to."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for i in range(18):
        file = folder / "photos" / f"{i:02d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray((rng.integers(0, 60, (8, 8, 3)) + 80 * (i % 3)).astype(np.uint8)).save(file)
    pd.DataFrame({"path": [f"{i:02d}.png" for i in range(9)], "label": NAMES * 3}).to_csv(
        folder / "mine.csv", index=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ["embed", "pixels", "--dataset", "photos"],
            ["al-run", "--labels", "mine.csv", "--budget", "4", "--query", "random", "--next", "next.csv"],
        ):
            patch.setattr(sys, "argv", ["initpools", *words])
            assert run_command_line([*words, "--threads", "1", "--quiet"]) == 0
    return folder


@pytest.fixture
def run(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which reads the photos of the first one."""
    shutil.copytree(template / "runs", tmp_path / "runs")
    shutil.copy(template / "mine.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path("runs/photos")


def opened(run: Path) -> LabelingSession:
    return open_labeling(Common(run=run, quiet=True).start("dataset"), None, [], None)


def labels(file: Path) -> dict[int, str]:
    table = pd.read_csv(file, keep_default_na=False, dtype={"label": str})
    return {index: label for index, label in zip(table["index"], table["label"], strict=True) if label}


def remembered(run: Path) -> dict[int, str]:
    table = read_round_labels(rounds(Run(run))[-1])
    return dict(zip(table["index"].tolist(), table["label"], strict=True))


def test_a_renamed_class_has_its_new_name_everywhere_and_nothing_finished_is_written(
    run: Path, initpools: Initpools
) -> None:
    session = opened(run)
    session.label(session.indices[:2], "cat")
    before = {file: file.read_bytes() for file in sorted((run / "loop").rglob("*")) if file.is_file()}
    old_labels = remembered(run)
    ended = initpools("label", "--run", run, "--rename", "cat=feline", "--merge", "dog,owl=pet", "--json")
    assert ended.code == 0, ended.err
    assert "cat renamed to feline: 2 labels in 1 file, 3 labels of finished rounds." in ended.err
    assert labels(session.file) == dict.fromkeys(session.indices[:2], "feline")
    assert remembered(run) == {index: "feline" if label == "cat" else "pet" for index, label in old_labels.items()}
    assert classes_of_rounds(Run(run)) == ("feline", "pet")
    assert {*read_predictions(rounds(Run(run))[-1])["label"]} <= {"feline", "pet"}
    assert (run / "labels/classes.txt").read_text().split() == ["feline", "pet"]
    assert before == {file: file.read_bytes() for file in sorted((run / "loop").rglob("*")) if file.is_file()}
    again = opened(run)
    assert again.vocabulary.names == ["feline", "pet"] and again.label_of(session.indices[0]) == "feline"
    # An old file of the user's own is read with the present names; a name in use again stands for itself.
    ended = initpools("al-run", "--run", run, "--labels", "mine.csv", "--budget", 2, "--query", "random")
    assert ended.code == 0, ended.err
    assert "'cat' is read as 'feline'" in ended.err and len(rounds(Run(run))) == 1
    assert remembered(run) == {index: "feline" if label == "cat" else "pet" for index, label in old_labels.items()}
    assert read_changes(Run(run)) and rounds(Run(run))[-1].facts["outcome"]["class_changes"] == 2


def test_a_page_reads_old_names_in_a_file_of_the_users_own_with_the_present_ones(
    run: Path, initpools: Initpools
) -> None:
    old_labels = dict(enumerate(NAMES * 3))
    assert initpools("label", "--run", run, "--rename", "cat=feline", "--merge", "dog,owl=pet").code == 0
    session = open_labeling(Common(run=run, quiet=True).start("dataset"), None, [], Path("mine.csv"))
    session.label(session.indices[:1], "pet")
    assert labels(Path("mine.csv")) == {
        **{index: "feline" if label == "cat" else "pet" for index, label in old_labels.items()},
        session.indices[0]: "pet",
    }
    assert (run / "labels/classes.txt").read_text().split() == ["feline", "pet"]


def test_another_spelling_than_that_of_earlier_rounds_is_settled_by_a_rename(run: Path, initpools: Initpools) -> None:
    Path("more.csv").write_text("path,label\n10.png,Cat\n")
    words = ("al-run", "--run", run, "--labels", "more.csv", "--budget", 2, "--query", "random")
    refused = initpools(*words)
    assert refused.code == 2 and "'cat' (3×) and 'Cat' (1×)" in refused.err
    assert "`initpools label --rename OLD=NEW`" in refused.err and len(rounds(Run(run))) == 1
    assert initpools("label", "--run", run, "--rename", "cat=Cat").code == 0
    assert initpools(*words).code == 0
    assert [*remembered(run).values()].count("Cat") == 4 and "cat" not in remembered(run).values()


def test_images_of_a_split_class_wait_until_they_are_labeled_again(run: Path, initpools: Initpools) -> None:
    session = opened(run)
    session.label(session.indices[:1], "cat")
    context = Common(run=run, quiet=True).start("dataset")
    state = LabelingState(session, {}, RunImages(context), context.run)
    answer = state.classes({"window": "a", "do": "split", "from": "cat", "to": ["cat", "lynx"]})
    assert [each[0] for each in answer["queue"]] == [0, 3, 6, session.indices[0]]
    assert answer["classes"] == ["cat", "lynx", "dog", "owl"]
    assert [item[0] for item in answer["items"]] == [*session.indices, 0, 3, 6]
    assert labels(session.file) == {} and {*remembered(run).values()} == {"dog", "owl"}
    message = {"window": "a", "number": 1, "do": "label", "images": [0, 3], "label": "lynx"}
    state.act(message)
    assert [each[0] for each in state.claim({"window": "a"})["queue"]] == [6, session.indices[0]]
    assert labels(session.file) == {0: "lynx", 3: "lynx"}
    state.act(message | {"number": 2, "do": "undo"})
    assert len(state.claim({"window": "a"})["queue"]) == 4
    # Images of earlier batches keep being images of a batch.
    state.act(message | {"number": 3})
    assert {*pd.read_csv(session.file).set_index("index").loc[[0, 3], "origin"]} == {"batch"}
    ended = initpools("al-run", "--run", run, "--labels", session.file, "--budget", 2, "--query", "random")
    assert ended.code == 0, ended.err
    assert {index: label for index, label in remembered(run).items() if label == "lynx"} == {0: "lynx", 3: "lynx"}
    assert 6 not in remembered(run)


def test_names_that_a_spreadsheet_would_run_stay_text(run: Path, initpools: Initpools) -> None:
    session = opened(run)
    session.label(session.indices[:1], "=1+1")
    assert initpools("label", "--run", run, "--rename", "=1+1=@home").code == 0
    assert labels(session.file) == {session.indices[0]: "'@home"} and "@home" in opened(run).vocabulary.names


def test_images_that_no_class_fits_are_skipped_and_listed(run: Path) -> None:
    session = opened(run)
    context = Common(run=run, quiet=True).start("dataset")
    state = LabelingState(session, {}, None, context.run)
    index = session.indices[0]
    state.act({"window": "a", "number": 1, "do": "unsure", "index": index})
    assert state.claim({"window": "a"})["verdict"] == verdict(session.last.outcomes) != []
    assert state.claim({"window": "a"})["queue"] == [(index, "none of these", "")] and session.skipped == 1
    state.act({"window": "a", "number": 2, "do": "label", "index": index, "label": "dog"})
    assert state.claim({"window": "a"})["queue"] == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--rename", "cat=dog", "There is a class 'dog' already"),
        ("--rename", "cta=x", "There is no class 'cta'"),
        ("--rename", "cat", "names no classes"),
        ("--rename", "cat=None", "stands for no label"),
        ("--rename", "cat=cat", "would stay the same"),
        ("--merge", "dog=dog", "would stay the same"),
        ("--split", "cat=lynx", "is to be split into one class"),
        ("--split", "cat=a\u202eb,c", "not printable"),
    ],
)
def test_changes_that_are_not_possible_change_nothing(
    run: Path, initpools: Initpools, option: str, value: str, says: str
) -> None:
    ended = initpools("label", "--run", run, option, value)
    assert ended.code == 2 and says in ended.err
    assert not (run / "labels").exists()


def test_classes_of_a_file_that_is_being_labeled_are_not_changed_from_outside(run: Path, initpools: Initpools) -> None:
    session = opened(run)
    session.label(session.indices[:1], "cat")
    with label_lock(session.file):
        ended = initpools("label", "--run", run, "--rename", "cat=feline")
    assert ended.code == 2 and "being labeled by another process" in ended.err
    assert labels(session.file) == {session.indices[0]: "cat"} and not read_changes(Run(run))


def test_a_change_that_was_interrupted_is_completed_as_the_message_says(
    run: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    session = opened(run)
    session.label(session.indices[:1], "cat")

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    change = valid_change("rename", ["cat"], ["feline"], session.vocabulary, "photos")
    with monkeypatch.context() as patch:
        patch.setattr(module, "as_text", stop)
        with pytest.raises(KeyboardInterrupt):
            change_classes(Run(run), session.data, change, session.vocabulary, session)
    again = initpools("label", "--run", run, "--rename", "cat=feline")
    assert again.code == 2 and "--merge cat,feline=feline" in again.err
    assert initpools("label", "--run", run, "--merge", "cat,feline=feline").code == 0
    assert {*opened(run).vocabulary.names} == {"feline", "dog", "owl"} and "cat" not in remembered(run).values()


def test_labels_are_read_through_all_changes_since() -> None:
    log = [
        Change("rename", ("a",), ("b",)),
        Change("merge", ("b", "c"), ("d",)),
        Change("split", ("d",), ("d", "e")),
        Change("rename", ("e",), ("a",)),
    ]
    assert [through(log, label) for label in "abcde"] == ["", "", "", "", "a"]
    assert [through(log[:2], label) for label in "abcx"] == ["d", "d", "d", "x"]
    assert successors(log, ["a", "d"]) == {"b": "", "c": "", "e": "a"}
    assert successors(log[:2], ["d"]) == {"a": "d", "b": "d", "c": "d"}


def test_classes_of_the_data_set_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(InvalidClass, match="are those of the data set"):
        valid_change("rename", ["cat"], ["x"], ClassList(("cat", "dog"), [], tmp_path / "classes.txt"), "photos")
