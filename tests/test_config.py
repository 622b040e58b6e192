"""Settings: who wins, and what a slip is answered with."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from initpools_cli.core.config import TABLES
from initpools_cli.core.errors import UserError
from initpools_cli.core.settings import load_settings, parse_set


def write(folder: Path, text: str) -> Path:
    file = folder / "a.toml"
    file.write_text(text)
    return file


def test_flags_win_over_set_over_file_over_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "[pretrain]\nepochs = 3\nbatch = 16\nwidth = 2\n")
    settings, origins = load_settings(
        "pretrain", file=file, sets=["pretrain.epochs=4", "batch=32"], flags={"pretrain.epochs": 5, "run.seed": None}
    )
    assert (settings.pretrain.epochs, settings.pretrain.batch, settings.pretrain.width) == (5, 32, 2.0)
    assert settings.run.seed == 0
    assert set(origins) == {"pretrain.epochs", "pretrain.batch", "pretrain.width"}


def test_a_key_without_a_dot_is_a_knob_of_the_method_first() -> None:
    settings, _ = load_settings("select", sets=["delta=0.6", "balance=kmeans"], knobs=["delta"])
    assert settings.select.params == {"delta": 0.6}
    assert settings.select.balance == "kmeans"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=l2sq", "l2sq"),
        ('a="1"', "1"),
        ("a=[1, 2]", [1, 2]),
        ("a=x=y", "x=y"),
    ],
)
def test_values_are_toml_else_strings(text: str, expected: object) -> None:
    assert parse_set(text) == ("a", expected)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["pretrain.epoch=3"], r"'pretrain.epoch' \(in --set\).*'pretrain.epochs'"),
        (["pretain.epochs=3"], r"\[pretain\].*\[pretrain\]"),
        (["pretrain.epochs=-1"], "pretrain.epochs = -1 .*greater than or equal to 0"),
        (["pretrain.epochs=many"], "pretrain.epochs = 'many'"),
        (["pretrain.epochs=true"], "pretrain.epochs = True"),
        (["epoch=3"], "'epoch'.*'epochs'"),
        (["epochs"], "key=value"),
        (["select.balance=kmean"], "select.balance = 'kmean'.*'kmeans'"),
        (["run.device=tpu"], "run.device = 'tpu'"),
    ],
)
def test_a_slip_names_key_place_and_the_nearest_name(sets: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_settings("pretrain", sets=sets)
    assert re.search(message, str(error.value))


SETTINGS = [(table, key) for table, fields in TABLES.items() for key in fields.model_fields]


@pytest.mark.parametrize(("table", "key"), SETTINGS)
def test_a_slip_is_refused_even_if_it_is_overridden(tmp_path: Path, table: str, key: str) -> None:
    dotted, good = f"{table}.{key}", "1%" if key == "budget" else TABLES[table].model_fields[key].default
    # The default is valid where a setting has one; a budget has none.
    flags = {dotted: good} if key != "params" else {f"{dotted}.x": 1}
    load_settings(table, flags=flags)
    with pytest.raises(UserError, match=rf"{re.escape(dotted)} = .*1979.* \(in .*a.toml\) is not valid"):
        load_settings(table, file=write(tmp_path, f"[{table}]\n{key} = 1979-05-27\n"), flags=flags)
    with pytest.raises(UserError, match=rf"{re.escape(dotted)} = .*1979.* \(in --set\) is not valid"):
        load_settings(table, sets=[f"{dotted}=1979-05-27"], flags=flags)


def test_a_slip_in_a_file_names_the_file(tmp_path: Path) -> None:
    for text in (
        "[pretrain]\nepochs = 'x'\n",
        "[pretrain]\nepoch = 1\n",
        "epochs = 1\n",
        "[pretrain\n",
        "[al.foo]\nx=1\n",
    ):
        with pytest.raises(UserError, match=re.escape("a.toml")):
            load_settings("pretrain", file=write(tmp_path, text))
    with pytest.raises(UserError, match="There is no file"):
        load_settings("pretrain", file=tmp_path / "absent.toml")


# ---- bounds


REGISTRIES = {
    "strategies": "initpools_cli.strategies.registry",
    "scores": "initpools_cli.scores.registry",
    "pretexts": "initpools_cli.pretext.registry",
    "learners": "initpools_cli.training.learners.registry",
    "plots": "initpools_cli.figures.registry",
}


def numbers(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model that are numbers."""
    for key, field in model.model_fields.items():
        if field.annotation in (int, float):
            yield key, field


@pytest.mark.parametrize("name", TABLES)
def test_every_number_of_a_table_is_bounded(name: str) -> None:
    for key, field in numbers(TABLES[name]):
        assert math.isfinite(upper(field)), f"{name}.{key}"
        for value in outside(field):
            with pytest.raises(UserError, match=f"{name}.{key} = "):
                load_settings(name, flags={f"{name}.{key}": value})


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_number_of_a_method_is_bounded(kind: str) -> None:
    for method in getattr(importlib.import_module(REGISTRIES[kind]), kind):
        for key, field in numbers(create_model(method.name, **dict(method.knobs))):
            assert math.isfinite(upper(field)), f"{method.name}: {key}"
            for value in outside(field):
                with pytest.raises(UserError, match=f"{key} = "):
                    method.validate({key: value})


def upper(field: FieldInfo) -> float:
    """The upper bound of a number, infinite where it has none."""
    bounds = [getattr(each, side, None) for each in field.metadata for side in ("le", "lt")]
    return min((bound for bound in bounds if bound is not None), default=math.inf)


def outside(field: FieldInfo) -> list[float]:
    """Values beyond the upper bound."""
    return [math.nan, math.inf, -math.inf] if field.annotation is float else [int(upper(field)) + 1, 10**5000]


def test_more_threads_than_the_machine_can_hold_are_refused(initpools: Initpools, tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.eye(4))
    for words in (["--embeddings", tmp_path / "e.npy"], ["--dataset", "digits", "--run", tmp_path / "run"]):
        ended = initpools("select-pool", "random", "--budget", 2, *words, "--threads", 4000)
        assert ended.code == 2 and "--threads 4000 is more than 8 for each of the" in ended.err
    assert initpools("select-pool", "random", "--budget", 2, "--threads", 100_000).code == 2
