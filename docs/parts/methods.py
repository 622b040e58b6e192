"""Generated parts of the page on methods: tables of all registered methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from initpools_cli.cli.catalog import KINDS
from initpools_cli.pretext.registry import pretexts
from parts.strategies import page_of
from parts.text import table, toml


def kind_table(kind: str, **columns: Callable[[Mapping[str, Any]], object]) -> Callable[[], str]:
    """Make a function that tabulates one kind of method with these columns."""

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
    return ", ".join(f"`{name} = {toml(value)}`" for name, value in row["knobs"].items())


def _presets() -> str:
    """Tabulate the presets of learners that differ from the defaults."""
    rows = [
        (f"`{row['name']}`", f"`{name}`", _knobs({"knobs": knobs}))
        for row in KINDS["learners"]()
        for name, knobs in row["presets"].items()
        if knobs
    ]
    return table(("learner", "preset", "knobs"), rows)


def _strategies(needs_model: bool) -> Callable[[], str]:
    def linked(row: Mapping[str, Any]) -> str:
        return f"[{_name(row)}](strategies/{page_of(row['name']).name})"

    columns = (
        linked,
        _summary,
        _inputs,
        _knobs,
        lambda row: "yes" if row["nested"] else "no",
        lambda row: row["cost"],
        _paper,
    )

    def part() -> str:
        rows = [row for row in KINDS["strategies"]() if row.get("needs_model", False) is needs_model]
        header = ("name", "what it takes", "inputs", "knobs", "nested", "cost", "paper")
        return table(header, ((column(row) for column in columns) for row in rows))

    return part


def papers() -> str:
    """Tabulate the names of all methods by what they are for, with links to their papers, for the README."""
    strategies = KINDS["strategies"]()
    scores = {row["name"] for row in KINDS["scores"]()}
    own = [row for row in strategies if row["name"] not in scores]
    rows = {
        "first pools and later batches": [row for row in own if not row.get("needs_model")],
        "later batches, by a trained classifier": [row for row in own if row.get("needs_model")],
        "scores to rank by": KINDS["scores"](),
        "pretext tasks": KINDS["pretexts"](),
        "learners": KINDS["learners"](),
    }
    return table(("methods", "names"), ((kind, ", ".join(map(_linked_to_paper, each))) for kind, each in rows.items()))


def _linked_to_paper(row: Mapping[str, Any]) -> str:
    match = re.search(r"arXiv:([\w./-]*\w)", row["paper"])
    return f"[`{row['name']}`](https://arxiv.org/abs/{match[1]})" if match else f"`{row['name']}`"


PARTS: Mapping[str, Callable[[], str]] = {
    "papers": papers,
    "data-sets": kind_table(
        "datasets",
        name=_name,
        what=lambda row: row["title"],
        classes=lambda row: row["classes"],
        channels=lambda row: row["channels"],
        license=lambda row: row["license"],
        source=lambda row: f"<{row['source']}>",
    ),
    "pretexts": kind_table(
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
    "scores": kind_table(
        "scores",
        name=_name,
        high=lambda row: row["high"],
        of=lambda row: ", ".join(f"`{name}`" for name in row["inputs"]),
        labels=lambda row: "**oracle**" if row["oracle"] else "no",
        knobs=_knobs,
        paper=_paper,
    ),
    "first-pools": _strategies(needs_model=False),
    "queries": _strategies(needs_model=True),
    "learners": kind_table(
        "learners",
        name=_name,
        what=_summary,
        inputs=_inputs,
        unlabeled=lambda row: "yes" if row.get("unlabeled") else "no",
        gives=lambda row: ", ".join(f"`{name}`" for name in row["gives"]),
        knobs=_knobs,
        paper=_paper,
    ),
    "presets": _presets,
    "networks": kind_table("networks", name=_name, what=_summary, paper=_paper),
    "plots": kind_table("plots", name=_name, what=_summary, knobs=_knobs),
}
