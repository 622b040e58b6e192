"""What is shown in a terminal: the state of a run and its next command, short tables, completion."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools, on_one_thread
from PIL import Image

from initpools_cli.bench.suite import suite_names
from initpools_cli.cli import completion
from initpools_cli.cli.catalog import KINDS, names, short_names
from initpools_cli.cli.status import _show

ROOT = Path(__file__).parent.parent


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40 unlabeled images in the current folder, light ones and dark ones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for i in range(40):
        pixels = rng.integers(120 * (i % 2), 120 * (i % 2) + 100, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{i:02d}.png")
    return tmp_path


def fill(batch: Path, labels: Path, done: int) -> None:
    """Label the first `done` images of a batch as light or dark; the others are empty."""
    with batch.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = ["order,index,path,label,skipped"]
    for i, row in enumerate(rows):
        shade = ("dark", "light")[int(Path(row["path"]).stem) % 2] if i < done else ""
        lines.append(f"{i},{row['index']},{row['path']},{shade},0")
    labels.parent.mkdir(exist_ok=True)
    labels.write_text("\n".join(lines))


def state(initpools: Initpools) -> dict:
    return json.loads(initpools("status", "--json").out)


def typed(command: str) -> list[str]:
    return [*map(str, on_one_thread(shlex.split(command)[1:]))]


def test_no_sweep_is_recommended_where_there_are_no_labels_to_measure_with(photos: Path, initpools: Initpools) -> None:
    assert initpools("embed", "pca", "--dataset", "photos", "--threads", 1).code == 0
    refused = initpools("plot", "curves")
    assert refused.code == 2 and "needs labels" in refused.err and "al-run" not in refused.err


def test_the_next_command_leads_through_the_labeling_loop(photos: Path, initpools: Initpools) -> None:
    assert initpools("embed", "pca", "--dataset", "photos", "--threads", 1).code == 0
    words = typed(state(initpools)["next"])
    assert words[:3] == ["select-pool", "--budget", "20"]
    words[2] = "8"
    assert initpools(*words).code == 0

    now = state(initpools)
    assert now["next"] == "initpools label --batch maxherding-b8-s0 --run runs/photos"
    assert "outside the run: `initpools al-run --labels FILE" in now["next_words"]
    run = Path("runs/photos")
    labels = run / "labels/maxherding-b8-s0.csv"
    fill(run / "pool/maxherding-b8-s0/items.csv", labels, 6)
    now = state(initpools)
    assert now["labels"] == [
        {"file": labels.name, "images": 8, "labeled": 6, "skipped": 0, "left": 2, "problem": ""}
    ]  # fmt: skip
    assert now["next"].startswith("initpools label") and "2 images" in now["next_words"]
    assert "outside" not in now["next_words"]

    fill(run / "pool/maxherding-b8-s0/items.csv", labels, 8)
    words = typed(state(initpools)["next"])
    assert words[:4] == ["al-run", "--labels", str(labels), "--budget"]
    assert initpools(*words).code == 0
    now = state(initpools)
    assert now["next"].startswith("initpools label --batch round-1 ")
    assert "8 labeled" in next(row["note"] for row in now["steps"] if row["step"] == "loop/round-1")

    fill(run / "loop/round-1/next.csv", run / "labels/round-1.csv", 8)
    assert state(initpools)["next"].startswith(f"initpools al-run --labels {run / 'labels/round-1.csv'} ")
    (run / "labels/round-1.csv").write_bytes(b"\0\1\2")
    damaged = initpools("status")
    assert damaged.code == 0 and "labels/round-1.csv\t0 of 0 labeled\t" in damaged.out


def test_the_next_command_of_labeled_images_is_a_sweep(copied_run: Path, initpools: Initpools) -> None:
    now = state(initpools)
    assert now["next"] == "initpools al-run --init random,maxherding --query random,tcm --run runs/digits"
    small = ["--budget", 5, "--rounds", 1, "--seeds", 2, "--threads", 1, "--quiet"]
    assert initpools(*typed(now["next"])[:-2], *small).code == 0
    assert state(initpools)["next"] == "initpools plot report --run runs/digits"
    Path("runs/digits/plot").mkdir()
    Path("runs/digits/plot/report.html").write_text("<html>")
    now = state(initpools)
    assert now["next"] == "initpools compare main --run runs/digits"
    assert now["plots"][0]["file"] == "report.html"
    assert initpools(*typed(now["next"])).code == 0


def test_what_is_stale_names_the_command_that_renews_it(photos: Path, initpools: Initpools) -> None:
    assert initpools("embed", "pca", "--dataset", "photos", "--threads", 1).code == 0
    assert initpools("select-pool", "kmeans", "--budget", 5, "--threads", 1).code == 0
    Image.new("RGB", (8, 8)).save("photos/40.png")
    assert initpools("embed", "pixels", "--threads", 1).code == 0

    stale = [row for row in state(initpools)["steps"] if row["problem"]]
    assert [row["step"] for row in stale] == ["embed/pca", "pool/kmeans-b5-s0"]
    status = initpools("status").out
    for row in stale:
        assert row["problem"] == "stale: made from an earlier data/items.csv"
        assert f"{row['problem']}\trenew: {row['renew']}" in status
        assert initpools(*typed(row["renew"])).code == 0
    assert not any(row["problem"] or row["renew"] for row in state(initpools)["steps"])


def test_a_pool_whose_images_are_labeled_is_not_to_be_selected_again(photos: Path, initpools: Initpools) -> None:
    assert initpools("embed", "pixels", "--dataset", "photos", "--threads", 1).code == 0
    assert initpools("select-pool", "kmeans", "--budget", 4, "-o", "pool.csv", "--threads", 1).code == 0
    rows = pd.read_csv("pool.csv").assign(label=["cat", "dog", "cat", "dog"])
    rows.to_csv("labeled.csv", index=False)
    words = ("al-run", "--labels", "labeled.csv", "--budget", 2, "--next", "next.csv", "--threads", 1)
    assert initpools(*words).code == 0
    Image.new("RGB", (8, 8)).save("photos/40.png")
    assert initpools("embed", "pca", "--threads", 1).code == 0
    stale = {row["step"]: row["renew"] for row in state(initpools)["steps"] if row["problem"]}
    assert [*stale] == ["embed/pixels"] and stale["embed/pixels"]


def test_the_tree_has_the_lines_that_are_printed(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("select-pool", "kmeans", "--budget", 5, "--threads", 1, "--quiet").code == 0
    plain = initpools("status").out
    shown = io.StringIO()
    _show(state(initpools), width=80, file=shown)
    tree = shown.getvalue()
    assert max(map(len, tree.splitlines()[:-1])) <= 80
    kinds = [line.partition("/")[0] for line in plain.splitlines()[1:-1]]
    assert kinds == ["pretrain", "embed", "pool"]
    for line in plain.splitlines()[1:-1]:
        name, *cells = line.split("\t")
        assert all(cell in tree for cell in [*name.split("/"), *cells])
    assert plain.splitlines()[-1].startswith("next: initpools ")
    # A long command stands on one line.
    assert tree.splitlines()[-1].strip() == state(initpools)["next"]


def test_rank_ends_with_its_first_and_last_images(copied_run: Path, initpools: Initpools) -> None:
    scores = np.arange(30.0)
    scores[:10] = 3.5
    np.save("scores.npy", scores)
    lines = initpools("rank", "score", "--scores", "scores.npy", "-o", "order.npy").err.splitlines()
    rows = [line.strip().split("\t") for line in lines if line.startswith("  ")]
    assert rows[0] == ["place", "index", "score"]
    assert rows[1:6] == [[str(i + 1), str(29 - i), str(29 - i)] for i in range(5)]
    assert rows[6] == ["…"] * 3 and [row[:2] for row in rows[7:]] == [["29", "8"], ["30", "9"]]
    assert "10 of 30 scored images have the same score as another; the lower index comes first" in lines

    ranked = initpools("rank", "kcenter", "--from", "simclr", "--threads", 1)
    rows = [line.strip().split("\t") for line in ranked.err.splitlines() if line.startswith("  ")]
    assert rows[0] == ["place", "index", "class", "score"] and len(rows) == 9
    assert "place" not in initpools("rank", "kcenter", "--from", "simclr", "--quiet").err


def test_completion_knows_every_name() -> None:
    current = {kind: names(kind) for kind in KINDS if kind != "backbones"}
    current |= {"short_backbones": short_names(), "suites": suite_names()}
    assert completion.stored_names() == current, "out of date: run `python docs/generate.py`"


def test_completion_of_lists() -> None:
    assert completion.one_of(lambda: ["b", "ab", "aa"])("a") == ["aa", "ab"]
    some = completion.one_of(lambda: ["random", "typiclust", "typicality"])
    assert completion.several_of(some)("random,typ") == [
        "random,typicality",
        "random,typiclust",
    ]
    assert completion.several_of(completion.one_of(lambda: ["random", "kmeans"]))("random,") == ["random,kmeans"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("initpools sel", ["select-pool"]),
        ("initpools pretrain sim", ["simclr", "simsiam"]),
        ("initpools select-pool maxh", ["maxherding"]),
        ("initpools al-run --init random,typic", ["random,typicality", "random,typiclust"]),
        (
            "initpools al-run --init random,kcenter@",
            ["random,kcenter@clusters", "random,kcenter@groups", "random,kcenter@kmeans"],
        ),
        ("initpools al-run --learner scr", ["scratch"]),
        ("initpools plot his", ["histogram"]),
        ("initpools embed p", ["pca", "pixels"]),
        ("initpools embed dinov2-s", ["dinov2-small"]),
        ("initpools list back", ["backbones"]),
        ("initpools pretrain simclr --dataset digi", ["digits"]),
    ],
)
def test_the_shell_is_offered_names_without_heavy_imports(line: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_INITPOOLS_COMPLETE": "complete_bash"}
    heavy = "sys.exit(not {'torch', 'numpy'}.isdisjoint(sys.modules))"
    program = f"import sys; from initpools_cli.cli.app import run; run([]); {heavy}"
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **words}, capture_output=True, text=True
    )
    assert result.stdout.split() == offered, result.stderr
    assert result.returncode == 0


def test_completion_installs_itself(tmp_path: Path) -> None:
    home = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-m", "initpools_cli.cli.app", "--install-completion", "bash"]
    installed = subprocess.run(words, env=home, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    assert "complete" in next(tmp_path.rglob("*.sh")).read_text()
    assert "initpools" in (tmp_path / ".bashrc").read_text()
