"""Strategies and scores of users: from a file, from a function, and from an installed package."""

from __future__ import annotations

import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools

import initpools_cli
from initpools_cli.core.entry_points import entry_points
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.strategies.balance import split_name
from initpools_cli.strategies.selection import Selection
from initpools_cli.testing import check_strategy, cloud
from initpools_cli.training.experiment import MethodCall

CONTRIBUTING = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: The example of CONTRIBUTING.md, the first Python block there.
NORM_TOP = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)[0]
POINTS = cloud(60)
LONGEST = np.argsort(-np.linalg.norm(POINTS, axis=1), kind="stable")
ALONE = ["--embeddings", "e.npy", "--set", "normalize=false"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with ``mine.py`` and embeddings; it is the current one."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(NORM_TOP)
    np.save("e.npy", POINTS)
    return tmp_path


def test_the_example_of_the_docs_passes_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parent.parent / "docs" / "strategies.md").read_text(encoding="utf-8")
    Path("mine.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    check_strategy("./mine.py:spread")


def test_the_example_of_contributing_runs_as_it_is_written(initpools: Initpools, copied_run: Path) -> None:
    Path("mine.py").write_text(NORM_TOP)
    lines = [line for line in CONTRIBUTING.splitlines() if line.startswith("initpools ") and "mine.py" in line]
    assert [line.split()[1] for line in lines] == ["select-pool", "al-run", "rank"]
    for line in lines:
        fewer = ["--rounds", 1, "--seeds", 1] if "al-run" in line else []
        ended = initpools(*shlex.split(line)[1:], *fewer, "--threads", 1)
        assert ended.code == 0, ended.err
    sweep = copied_run / "runs/digits/al/main"
    rows = pd.read_csv(sweep / "rounds.csv", keep_default_na=False)
    assert set(rows["init"]) == {"random", "mine:norm_top"} and set(rows["status"]) == {"ok"}
    assert set(rows["query"]) == {"", "margin", "mine:norm_top"}
    table = tomli.loads((sweep / "step.toml").read_text())["table"]
    assert table["plugins"]["mine:norm_top"]["sha256"] == sha256_of(Path("mine.py"))
    Path("mine.py").unlink()
    judged = initpools("compare", "main", "--against", "mine:norm_top")
    assert judged.code == 0 and "mine:norm_top" in judged.out


def printed(outcome):
    assert outcome.code == 0, outcome.err
    return [int(line) for line in outcome.out.split()]


def test_a_strategy_of_a_file_works_without_a_run(initpools: Initpools, folder: Path) -> None:
    name = "./mine.py:norm_top"
    assert printed(initpools("select-pool", name, "--budget", 7, *ALONE)) == LONGEST[:7].tolist()
    assert printed(initpools("rank", name, *ALONE)) == LONGEST.tolist()
    lowest = initpools("select-pool", name, "--budget", 7, *ALONE, "--set", "power=-1.0")
    assert printed(lowest) == LONGEST[:-8:-1].tolist()
    spread = initpools("select-pool", f"{name}@kmeans7", "--budget", 7, *ALONE, "--json")
    assert spread.code == 0 and '"mine:norm_top@kmeans7"' in spread.out
    compared = initpools("select-pool", name, "--budget", 7, *ALONE, "--compare", f"random,{name}@kmeans3")
    assert compared.code == 0 and "mine:norm_top\trandom\tmine:norm_top@kmeans3" in compared.err


def test_select_takes_a_function_or_a_file(folder: Path) -> None:
    def norm_top(embeddings, labeled, budget):
        return Selection(np.argsort(-np.linalg.norm(embeddings, axis=1), kind="stable")[:budget])

    for strategy in (norm_top, "./mine.py:norm_top", f"{folder}/mine.py:norm_top"):
        chosen = initpools_cli.select(POINTS, strategy, 9, normalize=False)
        np.testing.assert_array_equal(chosen, LONGEST[:9])


def test_labels_that_are_optional_do_not_make_an_oracle():
    def some(embeddings, labeled, budget, labels=None, probs=None): ...

    def all_of_them(labels, probs, budget): ...

    traits = [parse_strategy(each).method.traits for each in (some, all_of_them)]
    assert [(each.oracle, each.needs_model) for each in traits] == [(False, False), (True, True)]
    with pytest.raises(UserError, match="The strategy is of type int"):
        parse_strategy(3)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("./mine.py", "mine"),
        ("~/mine.py", "mine"),
        ("../here/mine.py", "mine"),
        ("with space/my own.py", "my own"),
        ("a@b/mine.py", "mine"),
        ("C:\\code:x.py", None),
    ],
)
@pytest.mark.parametrize("suffix", ["", "@kmeans30"])
def test_paths_of_every_kind(tmp_path, monkeypatch, path, stem, suffix):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    base, balance = split_name(f"{path}:norm_top{suffix}")
    assert (base, balance.suffix) == (f"{path}:norm_top", suffix)
    if stem is None:
        return
    file = Path(path).expanduser()
    file.parent.mkdir(exist_ok=True)
    file.write_text(NORM_TOP)
    spec = parse_strategy(f"{path}:norm_top{suffix}")
    assert spec.name == f"{stem}:norm_top{suffix}" and spec.folder == f"{stem}-norm_top{suffix}"
    assert parse_strategy(spec.argument).name == spec.name and Path(spec.argument.partition(".py")[0]).is_absolute()


def test_a_step_records_the_code_and_changed_code_is_another_step(initpools: Initpools, copied_run: Path) -> None:
    Path("mine.py").write_text(NORM_TOP)
    words = ["select-pool", "./mine.py:norm_top", "--budget", 5, "--threads", 1]
    first = initpools(*words)
    assert first.code == 0 and "pool/mine-norm_top-b5-s0" in first.err
    pool = copied_run / "runs/digits/pool/mine-norm_top-b5-s0"
    facts = tomli.loads((pool / "step.toml").read_text())
    assert facts["table"]["strategy"] == "mine:norm_top"
    code = {"file": str(copied_run / "mine.py"), "sha256": sha256_of(copied_run / "mine.py")}
    assert facts["table"]["plugins"] == {"mine:norm_top": code}
    assert facts["renew"][1] == f"{copied_run}/mine.py:norm_top"
    assert tomli.loads((pool / "card.toml").read_text())["strategy"] == "mine:norm_top"
    assert "already done" in initpools(*words).err

    Path("mine.py").write_text(NORM_TOP.replace("-norms", "norms"))
    assert "made by an older version of mine:norm_top" in initpools("status").out
    again = initpools(*words)
    assert again.code == 0 and "already done" not in again.err
    assert len(list(pool.parent.glob("mine-norm_top-b5-s0*"))) == 2
    ranked = initpools("rank", "./mine.py:norm_top", "--threads", 1)
    assert ranked.code == 0 and (copied_run / "runs/digits/rank/mine-norm_top/sorted_idx.npy").exists()


def test_another_process_needs_no_file(folder: Path) -> None:
    spec = parse_strategy("./mine.py:norm_top")
    call = pickle.dumps(MethodCall(spec.name, plugin=spec.method.build.plugin))
    Path("mine.py").unlink()
    code = (
        "import pickle, sys; import numpy as np; from initpools_cli.strategies.select import choose\n"
        "call = pickle.load(sys.stdin.buffer)\n"
        "print(choose(call.strategy(), {'embeddings': np.load('e.npy')}, 3, normalize=False).indices.tolist())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], input=call, capture_output=True, check=True)
    assert ended.stdout.decode().strip() == str(LONGEST[:3].tolist())


BAD = {
    "no file": ("./mne.py:norm_top", "", "There is no file './mne.py'.", "Did you mean 'mine.py'?"),
    "no function named": ("./mine.py", NORM_TOP, "'./mine.py' does not say which function", "./mine.py:norm_top"),
    "no such function": ("./mine.py:norm_tip", NORM_TOP, "no function 'norm_tip'", "Did you mean './mine.py:norm_top"),
    "no function": ("./mine.py:f", "f = [1]", "'f' in ./mine.py is of type list, not a function.", "Write `def f("),
    "no path": ("mine:norm_top", NORM_TOP, "There is no strategy 'mine:norm_top'.", "'mine.py:norm_top'"),
    "folder": ("./folder.py:f", "", "./folder.py is a folder, not a file.", "Name a Python file"),
    "name": ("./a|b.py:f", "f = 1", "The file ./a|b.py can't be named in results", "Rename it"),
    "syntax": ("./mine.py:f", "x = 1\ndef f(:\n", "./mine.py:2 is not valid Python:", "Correct the syntax"),
    "import": ("./mine.py:f", "\nimport nowhere\n", "./mine.py:2 imports 'nowhere', which is not", "Install"),
    "exception": ("./mine.py:f", "x = 1\n1 / 0\n", "./mine.py:2 raised ZeroDivisionError", "Correct that line"),
    "exit": ("./mine.py:f", "exit(3)\n", "./mine.py:1 raised SystemExit: 3", "Correct that line"),
    "no budget": ("./mine.py:f", "def f(n):\n  pass", "'mine:f' (./mine.py:1) has no parameter 'budget'", "Write"),
    "stars": ("./mine.py:f", "def f(budget, *arrays):\n  pass", "takes *arrays", "Name each array"),
    "kwargs": ("./mine.py:f", "def f(budget, **more):\n  pass", "takes **more", "Name each array"),
    "position": ("./mine.py:f", "def f(budget, /):\n  pass", "takes 'budget' by position alone", "Leave the `/` out"),
    "array": ("./mine.py:f", "def f(embedings, budget):\n  pass", "asks for 'embedings'", "Did you mean 'embeddings'?"),
    "knob": ("./mine.py:f", "def f(n, budget, *, k):\n  pass", "The knob 'k' of", "Give it one"),
    "knob's type": ("./mine.py:f", "def f(n, budget, *, k=[]):\n  pass", "has the default []", "Use a number"),
    "knob's default": ("./mine.py:f", "def f(n, budget, *, k: int = 'a'):\n  pass", "which is not int", "Change"),
    "annotation": ("./mine.py:f", "def f(n, budget, *, k: 'Foo' = 1):\n  pass", "is not known: NameError", "leave out"),
    "trait": (
        "./mine.py:f",
        "from initpools_cli import register\n\n@register(papr='x')\ndef f(n, budget):\n  pass",
        "./mine.py:3 raised TypeError",
        "Correct that line",
    ),
    "trait's type": (
        "./mine.py:f",
        "from initpools_cli import register\n\n@register(nested='yes')\ndef f(n, budget):\n  pass",
        "states nested='yes'",
        "Correct what",
    ),
    "few": ("./mine.py:f", "def f(n, budget):\n  return [0, 1]", "returned 2 of 7 picks", "Return `budget`"),
    "twice": ("./mine.py:f", "def f(n, budget):\n  return [4] * budget", "returned row 4 7 times", "at most once"),
    "outside": ("./mine.py:f", "def f(n, budget):\n  return range(n - 1, n + 6)", "returned row 60 of 60", "0 to"),
    "mask": (
        "./mine.py:f",
        "import numpy as np\ndef f(n, budget):\n  return np.arange(n) < budget",
        "returned 1-D bool, not 1-D integers",
        "Return row numbers",
    ),
    "nothing": ("./mine.py:f", "def f(n, budget):\n  pass", "returned NoneType, not 1-D", "Return row numbers"),
    "labeled": ("./mine.py:f", "def f(n, budget):\n  return range(budget)", "returned row 3, which is", "`labeled`"),
    "raises": ("./mine.py:f", "def f(n, budget):\n  return [0][n]", "(./mine.py:2) raised IndexError", "check_"),
    "writes": (
        "./mine.py:f",
        "def f(embeddings, budget):\n  embeddings *= 2",
        "(./mine.py:2) raised ValueError: output array is read-only",
        "Correct that line",
    ),
    "scores": (
        "./mine.py:f",
        "import numpy as np\nfrom initpools_cli.strategies.selection import Selection\n"
        "def f(n, budget):\n  return Selection(np.arange(10, 10 + budget), np.ones(3))",
        "returned scores of shape (3,) for 7 picks",
        "of shape (7,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(initpools: Initpools, folder: Path, case: str) -> None:
    name, source, fact, remedy = BAD[case]
    (folder / "folder.py").mkdir()
    if source:
        Path(name.partition(":")[0] if ".py" in name else "mine.py").write_text(source)
    np.save("known.npy", [3])
    ended = initpools("select-pool", name, "--budget", 7, *ALONE, "--labeled", "known.npy")
    message = ended.err.replace("\n", " ")
    assert ended.code == 2 and ended.out == "", message
    assert fact in message and remedy in message, message
    with pytest.raises(UserError) as error:
        initpools_cli.select(POINTS, name, 7, labeled=[3], normalize=False)
    assert str(error.value.value) in error.value.fact


def test_files_of_one_name_are_refused_together(initpools: Initpools, folder: Path) -> None:
    Path("other").mkdir()
    Path("other/mine.py").write_text(NORM_TOP.replace("norm_top", "third"))
    words = ["select-pool", "./mine.py:norm_top", "--budget", 5, *ALONE, "--compare", "other/mine.py:third"]
    ended = initpools(*words)
    assert ended.code == 2 and "are both called 'mine' in results" in ended.err
    assert initpools(*words[:-1], "mine.py:norm_top@kmeans4").code == 0


def test_what_a_plugin_prints_is_not_among_the_results(initpools: Initpools, folder: Path) -> None:
    Path("mine.py").write_text("print('loaded')\n\ndef f(n, budget):\n    print('called')\n    return range(budget)\n")
    ended = initpools("select-pool", "./mine.py:f", "--budget", 3, "--embeddings", "e.npy")
    assert ended.out.split() == ["0", "1", "2"] and "called" in ended.err


@pytest.fixture
def package(folder, monkeypatch):
    """An installed package ``topmost`` 1.2 with plug-ins, some of them broken."""
    site = folder / "site"
    (site / "topmost-1.2.dist-info").mkdir(parents=True)
    (site / "topmost.py").write_text(
        NORM_TOP + "\n\ndef length(embeddings, *, power: float = 1.0):\n    return np.linalg.norm(embeddings, axis=1)\n"
    )
    (site / "broken.py").write_text("raise OSError('no license')\n")
    (site / "topmost-1.2.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: topmost\nVersion: 1.2\n")
    (site / "topmost-1.2.dist-info/entry_points.txt").write_text(
        "[initpools.strategies]\nnorm-top = topmost:norm_top\nbad = broken:f\ncoreset = topmost:norm_top\n"
        "nothing = topmost:nothing\ngone = nowhere:f\nsimclr = topmost:norm_top\nodd name = topmost:norm_top\n"
        "[initpools.scores]\nlength = topmost:length\n"
    )
    monkeypatch.syspath_prepend(str(site))
    entry_points.cache_clear()
    yield site
    entry_points.cache_clear()
    for name in ("topmost", "broken"):
        sys.modules.pop(name, None)


def test_an_installed_package_is_listed_and_chosen_by_name(
    initpools: Initpools, package: Path, copied_run: Path
) -> None:
    np.save("e.npy", POINTS)
    listed = initpools("list", "strategies")
    assert "norm-top\tThe images with the longest embeddings.\tdrawn anew\ttopmost 1.2\n" in listed.out
    assert "length\t" in initpools("list", "scores").out
    skipped = [line for line in listed.err.splitlines() if "skipped" in line]
    for name, reason in {
        "bad": "broken.py:1 raised OSError: no license",
        "simclr": "has a name that is taken",
        "coreset": "has a name that is taken",
        "nothing": "topmost has no 'nothing'",
        "gone": "no module 'nowhere'",
        "odd name": "can't be named on a command line",
    }.items():
        (line,) = [line for line in skipped if f"'{name}'" in line]
        assert reason in line
    assert len(skipped) == 6
    assert printed(initpools("select-pool", "norm-top", "--budget", 5, *ALONE)) == LONGEST[:5].tolist()
    assert printed(initpools("rank", "length", *ALONE))[:5] == LONGEST[:5].tolist()
    refused = initpools("select-pool", "bad", "--budget", 5, *ALONE)
    assert refused.code == 2 and "no license" in refused.err and "pip uninstall topmost" in refused.err
    assert "Did you mean 'norm-top'?" in initpools("select-pool", "norm-tip", "--budget", 5, *ALONE).err

    assert initpools("select-pool", "norm-top", "--budget", 5, "--threads", 1).code == 0
    facts = tomli.loads((copied_run / "runs/digits/pool/norm-top-b5-s0/step.toml").read_text())
    code = {"distribution": "topmost", "version": "1.2", "sha256": sha256_of(package / "topmost.py")}
    assert facts["table"]["plugins"] == {"norm-top": code}
    words = ["al-run", "--init", "random,norm-top", "--query", "length,norm-top", "--budget", 5, "--rounds", 1]
    words += ["--set", "normalize=false"]
    assert initpools(*words, "--seeds", 1, "--threads", 1).code == 0
    assert initpools("rank", "norm-top", "--threads", 1).code == 0
    assert initpools("score", "length", "--threads", 1).code == 0
    facts = tomli.loads((copied_run / "runs/digits/score/length/step.toml").read_text())
    assert facts["table"]["plugins"] == {"length": code}


def test_the_checks_pass_and_fail(folder: Path) -> None:
    check_strategy("./mine.py:norm_top")

    def nested_or_not(embeddings, labeled, budget):
        norms = np.linalg.norm(embeddings, axis=1) * (1 if budget > 20 else -1)
        norms[labeled] = np.inf
        return np.argsort(norms, kind="stable")[:budget]

    with pytest.raises(AssertionError, match="nested=True, but 50 picks do not begin with the 20"):
        check_strategy(initpools_cli.register(nested=True)(nested_or_not))

    def forgetful(n, budget):
        return range(budget)

    with pytest.raises(AssertionError, match=r"two images, .* returned row 0, which is already labeled"):
        check_strategy(forgetful)

    def careless(n, labeled, budget):
        return np.random.default_rng().permutation(np.setdiff1d(np.arange(n), labeled))[:budget]

    with pytest.raises(AssertionError, match="the same seed did not choose the same images"):
        check_strategy(careless)
