"""A part of the long form, `make faults`: it finds nothing, goes on where it stopped, and would say what was lost."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.__main__ import STATE, table
from faults.fork import Ended
from faults.state import torn, unsaved
from faults.tries import judge_ending

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_part_of_the_long_form(tmp_path: Path) -> None:
    words = [
        "--state",
        tmp_path,
        "--commands",
        "select-pool, a new run",
        "--kinds",
        "signals,early,calls",
        "--thin",
        "120",
    ]
    command = [sys.executable, "-m", "tests.faults", *words, "-o", tmp_path / "faults.csv"]
    ended = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    with (tmp_path / "faults.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["tries"]) for row in rows) == len((tmp_path / STATE).read_text().splitlines()) >= 2
    assert all(row["tries"] == row["survived"] for row in rows)


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    assert judge_ending(Ended(0, "", ""), (0, 2)) == judge_ending(Ended(2, "", "run: x\nerror: a\nb\n"), (0, 2)) == []
    for code, err in (
        (1, ""),
        (2, "error: a\n"),
        (2, "error: a\nb\nc\n"),
        (0, "Traceback (most recent call last):\n"),
    ):
        assert judge_ending(Ended(code, "", err), (0, 2))[0][0] == "traceback"
    before, want = {"runs/x/a": b"1"}, {"runs/x/a": b"2"}
    assert torn({"runs/x/a": b"1", "runs/x/.a.tmp": b"", "runs/x/p/digest": b""}, before, want) == []
    assert torn({"runs/x/a": b""}, before, want) == ["runs/x/a"]
    labels = tmp_path / "work/runs/x/labels/a.csv"
    labels.parent.mkdir(parents=True)
    labels.write_text("order,index,path,label,skipped\n0,7,,cat,0\n")
    assert unsaved(tmp_path, ["7,cat"]) == [] and unsaved(tmp_path, ["7,dog"]) == ["7,dog"]
    rows = table({("a", "b", "1"): [], ("a", "b", "2"): [["lost", json.dumps("x")]]})
    assert [(row["tries"], row["survived"], row["lost"], row["torn"]) for row in rows] == [(2, 1, 1, 0)]
