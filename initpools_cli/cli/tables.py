"""Tables as people read them: grids on a terminal, plain lines elsewhere; among them a pool's report card."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initpools_cli.core.reporter import Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Quantities that are shares of 1.
SHARES = {"redundancy"}


def show_card(report: Reporter, card: Mapping[str, Any]) -> None:
    """Print a card on standard error, unless quiet."""
    labeled = f", with {card['labeled']:,} labeled already" if card["labeled"] else ""
    title = f"card: {card['budget']:,} of {card['images']:,} images{labeled}"
    _show(report, title, [[name, value, note] for name, value, note in _lines(card)])


def show_compared(report: Reporter, rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Print the comparison on standard error, unless quiet: a line a quantity, a column a strategy.

    Parameters
    ----------
    rows : sequence of mapping
        Of ``compare.csv``.
    total : int
        How many images there are.
    """
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    first = rows[0]
    lines = [["", *strategies, f"{first['random_pools']} random pools"]]
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        own = {row["strategy"]: row for row in rows if row["quantity"] == quantity}
        cells = [f"{_number(quantity, row['value'])} ({row['percentile']:.0%})" for row in own.values()]
        drawn = next(iter(own.values()))
        mean, low, high = (_number(quantity, drawn[f"random_{what}"]) for what in ("mean", "5", "95"))
        lines.append([quantity.replace("_", " "), *cells, f"{mean} ({low} to {high})"])
    _show(report, "compared: in brackets the share of random pools that are worse; of those, their 5–95 % range", lines)
    if first["images"] < total:
        report.say(f"distances are those of a random {first['images']:,} of {total:,} images")


#: Rows of a ranking that are shown from its beginning and from its end.
FIRST, LAST = 5, 2


def show_ranking(
    report: Reporter,
    order: NDArray[np.int64],
    scores: NDArray[np.float64] | None,
    names: Mapping[str, Sequence[str]],
) -> None:
    """Print the first and the last images of a ranking on standard error, unless quiet, and how many are tied.

    Parameters
    ----------
    order : (n,) int64
        Image indices, best first.
    scores : (n,) float64, optional
        In that order; NaN where an image has none.
    names : mapping of str to sequence of str
        Further columns, by heading: of each image in that order. Those that are empty throughout are left out.
    """
    from initpools_cli.stats.ties import ties

    shown = list(range(len(order)))
    if len(order) > FIRST + LAST + 1:
        shown = shown[:FIRST] + shown[-LAST:]
    told = {heading: column for heading, column in names.items() if any(column)}
    if scores is not None:
        told["score"] = ["—" if score != score else f"{score:.4g}" for score in scores.tolist()]
    lines = [[f"{i + 1:,}", str(order[i]), *(column[i] for column in told.values())] for i in shown]
    if len(lines) < len(order):
        lines.insert(FIRST, ["…"] * (2 + len(told)))
    show_grid(report, ["place", "index", *told], lines)
    found = ties(scores) if scores is not None else None
    if found is not None and found.tied > 0:
        count = round(found.tied * found.n)
        report.say(f"{count:,} of {found.n:,} scored images share their score with another: the lower index is first")


def _lines(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    lines = []
    if "coverage_radius" in card:
        covered = "pick or labeled image" if card["labeled"] else "pick"
        redundant = f"no farther from another {covered} than the average image from its own; "
        lines += [
            ("coverage radius", f"{card['coverage_radius']:.4g}", f"the farthest image from its nearest {covered}"),
            ("95 % radius", f"{card['coverage_radius_95']:.4g}", "95 % of the images are nearer"),
            ("mean distance", f"{card['mean_distance']:.4g}", f"of an image to its nearest {covered}"),
            (
                "redundancy",
                f"{card['redundancy']:.0%}",
                f"of the picks are {redundant}{card['duplicates']} exact duplicates",
            ),
        ]
    if "typicality" in card:
        hit = f"{card['clusters_hit']} of {card['clusters']}"
        agreed = ", ".join(f"{share:.0%} {name}" for name, share in card["agreement"].items() if name != "random")
        lines += [
            ("typicality", f"{card['typicality']:.0%}", "mean percentile of the picks; 50 % is the average image"),
            ("clusters hit", hit, "k-means clusters with a label"),
            ("agreement", agreed, f"of the picks are theirs; {card['agreement']['random']:.1%} by chance"),
        ]
    if "class_unknown" in card:
        lines.append(("class not known", str(card["class_unknown"]), "images that have no label in the data set"))
    if "class_counts" in card:
        counts = card["class_counts"]
        missed = [name for name, count in counts.items() if not count]
        named = ": " + ", ".join(missed[:5]) + (", …" if len(missed) > 5 else "") if missed else ""
        lines += [
            ("classes missed", f"{card['classes_missed']} of {len(counts)}", f"labels looked at afterwards{named}"),
            ("entropy", f"{card['entropy']:.3f}", "of the classes; 1 is even"),
            ("imbalance", f"{card['imbalance']:.3g}", "largest class over smallest of those found"),
        ]
    return [*lines, *(("lacks", "", what) for what in card.get("lacks", []))]


def _number(quantity: str, value: float) -> str:
    return f"{value:.0%}" if quantity in SHARES else f"{value:.3g}"


def _show(report: Reporter, title: str, lines: Sequence[Sequence[str]]) -> None:
    report.say(title)
    show_grid(report, [], lines)


def show_grid(report: Reporter, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print cells on standard error, unless quiet: a table on a terminal, tabs elsewhere."""
    if report.quiet:
        return
    if not sys.stderr.isatty():
        for line in [columns, *lines] if columns else lines:
            report.say("  " + "\t".join(line))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True, show_header=bool(columns))
    for name in columns or [""] * len(lines[0] if lines else ()):
        table.add_column(name, overflow="fold")
    for line in lines:
        # As Text, since a class may be called [bold].
        table.add_row(*map(Text, line))
    Console(stderr=True).print(table)
