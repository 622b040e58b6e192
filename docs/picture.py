"""Picture of the README: a first pool of the demo run, and what it is worth: `python docs/picture.py [RUN]`.

It needs `make demo`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import charts
import numpy as np
import pandas as pd

from initpools_cli.figures.theme import NEUTRAL, PALETTE
from initpools_cli.stats.intervals import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/figures/first-pool.png"
STRATEGY, BUDGET, QUERY = "typiclust", 20, "margin"
#: In inches; pixels per inch.
SIZE, DPI = (9.6, 3.7), 140


def draw(run: Path) -> None:
    """Draw the chosen images in the embedding, and accuracy against labels."""
    from matplotlib import pyplot as plt

    with plt.rc_context({**charts.STYLE, "font.size": 9}):
        figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, width_ratios=(1.15, 1), layout="constrained")
        _pool(left, run)
        _curves(right, pd.read_csv(run / "al/main/rounds.csv"))
        figure.savefig(PICTURE, dpi=DPI, metadata={"Software": None})
    plt.close(figure)


def _pool(axes: Axes, run: Path) -> None:
    """All train images as dots, and the chosen ones as they look."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    embeddings = np.load(run / "embed/simclr/train.npy")
    mask = np.load(run / "data/kept.npy") if (run / "data/kept.npy").exists() else np.ones(len(embeddings), bool)
    plane = PCA(2, random_state=0).fit(embeddings[mask]).transform(embeddings)
    picks = np.load(run / f"pool/{STRATEGY}-b{BUDGET}-s0/indices.npy")
    axes.scatter(*plane[mask].T, s=4, color=NEUTRAL, alpha=0.35, linewidths=0)
    images = load_digits().images
    for pick in picks[::-1]:
        thumbnail = OffsetImage(images[pick], zoom=2.2, cmap="gray_r", interpolation="nearest")
        frame = {"edgecolor": PALETTE[0], "linewidth": 1.2}
        axes.add_artist(AnnotationBbox(thumbnail, plane[pick], pad=0.1, bboxprops=frame))
    axes.set_title(f"Label these {BUDGET} of {mask.sum():,} images first ({STRATEGY})")
    axes.axis("off")


def _curves(axes: Axes, rounds: pd.DataFrame) -> None:
    """The mean over seeds, with its 95 % interval."""
    ok = rounds[(rounds["status"] == "ok") & ((rounds["query"] == QUERY) | (rounds["round"] == 0))]
    for init, color in (("random", NEUTRAL), (STRATEGY, PALETTE[0])):
        cells = 100 * ok[ok["init"] == init].pivot(index="labeled", columns="seed", values="accuracy")
        intervals = [mean_interval(row) for row in cells.to_numpy()]
        means = [each.mean for each in intervals]
        axes.fill_between(
            cells.index, *zip(*((e.low, e.high) for e in intervals), strict=True), color=color, alpha=0.16, lw=0
        )
        axes.plot(cells.index, means, color=color, marker="o", markersize=4)
        at, offset = (1, (10, -14)) if init == "random" else (0, (0, 48))
        place = {"xytext": offset, "textcoords": "offset points", "color": color, "weight": "bold"}
        axes.annotate(f"first pool: {init}", (cells.index[at], means[at]), **place)
    seeds = ok["seed"].nunique()
    axes.set_title(f"Accuracy (%) against labels: {seeds} seeds, 95 % intervals")
    axes.set_xlabel(f"labels (first pool, then batches by {QUERY})")


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs/digits"))
