"""Functions of installed packages, found by their entry points."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.plugins import Plugin, describe_error, sha256_of_source

VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@cache
def entry_points(group: str) -> dict[str, list[metadata.EntryPoint]]:
    """The entry points of a group by name; several where packages use the same name."""
    by_name: dict[str, dict[str, metadata.EntryPoint]] = {}
    for each in metadata.entry_points(group=group):
        by_name.setdefault(each.name, {})[f"{_package(each)} {each.value}"] = each
    return {name: list(each.values()) for name, each in sorted(by_name.items())}


def installed_plugin(group: str, name: str) -> Plugin:
    """The plug-in of that name, not loaded yet.

    Raises
    ------
    UserError
        Several packages have that name, the name can't be used, or its module can't be found.
    """
    several = entry_points(group)[name]
    if len(several) > 1:
        packages = ", ".join(_package(each) for each in several)
        raise UserError(
            f"'{name}' is the name of several plug-ins: {packages}.", "Uninstall all but one with `pip`.", name
        )
    (entry,) = several
    if not VALID.fullmatch(name):
        raise UserError(
            f"The plug-in '{name}' of {_package(entry)} can't be named on a command line.",
            "Rename it in its package: use letters, digits, '-' and '_'.",
            name,
        )
    try:
        spec = find_spec(entry.module)
    except Exception as error:
        raise UserError(
            f"The plug-in '{name}' of {_package(entry)} can't be loaded: {describe_error(error)}.", repair(entry), name
        ) from error
    if spec is None:
        raise UserError(
            f"The plug-in '{name}' of {_package(entry)} can't be loaded: it has no module '{entry.module}'.",
            repair(entry),
            name,
        )
    path = spec.origin or ""
    version = entry.dist.version if entry.dist else ""
    distribution = entry.dist.name if entry.dist else entry.module
    return Plugin(
        name,
        entry.attr,
        path,
        f"{_package(entry)}, {Path(path).name}",
        b"",
        sha256_of_source(Path(path)),
        entry.module,
        distribution,
        version,
    )


def repair(entry: metadata.EntryPoint) -> str:
    """What to do about a package with a plug-in that does not load."""
    name = entry.dist.name if entry.dist else entry.module
    return f"Reinstall the package, or uninstall it: `pip uninstall {name}`."


def _package(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
