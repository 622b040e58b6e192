"""What can be chosen by name: the rows behind `initpools list`, shell completion and the tables of the docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Parameters that the caller fills in; a user never passes them.
INTERNAL = {"encoder", "recipe", "seed", "device", "classes", "validation", "channels", "size", "width"}
#: Marks a score that reads all labels, which are not known before labeling.
ORACLE = " (oracle: looks at all labels)"


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
            **method.traits.shown(),
        }
        for method in registry
    ]


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


def _scores() -> list[dict[str, Any]]:
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores
    from initpools_cli.steps.score_name import pretext_score

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


#: What `initpools list` lists, with the function that makes the rows. Backbones come last: they take seconds to import.
KINDS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {
    "datasets": _datasets,
    "pretexts": _pretexts,
    "scores": _scores,
    "strategies": _strategies,
    "learners": _learners,
    "networks": _networks,
    "plots": _plots,
    "backbones": _backbones,
}

#: What each kind is for.
PURPOSES = {
    "datasets": "data sets that are downloaded by name: --dataset NAME",
    "pretexts": "pretraining tasks: pretrain METHOD",
    "scores": "one number per image: score METHOD",
    "strategies": "ways to choose images: select-pool, al-run, rank",
    "learners": "classifiers that are trained on the labels: al-run --learner NAME",
    "networks": "encoders to pretrain: pretrain --network NAME",
    "plots": "pages and charts: plot KIND",
    "backbones": "pretrained networks of torchvision and timm: embed NAME",
}


def names(kind: str) -> list[str]:
    """The names of one kind, without their aliases."""
    return [str(row["name"]) for row in KINDS[kind]()]
