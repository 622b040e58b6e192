"""The files in configs/ say what they claim: settings hold, commands parse, trainings are counted right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tomli
from typer.main import get_group

from initpools_cli.cli.commands import app
from initpools_cli.core.config import Settings
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.core.settings import load_settings
from initpools_cli.datasets.catalog import entries
from initpools_cli.datasets.imbalance import tail_counts
from initpools_cli.networks.registry import networks
from initpools_cli.pretext.registry import pretexts
from initpools_cli.steps.context import Context
from initpools_cli.sweeps.spec import ExperimentSpec, build_spec
from initpools_cli.training.learners.registry import learners
from initpools_cli.training.trainer import TrainConfig

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.toml"))
SWEEPS = [file for file in CONFIGS if "al" in tomli.loads(file.read_text())]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT / "configs").with_suffix("").as_posix()


def header(file: Path) -> dict[str, list[str]]:
    """The lines of each field of the comment that a file begins with."""
    fields: dict[str, list[str]] = {}
    for line in file.read_text().splitlines()[1:]:
        if not line.startswith("#"):
            return fields
        begins = re.match(r"# (\w+): +(.*)", line)
        if begins:
            fields[begins[1]] = [begins[2]]
        else:
            fields[next(reversed(fields))].append(line.removeprefix("#").strip())
    return fields


def load(file: Path) -> Settings:
    return load_settings("al", file=file)[0]


def sweep_of(file: Path | None, **changed: object) -> ExperimentSpec:
    """The strategies, queries and learners of a file or of the defaults, where some of its [al] is changed."""
    settings, origins = load_settings("al", file=file)
    settings = settings.model_copy(update={"al": settings.al.model_copy(update=changed)})
    return build_spec(Context(Run(Path("no run")), settings, origins, Reporter(quiet=True)))


@pytest.mark.parametrize("file", CONFIGS, ids=name_of)
def test_a_header_says_cost_and_command_and_where_it_is_from(file: Path) -> None:
    fields = header(file)
    assert {"Cost", "Command"} <= fields.keys()
    assert name_of(file) == "demo" or "Paper" in fields
    assert file.parent.name != "paper" or "Differs" in fields
    assert file not in SWEEPS or "Showed" in fields


@pytest.mark.parametrize("file", CONFIGS, ids=name_of)
def test_every_name_and_knob_is_one_that_there_is(file: Path) -> None:
    settings, origins = load_settings("pretrain", file=file)
    assert origins
    if "pretrain" in tomli.loads(file.read_text()):
        table = settings.pretrain
        pretexts.get(table.method).validate(table.params)
        assert table.network == "auto" or networks.get(table.network)
    if "dataset.name" in origins:
        assert settings.dataset.name in entries()
    if file in SWEEPS:
        cast = sweep_of(file)
        for strategy in cast.strategies:
            strategy.knobs(cast.knobs.get(strategy.name, {}), settings.select.order)


@pytest.mark.parametrize("file", CONFIGS, ids=name_of)
def test_the_commands_parse_and_load_what_they_name(file: Path) -> None:
    commands = get_group(app).commands
    files = []
    for line in header(file)["Command"]:
        words = shlex.split(line.partition("     (")[0])
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            continue
        assert words[0] == "initpools"
        options = commands[words[1]].make_context(words[1], words[2:]).params
        if words[1] == "rank":
            # A sweep that follows rankings needs the commands that make them.
            assert f"rank/{options['strategy']}" in load(file).al.init
            continue
        settings = ROOT / options["config"] if options["config"] else None
        files.append(settings)
        knobs = pretexts.get(options["method"]).knobs if words[1] == "pretrain" else ()
        table = {"pretrain": "pretrain", "embed": "embed", "al-run": "al"}[words[1]]
        loaded, _ = load_settings(table, file=settings, sets=options["sets"] or (), knobs=knobs)
        if words[1] == "pretrain":
            pretexts.get(options["method"]).validate(loaded.pretrain.params)
        else:
            sweep_of(settings, query=(options.get("query") or "random").split(","))
    assert not files or file in files


#: Passes of an image in an epoch, by pretext: views, turns, or its neighbor.
PASSES = {"simclr": 2, "rotation": 4, "scan": 2, "vae": 1}
TIME = re.compile(r"(\d|\b(one|two|three|four|five|half)) (s|seconds?|minutes?|hours?|days?|weeks?|months?|years?)\b")


@pytest.mark.parametrize("file", CONFIGS, ids=name_of)
def test_a_cost_has_only_numbers_that_follow_from_the_settings(file: Path) -> None:
    """No time, which depends on the machine; counts of sweeps are in the next test."""
    said = " ".join(header(file)["Cost"])
    assert not TIME.search(said)
    counted = re.match(r"(\d+) epochs of 50,000 images.*: (\d+) million passes", said)
    assert bool(counted) == (file.parent.name == "paper" and file not in SWEEPS)
    if counted:
        table = load(file).pretrain
        assert int(counted[1]) == table.epochs
        assert int(counted[2]) * 1_000_000 == table.epochs * 50_000 * PASSES[table.method]


@pytest.mark.parametrize("file", SWEEPS, ids=name_of)
def test_a_cost_counts_the_trainings(file: Path) -> None:
    """One a round of every cell, and further members of an ensemble where the query asks them."""
    cost = " ".join(header(file)["Cost"])
    counted = re.search(r"([\d,]+) (?:trainings|logistic regressions)(?:, ([\d,]+) steps)?", cost)
    if counted is None:
        pytest.skip("its cost is in the documentation")
    table = load(file).al
    cells = len(table.init) * len(table.query) * table.seeds
    further = len(table.init) * table.seeds * (table.members - 1) * ("var-ratio" in table.query)
    assert int(counted[1].replace(",", "")) == cells * (table.rounds + 1) + further * table.rounds
    if counted[2]:
        (knobs,) = sweep_of(file).learners.values()
        sizes = [table.init_budget + table.budget * number for number in range(table.rounds + 1)]
        steps = [knobs["epochs"] * -(-size // knobs["batch"]) for size in sizes]
        assert int(counted[2].replace(",", "")) == cells * sum(steps) + further * sum(steps[:-1])
        # One more query, in a sweep of its own.
        apart = re.search(r"for DBAL ([\d,]+) trainings, ([\d,]+) steps", cost)
        assert bool(apart) == (file.parent.name == "paper")
        if apart:
            alone = len(table.init) * table.seeds
            assert int(apart[1].replace(",", "")) == alone * (table.rounds + 1)
            assert int(apart[2].replace(",", "")) == alone * sum(steps)


#: What the scripts of arXiv:2011.14696 trained by: epochs, batch, optimizer, rate, schedule, decay, augmentation.
BY_SGD = (200, 96, "sgd", 0.025, "cosine", 3e-4)
BY_ADAM = (100, 64, "adam", 5e-3, "constant", 3e-4)
REFERENCE = {
    "paper/cifar10": ((5000, 5000, 5), (*BY_SGD, "randaug")),
    "paper/cifar100": ((5000, 5000, 5), (*BY_SGD, "weak")),
    "paper/mnist": ((60, 60, 10), (*BY_ADAM, "weak")),
    "paper/tiny-imagenet": ((10000, 10000, 5), (100, 200, "adam", 1e-3, "constant", 3e-4, "weak")),
    "paper/long-tail": ((1399, 1400, 5), (*BY_SGD, "weak")),
    "paper/low-budget": ((1000, 1000, 10), (*BY_SGD, "randaug")),
    **{
        f"coldstart/{name}": ((20, 10, 10), (200, 128, "adam", 3e-4, "constant", 3e-4, "weak"))
        for name in ("pathmnist", "bloodmnist", "organamnist", "dermamnist")
    },
}


@pytest.mark.parametrize("name", REFERENCE)
def test_budgets_and_schedules_are_the_references(name: str) -> None:
    budgets, schedule = REFERENCE[name]
    table = load(ROOT / f"configs/{name}.toml").al
    ((learner, knobs),) = sweep_of(ROOT / f"configs/{name}.toml").learners.items()
    assert (table.init_budget, table.budget, table.rounds) == budgets
    keys = ("epochs", "batch", "optimizer", "lr", "schedule", "weight_decay", "recipe")
    assert tuple(knobs[key] for key in keys) == schedule
    assert knobs["steps"] == 0 and set(keys) - {"recipe"} <= TrainConfig.__annotations__.keys()
    assert learner == ("scratch" if name.startswith("paper") else "finetune")
    assert learner != "scratch" or knobs["network"] == "resnet18"
    assert table.validation == "none" and learners.get(learner)


def test_the_long_tail_is_as_long_as_the_references() -> None:
    table = load(ROOT / "configs/paper/long-tail.toml").dataset
    assert sum(tail_counts(50_000, 10, table.imbalance, table.ratio)) == 13_996


def test_the_reference_of_simclr_is_the_predecessors() -> None:
    table = load(ROOT / "configs/paper/simclr.toml").pretrain
    assert (table.network, table.epochs, table.batch) == ("resnet18", 500, 512)
    assert table.params == {"lr": 0.4, "weight_decay": 1e-4, "temperature": 0.1, "hidden": 512, "out": 128}
