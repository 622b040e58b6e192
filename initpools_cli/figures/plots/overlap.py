"""Overlap of pools and of the first images of rankings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.core.errors import UserError
from initpools_cli.core.types import Figure
from initpools_cli.figures.escape import percent, plotly_text, shortened
from initpools_cli.figures.facets import complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import PALETTE, headline

#: With more, numbers in the cells could not be read.
MOST_NUMBERS = 20
#: With more, numbers are small, and names are cut where the page is narrow.
FEW = 8
#: Colors of cells and of the numbers in them, the same on a light and on a dark page.
EMPTY, INK, LIGHT = "#eef3f8", "#12161a", "#ffffff"


@plots.register()
def overlap(
    pools: Mapping[str, ArrayLike],
    n: int,
    *,
    measure: Literal["jaccard", "share"] = "jaccard",
    top: PositiveCount = 100,
) -> Figure:
    """How many images any two pools share, as a heat map in which similar ones stand together.

    Parameters
    ----------
    pools : mapping of str to (m,) int
        Indices by name.
    n : int
        Images there were to choose from.
    measure : str
        "jaccard": images in both over images in either; "share": over the smaller of the two.
    top : int
        First images of a ranking that are compared; applied where rankings are read.

    Raises
    ------
    UserError
        Fewer than two pools.
    """
    if len(pools) < 2:
        raise UserError(
            f"An overlap needs at least 2 pools, got {len(pools)}.",
            "Choose another with `initpools select-pool random --budget 20`.",
            len(pools),
        )
    overlaps = _Overlaps.of(pools, n, measure)
    similarity, k = overlaps.similarity, len(overlaps.names)
    figure = _axes(overlaps.names)
    others = ~np.eye(k, dtype=bool)
    highest = max(0.1, float(np.ceil(10 * similarity[others].max()) / 10))
    places = list(range(k))
    figure.add_heatmap(
        x=places,
        y=places,
        z=np.where(others, similarity, np.nan),
        zmin=0,
        zmax=highest,
        colorscale=[[0, EMPTY], [1, PALETTE[0]]],
        # With numbers in the cells no color scale is needed; a phone has no room for both.
        showscale=k > MOST_NUMBERS,
        colorbar={"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
        hoverongaps=False,
        customdata=overlaps.hover(),
        hovertemplate="%{customdata}<extra></extra>",
    )
    if k <= MOST_NUMBERS:
        _add_numbers(figure, similarity, highest)
    what = {"jaccard": "in both over in either (Jaccard)", "share": "in both over the smaller pool"}[measure]
    chance = overlaps.chance[others]
    expected = " to ".join(dict.fromkeys(percent(end) for end in (chance.min(), chance.max())))
    headline(
        figure,
        "What pools have in common",
        f"Per cent: images {what}. Two random pools of these sizes among {n:,} images share about {expected}.",
    )
    pairs = sorted(((similarity[i, j], i, j) for i in range(k) for j in range(i)), reverse=True)
    words = [f"Heat map of {k} pools: images {what}; by chance about {expected}."]
    words += [overlaps.sentence(i, j) for _, i, j in pairs[:30]]
    if len(pairs) > 30:
        words.append(f"The other {len(pairs) - 30} pairs share at most {percent(pairs[30][0])}.")
    return complete(figure, words)


@dataclass(frozen=True)
class _Overlaps:
    """Overlaps of k pools, in an order in which similar pools are near each other.

    Attributes
    ----------
    names : list of str
    sizes : (k,) float64
    intersections : (k, k) float64
        Number of images in both pools.
    similarity, chance : (k, k) float64
        The measure of each two pools, and of random pools of their sizes.
    """

    names: list[str]
    sizes: NDArray[np.float64]
    intersections: NDArray[np.float64]
    similarity: NDArray[np.float64]
    chance: NDArray[np.float64]

    @classmethod
    def of(cls, pools: Mapping[str, ArrayLike], n: int, measure: str) -> _Overlaps:
        """Compare all pools of images out of n."""
        names, sets = list(pools), [np.unique(np.asarray(indices)) for indices in pools.values()]
        sizes = np.array([len(each) for each in sets], dtype=np.float64)
        intersections = np.array(
            [[np.intersect1d(a, b, assume_unique=True).size for b in sets] for a in sets], dtype=np.float64
        )
        by_chance = np.outer(sizes, sizes) / n
        similarity, chance = (_measure(each, sizes, measure) for each in (intersections, by_chance))
        order = by_similarity(similarity)
        square = np.ix_(order, order)
        return cls([names[i] for i in order], sizes[order], intersections[square], similarity[square], chance[square])

    def hover(self) -> list[list[str]]:
        """Return the text of each cell."""
        return [
            [
                f"<b>{plotly_text(a)}</b> and <b>{plotly_text(b)}</b><br>{self.intersections[i, j]:.0f} in common, "
                f"of {self.sizes[i]:.0f} and {self.sizes[j]:.0f} images<br>{percent(self.similarity[i, j])}; "
                f"by chance {percent(self.chance[i, j])}"
                for j, b in enumerate(self.names)
            ]
            for i, a in enumerate(self.names)
        ]

    def sentence(self, i: int, j: int) -> str:
        """Say what two pools have in common."""
        return (
            f"{self.names[i]} and {self.names[j]}: {self.intersections[i, j]:.0f} images in common, "
            f"{percent(self.similarity[i, j])} (by chance {percent(self.chance[i, j])})."
        )


def _axes(names: Sequence[str]) -> Figure:
    """Make a figure with a row and a column for each pool."""
    k = len(names)
    figure = faceted([""], x_title="", y_title="", height=max(220, min(900, 40 * k)))
    places = list(range(k))
    figure.update_xaxes(tickvals=places, ticktext=[f"<b>{i + 1}</b>" for i in places], tickangle=0)
    figure.update_yaxes(tickvals=places, range=[k - 0.5, -0.5])
    # With many columns on a narrow phone, long names would leave no room for the numbers.
    cuts = {"wide": 24, "narrow": 24 if k <= FEW else 16}
    figure.layout.meta = {
        name: {
            **figure.layout.meta[name],
            "yaxis.ticktext": [f"{plotly_text(shortened(each, width))} <b>{i + 1}</b>" for i, each in enumerate(names)],
        }
        for name, width in cuts.items()
    }
    figure.update_layout({axis: {"showgrid": False, "ticks": "", "showline": False} for axis in ("xaxis", "yaxis")})
    return figure


def _add_numbers(figure: Figure, similarity: NDArray[np.float64], highest: float) -> None:
    """Write the per cent of each two pools into their cell: in ink, or in a light color on dark cells."""
    k = len(similarity)
    others = ~np.eye(k, dtype=bool)
    numbers = np.round(100 * similarity).astype(int).astype(str)
    for dark in (False, True):
        rows, columns = np.nonzero(others & ((similarity > 0.6 * highest) == dark))
        figure.add_scatter(
            x=columns,
            y=rows,
            mode="text",
            text=numbers[rows, columns],
            textfont={"color": LIGHT if dark else INK, "size": 11 if k <= FEW else 9},
            hoverinfo="skip",
            showlegend=False,
        )


def by_similarity(similarity: NDArray[np.float64]) -> list[int]:
    """An order of rows in which similar ones are near each other: the leaves of average linkage, ordered optimally.

    Parameters
    ----------
    similarity : ndarray, shape (k, k)
        Similarities in [0, 1], symmetric.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    apart = 1 - similarity
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    return [int(i) for i in leaves_list(tree)]


def _measure(intersections: NDArray[np.float64], sizes: NDArray[np.float64], measure: str) -> NDArray[np.float64]:
    a, b = sizes[:, None], sizes[None, :]
    whole = a + b - intersections if measure == "jaccard" else np.minimum(a, b)
    return np.asarray(intersections / np.maximum(whole, 1))
