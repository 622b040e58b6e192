"""Generated parts of the pages on commands: everything that `--help` shows."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, get_args

from typer import Context
from typer.models import ArgumentInfo, CommandInfo

from initpools_cli.cli.commands import app
from initpools_cli.cli.options import Common
from parts.text import table


def names() -> list[str]:
    """List the commands in the order of `initpools --help`."""
    return [str(info.name) for info in _infos()]


def _infos() -> list[Any]:
    """List the commands, with a group of commands as the command that it is without a subcommand."""
    return [*app.registered_commands, *map(_of_group, app.registered_groups)]


def _of_group(group: Any) -> CommandInfo:
    alone = group.typer_instance.registered_callback
    return CommandInfo(group.name, callback=alone.callback, epilog=group.typer_instance.info.epilog)


def _info(name: str, subcommand: str) -> Any:
    if not subcommand:
        return next(info for info in _infos() if info.name == name)
    group = next(group for group in app.registered_groups if group.name == name)
    return next(info for info in group.typer_instance.registered_commands if info.name == subcommand)


def command_table() -> str:
    """Tabulate all commands, for the README."""
    return _table("docs/commands/")


def command_index() -> str:
    """Tabulate all commands, for the page on commands."""
    return _table("commands/")


def _table(folder: str) -> str:
    return table(
        ("command", "what it does"),
        ((f"[`initpools {info.name}`]({folder}{info.name}.md)", inspect.getdoc(info.callback)) for info in _infos()),
    )


def command(name: str, subcommand: str = "") -> str:
    """Describe one command: usage, arguments, options and example."""
    info = _info(name, subcommand)
    parameters = {
        name: each
        for name, each in inspect.signature(info.callback).parameters.items()
        if each.annotation is not Context
    }
    own = {name: parameter for name, parameter in parameters.items() if name not in Common.__annotations__}
    common = [name for name in parameters if name not in own]
    arguments = [each for each in own.values() if isinstance(_declaration(each), ArgumentInfo)]
    options = [each for each in own.values() if each not in arguments]
    usage = " ".join(
        [
            "initpools",
            *filter(None, (name, subcommand)),
            *(_declaration(each).metavar for each in arguments),
            "[OPTIONS]",
        ]
    )
    parts = [inspect.getdoc(info.callback) or "", f"```text\n{usage}\n```"]
    if arguments:
        parts.append(table(("argument", "what it is"), ((f"`{_declaration(a).metavar}`", _help(a)) for a in arguments)))
    if options:
        parts.append(_options(options))
    link = "[shared options](../commands.md#shared-options)"
    every = len(common) == len(Common.__annotations__)
    flags = ", ".join(f"`{_declaration(parameters[each]).default}`" for each in common)
    parts.append(f"It also takes the {link}." if every else f"Of the {link} it takes {flags}.")
    return "\n\n".join([*parts, info.epilog.replace("Example: ", "```console\n") + "\n```"])


def shared_options() -> str:
    """Tabulate the options that commands share."""
    parameters = inspect.signature(app.registered_commands[0].callback or command).parameters
    return _options(parameter for name, parameter in parameters.items() if name in Common.__annotations__)


def _options(parameters: Iterable[inspect.Parameter]) -> str:
    rows = []
    for parameter in parameters:
        declaration = _declaration(parameter)
        value = declaration.metavar or {bool: "", int: "N", float: "X"}.get(_value_type(parameter), "TEXT")
        if parameter.default is parameter.empty:
            default = "required"
        else:
            default = "" if parameter.default in (None, False, "") else f"`{parameter.default}`"
        # Inside Annotated, Typer stores the first flag as the default.
        flags = ", ".join([declaration.default, *declaration.param_decls])
        rows.append((f"`{flags}{f' {value}' if value else ''}`", _help(parameter), default))
    return table(("option", "what it sets", "default"), rows)


def _declaration(parameter: inspect.Parameter) -> Any:
    """Return the typer.Option or typer.Argument of the annotation."""
    return get_args(parameter.annotation)[1]


def _help(parameter: inspect.Parameter) -> str:
    return str(_declaration(parameter).help).replace("<", "\\<")


def _value_type(parameter: inspect.Parameter) -> Any:
    kinds = [kind for kind in get_args(get_args(parameter.annotation)[0]) if kind is not type(None)]
    return kinds[0] if kinds else get_args(parameter.annotation)[0]
