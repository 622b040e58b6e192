"""Suites: data sets, encoders, learners, strategies, budgets and seeds of a benchmark, in one TOML file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from initpools_cli.core.config import Table
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import read_file
from initpools_cli.core.registry import value_error
from initpools_cli.core.settings import LARGEST_CONFIG
from initpools_cli.core.toml import parse_toml

#: A SHA-256 or MD5, hexadecimal.
CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
#: All strategies without a model that read no labels, instead of a list of names.
NOTHING_LABELED = "nothing-labeled"
#: What the name of a sweep may contain, each in braces; one sweep is run for every value.
PLACES = ("strategy", "encoder", "learner", "budget")

#: Settings by table and key, as in a file for ``--config``.
Settings = Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Subset(Table):
    """A part of the data set, with the same number of images of each class."""

    train: Annotated[int, Field(ge=1, description="train images of each class")]
    test: Annotated[int, Field(ge=1, description="test images of each class")]


class Data(Table):
    """A data set and how to obtain it."""

    name: Annotated[Name, Field(description="name of its run directory")]
    registered: Annotated[str, Field(description="name in `initpools list datasets`; downloaded if needed")] = ""
    file: Annotated[str, Field(description="file or folder to look for in --data")] = ""
    url: Annotated[str, Field(description="address that anyone can download `file` from")] = ""
    labels: Annotated[str, Field(description="for a folder: table of labels in --data")] = ""
    checksums: Annotated[
        list[str],
        Field(default_factory=list, description="of `file`: SHA-256 or MD5 of the versions that are accepted"),
    ]
    items: Annotated[str, Field(description="SHA-256 of data/items.csv of its run; empty: not checked")] = ""
    subset: Annotated[Subset | None, Field(description="use a part of `file`")] = None
    source: Annotated[str, Field(description="where the images are from, shown if they are missing")] = ""
    origin: Annotated[str, Field(description="data sets of one origin count once in tests; default: its name")] = ""
    settings: Annotated[Settings, Field(description="settings for this data set")]

    @model_validator(mode="after")
    def _can_be_obtained(self) -> Data:
        if not self.registered and not self.file:
            raise ValueError(f"the data set {self.name} needs `registered` or `file`")
        if self.url and not self.checksums:
            raise ValueError(f"the data set {self.name} has a url, so it needs checksums")
        if self.url and not self.url.startswith("https://"):
            raise ValueError(f"the url {self.url} of the data set {self.name} does not start with https://")
        if self.url and Path(self.file).name != self.file:
            raise ValueError(
                f"the data set {self.name} has a url, so its file {self.file} needs a name without folders"
            )
        wrong = next((each for each in self.checksums if not CHECKSUM.fullmatch(each)), None)
        if wrong is not None:
            raise ValueError(f"the checksum {wrong!r} of the data set {self.name} is no SHA-256 or MD5")
        return self


class Pretrain(Table):
    """An encoder to train."""

    name: Name
    method: str
    seed: Annotated[int, Field(ge=0)] = 0
    start: Annotated[str, Field(description="name of the pretrain that it starts from, for scan")] = ""
    data: Annotated[list[str], Field(default_factory=list, description="data sets that it is trained on; empty: all")]
    settings: Settings


class Encoder(Table):
    """Embeddings that strategies and learners read."""

    name: Name
    source: Annotated[str, Field(description="name of a pretrain of the suite, a backbone, pixels or pca")]


class Sweeps(Table):
    """Sweeps of `al-run`: one for every data set and every value of the places in their name."""

    name: Annotated[str, Field(description="name of the sweeps, such as {encoder}-{learner}-{budget}")]
    strategies: Annotated[
        list[str] | Literal["nothing-labeled"], Field(description="first pools, or nothing-labeled for all that can be")
    ]
    without: Annotated[list[str], Field(default_factory=list, description="strategies that nothing-labeled leaves out")]
    encoders: Annotated[list[str], Field(min_length=1)]
    learners: Annotated[list[str], Field(min_length=1)]
    queries: Annotated[list[str], Field(default_factory=lambda: ["random"], min_length=1)]
    budgets: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    data: Annotated[list[str], Field(default_factory=list, description="data sets; empty: all")]
    settings: Settings

    @field_validator("name")
    @classmethod
    def _known_places(cls, name: str) -> str:
        try:
            places = [place for _, place, _, _ in Formatter().parse(name) if place is not None]
        except ValueError as error:
            raise ValueError(f"should have closed braces ({error})") from None
        if unknown := set(places) - set(PLACES):
            raise ValueError(f"should have no place {{{min(unknown)}}}, only {', '.join(PLACES)}")
        return name

    @property
    def places(self) -> set[str]:
        """The places in the name."""
        return {place for _, place, _, _ in Formatter().parse(self.name) if place}

    @model_validator(mode="after")
    def _one_sweep_for_each(self) -> Sweeps:
        for place, values in (("budget", self.budgets), ("encoder", self.encoders)):
            if len(values) > 1 and place not in self.places:
                raise ValueError(f"the sweeps {self.name} have several {place}s, so their name needs {{{place}}}")
        return self


class Suite(Table):
    """A benchmark."""

    title: str
    description: str = ""
    seeds: Annotated[int, Field(ge=1, description="repetitions of every cell, each with another seed")]
    hours: Annotated[
        float, Field(ge=0, description="hours of sweeps, over all processes, after which none starts; 0: no end")
    ] = 0.0
    seconds_per_pool: Annotated[
        float, Field(ge=0, description="strategies that need longer for a first pool are not run; 0: all are")
    ] = 0.0
    settings: Annotated[Settings, Field(description="settings of all steps")]
    data: Annotated[list[Data], Field(min_length=1)]
    pretrains: Annotated[list[Pretrain], Field(default_factory=list)]
    encoders: Annotated[list[Encoder], Field(min_length=1)]
    sweeps: Annotated[list[Sweeps], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> Suite:
        data, pretrains = _unique("data", self.data), _unique("pretrains", self.pretrains)
        encoders = _unique("encoders", self.encoders)
        for each in self.pretrains:
            _require_names(f"data of the pretrain {each.name}", each.data, data)
            _require_names(f"start of the pretrain {each.name}", [each.start] if each.start else [], pretrains)
        for sweep in self.sweeps:
            _require_names(f"data of the sweeps {sweep.name}", sweep.data, data)
            _require_names(f"encoders of the sweeps {sweep.name}", sweep.encoders, encoders)
        return self


@dataclass(frozen=True)
class NamedSuite:
    """A suite, with its name and the file that it was read from.

    Attributes
    ----------
    name : str
        The file's name without its ending; results are ``<name>.parquet``.
    file : str
        For messages.
    suite : Suite
    """

    name: str
    file: str
    suite: Suite


def suite_names() -> list[str]:
    """Return the names of the suites that are installed with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _suite_folder().iterdir() if file.name.endswith(".toml"))


def suite_name(name: str) -> str:
    """Return the name of a suite from its name or its file."""
    return Path(name).stem if name.endswith(".toml") else name


def load_suite(name: str) -> NamedSuite:
    """Read a suite.

    Parameters
    ----------
    name : str
        One of `suite_names`, or a path that ends in .toml.

    Raises
    ------
    UserError
        There is no such suite, or the file is not a valid one.
    """
    if name.endswith(".toml"):
        path = Path(name)
        return NamedSuite(suite_name(name), name, _parse_suite(read_file(path, "--suite", most=LARGEST_CONFIG), name))
    if name not in suite_names():
        guess = nearest(name, suite_names())
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(
            f"There is no suite '{name}'.", f"{hint}Use one of {', '.join(suite_names())}, or a FILE.toml.", name
        )
    return NamedSuite(
        name, f"{name}.toml", _parse_suite(_suite_folder().joinpath(f"{name}.toml").read_bytes(), f"{name}.toml")
    )


def flat(*settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge settings by dotted key; later ones win."""
    values: dict[str, Any] = {}
    for tables in settings:
        for table, content in tables.items():
            values |= _dotted(table, content)
    return values


def _dotted(prefix: str, content: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in content.items():
        values |= _dotted(f"{prefix}.{key}", value) if isinstance(value, dict) else {f"{prefix}.{key}": value}
    return values


def _suite_folder() -> Any:
    return files("initpools_cli.bench").joinpath("suites")


def _parse_suite(content: bytes, file: str) -> Suite:
    try:
        tables = parse_toml(content.decode())
    except ValueError as error:
        raise UserError(
            f"{file} is not valid TOML: {error}.", "Correct that line and run the command again.", file
        ) from None
    try:
        return Suite.model_validate(_with_data_of_others(tables, file))
    except ValidationError as error:
        # A misspelled key causes two errors, an unknown key and a missing one: report the unknown one.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        if first["type"] == "extra_forbidden":
            key = ".".join(map(str, first["loc"]))
            raise UserError(
                f"There is no setting '{key}' in a suite ({file}).", _valid_keys_text(first["loc"]), key
            ) from None
        if first["type"] == "missing":
            key = ".".join(map(str, first["loc"]))
            raise UserError(f"{file} has no '{key}', which a suite needs.", f"Add {first['loc'][-1]}.", key) from None
        if first["type"] == "value_error" and not isinstance(first.get("input"), str):
            fact = first["msg"].removeprefix("Value error, ")
            raise UserError(
                f"{file} is not a suite: {fact}.", "Correct the file and run the command again.", file
            ) from None
        raise value_error(error, where=file) from None


def _with_data_of_others(tables: dict[str, Any], file: str) -> dict[str, Any]:
    """Complete the data sets with `like`, the suite that has their other keys."""
    data = tables.get("data")
    if not isinstance(data, list):
        return tables
    entries = []
    for entry in data:
        if not isinstance(entry, dict) or "like" not in entry:
            entries.append(entry)
            continue
        other, name = str(entry["like"]), entry.get("name")
        if other not in suite_names() or f"{other}.toml" == file:
            raise UserError(
                f"The data set {name} in {file} is like '{other}', which is not another installed suite.",
                f"Use one of {', '.join(suite_names())}.",
                other,
            )
        base_of = {
            each["name"]: each for each in parse_toml(_suite_folder().joinpath(f"{other}.toml").read_text())["data"]
        }
        if name not in base_of:
            raise UserError(
                f"The suite {other} has no data set '{name}' ({file}).", f"Use one of {', '.join(base_of)}.", str(name)
            )
        own = {key: value for key, value in entry.items() if key != "like"}
        base = base_of[name]
        tables_of_both = {*base.get("settings", {}), *own.get("settings", {})}
        settings = {
            key: base.get("settings", {}).get(key, {}) | own.get("settings", {}).get(key, {}) for key in tables_of_both
        }
        entries.append({**base, **own, "settings": settings})
    return {**tables, "data": entries}


def _valid_keys_text(where: tuple[int | str, ...]) -> str:
    """The keys that are valid beside an unknown one, with the nearest."""
    tables: dict[str, type[Table]] = {"data": Data, "pretrains": Pretrain, "encoders": Encoder, "sweeps": Sweeps}
    table = Subset if "subset" in where else tables.get(str(where[0]), Suite) if len(where) > 1 else Suite
    guess = nearest(str(where[-1]), table.model_fields)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return f"{hint}Use one of {', '.join(table.model_fields)}."


def _unique(kind: str, entries: Iterable[Any]) -> list[str]:
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two of its {kind} are called '{name}'")
    return names


def _require_names(what: str, names: Iterable[str], valid: list[str]) -> None:
    for name in names:
        if name not in valid:
            raise ValueError(f"the {what}: there is no '{name}', only {', '.join(valid) or 'none'}")
