"""Tables on standard error: grids on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initpools_cli.core.reporter import Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Quantities that are shown as percentages.
SHARES = {"redundancy"}
#: Titles of quantities that are not their names.
TITLES = {"coverage_radius_95": "95 % radius"}


def show_card(report: Reporter, card: Mapping[str, Any]) -> None:
    """Print the statistics of a pool, unless quiet."""
    labeled = f", {card['labeled']:,} were labeled before" if card["labeled"] else ""
    title = f"pool: {card['budget']:,} of {card['images']:,} images{labeled}"
    _show(report, title, [[name, value, note] for name, value, note in _lines(card)])


def show_comparison(report: Reporter, rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Print a comparison of pools, unless quiet: a line per quantity, a column per strategy.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``compare.csv``.
    total : int
        Number of images.
    """
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    first = rows[0]
    lines = [["", *strategies, f"{first['random_pools']} random pools"]]
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        own = {row["strategy"]: row for row in rows if row["quantity"] == quantity}
        cells = [f"{_number(quantity, row['value'])} ({row['percentile']:.0%})" for row in own.values()]
        reference = next(iter(own.values()))
        mean, low, high = (_number(quantity, reference[f"random_{what}"]) for what in ("mean", "5", "95"))
        lines.append([TITLES.get(quantity, quantity.replace("_", " ")), *cells, f"{mean} ({low}–{high})"])
    _show(
        report,
        "comparison (in parentheses: share of random pools that are worse; for random pools their 5–95 % range)",
        lines,
    )
    if first["images"] < total:
        report.say(f"distances are measured on a random {first['images']:,} of {total:,} images")


#: How many of the first and last rows of a ranking are shown.
FIRST, LAST = 5, 2


def show_ranking(
    report: Reporter,
    order: NDArray[np.int64],
    scores: NDArray[np.float64] | None,
    names: Mapping[str, Sequence[str]],
) -> None:
    """Print the first and last images of a ranking and the number of ties, unless quiet.

    Parameters
    ----------
    order : (n,) int64
        Image indices, best first.
    scores : (n,) float64, optional
        In that order; NaN for images without one.
    names : mapping of str to sequence of str
        More columns by heading, with a value per image in that order; empty columns are left out.
    """
    from initpools_cli.stats.ties import ties

    places = list(range(len(order)))
    if len(order) > FIRST + LAST + 1:
        places = places[:FIRST] + places[-LAST:]
    columns = {heading: column for heading, column in names.items() if any(column)}
    if scores is not None:
        columns["score"] = ["—" if score != score else f"{score:.4g}" for score in scores.tolist()]
    lines = [[f"{i + 1:,}", str(order[i]), *(column[i] for column in columns.values())] for i in places]
    if len(lines) < len(order):
        lines.insert(FIRST, ["…"] * (2 + len(columns)))
    show_grid(report, ["place", "index", *columns], lines)
    tie_counts = ties(scores) if scores is not None else None
    if tie_counts is not None and tie_counts.tied > 0:
        count = round(tie_counts.tied * tie_counts.n)
        report.say(
            f"{count:,} of {tie_counts.n:,} scored images have the same score as another; the lower index comes first"
        )


def _lines(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    lines = []
    if "coverage_radius" in card:
        center = "pick or labeled image" if card["labeled"] else "pick"
        close = f"of the picks are close to another {center} (at most the mean distance away)"
        lines += [
            (
                "coverage radius",
                f"{card['coverage_radius']:.4g}",
                f"largest distance of an image to its nearest {center}",
            ),
            ("95 % radius", f"{card['coverage_radius_95']:.4g}", "95 % of the images are closer"),
            ("mean distance", f"{card['mean_distance']:.4g}", f"average distance of an image to its nearest {center}"),
            (
                "redundancy",
                f"{card['redundancy']:.0%}",
                f"{close}; {card['duplicates']} exact duplicates",
            ),
        ]
    if "typicality" in card:
        hit = f"{card['clusters_hit']} of {card['clusters']}"
        shares = ", ".join(f"{share:.0%} {name}" for name, share in card["agreement"].items() if name != "random")
        lines += [
            ("typicality", f"{card['typicality']:.0%}", "mean percentile of the picks; an average image has 50 %"),
            ("clusters hit", hit, "k-means clusters with a label"),
            (
                "agreement",
                shares,
                f"of the picks are also chosen by these strategies; {card['agreement']['random']:.1%} by chance",
            ),
        ]
    if "groups" in card:
        most = card["largest_group"]
        lines.append(
            (
                "groups covered",
                f"{card['groups_covered']:,} of {card['groups']:,}",
                f"groups with a label; at most {most:,} {'image' if most == 1 else 'images'} of one group",
            )
        )
    if "class_unknown" in card:
        lines.append(("class unknown", str(card["class_unknown"]), "picks without a label in the data set"))
    if "class_counts" in card:
        counts = card["class_counts"]
        missing = [name for name, count in counts.items() if not count]
        names = ": " + ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "") if missing else ""
        lines += [
            (
                "classes missed",
                f"{card['classes_missed']} of {len(counts)}",
                f"according to the labels of the data set{names}",
            ),
            ("entropy", f"{card['entropy']:.3f}", "of the class shares; 1 means all equal"),
            ("imbalance", f"{card['imbalance']:.3g}", "size of the largest class divided by the smallest one found"),
        ]
    return [*lines, *(("not measured", "", what) for what in card.get("lacks", []))]


def _number(quantity: str, value: float) -> str:
    return f"{value:.0%}" if quantity in SHARES else f"{value:.3g}"


def _show(report: Reporter, title: str, lines: Sequence[Sequence[str]]) -> None:
    report.say(title)
    show_grid(report, [], lines)


def show_grid(report: Reporter, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print cells unless quiet: a table on a terminal, tabs elsewhere."""
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
