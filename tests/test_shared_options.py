"""Commands have the options on output, and those shared options that change something in them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest
from conftest import Initpools
from typer.main import get_command

from initpools_cli.cli.commands import app
from initpools_cli.cli.options import MESSAGES, Common

FIELDS = {field.name for field in fields(Common)}


def _commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that name it."""
    if words:
        yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, *words, name)


COMMANDS = dict(_commands(get_command(app)))


def _attributes(node: ast.AST, name: str) -> set[str]:
    """Return the attributes of the variable `name` in some code."""
    nodes = [each for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)]
    return {each.attr for each in nodes if isinstance(each.value, ast.Name) and each.value.id == name}


def _code(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _read_by_members() -> dict[str, set[str]]:
    """Return the options that each property and method of `Common` reads, directly or by another one."""
    members = [node for node in _code(Common).body[0].body if isinstance(node, ast.FunctionDef)]  # type: ignore[attr-defined]
    reads = {node.name: _attributes(node, "self") for node in members}
    for _ in reads:
        reads = {name: read.union(*(reads.get(each, set()) for each in read)) for name, read in reads.items()}
    return {**{name: read & FIELDS for name, read in reads.items()}, **{name: {name} for name in FIELDS}}


def _functions(function: Callable[..., Any], known: set[Callable[..., Any]]) -> set[Callable[..., Any]]:
    """Return a function of the command line with those of the command line that it calls."""
    if function in known:
        return known
    known.add(function)
    code = _code(function)
    reachable = dict(vars(import_module(function.__module__)))
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("initpools_cli.cli."):
            reachable |= vars(import_module(str(node.module)))
    for name in {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}:
        called = reachable.get(name)
        if inspect.isfunction(called) and called.__module__.startswith("initpools_cli.cli."):
            _functions(called, known)
    return known


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_reads_every_shared_option_that_it_has(words: tuple[str, ...]) -> None:
    callback = COMMANDS[words].callback
    # Typer calls a function of its own, which wraps that of `with_common`, which wraps the command.
    functions = _functions(inspect.unwrap(callback), set())
    members = set().union(*(_attributes(_code(each), "common") for each in functions))
    reads = _read_by_members()
    read = set().union(*(reads.get(name, set()) for name in members))
    has = {parameter.name for parameter in COMMANDS[words].params} & FIELDS
    assert has >= {*MESSAGES} and not has - read - {*MESSAGES}, f"{' '.join(words)} has options that it does not read"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_another_shared_option_is_an_error_with_a_remedy(words: tuple[str, ...], initpools: Initpools) -> None:
    known = {flag for parameter in COMMANDS[words].params for flag in parameter.opts}
    for flag in sorted(
        {flag for each in COMMANDS["rank",].params if each.name in FIELDS for flag in each.opts} - known
    ):
        ended = initpools(*words, flag)
        fact, remedy = ended.err.splitlines()
        assert ended.code == 2 and flag in fact
        assert remedy.startswith(f"Example: initpools {' '.join(words)}") and "--help` explains all options" in remedy
