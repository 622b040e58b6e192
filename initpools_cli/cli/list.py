"""`initpools list`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools list strategies --json"


#: The command that uses names of a kind.
NEXT = {
    "datasets": "initpools pretrain --help",
    "pretexts": "initpools pretrain --help",
    "scores": "initpools score --help",
    "strategies": "initpools select-pool --help",
    "learners": "initpools al-run --help",
    "networks": "initpools pretrain --help",
    "plots": "initpools plot --help",
    "exports": "initpools export --help",
    "backbones": "initpools embed --help",
}


def command(
    common: Common,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="[KIND]",
            help="datasets, pretexts, scores, strategies, learners, networks, plots, exports or backbones; default: "
            "the number of each.",
            autocompletion=completion.kind,
        ),
    ] = "",
) -> str:
    """List what can be chosen by name; --json adds papers, inputs, knobs with their defaults, and more."""
    from initpools_cli.cli.catalog import KINDS, plugin_rows
    from initpools_cli.core.errors import UserError, did_you_mean, nearest

    if not kind:
        _show_kinds(common)
        return "initpools list strategies"
    if kind not in KINDS:
        guess = nearest(kind, KINDS)
        names = ", ".join(KINDS)
        raise UserError(
            f"'{kind}' is no kind of names.", f"{did_you_mean([guess] if guess else [])}Choose one of {names}.", kind
        )
    plugins, errors = plugin_rows(kind)
    for error in errors:
        common.report.warn(f"skipped: {error.fact} {error.remedy}")
    rows = sorted([*KINDS[kind](), *plugins], key=lambda row: row["name"]) if plugins else KINDS[kind]()
    common.result(
        ["\t".join(str(value) for value in row.pop("line")) for row in [dict(row) for row in rows]],
        [_bare(row) for row in rows],
    )
    return NEXT[kind]


def _bare(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "line"}


def _show_kinds(common: Common) -> None:
    """Print each kind with the number of its names; the names of all but backbones are known without an import."""
    from initpools_cli.cli.catalog import KINDS, PURPOSES, names

    names_by_kind = completion.stored_names()
    rows = [
        {
            "kind": kind,
            "count": len(names_by_kind[kind] if kind in names_by_kind else names(kind)),
            "purpose": PURPOSES[kind],
        }
        for kind in KINDS
    ]
    common.result(["\t".join(map(str, row.values())) for row in rows], rows)
