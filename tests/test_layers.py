"""The import graph of the package has no cycles, counting imports inside functions too."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "initpools_cli"


def import_graph(root: Path) -> dict[str, set[str]]:
    """The modules of a package that each of its modules names in an import statement, in functions too.

    The registries and `plot_data` import their packages by name, not by statement: those modules are found at run time.
    """
    files = {dotted(path, root): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: relative import"
                for each in node.names:
                    inner = f"{node.module}.{each.name}"
                    names.add(inner if inner in files else str(node.module))
        graph[module] = (names & files.keys()) - {module}
    return graph


def dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_package_has_no_import_cycle() -> None:
    graph = import_graph(ROOT)
    assert len(graph) > 200
    assert graph["initpools_cli.steps.pretrain"] >= {"initpools_cli.steps.encoder", "initpools_cli.pretext.registry"}
    assert cycle(graph) == []


def test_a_cycle_through_a_function_is_found(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from p import b\n")
    (package / "b.py").write_text("def f():\n    from p.a import g\n")
    assert set(cycle(import_graph(package))) == {"p.a", "p.b"}
