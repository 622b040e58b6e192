"""Balance of picks over clusters, as given by the suffix of a strategy's name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.plugins import FILE_NAME

BALANCES = ("none", "kmeans", "clusters", "groups")
#: The suffix of a name, after the @.
SUFFIX = re.compile(r"(kmeans)([0-9]{0,9})|(clusters|groups)")


@dataclass(frozen=True)
class Balance:
    """Distribution of picks over clusters.

    Attributes
    ----------
    kind : {"none", "kmeans", "clusters", "groups"}
        No clusters, k-means clusters of the embeddings, clusters from a file, or groups such as patients.
    n_clusters : int
        For "kmeans"; 0 means ``select.n_clusters``.
    """

    kind: str = "none"
    n_clusters: int = 0

    @property
    def suffix(self) -> str:
        """The suffix of the strategy's name: "", "@kmeans", "@kmeans30", "@clusters" or "@groups"."""
        return "" if self.kind == "none" else f"@{self.kind}{self.n_clusters or ''}"


#: No balance.
UNBALANCED = Balance()


def split_name(name: str) -> tuple[str, Balance]:
    """Split a strategy's name from its suffix.

    Parameters
    ----------
    name : str
        ``STRATEGY``, ``STRATEGY@kmeans``, ``STRATEGY@kmeans30``, ``STRATEGY@clusters`` or ``STRATEGY@groups``; the
        strategy may be ``PATH.py:function``.

    Raises
    ------
    UserError
        If the suffix is unknown, or there is more than one.
    """
    base, at, suffix = name.partition("@")
    of_file = FILE_NAME.fullmatch(name)
    if of_file is not None:
        suffix = of_file["suffix"]
        base, at = (name, "") if suffix is None else (name[: -len(suffix) - 1], "@")
    if not at:
        return base, UNBALANCED
    match = SUFFIX.fullmatch(suffix)
    if match is None:
        raise _unknown_suffix(name, base, suffix)
    kind, count = match[1] or match[3], match[2] or ""
    if count and not int(count):
        raise UserError(
            f"'{name}' has {int(count)} clusters.", f"Use '{base}@kmeans', or a number ≥ 1: '{base}@kmeans30'.", name
        )
    return base, Balance(kind, int(count or 0))


def _unknown_suffix(name: str, base: str, suffix: str) -> UserError:
    kinds = BALANCES[1:]
    valid = [part for part in suffix.split("@") if SUFFIX.fullmatch(part)]
    if "@" in suffix:
        guess = valid[0] if valid else kinds[0]
        return UserError(f"'{name}' has more than one '@'.", f"Use one suffix, for example '{base}@{guess}'.", name)
    guess = nearest(suffix.rstrip("-+.0123456789"), kinds) or kinds[0]
    return UserError(
        f"'{name}' has the unknown suffix '@{suffix}'.",
        f"Did you mean '{base}@{guess}'? Use '@kmeans', '@kmeans30' (a number of clusters ≥ 1), '@clusters' or "
        "'@groups'.",
        name,
    )
