"""First contact: no arguments, wrong names, the next command after every command, progress without a terminal."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools, Outcome, on_one_thread
from typer.main import get_command

from initpools_cli.cli.catalog import KINDS, names
from initpools_cli.cli.commands import app
from initpools_cli.core import reporter
from initpools_cli.core.errors import closest
from initpools_cli.core.reporter import ProgressBar, Reporter

SMALL = ["--threads", 1]


def next_of(ended: Outcome) -> list[str]:
    """The words after `initpools` of the last line on standard error."""
    assert ended.code == 0, ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("next: initpools "), last
    return shlex.split(last.removeprefix("next: "))[1:]


def parses(words: list[str]) -> None:
    """Check that the words are a valid command line, without running it."""
    command = get_command(app)
    name, *rest = words
    assert name in command.commands
    if "--help" not in rest:
        command.commands[name].make_context(name, rest)


def test_without_arguments_help_is_printed(initpools: Initpools) -> None:
    ended = initpools()
    assert ended.code == 0 and "Usage: initpools" in ended.out
    assert "initpools select-pool --dataset ./photos" in ended.out


@pytest.mark.parametrize("words", [[], ["label"], ["bench", "report"]])
def test_flags_are_shown_without_a_value(words: list[str], initpools: Initpools) -> None:
    text = initpools(*words, "--help").out
    assert "--help" in text and "bool" not in text.lower()


def test_the_package_runs_as_a_module() -> None:
    ended = subprocess.run([sys.executable, "-m", "initpools_cli", "--version"], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.startswith("initpools ")


def test_list_without_a_kind_counts_the_names(initpools: Initpools) -> None:
    ended = initpools("list")
    counts = {line.split("\t")[0]: int(line.split("\t")[1]) for line in ended.out.splitlines()}
    assert counts == {kind: len(names(kind)) for kind in KINDS}
    parses(next_of(ended))


@pytest.mark.parametrize("kind", KINDS)
def test_list_ends_with_the_command_that_uses_the_names(kind: str, initpools: Initpools) -> None:
    words = next_of(initpools("list", kind))
    assert initpools(*words).code == 0


@pytest.mark.parametrize(
    ("words", "fact", "remedy"),
    [
        (["list", "foo"], "'foo' is no kind of names.", f"Choose one of {', '.join(KINDS)}."),
        (["list", "plot"], "'plot' is no kind of names.", "Did you mean 'plots'? Choose one of datasets"),
        (["rank"], "Missing argument 'STRATEGY'.", "Example: initpools rank"),
        (
            ["plot", "curves", "--foo"],
            "--foo",
            "Example: initpools plot curves -o curves.html; `initpools plot --help`",
        ),
        (["selct-pool"], "'selct-pool'", "`initpools --help` lists all commands."),
        (["rank", "random", "--threads", "x"], "--threads 'x' is not valid", "Example: initpools rank"),
    ],
)
def test_slips_are_answered_in_two_lines(words: list[str], fact: str, remedy: str, initpools: Initpools) -> None:
    ended = initpools(*words)
    first, second = ended.err.splitlines()
    assert ended.code == 2 and fact in first and second.startswith(remedy)


def test_closest_prefers_beginnings_then_parts_then_spelling() -> None:
    names = ["dpn92", "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "resnet50", "resnet18", "wide_resnet50_2"]
    assert closest("dinov2", names) == ["vit_base_patch14_dinov2", "vit_small_patch14_dinov2"]
    assert closest("ResNet", names) == ["resnet18", "resnet50"]
    assert closest("resnet_50", names)[0] == "resnet50"
    assert closest("zzz", names) == []


def test_an_unknown_source_names_the_closest_backbones(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools("embed", "resnet_50")
    assert ended.code == 2 and "'resnet_50'" in ended.err and "'resnet50'" in ended.err
    assert "`initpools list backbones` lists all." in ended.err


# ---- the next command


def test_every_command_in_a_run_ends_with_one_that_works(copied_run: Path, initpools: Initpools) -> None:
    """Commands that are cheap are run as they are printed, the others are parsed."""
    Path("runs/digits").rename("my run")
    run = ["--run", "my run"]
    for words in (
        ["embed", "pixels"],
        ["score", "typicality"],
        ["select-pool", "kcenter", "--budget", 5],
        ["select-pool", "random", "--budget", 5],
        ["rank", "kcenter"],
        ["plot", "scores", "--name", "typicality"],
        ["compare", "kcenter-b5-s0", "random-b5-s0"],
        ["verify"],
        ["repair"],
    ):
        next_words = next_of(initpools(*on_one_thread(words), *run))
        assert next_words[-2:] == ["--run", "my run"]
        parses(next_words)
    assert next_words == ["verify", "--run", "my run"]
    next_words = next_of(initpools(*next_words))
    assert next_words[0] == "al-run"
    next_words = next_of(initpools(*next_words, "--budget", 5, "--rounds", 1, "--seeds", 2, *SMALL))
    assert next_words == ["plot", "report", "--run", "my run"]
    Path("my run/plot/report.html").write_text("<html>")
    next_words = next_of(initpools("compare", "main", "--run", "my run"))
    assert next_words == ["plot", "curves", "--run", "my run"]
    next_words = next_of(initpools(*next_words))
    assert next_words == ["compare", "main", "--run", "my run"]
    for silent in ("--quiet", "--json"):
        assert "next:" not in initpools("compare", "main", "--run", "my run", silent).err


def test_damage_leads_to_the_command_that_repairs_it(copied_run: Path, initpools: Initpools) -> None:
    (copied_run / "runs/digits/embed/simclr/train.npy").write_bytes(b"")
    ended = initpools("verify")
    assert ended.code == 2 and ended.err.splitlines()[-1] == "next: initpools embed simclr --run runs/digits --force"


def test_commands_with_files_end_with_one_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("my files").mkdir()
    np.save("my files/e.npy", rng.normal(size=(50, 4)).astype(np.float32))
    np.save("my files/s.npy", rng.random(50))
    for words in (
        ["select-pool", "kcenter", "--budget", "10", "--embeddings", "my files/e.npy"],
        ["select-pool", "random", "--budget", "30", "--embeddings", "my files/e.npy", "--output=b.npy"],
        ["rank", "score", "--scores", "my files/s.npy"],
        ["score", "typicality", "--embeddings", "my files/e.npy"],
    ):
        chain = []
        for _ in range(3):
            words = next_of(initpools(*words))
            chain.append(words)
            if words in chain[:-1]:
                break
        assert len({word for each in chain for word in each[:1]}) > 1
    labeled = next_of(
        initpools("select-pool", "kcenter", "--budget", "9", "--embeddings", "my files/e.npy", "-o", "a.csv")
    )
    assert labeled[-4:] == ["--labeled", "a.csv", "-o", "a-next.csv"]
    assert initpools(*labeled).code == 0


# ---- progress


class Clock:
    """A clock that moves when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_plain_progress_shows_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(reporter, "time", clock)
    with Reporter().progress("embed x", 1000, "images") as bar:
        bar._start = clock.now
        assert bar.short_pace() == ""
        bar.skip(100)
        for _ in range(9):
            clock.now += 3.0
            bar.advance(60, "loss 1.5")
            if bar.done == 160:
                assert bar.short_pace() == "20/s, 42 s left"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "embed x: 160 of 1,000 (16%), 20 images per second, about 42 s left, loss 1.5"
    assert [re.search(r"about (\d+) s", line)[1] for line in lines] == ["42", "30", "18"]


def test_short_work_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(every=0.0).progress("work", 1) as bar:
        pass
    assert bar.pace() == "" and capsys.readouterr().err == ""


def test_slow_work_is_shown_as_time_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(reporter, "time", clock)
    bar = ProgressBar("al-run", 10, "trials", _start=0.0)
    clock.now = 300.0
    bar.advance()
    assert bar.pace() == "5 min each, about 45 min left"
