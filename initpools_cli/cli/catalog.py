"""Catalog of all methods: the rows of `initpools list`, of shell completion and of the tables in the docs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.plugins import plugin_of
from initpools_cli.core.registry import Method

#: Parameters that the caller fills in; a user never passes them.
INTERNAL = {"encoder", "recipe", "seed", "device", "classes", "validation", "channels", "size", "width"}
#: Marks a score that reads all labels, which are not known before labeling.
ORACLE = " (oracle: looks at all labels)"


def _methods(methods: Iterable[Method]) -> list[dict[str, Any]]:
    return [
        {
            "line": (method.name, method.summary),
            "name": method.name,
            "aliases": list(method.aliases),
            "summary": method.summary,
            "paper": method.paper,
            "inputs": [name for name in method.inputs if name not in INTERNAL],
            "optional": [name for name in method.optional if name not in INTERNAL],
            "knobs": {key: default for key, (_, default) in method.knobs.items()},
            **method.traits.shown(),
            **_package(method),
        }
        for method in methods
    ]


def _package(method: Method) -> dict[str, str]:
    """The package of a plug-in; empty for built-in methods."""
    plugin = plugin_of(method)
    return {} if plugin is None else {"package": f"{plugin.distribution} {plugin.version}"}


def _strategies() -> list[dict[str, Any]]:
    from initpools_cli.strategies.registry import strategies

    return _strategy_rows(strategies, _scores())


def _strategy_rows(methods: Iterable[Method], scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the strategies, and of one for each score that ranks by it."""
    from initpools_cli.strategies.registry import strategies

    own = [
        {**row, "oracle": (oracle := row.get("oracle", False)), "summary": _with_oracle_mark(row["summary"], oracle)}
        for row in _methods(methods)
    ]
    by_score = [
        {
            **_methods([strategies.get("score")])[0],
            "name": row["name"],
            "summary": _highest_first(row),
            "paper": row["paper"],
            "oracle": row["oracle"],
            "inputs": ["embeddings"] if row["inputs"] == ["embeddings"] else ["scores"],
            "knobs": {"order": "highest", **row["knobs"]},
            **{key: row[key] for key in ("package",) if key in row},
        }
        for row in scores
    ]
    return [
        {**row, "line": (row["name"], row["summary"], "nested" if row["nested"] else "drawn anew", *_packages(row))}
        for row in sorted([*own, *by_score], key=lambda row: row["name"])
    ]


def _pretexts() -> list[dict[str, Any]]:
    from initpools_cli.pretext.registry import pretexts

    return [
        {
            **row,
            "network": pretexts.get(row["name"]).build.network,
            "high_score": pretexts.get(row["name"]).build.high_score,
        }
        for row in _methods(pretexts)
    ]


def _highest_first(row: dict[str, Any]) -> str:
    """Return the summary of a strategy that sorts by a score."""
    return _with_oracle_mark(f"Highest {row['name']} score first: {row['high']}.", row["oracle"])


def _with_oracle_mark(summary: str, oracle: bool) -> str:
    return summary.removesuffix(".") + f"{ORACLE}." if oracle else summary


def _packages(row: dict[str, Any]) -> list[str]:
    """The last column of a plug-in's line."""
    return [row["package"]] if "package" in row else []


def _scores() -> list[dict[str, Any]]:
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores
    from initpools_cli.steps.score_name import pretext_score

    losses = [
        {**row, "name": pretext_score(pretexts.get(row["name"])), "high": row["high_score"], "knobs": {}, "inputs": []}
        for row in _pretexts()
        if row["high_score"]
    ]
    return _score_rows([*losses, *_methods(scores)])


def _score_rows(methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [
        {
            "name": row["name"],
            "high": row["high"],
            "summary": row["summary"],
            "paper": row["paper"],
            "oracle": row.get("oracle", False),
            "inputs": row["inputs"] or ["images"],
            "knobs": row["knobs"],
            **{key: row[key] for key in ("package",) if key in row},
        }
        for row in methods
    ]
    return [
        {
            "line": (
                row["name"],
                f"high for an image: {row['high']}{ORACLE if row['oracle'] else ''}",
                *_packages(row),
            ),
            **row,
        }
        for row in sorted(rows, key=lambda row: row["name"])
    ]


def _learners() -> list[dict[str, Any]]:
    from initpools_cli.training.learners.registry import learners

    return [
        {
            **row,
            "line": (
                *row["line"],
                f"gives {', '.join(row['gives'])}",
                f"presets {', '.join(row['presets'])}",
                *(["reads unlabeled images"] if row.get("unlabeled") else []),
            ),
        }
        for row in _methods(learners)
    ]


def _networks() -> list[dict[str, Any]]:
    from initpools_cli.networks.registry import networks

    return _methods(networks)


def short_backbones() -> list[dict[str, Any]]:
    """The short names of backbones with their facts, such as size and license; no library is imported."""
    from dataclasses import asdict

    from initpools_cli.networks.aliases import ALIASES, OTHER_NAMES

    rows = []
    for alias in ALIASES:
        facts = asdict(alias)
        size = f"{alias.parameters:g} M parameters", f"{alias.width} features", f"{alias.size} px"
        line = (alias.name, alias.library, alias.network, *size, alias.license, alias.data)
        others = [name for name, short in OTHER_NAMES.items() if short == alias.name]
        rows.append({"line": line, **facts, "aliases": others})
    return rows


def _backbones() -> list[dict[str, Any]]:
    from initpools_cli.networks import from_timm, from_torchvision
    from initpools_cli.networks.aliases import ALIASES
    from initpools_cli.networks.backbones import in_library

    lacking = {alias.name for alias in ALIASES if not in_library(alias)}
    short = [
        {**row, "line": (*row["line"], "not in the installed timm")} if row["name"] in lacking else row
        for row in short_backbones()
    ]
    pairs = [("torchvision", name) for name in from_torchvision.names()]
    pairs += [("timm", name) for name in from_timm.names_with_tags()]
    own = {row["name"] for row in short}
    return short + [
        {"line": (name, library), "name": name, "library": library} for library, name in pairs if name not in own
    ]


def _plots() -> list[dict[str, Any]]:
    from initpools_cli.figures.registry import plots

    return _methods(plots)


def _exports() -> list[dict[str, Any]]:
    from initpools_cli.reporting.exports.registry import exports, place_of

    return [
        {
            "line": (method.name, place_of(method), method.summary),
            "name": method.name,
            "path": place_of(method),
            "summary": method.summary,
            **method.traits.shown(),
        }
        for method in exports
    ]


def _datasets() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from initpools_cli.datasets.catalog import catalog

    return [{"line": (facts.name, facts.title), **asdict(facts)} for facts in catalog()]


#: The kinds of `initpools list`, with the function of the rows. Backbones come last: their import takes seconds.
KINDS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {
    "datasets": _datasets,
    "pretexts": _pretexts,
    "scores": _scores,
    "strategies": _strategies,
    "learners": _learners,
    "networks": _networks,
    "plots": _plots,
    "exports": _exports,
    "backbones": _backbones,
}

#: The purpose of each kind.
PURPOSES = {
    "datasets": "data sets that are downloaded by name: --dataset NAME",
    "pretexts": "pretraining tasks: pretrain METHOD",
    "scores": "one number per image: score METHOD",
    "strategies": "ways to choose images: select-pool, al-run, rank",
    "learners": "classifiers that are trained on the labels: al-run --learner NAME",
    "networks": "encoders to pretrain: pretrain --network NAME",
    "plots": "pages and charts: plot KIND",
    "exports": "formats of labels and pools: export KIND",
    "backbones": "pretrained networks, the well-known ones first: embed NAME",
}


def plugin_rows(kind: str) -> tuple[list[dict[str, Any]], list[UserError]]:
    """The rows of a kind from plug-ins, and an error for each plug-in that can't be loaded."""
    from initpools_cli.scores.registry import scores
    from initpools_cli.strategies.registry import strategies

    if kind not in ("strategies", "scores"):
        return [], []
    plugins, errors = scores.plugins({*names("strategies"), *strategies.plugin_names()})
    rows = _score_rows(_methods(plugins))
    if kind == "strategies":
        own, more = strategies.plugins(names("scores"))
        return _strategy_rows(own, rows), [*more, *errors]
    return rows, errors


def names(kind: str) -> list[str]:
    """The names of one kind, without their aliases."""
    return [str(row["name"]) for row in KINDS[kind]()]


def short_names() -> list[str]:
    """The short names of backbones, and the other names of the same networks."""
    return [name for row in short_backbones() for name in (row["name"], *row["aliases"])]
