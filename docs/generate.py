"""Fill the generated parts of README.md and docs/*.md from the code: `python docs/generate.py`.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; the rest of a page is written
by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo

from initpools_cli.cli.app import app
from initpools_cli.cli.lists import KINDS
from initpools_cli.cli.options import Common
from initpools_cli.core.config import TABLES
from initpools_cli.pretext.registry import pretexts

ROOT = Path(__file__).parent.parent
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)


def render(text: str) -> str:
    """A page with its generated parts made anew."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found['name']]()}\n{found[3]}", text)


def pages() -> list[Path]:
    """README.md and every page in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [
        list(header),
        ["---"] * len(list(header)),
        *([str(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- commands


def commands() -> str:
    """Every command with its usage, arguments, options and example, then the options that all of them share."""
    return "\n\n".join([*(_command(info) for info in app.registered_commands), _shared()])


def command_table() -> str:
    """A line a command."""
    return table(
        ("command", "what it does"),
        ((f"`initpools {info.name}`", inspect.getdoc(info.callback)) for info in app.registered_commands),
    )


def _command(info: Any) -> str:
    parameters = inspect.signature(info.callback).parameters
    own = {name: parameter for name, parameter in parameters.items() if name not in Common.__annotations__}
    arguments = [each for each in own.values() if isinstance(_declaration(each), ArgumentInfo)]
    options = [each for each in own.values() if each not in arguments]
    usage = " ".join(["initpools", info.name, *(_declaration(each).metavar for each in arguments), "[OPTIONS]"])
    parts = [f"## initpools {info.name}", inspect.getdoc(info.callback) or "", f"```text\n{usage}\n```"]
    if arguments:
        parts.append(table(("argument", "what it is"), ((f"`{_declaration(a).metavar}`", _help(a)) for a in arguments)))
    if options:
        parts.append(_options(options))
    return "\n\n".join([*parts, info.epilog.replace("Example: ", "```console\n") + "\n```"])


def _shared() -> str:
    parameters = inspect.signature(app.registered_commands[0].callback or commands).parameters
    shared = [parameter for name, parameter in parameters.items() if name in Common.__annotations__]
    return f"## Options of every command\n\n{_options(shared)}"


def _options(parameters: Iterable[inspect.Parameter]) -> str:
    rows = []
    for parameter in parameters:
        declared = _declaration(parameter)
        value = declared.metavar or {bool: "", int: "N", float: "X"}.get(_value_type(parameter), "TEXT")
        default = "" if parameter.default in (None, False, "") else f"`{parameter.default}`"
        # Inside Annotated, Typer keeps the first of the names where a default would stand.
        names = ", ".join([declared.default, *declared.param_decls])
        rows.append((f"`{names}{f' {value}' if value else ''}`", _help(parameter), default))
    return table(("option", "what it sets", "default"), rows)


def _declaration(parameter: inspect.Parameter) -> Any:
    """The typer.Option or typer.Argument in its annotation."""
    return get_args(parameter.annotation)[1]


def _help(parameter: inspect.Parameter) -> str:
    return str(_declaration(parameter).help).replace("<", "\\<")


def _value_type(parameter: inspect.Parameter) -> Any:
    kinds = [kind for kind in get_args(get_args(parameter.annotation)[0]) if kind is not type(None)]
    return kinds[0] if kinds else get_args(parameter.annotation)[0]


# ---- configuration


def configuration() -> str:
    """Every table with every key."""
    parts = []
    for name, model in TABLES.items():
        fields = model.model_fields
        rows = [
            (f"`{key}`", _type(field), f"`{_toml(field.default)}`", field.description)
            for key, field in fields.items()
            if key != "params"
        ]
        parts.append(f"## [{name}]\n\n{inspect.getdoc(model)}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}")
        if "params" in fields:
            parts.append(f"`[{name}.params]` holds the knobs of the method; [methods.md](methods.md) lists them.")
    return "\n\n".join(parts)


def _type(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(field.annotation))
    kind = {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        field.annotation, "list of names"
    )
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {'2^63' if value == 2**63 else value}"
        for limit in field.metadata
        for name, sign in signs.items()
        if (value := getattr(limit, name, None)) is not None
    ]
    return ", ".join([kind, *limits])


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return (
        {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )


def configs() -> str:
    """Every file in configs/ with the title that it begins with, those of a folder together."""
    files = sorted((ROOT / "configs").rglob("*.toml"), key=lambda file: (file.parent, file.name))
    names = [file.relative_to(ROOT).as_posix() for file in files]
    titles = [file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for file in files]
    rows = ((f"[{name.removeprefix('configs/')}](../{name})", title) for name, title in zip(names, titles, strict=True))
    return table(("file", "what it is"), rows)


# ---- methods and data sets


def _listed(kind: str, **columns: Callable[[Mapping[str, Any]], object]) -> Callable[[], str]:
    def part() -> str:
        return table(columns, ((column(row) for column in columns.values()) for row in KINDS[kind]()))

    return part


def _name(row: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in [row["name"], *row.get("aliases", [])])


def _summary(row: Mapping[str, Any]) -> str:
    return str(row["summary"])


def _paper(row: Mapping[str, Any]) -> str:
    return str(row["paper"])


def _inputs(row: Mapping[str, Any]) -> str:
    return ", ".join([*(f"`{name}`" for name in row["inputs"]), *(f"[`{name}`]" for name in row.get("optional", []))])


def _knobs(row: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name} = {_toml(value)}`" for name, value in row["knobs"].items())


def _presets() -> str:
    """The presets of the learners that are more than the defaults."""
    rows = [
        (f"`{row['name']}`", f"`{name}`", _knobs({"knobs": knobs}))
        for row in KINDS["learners"]()
        for name, knobs in row["presets"].items()
        if knobs
    ]
    return table(("learner", "preset", "knobs"), rows)


def _strategies(asks_model: bool) -> Callable[[], str]:
    columns = (
        _name,
        _summary,
        _inputs,
        _knobs,
        lambda row: "yes" if row["nested"] else "no",
        lambda row: row["cost"],
        _paper,
    )

    def part() -> str:
        rows = [row for row in KINDS["strategies"]() if row.get("needs_model", False) is asks_model]
        header = ("name", "what it takes", "inputs", "knobs", "nested", "cost", "paper")
        return table(header, ((column(row) for column in columns) for row in rows))

    return part


PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "command-table": command_table,
    "configuration": configuration,
    "data-sets": _listed(
        "datasets",
        name=_name,
        what=lambda row: row["title"],
        classes=lambda row: row["classes"],
        channels=lambda row: row["channels"],
        licence=lambda row: row["licence"],
        source=lambda row: f"<{row['source']}>",
    ),
    "pretexts": _listed(
        "pretexts",
        name=_name,
        task=_summary,
        network=lambda row: f"`{row['network']}`",
        epochs=lambda row: pretexts.get(row["name"]).build.epochs_default,
        batch=lambda row: pretexts.get(row["name"]).build.batch_default,
        augmentation=lambda row: f"`{pretexts.get(row['name']).build.recipe_default}`",
        knobs=_knobs,
        paper=_paper,
    ),
    "scores": _listed(
        "scores",
        name=_name,
        high=lambda row: row["high"],
        of=lambda row: ", ".join(f"`{name}`" for name in row["inputs"]),
        labels=lambda row: "**oracle**" if row["oracle"] else "no",
        knobs=_knobs,
        paper=_paper,
    ),
    "first-pools": _strategies(asks_model=False),
    "queries": _strategies(asks_model=True),
    "learners": _listed(
        "learners",
        name=_name,
        what=_summary,
        inputs=_inputs,
        gives=lambda row: ", ".join(f"`{name}`" for name in row["gives"]),
        knobs=_knobs,
        paper=_paper,
    ),
    "presets": _presets,
    "configs": configs,
    "networks": _listed("networks", name=_name, what=_summary, paper=_paper),
    "plots": _listed("plots", name=_name, what=_summary, knobs=_knobs),
}


def main() -> None:
    """Write every page anew."""
    for page in pages():
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
