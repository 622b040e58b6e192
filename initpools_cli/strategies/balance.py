"""How the picks of a strategy are spread over clusters, as the suffix of its name says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from initpools_cli.core.errors import UserError, nearest

BALANCES = ("none", "kmeans", "clusters")
#: What follows the @ of a name.
SUFFIX = re.compile(r"(kmeans)([0-9]{0,9})|(clusters)")


@dataclass(frozen=True)
class Balance:
    """How picks are spread over clusters.

    Attributes
    ----------
    kind : {"none", "kmeans", "clusters"}
        Over no clusters, k-means clusters of the embeddings, or given clusters.
    n_clusters : int
        Of "kmeans"; 0: as many as ``select.n_clusters`` says.
    """

    kind: str = "none"
    n_clusters: int = 0

    @property
    def suffix(self) -> str:
        """What follows the name of the strategy: "", "@kmeans", "@kmeans30" or "@clusters"."""
        return "" if self.kind == "none" else f"@{self.kind}{self.n_clusters or ''}"


#: Over no clusters.
UNBALANCED = Balance()


def split_name(name: str) -> tuple[str, Balance]:
    """The name of a strategy, and the balance that its suffix asks for.

    Parameters
    ----------
    name : str
        ``STRATEGY``, ``STRATEGY@kmeans``, ``STRATEGY@kmeans30`` or ``STRATEGY@clusters``.

    Raises
    ------
    UserError
        Another suffix, or more than one.
    """
    base, at, suffix = name.partition("@")
    if not at:
        return base, UNBALANCED
    found = SUFFIX.fullmatch(suffix)
    if found is None:
        raise _unknown_suffix(name, base, suffix)
    kind, count = found[1] or found[3], found[2] or ""
    if count and not int(count):
        raise UserError(
            f"'{name}' asks for {int(count)} clusters.", f"Write '{base}@kmeans', or a number ≥ 1: '{base}@kmeans30'."
        )
    return base, Balance(kind, int(count or 0))


def _unknown_suffix(name: str, base: str, suffix: str) -> UserError:
    kinds = BALANCES[1:]
    asked = [part for part in suffix.split("@") if SUFFIX.fullmatch(part)]
    if "@" in suffix:
        guess = asked[0] if asked else kinds[0]
        return UserError(f"'{name}' has more than one '@'.", f"A strategy is spread once, such as '{base}@{guess}'.")
    guess = nearest(suffix.rstrip("-+.0123456789"), kinds) or kinds[0]
    return UserError(
        f"'{name}': '@{suffix}' is no way to spread picks over clusters.",
        f"Did you mean '{base}@{guess}'? It is '@kmeans', '@kmeans30' (a number of clusters ≥ 1) or '@clusters'.",
    )
