"""The pages say what the program does: commands run, generated parts are current, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Initpools, on_one_thread
from PIL import Image
from typer.main import get_command

from initpools_cli.cli.catalog import KINDS
from initpools_cli.cli.commands import app
from initpools_cli.core.config import TABLES
from initpools_cli.core.settings import load_settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

#: Parts that are on a page for each command, each family of strategies or each file of results.
OF_MANY = (
    "command", "strategies", "score-strategies", "measured-on", "loss-orders", "study-first-pools", "first-pool-rounds",
    "long-tail", "rare-recall", "cold-start", "pitfall", "api", "verdicts", "regret", "selection-seconds",
)  # fmt: skip

#: Every command of an ```sh block runs as it is written but for these: fewer epochs, seeds and rounds, a thinner
#: network and fewer views, so that a page takes seconds.
FEWER = {r"pretrain\.epochs=\d+": "pretrain.epochs=1"}
FEWER_OF = {"--epochs": "1", "--seeds": "2", "--rounds": "1"}
QUICK = {
    "pretrain": ["--set", "pretrain.width=0.25"],
    "score": ["--set", "score.views=2"],
    "rank": ["--set", "rank.views=2"],
}


sys.path.insert(0, str(ROOT / "docs"))
generate = importlib.import_module("generate")
figures = importlib.import_module("strategies")
sys.path.pop(0)


def command_lines(text: str, *languages: str) -> list[list[str]]:
    """The words after `initpools` of every command line in the blocks of those languages."""
    lines = []
    for language, block in BLOCK.findall(text):
        if language in languages:
            for line in block.replace("\\\n", " ").splitlines():
                for start in ("initpools ", "torchrun "):
                    if line.startswith(start):
                        lines.append(
                            shlex.split(line.partition("-m initpools_cli.cli.app " if "torchrun" in line else start)[2])
                        )
    return lines


def quickened(words: list[str]) -> list[str]:
    words = [
        next((re.sub(old, new, word) for old, new in FEWER.items() if re.fullmatch(old, word)), word) for word in words
    ]
    for flag, fewer in FEWER_OF.items():
        if flag in words:
            words[words.index(flag) + 1] = fewer
    return [*map(str, on_one_thread([*words, *QUICK.get(words[0], [])]))]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of, small and random; it is the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    _images([f"photos/{'ab'[i % 2]}/{i:03d}.jpg" for i in range(140)], rng)
    _images([f"animals/{name}/{i}.png" for name in ("cat", "dog") for i in range(15)], rng)
    names = sorted(path.relative_to("photos").as_posix() for path in Path("photos").rglob("*.jpg"))
    rows = [f"{name},{('cat', 'dog')[i % 2]}" for i, name in enumerate(names)]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]))
    Path("labeled.csv").write_text("\n".join(["path,label", *rows[:40]]))
    probs = rng.dirichlet(np.ones(4), size=(3, 400))
    np.save("emb.npy", rng.normal(size=(400, 16)).astype(np.float32))
    np.save("probs.npy", probs[0])
    np.save("views.npy", probs)
    np.save("scores.npy", rng.normal(size=400))
    np.save("clusters.npy", rng.integers(0, 8, 400))
    np.save("like-these.npy", np.array([3, 17, 29]))
    np.savez("images.npz", train_images=rng.integers(0, 255, (60, 12, 12), dtype=np.uint8))
    return tmp_path


def _images(paths: list[str], rng: np.random.Generator) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)).save(path)


def annotate(batch: Path, output: Path) -> None:
    """What a person does on the page that `initpools label` opens."""
    labels = pd.read_csv("labels.csv")
    pd.read_csv(batch)[["index", "path"]].merge(labels, on="path").to_csv(output, index=False)


@pytest.mark.usefixtures("quick_classifier")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if command_lines(page.read_text(), "sh")], ids=lambda page: page.stem
)
def test_commands_run_in_order(page: Path, desk: Path, initpools: Initpools) -> None:
    for words in command_lines(page.read_text(), "sh"):
        if words[0] == "label":
            annotate(Path(words[words.index("--batch") + 1]), Path(words[words.index("-o") + 1]))
            continue
        ended = initpools(*quickened(words))
        assert ended.code == 0, f"{page.name}: initpools {shlex.join(words)}\n{ended.err}"
        if "-o" in words:
            assert Path(words[words.index("-o") + 1]).stat().st_size


def test_python_in_the_readme_runs(desk: Path) -> None:
    blocks = [block for language, block in BLOCK.findall((ROOT / "README.md").read_text()) if language == "python"]
    assert blocks
    for block in blocks:
        names: dict[str, np.ndarray] = {}
        exec(block, names)
        assert len(set(names["pool"].tolist())) == 200 and not set(names["pool"]) & set(names["more"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_they_are_given(page: Path) -> None:
    """Of commands that are not run, too: they need the network, or several processes."""
    text = page.read_text()
    lines = command_lines(text, "sh", "console", "text")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for words in lines:
        assert words[0] in commands, f"initpools {words[0]}"
        command = commands[words[0]]
        command = getattr(command, "commands", {}).get(words[1] if len(words) > 1 else "", command)
        options = {name for parameter in command.params for name in parameter.opts}
        unknown = [word for word in words if word.startswith("-") and word not in options | {"--help"}]
        assert not unknown, f"{page.name}: initpools {shlex.join(words)}: {unknown}"
        sets = [
            words[i + 1] for i, word in enumerate(words) if word == "--set" and "." in words[i + 1].partition("=")[0]
        ]
        load_settings(next(iter(TABLES)), sets=sets)


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(f"`initpools {name}`" in text for name in generate.commands.names())
    assert len(text.splitlines()) <= 200


def test_the_package_names_no_file_that_an_installation_lacks() -> None:
    """A wheel has no docs/: messages say what is meant, and docstrings name a page by its title."""
    for file in (ROOT / "initpools_cli").rglob("*"):
        if file.suffix in (".py", ".toml", ".html", ".js", ".css", ".json"):
            cited = re.search(r"(?<![\w/.-])docs/\w+", file.read_text(encoding="utf-8"))
            assert cited is None, f"{file.relative_to(ROOT)}: {cited[0]}"
    # Other folders of the repository may be named in comments and docstrings, but not in messages.
    for file in (ROOT / "initpools_cli").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                cited = re.search(r"(?<![\w/.-])(benchmarks|configs|examples|tests)/\w+", node.value)
                assert cited is None, f"{file.relative_to(ROOT)}:{node.lineno}: {cited[0]}"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    # BaseLoader reads tags of Python objects as plain values.
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    at_root = {"index.md", "changelog.md", "contributing.md", "conduct.md", "security.md"}
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert sorted(navigated(config["nav"])) == sorted([*pages, *at_root])


def navigated(entry: Any) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in navigated(part)]


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: page.stem)
def test_generated_parts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generate.render(text) == text, f"{page.name} is out of date: run `python docs/generate.py`."


def test_every_part_stands_on_a_page() -> None:
    on_pages = [match["name"] for page in generate.pages() for match in generate.PART.finditer(page.read_text())]
    assert set(on_pages) == set(generate.PARTS)
    assert len(on_pages) == len(set(on_pages)) + sum(on_pages.count(part) - 1 for part in OF_MANY)


#: Quantities that a benchmark measures: time, memory, shares, points, ratios, counts of a whole, and metrics.
NUMBER = r"(?<![\w.])(?:\d[\d,.]*|(?:two|three|four|five|six|seven|eight|nine|ten|twenty|fifty|hundred)(?=[\s-]))"
UNIT = r"(?:s|ms|seconds?|min|minutes?|hours?|days?|[KMGT]i?B|points?|times\s(?:as|that|the|faster|slower|more|less))\b"
METRIC = r"(?:accurac|correlation|similarit|precision|recall|error|score|likelihood|coverage|mean|average)\w*"
MEASURED = re.compile(
    rf"{NUMBER}(?:\s?(?:to|and|or|–)\s?{NUMBER})?(?:[\s-]?{UNIT}|\s?%)"
    rf"|{METRIC}[^.;:|]{{1,60}}?(?<![\w.])\d*\.\d+|\d\.\d+\s(?:on\saverage|against|instead\sof)"
    rf"|{NUMBER}\sof\s\d|\d\s→\s\d"
    r"|(?:third|quarter|fifth|sixth|tenth|hundredth)\sof\s(?:the\stime|the\smemory|its\sobjective)"
)
#: Two cells of a row that look like this are measured, too.
MEASURED_CELL = re.compile(r"\**[+−-]?\d[\d,.]*(?: %| s)?(?: ?[/→–] ?\d[\d,.]*)?(?: of \d+)?(?: [▲▼])?\**")
#: What looks measured and is not.
ALLOWED = {
    "levels of intervals and tests": (
        r"(?:9[05]|5 to 95) % (?:bootstrap )?(?:t-)?(?:interval|band|confidence|range)",
        r"at (?:most )?5 % (?:after Holm|for exchangeable)",
        r"false in 5 % of cases",
        r"closer to 95 % than",
    ),
    "shares that are set or drawn": (
        r"random (?:90 % of the train|20 % of the labels)",
        r"seeded,? (?:stratified )?20 % of",
        r"is 10 % of `…`, rounded",
        r"(?:The 60 % were|60 % as many images)",
        r"5 % or 10 % of the labels are wrong",
        r"(?:1, 2 and 10 %|at 1 %, and not at 10 %|window of 10 % of the ranking|budgets of 1 to 10 %)",
        r"mean difference of 0\.8",
        r"prior with\s+mean 0 and standard deviation 0\.25",
    ),
    "limits of what is accepted or reported": (
        r"(?:1|4|256|512) MiB",
        r"more than (?:1|4) GiB",
        r"of at most 64 KiB",
        r"is refused after 5 seconds",
        r"limit is 32 GiB",
        r"more than 10 % wider",
        r"1 \+ 2 % of the possible range",
        r"one value for over 95 %",
        r"two minutes for each visit",
        r"four times the present number",
        r"six hours of sweeps",
    ),
    "definitions and arithmetic": (
        r"0\.6 times the distance",
        r"similarity (?:above|to [\w\s-]*exceeds) 0\.95",
        r"similarity, weighted by exp\(cosine / 0\.07",
        r"50 % is a typical random pool and 100 % is better",
        r"196 times the space",
        r"accuracy of 90 % needs",
        r"labels are 3\.0 instead of",
    ),
    "counts that are no share of anything measured": (
        r"20 of 1,438 digits",
        r"10 or 20 of 1,000 labels",
    ),
}  # fmt: skip
#: The first is as it was before anything was measured; the others are written by scripts.
NOT_BY_HAND = ("preregistration", "results", "semi-supervised")
PAGES_BY_HAND = [
    *(page for page in PAGES if page.stem not in NOT_BY_HAND),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
]


def by_hand(text: str) -> str:
    """The text of a page without parts that programs write, code, and the targets of links."""
    name = r"(?P<name>[a-z-]+(?: pools)?)"
    part = rf"<!-- (?:generated: )?{name}(?: [^>]*)? -->\n.*?<!-- end of (?P=name) -->"
    text = re.sub(r"^ *```.*?^ *```", "", re.sub(part, "", text, flags=re.DOTALL), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\]\([^)]*\)|https?://\S+", "]", re.sub(r"`[^`\n]+`", "`…`", text))


def measured_numbers(text: str) -> list[str]:
    """Every number by hand that looks measured."""
    text = by_hand(text)
    for pattern in (pattern for patterns in ALLOWED.values() for pattern in patterns):
        text = re.sub(pattern, "", text)
    rows = [
        line
        for line in text.splitlines()
        if line.startswith("|") and sum(bool(MEASURED_CELL.fullmatch(cell.strip())) for cell in line.split("|")) > 1
    ]
    return [*(match[0] for match in MEASURED.finditer(text)), *rows]


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: page.stem)
def test_measured_numbers_are_generated(page: Path) -> None:
    numbers = measured_numbers(page.read_text(encoding="utf-8"))
    assert not numbers, (
        f"{page.name}: generate {numbers} from benchmarks/results (docs/parts/), or say it without numbers."
    )


def test_every_allowed_number_is_on_a_page() -> None:
    text = "\n".join(by_hand(page.read_text(encoding="utf-8")) for page in PAGES_BY_HAND)
    assert not [each for patterns in ALLOWED.values() for each in patterns if not re.search(each, text)]


@pytest.mark.parametrize(
    "sentence",
    [
        "accuracy against labels, which starts 22 points higher than from a random first pool",
        "On `pca`, `each` costs 2 to 3 points on CIFAR-10 and 8 to 23 on the other data sets.",
        "11 s with `badge`: 8.4 times as\nlong in total.",
        "reading takes a quarter of\nthe time.",
        "The features with and without it have a cosine similarity of at least 0.999.",
        "those of different images have 0.69 on average.",
        "Accuracy was 99.9 % with a random test split",
        "for 1,000 of 50,000 images",
        "about nine minutes on a busy machine",
        "the scores of two seeds have a rank correlation of 0.17 after a million draws",
        "with SimCLR, 21 of 30 were near-duplicates",
        "the mean is 0.62 against 0.58",
        "about 1.6 times that of as many independent test images",
        "Embeddings of 1.3 million images take 2.6 GB.",
        "| `kcenter` | 0.8 | 15 | exact |",
        "| `pca` | digits | 47.2 / 30.2 | 66.7 / 43.7 |",
        "| `maxherding` | **0.6** | 0.6 | 0.7 |",
        "| `efficientnet-lite0`, random | 1.258 → 1.251 |",
    ],
)
def test_numbers_that_were_typed_by_hand_are_noticed(sentence: str) -> None:
    assert measured_numbers(sentence)


def test_every_command_and_every_strategy_has_one_page() -> None:
    pages = {page.stem: page.read_text() for page in PAGES if page.parent.name == "commands"}
    assert sorted(pages) == sorted(generate.commands.names())
    assert all(f"<!-- generated: command {name} -->" in text for name, text in pages.items())
    families = [page for page in PAGES if page.parent.name == "strategies"]
    names = [name for page in families for name in generate.strategies.page_names(page)]
    assert sorted(names) == sorted(row["name"] for row in KINDS["strategies"]())
    index = (ROOT / "docs/strategies.md").read_text()
    assert all(f"(strategies/{page.name})" in index for page in families)
    assert all(f"(../figures/strategies-{page.stem}.svg)" in page.read_text() for page in families)


@pytest.mark.parametrize("page", sorted(figures.PANELS))
def test_figures_of_strategies_show_distinct_picks_of_those_on_their_page(page: str) -> None:
    names = figures.PANELS[page]
    assert set(names) <= set(generate.strategies.page_names(ROOT / f"docs/strategies/{page}.md"))
    figure = figures.figure(page)
    assert figure == figures.figure(page)
    stored = ROOT / f"docs/figures/strategies-{page}.svg"
    for text in (figure, stored.read_text(encoding="utf-8")):
        root = ElementTree.fromstring(text)
        classes = [mark.get("class") for mark in root.iter()]
        assert classes.count("order") == classes.count("pick") == figures.BUDGET * len(names)
        orders = [mark.text for mark in root.iter() if mark.get("class") == "order"]
        assert sorted(map(int, orders)) == sorted([*range(1, figures.BUDGET + 1)] * len(names))
        assert [mark.text for mark in root.iter() if mark.get("class") == "name"] == list(names)


def test_every_setting_is_described() -> None:
    for table, model in TABLES.items():
        for key, field in model.model_fields.items():
            assert field.description or key == "params", f"{table}.{key}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_and_tests_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, _, anchor in re.findall(r"\]\((?!https?://)([^)#]*)(#([^)]+))?\)", text):
        to = page.parent / target if target else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), f"{target}#{anchor}"
    for file, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", text):
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def anchors(page: Path) -> set[str]:
    """Anchors of the headings as on GitHub; of equal headings that of the first, which the site has too."""
    headings = re.findall(r"^#+ (.*)", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).lower().replace(" ", "-") for heading in headings
    }


#: Options of other programs, and of every command line made with Typer.
OPTIONS_OF_OTHERS = {
    "--authors", "--gpus", "--help", "--index-url", "--install-completion", "--master-addr", "--network", "--nnodes",
    "--node-rank", "--show-completion", "--upgrade", "--user", "--volume",
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> dict[str, set[str]]:
    """The commands, and all options, keys of settings, and knobs."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    subcommands = [sub for command in commands.values() for sub in getattr(command, "commands", {}).values()]
    parameters = [each for command in [*commands.values(), *subcommands] for each in command.params]
    rows = [row for kind in KINDS if kind != "backbones" for row in KINDS[kind]()]
    return {
        "commands": set(commands),
        "options": {name for parameter in parameters for name in parameter.opts} | OPTIONS_OF_OTHERS,
        "keys": {f"{table}.{key}" for table, model in TABLES.items() for key in model.model_fields},
        "knobs": {knob for row in rows for knob in row.get("knobs", {})},
    }


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.stem)
def test_options_settings_and_commands_in_sentences_exist(page: Path, vocabulary: dict[str, set[str]]) -> None:
    keys = vocabulary["keys"]
    settings = vocabulary["knobs"] | {key.partition(".")[2] for key in keys}
    for code in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) - vocabulary["options"]
        assert not unknown, f"`{code}`: {unknown}"
        key = re.match(r"(?:--set )?((\w+)\.(?!toml)[a-z]\w*)(?=$|[ =.])", code)
        assert not key or key[2] not in TABLES or key[1] in keys, f"`{code}`"
        knob = re.match(r"--set ([a-z]\w*)=", code)
        assert not knob or knob[1] in settings, f"`{code}`"
        command = re.match(r"initpools ([a-z][a-z-]*)", code)
        assert not command or command[1] in vocabulary["commands"], f"`{code}`"


def test_files_of_the_run_directory_are_named_in_the_code() -> None:
    text = (ROOT / "docs/run-directory.md").read_text(encoding="utf-8")
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "initpools_cli").rglob("*.py"))
    names = set(re.findall(r"(?<![\w/<.*-])[a-z_]+\.(?:csv|npy|npz|toml|safetensors|jsonl|txt)\b", text))
    # One file for each split.
    names -= {f"{split}.npy" for split in ("train", "val", "test")}
    assert len(names) > 30
    # By its name, or by its stem where the ending is added.
    assert not [
        name for name in sorted(names) if not re.search(rf"[\"'/]{re.escape(name)}|\"{Path(name).stem}\"", source)
    ]
