"""`initpools list`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools list strategies --json"


def command(
    common: Common,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="datasets, pretexts, scores, strategies, learners, networks, backbones or plots.",
            autocompletion=completion.one_of(completion.kinds),
        ),
    ],
) -> None:
    """Name what there is, one a line; --json gives paper, inputs, knobs with their defaults, and more."""
    from initpools_cli.core.errors import unknown_name

    if kind not in KINDS:
        raise unknown_name("list of", kind, KINDS, "initpools list --help")
    rows = KINDS[kind]()
    common.result(
        ["\t".join(str(value) for value in row.pop("line")) for row in [dict(row) for row in rows]],
        [_bare(row) for row in rows],
    )


def _bare(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "line"}


def _methods(registry: Any) -> list[dict[str, Any]]:
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
            **{name: trait for name, trait in method.traits.items() if not callable(trait)},
        }
        for method in registry
    ]


#: Parameters that the machinery fills in and nobody brings.
INTERNAL = {"encoder", "recipe", "seed", "device", "classes", "validation", "channels", "size", "width"}


def _strategies() -> list[dict[str, Any]]:
    from initpools_cli.strategies.registry import strategies

    own = [
        {**row, "oracle": (oracle := row.get("oracle", False)), "summary": _marked(row["summary"], oracle)}
        for row in _methods(strategies)
    ]
    scored = [
        {
            **next(row for row in own if row["name"] == "score"),
            "name": row["name"],
            "summary": _highest_first(row),
            "paper": row["paper"],
            "oracle": row["oracle"],
            "inputs": ["embeddings"] if row["inputs"] == ["embeddings"] else ["scores"],
            "knobs": {"order": "highest", **row["knobs"]},
        }
        for row in _scores()
    ]
    return [
        {**row, "line": (row["name"], row["summary"], "nested" if row["nested"] else "drawn anew")}
        for row in sorted([*own, *scored], key=lambda row: row["name"])
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
    """What a strategy that goes by a score takes."""
    return _marked(f"Highest {row['name']} score first: {row['high']}.", row["oracle"])


def _marked(summary: str, oracle: bool) -> str:
    return summary.removesuffix(".") + f"{ORACLE}." if oracle else summary


#: What marks a score that can't be had before the labels are.
ORACLE = " (oracle: looks at all labels)"


def _scores() -> list[dict[str, Any]]:
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores
    from initpools_cli.steps.score import pretext_score

    losses = [
        {**row, "name": pretext_score(pretexts.get(row["name"])), "high": row["high_score"], "knobs": {}, "inputs": []}
        for row in _pretexts()
        if row["high_score"]
    ]
    rows = [
        {
            "name": row["name"],
            "high": row["high"],
            "summary": row["summary"],
            "paper": row["paper"],
            "oracle": row.get("oracle", False),
            "inputs": row["inputs"] or ["images"],
            "knobs": row["knobs"],
        }
        for row in [*losses, *_methods(scores)]
    ]
    return [
        {"line": (row["name"], f"high for an image: {row['high']}{ORACLE if row['oracle'] else ''}"), **row}
        for row in sorted(rows, key=lambda row: row["name"])
    ]


def _learners() -> list[dict[str, Any]]:
    from initpools_cli.training.learners.registry import learners

    return [
        {**row, "line": (*row["line"], f"gives {', '.join(row['gives'])}", f"presets {', '.join(row['presets'])}")}
        for row in _methods(learners)
    ]


def _networks() -> list[dict[str, Any]]:
    from initpools_cli.networks.registry import networks

    return _methods(networks)


def _backbones() -> list[dict[str, Any]]:
    from initpools_cli.networks import from_timm, from_torchvision

    listed = [("torchvision", name) for name in from_torchvision.names()]
    listed += [("timm", name) for name in from_timm.names_with_tags()]
    return [{"line": (name, library), "name": name, "library": library} for library, name in listed]


def _plots() -> list[dict[str, Any]]:
    from initpools_cli.figures.registry import plots

    return _methods(plots)


def _datasets() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from initpools_cli.datasets.catalog import catalog

    return [{"line": (facts.name, facts.title), **asdict(facts)} for facts in catalog()]


KINDS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {
    "datasets": _datasets,
    "pretexts": _pretexts,
    "scores": _scores,
    "strategies": _strategies,
    "learners": _learners,
    "networks": _networks,
    "backbones": _backbones,
    "plots": _plots,
}
