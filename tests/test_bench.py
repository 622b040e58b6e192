"""`initpools bench`: whole suites on the digits, what is added, refused, interrupted and resumed."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tomli
from conftest import Initpools, run_in

from initpools_cli.bench import run as bench_run
from initpools_cli.bench.jobs import jobs_of, strategy_names
from initpools_cli.bench.suite import load_suite, suite_names
from initpools_cli.bench.table import COLUMNS

SUITE = """
title = "Two strategies on the digits"
seeds = 3
[settings.al]
candidates = 0.5
[[data]]
name = "digits"
registered = "digits"
items = "732b944dfe4e76561eba6a041afca98e7794d0cbe497546285a51982c01c0f18"
[[encoders]]
name = "components"
source = "pca"
[[sweeps]]
name = "{strategy}-{encoder}-{learner}-{budget}"
strategies = ["random", "typiclust"]
encoders = ["components"]
learners = ["linear"]
budgets = [10, 20]
"""
MINE = """
import numpy as np

def longest(embeddings, budget, labeled):
    order = np.argsort(-np.linalg.norm(embeddings, axis=1), kind="stable")
    return order[~np.isin(order, labeled)][:budget]

def raises(embeddings, budget):
    return embeddings / 0

def twice(embeddings, budget):
    return np.zeros(budget, dtype=int)

def short(embeddings, budget):
    return np.arange(budget - 1)
"""
ONE = ["--threads", 1]


@pytest.fixture(scope="session")
def benchmarked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.toml``, ``mine.py`` and finished results in ``runs/bench``. Never written to again."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "tiny.toml").write_text(SUITE)
    (folder / "mine.py").write_text(MINE)
    run_in(folder, ["bench", "--suite", "tiny.toml"])
    return folder


@pytest.fixture
def copied(benchmarked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the results to work in; it is the current folder."""
    shutil.copytree(benchmarked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "runs/bench/tiny.parquet")


def sweeps_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sweeps that are run from now on."""
    names: list[str] = []
    run_job = bench_run.run_job

    def counted(job, *arguments, **others):
        names.append(job.name)
        return run_job(job, *arguments, **others)

    monkeypatch.setattr(bench_run, "run_job", counted)
    return names


def test_the_table_has_a_row_for_every_cell_with_its_provenance(benchmarked: Path) -> None:
    rows = table(benchmarked)
    assert list(rows.columns) == list(COLUMNS)
    assert len(rows) == 2 * 2 * 3 and not rows.duplicated(["strategy", "budget", "seed"]).any()
    assert set(rows["status"]) == {"ok"} and rows["accuracy"].between(0, 1).all()
    run = benchmarked / "runs/bench/digits"
    for row in rows.itertuples():
        facts = tomli.loads((run / row.sweep / "step.toml").read_text())
        assert row.data_sha256 == facts["reads"]["data/items.csv"]
        assert (row.version, row.threads, row.cpu, row.libraries) == (
            facts["version"], facts["threads"], facts["cpu"], facts["libraries"]
        )  # fmt: skip
        rounds = pd.read_csv(run / row.sweep / "rounds.csv")
        (cell,) = rounds[(rounds["init"] == row.strategy) & (rounds["seed"] == row.seed)].to_dict("records")
        assert cell["accuracy"] == row.accuracy and cell["labeled"] == row.labeled == row.budget
        assert 0 < row.pool_seconds < row.seconds and row.candidates == 0.5


def test_a_second_call_runs_nothing_and_writes_the_same_table(
    copied: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied / "runs/bench/tiny.parquet").read_bytes()
    names = sweeps_run(monkeypatch)
    ended = initpools("bench", "--suite", "tiny.toml", *ONE)
    assert ended.code == 0 and not names
    assert "12 done" in ended.err
    assert (copied / "runs/bench/tiny.parquet").read_bytes() == before


def test_the_table_of_finished_sweeps_lists_the_others(
    copied: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, names = copied / "runs/bench/tiny.parquet", sweeps_run(monkeypatch)
    before, whole = table(copied), file.read_bytes()
    file.unlink()
    assert initpools("bench", "table", "--suite", "tiny.toml").code == 0
    assert file.read_bytes() == whole and not names
    lost = before["sweep"] == "al/typiclust-components-linear-10"
    shutil.rmtree(copied / "runs/bench/digits/al/typiclust-components-linear-10")
    ended = initpools("bench", "table", "--suite", "tiny.toml")
    assert ended.code == 0 and "not run: 3 cells (typiclust on digits): It was not run yet." in ended.err
    rows = table(copied)
    assert rows["status"].value_counts().to_dict() == {"ok": 9, "not run": 3}
    finished_rows = rows[rows["status"] == "ok"].reset_index(drop=True)
    pd.testing.assert_frame_equal(finished_rows, before[~lost].reset_index(drop=True))
    shutil.rmtree(copied / "runs/bench/digits/embed")
    ended = initpools("bench", "table", "--suite", "tiny.toml")
    assert ended.code == 2 and "no finished sweep of the suite tiny" in ended.err and not names


def test_an_interrupted_suite_goes_on_where_it_stopped(
    copied: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table(copied)
    for name in ("typiclust-components-linear-10", "random-components-linear-20"):
        shutil.rmtree(copied / "runs/bench/digits/al" / name)
    (copied / "runs/bench/tiny.parquet").unlink()
    run_job, calls = bench_run.run_job, 0

    def interrupted(*arguments, **others):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return run_job(*arguments, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_run, "run_job", interrupted)
        assert initpools("bench", "--suite", "tiny.toml", *ONE).code == 130
    names = sweeps_run(monkeypatch)
    assert initpools("bench", "--suite", "tiny.toml", *ONE).code == 0
    assert names == ["random-components-linear-20"]
    timings = ["finished", "pool_seconds", "seconds"]
    pd.testing.assert_frame_equal(table(copied).drop(columns=timings), before.drop(columns=timings))


def test_a_strategy_that_is_added_is_run_alone_and_again_when_its_file_changes(
    copied: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sweeps_run(monkeypatch)
    add = ["bench", "--suite", "tiny.toml", "--add", "./mine.py:longest", *ONE]
    assert initpools(*add).code == 0
    assert names == ["mine-longest-components-linear-10", "mine-longest-components-linear-20"]
    first = table(copied)
    assert first.loc[first["added"], "strategy"].tolist() == ["mine:longest"] * 6
    assert initpools(*add).code == 0 and len(names) == 2
    (copied / "mine.py").write_text(MINE.replace("-np.linalg", "np.linalg"))
    assert initpools(*add).code == 0 and len(names) == 4
    again = table(copied)
    ours = [each.loc[each["added"], ["strategy_sha256", "accuracy"]] for each in (first, again)]
    assert not set(ours[0]["strategy_sha256"]) & set(ours[1]["strategy_sha256"])
    assert (ours[0]["accuracy"] != ours[1]["accuracy"]).any()


def test_a_broken_strategy_costs_only_its_own_cells(copied: Path, initpools: Initpools) -> None:
    added = ["./mine.py:raises", "./mine.py:twice", "./mine.py:short"]
    words = [word for name in added for word in ("--add", name)]
    ended = initpools("bench", "--suite", "tiny.toml", *words, *ONE)
    assert ended.code == 0, ended.err
    rows = table(copied)
    broken = rows[rows["added"]]
    assert set(rows.loc[~rows["added"], "status"]) == {"ok"}
    assert set(broken["status"]) == {"not run"} and len(broken) == 3 * 2 * 3
    for message in ("raised", "returned row 0 10 times", "returned 9 of 10 picks"):
        assert broken["error"].str.contains(message).sum() and message in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "quik"], "There is no suite 'quik'."),
        (["--suite", "none.toml"], "There is no file none.toml (--suite)."),
        (["--add", "./mine.py:longst"], "./mine.py has no function 'longst'."),
        (["--add", "entropy"], "--add entropy needs a trained model for probs"),
        (["--add", "typiclust"], "--add typiclust is compared already."),
        (["--add", "kmeans", "--add", "kmeans"], "--add kmeans is compared already."),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    words: list[str], message: str, copied: Path, initpools: Initpools
) -> None:
    suite = [] if "--suite" in words else ["--suite", "tiny.toml"]
    ended = initpools("bench", *suite, *words, *ONE)
    assert ended.code == 2 and message in ended.err
    assert "data sets," not in ended.err


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds = 3", "seed = 3", "There is no setting 'seed' in a suite"),
        ("seeds = 3\n", "", "has no 'seeds'"),
        ("seeds = 3", 'seeds = "3"', "seeds = '3' (in broken.toml) is not valid"),
        ('name = "digits"', 'name = "../digits"', "is not valid"),
        ('registered = "digits"', 'file = ""', "the data set digits needs `registered` or `file`"),
        ('encoders = ["components"]', 'encoders = ["simclr"]', "there is no 'simclr', only components"),
        ("-{budget}", "", "have several budgets, so their name needs {budget}"),
        ("{budget}", "{budgte}", "should have no place {budgte}"),
        ('title = "', "title = ", "is not valid TOML"),
        ('"typiclust"]', '"typiclst"]', "There is no strategy 'typiclst'."),
    ],
)
def test_a_suite_that_is_not_valid_is_refused(
    before: str, after: str, message: str, copied: Path, initpools: Initpools
) -> None:
    assert before in SUITE
    (copied / "broken.toml").write_text(SUITE.replace(before, after, 1))
    ended = initpools("bench", "--suite", "broken.toml", *ONE)
    assert ended.code == 2 and message in ended.err, ended.err


def test_what_is_missing_is_left_out_and_the_rest_is_compared(copied: Path, initpools: Initpools) -> None:
    more = '\n[[data]]\nname = "absent"\nfile = "absent.npz"\nsource = "our lab"\n'
    (copied / "tiny.toml").write_text(SUITE.replace("[[encoders]]", f"{more}\n[[encoders]]", 1))
    ended = initpools("bench", "--suite", "tiny.toml", *ONE)
    assert ended.code == 0 and "absent is left out: absent needs absent.npz, and no --data DIR is given." in ended.err
    rows = table(copied)
    assert set(rows.loc[rows["data"] == "absent", "status"]) == {"not run"}
    assert (rows["status"] == "ok").sum() == 12


def test_other_images_under_a_name_are_refused(copied: Path, initpools: Initpools) -> None:
    wrong = "0" * 64
    (copied / "tiny.toml").write_text(
        SUITE.replace("732b944dfe4e76561eba6a041afca98e7794d0cbe497546285a51982c01c0f18", wrong)
    )
    ended = initpools("bench", "--suite", "tiny.toml", *ONE)
    assert f"not {wrong}" in ended.err
    assert set(table(copied)["status"]) == {"not run"}


@pytest.mark.parametrize("name", suite_names())
def test_installed_suites_are_valid(name: str) -> None:
    suite = load_suite(name).suite
    jobs = jobs_of(suite)
    assert len({(job.data, job.name) for job in jobs}) == len(jobs)
    assert all(len(set(job.strategies)) == len(job.strategies) for job in jobs)


def test_strategies_that_need_nothing_labeled() -> None:
    names = strategy_names()
    assert {"random", "typiclust", "typicality", "simclr"} <= set(names)
    assert not {"entropy", "badge", "el2n", "score", "file"} & set(names)


def test_a_replay_agrees_and_finds_a_changed_cell(copied: Path, initpools: Initpools) -> None:
    ended = initpools("bench", "verify", "--suite", "tiny.toml", "--cells", 5)
    assert ended.code == 0 and "replayed 5 cells" in ended.err and "byte by byte: no differences" in ended.err
    rows = table(copied)
    rows.loc[7, "accuracy"] += 1e-12
    rows.to_parquet(copied / "runs/bench/tiny.parquet")
    ended = initpools("bench", "verify", "--suite", "tiny.toml", "--cells", 100)
    assert ended.code == 2 and "1 differences" in ended.err
    (line,) = ended.out.splitlines()
    assert f"{rows.loc[7, 'strategy']}, seed {rows.loc[7, 'seed']}, round 0: accuracy is" in line
    # What another machine computed may differ by rounding, and no more.
    for number, differs in ((1e-12, False), (0.1, True)):
        step = copied / "runs/bench/digits" / rows.loc[7, "sweep"] / "step.toml"
        text = step.read_text().partition("\n")[2]
        text = text.replace(tomli.loads(text)["cpu"], "Another processor")
        step.write_text(f'checksum = "{hashlib.sha256(text.encode()).hexdigest()}"\n{text}')
        rows.loc[7, "accuracy"] += number
        rows.to_parquet(copied / "runs/bench/tiny.parquet")
        ended = initpools("bench", "verify", "--suite", "tiny.toml", "--cells", 100)
        assert "tolerance" in ended.err and (ended.code == 2) is differs
    assert not (copied / "runs/bench/digits/score").exists()


def test_the_leaderboard_has_every_strategy_and_what_is_missing(copied: Path, initpools: Initpools) -> None:
    added = ["--add", "./mine.py:longest", "--add", "./mine.py:twice"]
    ended = initpools("bench", "--suite", "tiny.toml", *added, *ONE)
    assert "your strategy mine:longest: better than random in" in ended.err and "of 2 comparisons" in ended.err
    ended = initpools("bench", "report", "--suite", "tiny.toml", "-o", "board.html")
    assert ended.code == 0 and ended.out == "board.html\n"
    # The command that comes next works as it is printed.
    again = initpools(*shlex.split(ended.err.splitlines()[-1])[2:], "--cells", 1)
    assert again.code == 0 and "left out: mine:longest" in again.err
    page = (copied / "board.html").read_text()
    for part in ("typiclust", "mine:longest", "What is missing", "returned row 0 10 times", "20 labels", "sortable"):
        assert part in page
    assert "https://" not in page
    first = page
    assert initpools("bench", "report", "--suite", "tiny.toml", "-o", "board.html").code == 0
    assert (copied / "board.html").read_text() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "--suite", "quick"], "There is no table runs/bench/quick.parquet."),
        (["report", "--dir", "elsewhere"], "Make it with `initpools bench --suite tiny.toml -o elsewhere`"),
        (["report", "-o", "board.pdf"], "'board.pdf' does not end in .html."),
        (["report", "--metric", "acuracy"], "--metric acuracy is not valid."),
        (["report", "--metric", "micro_f1"], "has no value of micro_f1"),
        (["verify", "--suite", "quick"], "There is no table runs/bench/quick.parquet."),
        (["table", "--dir", "other"], "other has no finished sweep of the suite tiny."),
    ],
)
def test_a_report_or_replay_of_nothing_is_refused(
    words: list[str], message: str, copied: Path, initpools: Initpools
) -> None:
    suite = [] if "--suite" in words else ["--suite", "tiny.toml"]
    ended = initpools("bench", words[0], *suite, *words[1:])
    assert ended.code == 2 and message in ended.err


def test_a_file_that_is_no_table_is_refused(copied: Path, initpools: Initpools) -> None:
    (copied / "runs/bench/tiny.parquet").write_text("no table")
    ended = initpools("bench", "report", "--suite", "tiny.toml")
    assert ended.code == 2 and "can't be read as parquet" in ended.err
    pd.DataFrame({"a": [1]}).to_parquet(copied / "runs/bench/tiny.parquet")
    ended = initpools("bench", "report", "--suite", "tiny.toml")
    assert ended.code == 2 and "has no column 'suite'" in ended.err
