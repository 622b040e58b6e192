"""The page of results: its tables are those of the sweeps, it names what is missing, and its figures can be read."""

from __future__ import annotations

import importlib
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_statistics import sweep

from initpools_cli.core.rundir import Run
from initpools_cli.stats.verdicts import verdicts

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))
from charts import SVG, Line, Panel, line_chart, spread  # noqa: E402 -- the folder is found only now

INITS = ("random", "typiclust", "simclr", "kmeans")
GAINS = {"typiclust": 0.1, "simclr": -0.1}


def write_run(folder: Path, sweeps: dict[str, tuple[pd.DataFrame, str]]) -> None:
    """A run with those sweeps (rounds and learner), and of its data set what the page reads."""
    run = Run(folder)
    (folder / "data").mkdir(parents=True)
    run.create({"version": "0.1.0", "run": {"seed": 0}, "dataset": {"name": folder.name}})
    about = {"path": "", "label": 0, "class": "a", "bytes": 1, "sha256": "0"}
    splits = ["train"] * 150 + ["test"] * 50
    items = pd.DataFrame({"index": range(200), "split": splits}).assign(**about)
    items[["index", "path", "split", "label", "class", "bytes", "sha256"]].to_csv(
        folder / "data/items.csv", index=False
    )
    for name, (rounds, learner) in sweeps.items():
        table = {
            "init": list(dict.fromkeys(rounds["init"])),
            "query": [query for query in dict.fromkeys(rounds["query"]) if query],
            "learner": [learner],
            "encoders": ["simclr"],
            "init_budget": 10,
            "rounds": int(rounds["round"].max()),
            "seeds": rounds["seed"].nunique(),
            "candidates": 0.5,
            "params": {"simclr": {"order": "highest"}},
        }
        step = run.step("al", name, table, {})
        with step.writing("initpools al-run", {"device": "cpu", "threads": 1}) as scratch:
            full = rounds.assign(learner=learner, balanced_accuracy=rounds["accuracy"], auc=rounds["accuracy"], leaks=0)
            full.to_csv(scratch / "rounds.csv", index=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs leaves and shells, of which shells lacks the sweep of few seeds."""
    folder = tmp_path_factory.mktemp("study")
    few = sweep(INITS, 5, gain=GAINS, rounds=1, queries=("random",), root=9)
    for root, data in enumerate(("leaves", "shells")):
        sweeps = {"linear-10": (sweep(INITS, 12, gain=GAINS, rounds=4, root=root), "linear")}
        write_run(folder / data, sweeps | ({"finetune-10": (few, "finetune")} if data == "leaves" else {}))
    return folder


def write_page(monkeypatch: pytest.MonkeyPatch, output: Path, *words: object) -> str:
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.setattr(sys, "argv", ["results.py", *map(str, words), "-o", str(output)])
    importlib.import_module("results").main()
    return output.read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    return re.split(r"^#+ ", page.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def cells(text: str, first: str, which: int = 0) -> list[str]:
    """The cells right of the first one, of the which-th table row that begins with it."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {first} |")]
    return rows[which][1:]


def test_the_page_says_what_the_sweeps_say(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_page(monkeypatch, tmp_path / "results.md", study / "leaves", study / "shells")
    assert "Not finished, and not on this page: `shells/al/finetune-10`." in page
    rounds = pd.read_csv(study / "leaves/al/linear-10/rounds.csv", keep_default_na=False)
    part = section(page, "### leaves, linear")

    # The first pool: mean and half of the t-interval over seeds.
    values = 100 * rounds[(rounds["init"] == "typiclust") & (rounds["round"] == 0)]["accuracy"]
    half = stats.t.ppf(0.975, 11) * values.std() / np.sqrt(12)
    assert cells(part, "`typiclust`") == [f"{values.mean():.1f} ± {half:.1f}▲"]
    assert cells(part, "`simclr`")[0].endswith("▼") and cells(part, "`kmeans`")[0][-1].isdigit()
    assert cells(part, "`random`")[0][-1].isdigit()

    # The last round: the mean difference from random of each query.
    last = rounds[rounds["round"] == 4].pivot_table(index="init", columns="query", values="accuracy")
    gained = 100 * (last.loc["typiclust"] - last.loc["random"])
    assert cells(part, "`typiclust`", 2) == [f"{gained['random']:+.1f}▲ · {gained['margin']:+.1f}▲"]

    short = section(page, "## In short: linear")
    assert "first pool alone: of 6 comparisons with random, 2 better, 2 worse, 2 not distinguishable." in short
    assert "Of the 4 curves (one per query) that began better than random, 4 were still better" in short
    assert "First pools that were better at least once and never worse: typiclust (2 of 2)." in short
    assert cells(short, "`typiclust`") == ["2 ▲ 0 ▼ of 2", "4 ▲ 0 ▼ of 4", "4 ▲ 0 ▼ of 4"]
    assert cells(section(page, "## Over the data sets"), "`typiclust`") == ["1.0"]
    assert "With 50 labels most of these are labeled" in part and "150 train and 50 test images" in page


def test_few_seeds_are_said_to_be_too_few(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_page(monkeypatch, tmp_path / "results.md", study / "leaves")
    few = section(page, "## In short: finetune")
    assert "All 9 comparisons with random: cannot be told apart with 5 seeds (9 could)." in few
    part = section(page, "### leaves, finetune")
    assert not set("▲▼") & set(part) and cells(part, "`typiclust`")[0].endswith("?")
    assert "no ranking" in section(page, "## Over the data sets")


def test_figures_are_there_and_the_page_is_the_same_again(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [write_page(monkeypatch, tmp_path / name / "results.md", study / "leaves") for name in ("once", "again")]
    assert pages[0] == pages[1]
    linked = re.findall(r"!\[.*?\]\((.*?)\)", pages[0])
    assert linked == ["figures/leaves-linear-10.svg"]
    drawn = [(tmp_path / name / linked[0]).read_bytes() for name in ("once", "again")]
    assert drawn[0] == drawn[1]
    words = [text.text for text in ET.fromstring(drawn[0]).iter("{http://www.w3.org/2000/svg}text")]
    assert all(words.count(init) == 2 for init in INITS) and {"query: random", "query: margin"} <= set(words)


def test_nothing_finished_is_said_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        write_page(monkeypatch, tmp_path / "results.md", tmp_path / "nothing")
    expected = f"None of the runs has a finished sweep: {tmp_path / 'nothing'}."
    assert ended.value.code == 2 and expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=14))
def test_names_are_moved_apart_in_their_order(heights: list[float]) -> None:
    placed = spread({f"{i:02d}": height for i, height in enumerate(sorted(heights))}, 13)
    gaps = np.diff([placed[name] for name in sorted(placed)])
    assert (gaps > 12.5).all()
    assert np.isclose(np.mean(list(placed.values())), np.mean(heights))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.text(min_size=1, max_size=8))
def test_a_chart_is_well_formed_and_holds_its_lines(values: list[float], name: str) -> None:
    printable = "".join(c for c in name if c.isprintable()) or "&<"
    x = [float(i) for i in range(len(values))]
    band = {"low": [value - 1 for value in values], "high": [value + 1 for value in values]}
    line = Line(printable, x, [float("nan"), *values[1:]] if len(values) > 1 else values, "#000000", **band)
    panel = Panel([line], "x", "y", "$heading$")
    text = line_chart([panel], title="a chart", description="a < b")
    root = ET.fromstring(text)
    assert root.get("role") == "img" and [each.text for each in root[:2]] == ["a chart", "a < b"]
    assert {printable, "x", "y", "$heading$"} <= {each.text for each in root.iter(f"{{{SVG}}}text")}


def test_semi_supervised_results_are_compared_as_the_sweeps_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    learners = importlib.import_module("study.learners")
    first, second = (sweep(INITS, 12, gain=GAINS, rounds=0, queries=(), root=root) for root in (1, 2))
    write_run(tmp_path / "leaves", {"a": (first, "linear"), "b": (second, "self-training")})
    rows = [row for name in "ab" for row in learners.rows_of(Run(tmp_path / "leaves"), name)]
    (tmp_path / "rows.csv").write_text(learners.encoded(rows))
    results = learners.Results(tmp_path / "rows.csv")
    table = learners.comparisons(results)
    both = pd.concat([first.assign(learner="linear"), second.assign(learner="self-training")])
    expected = verdicts(both, measures=("first pool",))
    for column in ("learner", "init", "verdict"):
        assert table[column].tolist() == expected[column].tolist()
    assert np.allclose(table[["difference", "low", "high"]], expected[["difference", "low", "high"]], atol=1e-5)
    gains = learners.learner_gains(results)
    means = [values[values["init"] == "typiclust"]["accuracy"].mean() for values in (second, first)]
    own = gains[gains["init"] == "typiclust"]
    assert own["learner"].tolist() == ["self-training"] and own["difference"].tolist() == [
        pytest.approx(means[0] - means[1], abs=1e-5)
    ]
    changes = learners.gain_changes(results)
    starts = [values[values["init"] == "random"]["accuracy"].mean() for values in (second, first)]
    gained = means[0] - starts[0] - (means[1] - starts[1])
    assert changes[changes["init"] == "typiclust"]["difference"].tolist() == [pytest.approx(gained, abs=2e-5)]


def test_the_page_of_semi_supervised_learners_is_made_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    made = importlib.import_module("semi_supervised")
    results = made.Results(made.RESULTS)
    assert made.PAGE.read_text(encoding="utf-8") == made.page(results)
    assert (results.rows["seeds"] >= 12).all() and not results.rows["leaks"].any()
