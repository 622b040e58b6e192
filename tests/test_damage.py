"""Every single damage of a finished run is named by `verify` and by the commands that read the file, and mended."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tomli
import tomli_w
from conftest import Initpools
from faults.damage import DAMAGES, files_of_run
from PIL import Image

from initpools_cli.core.checked_toml import DamagedFile, read_checked_toml, write_checked_toml
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import ITEMS, KEPT, Run

RUN = Path("runs/images")
SOURCE = Path(__file__).parent.parent / "initpools_cli"


#: The steps of a small run, and commands that read its files and make nothing that takes time.
MAKE = (
    ["embed", "pixels", "--dataset", "images.npz"],
    ["select-pool", "random", "--budget", 4],
    ["select-pool", "kcenter", "--budget", 4],
    ["rank", "random"],
)
READ = (
    ["embed", "pixels"],
    ["select-pool", "kmeans", "--budget", 3],
    ["compare", "random-b4-s0", "kcenter-b4-s0"],
    ["compare", "rank/random", "rank/random"],
    ["rank", "random"],
    ["status"],
)
#: The place in `READ` of a command that reads a file.
READER = {
    "run.toml": 5,
    ITEMS: 0,
    KEPT: 0,
    "embed/pixels/step.toml": 1,
    "embed/pixels/train.npy": 1,
    "pool/kcenter-b4-s0/indices.npy": 2,
    "pool/kcenter-b4-s0/step.toml": 2,
    "rank/random/sorted_idx.npy": 3,
    "rank/random/step.toml": 4,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small finished run. Never written to again."""
    from initpools_cli.cli.app import run

    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        images = np.random.default_rng(0).integers(0, 255, (40, 4, 4), dtype=np.uint8)
        np.savez("images.npz", train_images=images, train_labels=np.arange(40) % 2)
        for words in MAKE:
            patch.setattr(sys, "argv", ["initpools", *map(str, words)])
            assert run([*map(str, words), "--quiet"]) == 0
    return folder


@pytest.fixture
def run(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; the folder that it is in is the current one."""
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return RUN


def damaged(run: Path, how: str) -> Iterator[Path]:
    """Every file of the run in turn, damaged, and put back afterwards."""
    for file in files_of_run(run):
        before = file.read_bytes()
        DAMAGES[how](file)
        yield file
        file.write_bytes(before)


@pytest.mark.parametrize("how", DAMAGES)
def test_verify_names_every_damage_of_every_file(how: str, run: Path, initpools: Initpools) -> None:
    count = 0
    for file in damaged(run, how):
        ended = initpools("verify")
        files = [line.split("\t")[0] for line in ended.out.splitlines()]
        assert ended.code == 2 and file.relative_to(run).as_posix() in files, (file, ended)
        count += 1
    assert count >= 12 and initpools("verify").code == 0


def test_what_is_no_file_of_a_step_is_named(run: Path, initpools: Initpools) -> None:
    (run / "pool/random-b4-s0/more.npy").write_bytes(b"x")
    ended = initpools("verify")
    assert ended.code == 2 and "pool/random-b4-s0/more.npy\tis none of the files" in ended.out
    (run / "pool/random-b4-s0/more.npy").unlink()
    (run / "data/.x.abcd_123").write_bytes(b"x")
    ended = initpools("verify")
    assert ended.code == 0 and "left over from an interrupted command" in ended.err and ".x.abcd_123" in ended.err


def names_it(run: Path, file: Path, words: list[object], initpools: Initpools) -> bool:
    """Whether the command ends with the name of the file; else it has not read it."""
    ended = initpools(*words)
    for folder in run.glob("pool/kmeans*"):
        shutil.rmtree(folder)
    assert ended.code in (0, 2) and "Traceback" not in ended.err, (words, ended.err)
    assert ended.code == 0 or file.name in ended.err, (words, ended.err)
    return ended.code == 2


def test_a_command_that_reads_a_damaged_file_names_it(run: Path, initpools: Initpools) -> None:
    for file in damaged(run, "flip"):
        reader = READER.get(file.relative_to(run).as_posix())
        assert reader is None or names_it(run, file, READ[reader], initpools), file


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGES)
def test_every_command_names_what_is_damaged_or_does_not_read_it(how: str, run: Path, initpools: Initpools) -> None:
    outputs = {str(words): initpools(*words).out for words in READ[2:5]}
    for file in damaged(run, how):
        refusals = [names_it(run, file, words, initpools) for words in READ]
        for words, refused in zip(READ, refusals, strict=True):
            assert refused or str(words) not in outputs or initpools(*words).out == outputs[str(words)]
        reader = READER.get(file.relative_to(run).as_posix())
        assert reader is None or how == "lose" or refusals[reader]


def test_a_changed_byte_anywhere_in_a_sealed_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "step.toml"
    write_checked_toml(file, {"a": 1, "table": {"b": [1.5, "x"]}})
    content = file.read_bytes()
    assert read_checked_toml(file, "Restore the file.")["table"] == {"b": [1.5, "x"]}
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError):
            read_checked_toml(file, "Restore the file.")
        file.write_bytes(content[:place])
        if place:
            with pytest.raises(DamagedFile):
                read_checked_toml(file, "Restore the file.")


# ---- what commands advise


#: What is said of taking something away, and why it costs nothing that can't be made again.
DELETE = re.compile(r"\b(remove|delete|erase|discard|unlink|wipe|overwrite|rm)\b", re.IGNORECASE)


def test_no_message_advises_to_delete() -> None:
    """Of all text in the source but docstrings."""
    matches = []
    for file in sorted(SOURCE.rglob("*.py")):
        if not DELETE.search(file.read_text()):
            continue
        tree = ast.parse(file.read_text())
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in statements else None
            if isinstance(text, str) and DELETE.search(text):
                matches.append(f"{file.relative_to(SOURCE)}:{node.lineno}: {text}")
    assert not matches


# ---- repair


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", ["run.toml", ITEMS, KEPT])
def test_repair_makes_again_what_no_step_makes(file: str, how: str, run: Path, initpools: Initpools) -> None:
    before = (run / file).read_bytes()
    assert initpools("repair").code == 0 and not initpools("repair").out
    DAMAGES[how](run / file)
    damaged = (run / file).read_bytes() if how != "lose" else b""
    advice = re.search(r"`initpools (repair --run [^`]*)`", initpools("select-pool", "random", "--budget", 4).err)
    assert advice is not None
    mended = initpools(*advice[1].split())
    assert mended.code == 0 and mended.out.startswith(f"{file}\tmade again")
    assert tomli.loads(before.decode()) == tomli.loads((run / file).read_text()) if file == "run.toml" else True
    assert file == "run.toml" or (run / file).read_bytes() == before
    assert how == "lose" or (run / f"{file}.damaged").read_bytes() == damaged
    assert initpools("verify").code == 0
    assert "already done" in initpools("select-pool", "random", "--budget", 4).err


@pytest.mark.parametrize("how", DAMAGES)
def test_repair_moves_a_damaged_step_aside(how: str, run: Path, initpools: Initpools) -> None:
    step = run / "embed/pixels"
    before = {file.name: file.read_bytes() for file in step.iterdir()}
    DAMAGES[how](step / "step.toml")
    assert initpools("embed", "pixels").code == 2
    moved = initpools("repair")
    assert moved.code == 0 and moved.out.startswith(f"embed/pixels\tmoved to {run}/damaged/embed/pixels")
    files = {file.name: file.read_bytes() for file in (run / "damaged/embed/pixels").iterdir()}
    assert files.keys() - {"step.toml"} == before.keys() - {"step.toml"} and files["train.npy"] == before["train.npy"]
    assert initpools("embed", "pixels").code == 0
    assert (step / "train.npy").read_bytes() == before["train.npy"]


def unseal(run: Path) -> None:
    """Take away what schema 1 did not have."""
    for file in [run / "run.toml", *run.rglob("step.toml")]:
        facts = tomli.loads(file.read_text())
        new = {"checksum", "schema", "identity"} | ({"writes"} if file.name == "run.toml" else set())
        file.write_text(tomli_w.dumps({key: value for key, value in facts.items() if key not in new}))


def test_repair_of_a_run_of_schema_1_asks_the_commands_and_the_data(run: Path, initpools: Initpools) -> None:
    unseal(run)
    before = tomli.loads((run / "run.toml").read_text())
    assert initpools("verify").code == 0
    assert "knows the checksums" in initpools("repair").out
    unseal(run)
    (run / "run.toml").write_text("[run")
    mended = initpools("repair")
    assert mended.code == 0, mended.err
    after = tomli.loads((run / "run.toml").read_text())
    # The path is where the data are now.
    assert after["dataset"].pop("source") == str(Path("images.npz").resolve()) and before["dataset"].pop("source")
    assert (after["run"], after["dataset"]) == (before["run"], before["dataset"])
    assert initpools("verify").code == 0
    unseal(run)
    for file in run.rglob("step.toml"):
        file.write_text(file.read_text().replace("--dataset images.npz", ""))
    (run / "run.toml").unlink()
    result = initpools("repair")
    assert result.code == 2 and "--dataset NAME" in result.err and not (run / "run.toml").exists()
    np.savez("other.npz", train_images=np.zeros((9, 4, 4), np.uint8))
    wrong = initpools("repair", "--run", run, "--dataset", "other.npz")
    assert wrong.code == 2 and "can't be made again" in wrong.err and not (run / "run.toml").exists()
    assert initpools("repair", "--run", run, "--dataset", "images.npz").code == 0
    assert initpools("verify").code == 0


def dying(write: Callable[..., None], countdown: Iterator[int]) -> Callable[..., None]:
    """The same, until nothing is left; then it is killed."""

    def writes(*arguments: object) -> None:
        if next(countdown, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    return writes


def test_a_run_that_was_killed_while_its_images_grew_opens_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    """Whatever was written by then; and what is made of the folder is the same as without the kill."""
    from initpools_cli.core import rundir

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(6):
        Path("photos").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(f"photos/{number}.png")
    first = ["embed", "pixels", "--dataset", "photos"]
    assert initpools(*first).code == 0
    shutil.copytree("runs", "before")
    Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save("photos/a.png")
    assert initpools(*first, "--force").code == 0
    want = {file: Path("runs/photos", file).read_bytes() for file in (ITEMS, KEPT, "embed/pixels/train.npy")}
    for killed_at in range(4):
        shutil.rmtree("runs")
        shutil.copytree("before", "runs")
        countdown = iter(range(killed_at))
        with monkeypatch.context() as patch:
            for name in ("write_bytes", "write_checked_toml"):
                patch.setattr(rundir, name, dying(getattr(rundir, name), countdown))
            assert initpools("select-pool", "random", "--budget", 2).code == 130
        assert initpools("verify", "--run", "runs/photos").code == 0
        assert initpools(*first, "--force").code == 0
        assert {file: Path("runs/photos", file).read_bytes() for file in want} == want
        assert "replacing" not in Run(Path("runs/photos")).facts()
        assert initpools("verify", "--run", "runs/photos").code == 0


def test_a_data_set_that_was_moved_is_found_again(run: Path, initpools: Initpools) -> None:
    assert initpools("repair", "--run", run, "--dataset", "images.npz").code == 0
    source = Path("images.npz").resolve()
    content = np.load(source)
    moved = source.rename(source.with_name("moved.npz"))
    lost = initpools("select-pool", "random", "--budget", 3)
    assert lost.code == 2 and f"no longer at {source}" in lost.err and "repair" in lost.err
    np.savez("other.npz", **{name: content[name][::-1] for name in content.files})
    before = (run / "run.toml").read_bytes()
    assert initpools("repair", "--run", run, "--dataset", "other.npz").code == 2
    assert (run / "run.toml").read_bytes() == before
    mended = initpools("repair", "--run", run, "--dataset", moved)
    assert mended.code == 0 and mended.out == f"run.toml\tfinds the data set at {moved.resolve()}\n"
    assert "already done" in initpools("select-pool", "random", "--budget", 4).err
    assert initpools("embed", "pca").code == 0
    assert initpools("verify").code == 0
