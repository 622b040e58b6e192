"""Names that the shell completes; all of this answers without torch, between two keystrokes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files

Complete = Callable[[str], list[str]]


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Complete one name."""

    def complete(incomplete: str) -> list[str]:
        return sorted(name for name in names() if name.startswith(incomplete))

    return complete


def several_of(one: Complete) -> Complete:
    """Complete the last of the names between commas, none twice."""

    def complete(incomplete: str) -> list[str]:
        *before, last = incomplete.split(",")
        start = "".join(f"{name}," for name in before)
        return [start + name for name in one(last) if name not in before]

    return complete


def strategy(incomplete: str) -> list[str]:
    """Complete the name of a strategy, and after an @ how its picks are spread over clusters."""
    from initpools_cli.strategies.balance import BALANCES

    base, at, _ = incomplete.partition("@")
    spread = [f"{base}@{kind}" for kind in BALANCES[1:]] if at and base in strategies() else []
    return one_of(lambda: spread if at else strategies())(incomplete)


def strategies() -> list[str]:
    """Every strategy, those by a score among them."""
    from initpools_cli.strategies.registry import strategies

    return [*strategies.names(), *scores()]


def scores() -> list[str]:
    """Every score, of embeddings, labels and pretext tasks."""
    from initpools_cli.scores.registry import scores

    losses = [facts.get("score_name") or name for name, facts in _pretexts() if facts.get("high_score")]
    return [*scores.names(), *losses]


def pretexts() -> list[str]:
    """Every pretext task."""
    return [name for name, _ in _pretexts()]


def learners() -> list[str]:
    """Every learner."""
    return [name for name, _ in _registered("training.learners", "learners")]


def networks() -> list[str]:
    """Every network that can be pretrained."""
    return [name for name, _ in _registered("networks", "networks")]


def plots() -> list[str]:
    """Every kind of plot."""
    from initpools_cli.figures.registry import plots

    return plots.names()


def datasets() -> list[str]:
    """Every data set that has a name."""
    from initpools_cli.datasets.catalog import catalog

    return [facts.name for facts in catalog()]


def kinds() -> list[str]:
    """What `initpools list` lists."""
    from initpools_cli.cli.list import KINDS

    return list(KINDS)


def _pretexts() -> Iterator[tuple[str, dict[str, str]]]:
    return _registered("pretext", "pretexts")


def _registered(package: str, registry: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What the modules of a package register, with the texts that classes state, read and not run: they need torch."""
    for file in sorted(files("initpools_cli").joinpath(*package.split(".")).iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".py"):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for call in node.decorator_list:
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == f"{registry}.register":
                        given = [each.value for each in call.args if isinstance(each, ast.Constant)]
                        yield str(given[0]) if given else node.name.replace("_", "-"), _texts(node)


def _texts(node: ast.stmt) -> dict[str, str]:
    """The attributes of a class that are texts."""
    return {
        ast.unparse(each.targets[0]): str(each.value.value)
        for each in getattr(node, "body", [])
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
    }
