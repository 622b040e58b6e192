"""A command that is killed or fails at any file call leaves whole files, and ends in the same bytes when run again."""

from __future__ import annotations

import contextlib
import gc
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Initpools, Outcome
from faults.fork import CALL_FAULTS, KILL, TORN, Ended
from faults.in_process import Killed, disturbed
from faults.scenarios import SCENARIOS, environment_of, write_base
from faults.state import different, extra, missing, snapshot, torn
from faults.tries import CONVENIENCES, judge_ending

#: Calls that are hit, for each fault and command; the long form hits all.
SAMPLE = 2
#: Faults that the code does not tell from another one.
SAME = ("over quota (EDQUOT)",)
QUICK = ("select-pool, a new run", "select-pool", "embed, images added", "export to a folder")


@pytest.mark.parametrize("name", QUICK)
def test_any_file_call_may_be_the_last_one_or_fail(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    scenario, root, base = SCENARIOS[name], tmp_path / "try", tmp_path / "base"
    for variable, value in environment_of(root).items():
        monkeypatch.setenv(variable, value)

    def run(words: Sequence[str], cwd: Path) -> int:
        monkeypatch.chdir(cwd)
        return initpools(*words).code

    def command() -> Outcome:
        monkeypatch.chdir(root / "work")
        return initpools(*scenario.words)

    def restore() -> None:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root, symlinks=True)

    write_base(root, scenario, run)
    monkeypatch.chdir(tmp_path)
    root.rename(base)
    restore()
    before = snapshot(root)
    assert command().code == 0
    want = snapshot(root)
    moments = random.Random(name)
    for kind, fault in CALL_FAULTS.items():
        if kind in SAME:
            continue
        restore()
        with disturbed(root, fault, 0) as counter:
            assert command().code == 0
        assert snapshot(root) == want
        for at in moments.sample(range(1, counter.calls + 1), min(SAMPLE, counter.calls)):
            restore()
            outcome = None
            with disturbed(root, fault, at) as injector, contextlib.suppress(Killed):
                outcome = command()
            # A process that ends closes its files.
            gc.collect()
            hit, now = f"{kind}, call {at}: {injector.hit}", snapshot(root)
            if not injector.hit:
                # Some calls depend on the time: a file that was just written is read again.
                continue
            assert (outcome is None) == (fault.action in (KILL, TORN)), hit
            assert torn(now, before, want) == [], hit
            if outcome is not None:
                assert judge_ending(Ended(outcome.code, outcome.out, outcome.err), (0, 2)) == [], (hit, outcome)
                assert missing(now, before) == [], hit
                lost = different(now, want) if outcome.code == 0 else []
                assert [path for path in lost if not CONVENIENCES.search(path)] == [], hit
            assert command().code == 0, hit
            now = snapshot(root)
            left = different(now, want) + extra(now, want)
            assert [path for path in left if not CONVENIENCES.search(path)] == [], hit
