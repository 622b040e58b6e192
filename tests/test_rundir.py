"""The run directory: which run, whole steps, staleness, locks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from initpools_cli.core.errors import UserError
from initpools_cli.core.run_location import locate, run_name
from initpools_cli.core.rundir import PendingStep, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INITPOOLS_RUN", raising=False)
    made = Run(Path("runs/a"))
    made.create({"run": {"seed": 0}, "dataset": {"name": "a"}})
    return made


def make(step: PendingStep, **files: str) -> None:
    with step.writing("initpools test", {"device": "cpu"}) as scratch:
        for name, text in files.items():
            (scratch / name).write_text(text)


def test_run_resolution(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="There is no run in"):
        locate(None, None)
    run.mark_as_last()
    assert locate(None, None) == Path("runs/a")
    assert locate(None, "../x/b.npz") == Path("runs/b")
    monkeypatch.setenv("INITPOOLS_RUN", "elsewhere")
    assert locate(None, "b") == Path("elsewhere")
    assert locate(Path("c"), "b") == Path("c")


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("pathmnist", "pathmnist"), ("x/mini.npz", "mini"), ("x/photos/", "photos"), ("./digits", "digits")],
)
def test_run_names(dataset: str, name: str) -> None:
    assert run_name(dataset) == name


def test_a_step_is_whole_or_not_there(run: Run) -> None:
    step = run.step("pool", "x", {"a": 1}, {})
    with pytest.raises(RuntimeError), step.writing("c", {}) as scratch:
        (scratch / "half").write_text("half")
        raise RuntimeError
    assert run.find_step("pool/x") is None
    assert not step.scratch.exists()
    make(step, whole="1")
    done = run.find_step("pool/x")
    assert done is not None
    assert done.facts["table"] == {"a": 1}
    assert list(done.facts["writes"]) == ["whole"]
    assert step.finished is not None


def test_the_facts_of_many_steps_share_their_strings(run: Run) -> None:
    """A process keeps the facts of all rounds of a labeling loop."""
    for name in ("a", "b"):
        make(run.step("pool", name, {"query": ["a strategy"], "params": {"of a knob": "some value"}}, {}))
    one, other = (list(strings(step.facts["table"])) for step in run.steps("pool"))
    assert len(one) == 5 and all(text is same for text, same in zip(one, other, strict=True))


def strings(value: object) -> Iterator[str]:
    """Every key and text of a table."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in itertools.chain.from_iterable(value.items()) if isinstance(value, dict) else value:
            yield from strings(each)


def test_unfinished_work_survives_only_for_the_very_same_step(run: Run) -> None:
    step = run.step("al", "x", {"a": 1}, {})
    with pytest.raises(KeyboardInterrupt), step.writing("c", {}) as scratch:
        (scratch / "work" / "block").write_text("1")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), step.writing("c", {}) as scratch:
        assert (scratch / "work" / "block").exists()
        raise KeyboardInterrupt
    other = run.step("al", "x", {"a": 2}, {})
    with other.writing("c", {}) as scratch:
        assert not (scratch / "work" / "block").exists()


def test_a_finished_step_is_found_beside_unfinished_work_of_another(run: Run) -> None:
    make(run.step("pool", "a", {"x": 1}, {}), f="1")
    scratch = run.path / ".partial/pool/a"
    (scratch / "work").mkdir(parents=True)
    (scratch / "work/checkpoint").write_text("half")
    (scratch / "digest").write_text("of another configuration")
    assert run.step("pool", "a", {"x": 1}, {}).finished is not None
    assert (scratch / "work/checkpoint").read_text() == "half"


def test_another_configuration_or_input_takes_its_own_folder(run: Run) -> None:
    make(run.step("pool", "x", {"a": 1}, {"f": "1"}))
    for table, reads in (({"a": 2}, {"f": "1"}), ({"a": 1}, {"f": "2"})):
        step = run.step("pool", "x", table, reads)
        assert step.id.startswith("pool/x-")
        assert len(step.id) == len("pool/x-") + 6
        assert step.finished is None
        make(step)
        assert run.step("pool", "x", table, reads).finished is not None


def test_a_stale_input_is_found_through_the_chain_and_force_renews_it(run: Run) -> None:
    def chain(encoder: str, force: bool) -> None:
        make(run.step("pretrain", "s", {}, {}, force=force), encoder=encoder)

    chain("one", False)
    reads = run.find_step("pretrain/s").checksums("encoder")  # type: ignore[union-attr]
    make(run.step("embed", "s", {}, reads), train="1")
    embedded = run.find_step("embed/s")
    assert embedded is not None
    make(run.step("pool", "p", {}, embedded.checksums()), indices="1")
    pool = run.find_step("pool/p")
    assert pool is not None and pool.stale_input() is None
    chain("two", True)
    assert pool.stale_input() == "pretrain/s/encoder"
    with pytest.raises(UserError, match="--force"):
        embedded.require_fresh()
    renewed = run.step("embed", "s", {}, run.find_step("pretrain/s").checksums("encoder"), force=True)  # type: ignore[union-attr]
    assert renewed.id == "embed/s"
    make(renewed, train="2")
    embedded.require_fresh()
    assert pool.stale_input() == "embed/s/train"


def test_a_second_process_is_told(run: Run) -> None:
    step = run.step("pool", "x", {}, {})
    with step.writing("c", {}):
        failures: list[BaseException] = []

        def second() -> None:
            try:
                make(run.step("pool", "x", {}, {}))
            except UserError as error:
                failures.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "Another initpools process" in str(failures[0])


def test_a_place_that_can_not_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be created"):
        make(Run(tmp_path / "file" / "run").step("pool", "x", {}, {}))
