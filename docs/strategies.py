"""Draw docs/figures/strategies-*.svg, the picks of strategies on synthetic points: `python docs/strategies.py`.

The points have two dimensions. Strategies that need a model use a classifier of five labeled points.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from parts.strategies import page_of

from initpools_cli.cli.catalog import KINDS
from initpools_cli.core.seeds import generator
from initpools_cli.figures.theme import FONT, PAGES, PALETTE
from initpools_cli.scores.registry import scores
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose

FIGURES = Path(__file__).parent / "figures"
BUDGET, SIDE, GAP, HEAD = 8, 200, 14, 22
#: The panels of each page; knobs are adapted to 168 points instead of thousands.
PANELS: Mapping[str, tuple[str, ...]] = {
    "random": ("random", "stratified", "class-balanced"),
    "clustering": ("kmeans", "kmeans-random", "kmeans++", "scan"),
    "coverage": ("typiclust", "probcover", "maxherding"),
    "geometry": ("kcenter", "facility-location", "graph-cut", "log-det", "disparity", "cog"),
    "representation": ("activeft", "usl", "zcore"),
    "scores": ("typicality", "prototypicality", "outlier", "duplicate"),
    "uncertainty": ("margin", "entropy", "least-confidence", "consistency"),
    "bayesian": ("bald", "powerbald", "batchbald", "var-ratio"),
    "gradients": ("badge", "bait", "alfamix", "cdal"),
    "mixed": ("uherding", "dcom", "tcm"),
}
KNOBS: Mapping[str, Mapping[str, float | str]] = {
    "facility-location": {"similarity": "rbf", "bandwidth": 0.25},
    "graph-cut": {"similarity": "rbf", "bandwidth": 0.25},
    "log-det": {"bandwidth": 0.25},
    "usl": {"neighbors": 20},
    "maxherding": {"bandwidth": 0.25},
    "uherding": {"bandwidth": 0.25},
    "stratified": {"n_clusters": 5},
    "kmeans-random": {"n_clusters": 5},
    "probcover": {"n_clusters": 5},
    "dcom": {"n_clusters": 5},
    "prototypicality": {"clusters": 5},
    "tcm": {"switch": 9},
    "zcore": {"n_samples": 20_000},
}
#: Pages of strategies that need a model, and therefore labels.
NEED_MODEL = ("uncertainty", "bayesian", "gradients", "mixed")
CENTERS = np.array([[0.25, 0.72], [0.68, 0.78], [0.76, 0.36], [0.36, 0.24], [0.88, 0.10]])
SIZES, SPREADS = (70, 40, 28, 18, 6), (0.075, 0.05, 0.07, 0.045, 0.02)


def synthetic_points() -> tuple[np.ndarray, np.ndarray]:
    """Generate five clusters of different size and density and six outliers: (168, 2) in [0, 1], and their classes."""
    rng = np.random.default_rng(3)
    groups = [
        rng.normal(center, spread, (size, 2)) for center, size, spread in zip(CENTERS, SIZES, SPREADS, strict=True)
    ]
    points = np.vstack([*groups, rng.uniform(0.04, 0.96, (6, 2))]).clip(0.03, 0.97)
    return points, ((points[:, None] - CENTERS) ** 2).sum(axis=2).argmin(axis=1)


def model_outputs(points: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Choose five labeled points, one per class, and compute the outputs of a nearest-point classifier."""
    rng = np.random.default_rng(4)
    labeled = np.array([rng.choice(np.flatnonzero(classes == label)) for label in range(len(CENTERS))])
    anchors = points[labeled]

    def head(centers: np.ndarray) -> np.ndarray:
        return 30 * np.vstack([2 * centers.T, -(centers**2).sum(axis=1)])

    def probs(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
        logits = np.column_stack([points, np.ones(len(points))]) @ head(centers)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    passes = [probs(points, anchors + rng.normal(0, 0.05, anchors.shape)) for _ in range(20)]
    views = [probs(points + rng.normal(0, 0.03, points.shape), anchors) for _ in range(20)]
    return labeled, {
        "probs": probs(points, anchors),
        "mc_probs": np.stack(passes),
        "member_probs": np.stack(passes[:5]),
        "view_probs": np.stack(views),
        "features": points.astype(np.float32),
        "head": head(anchors),
        "labels": np.where(np.isin(np.arange(len(points)), labeled), classes, -1),
    }


def picks(name: str, needs_model: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the picks of a strategy, in order, and the points that were labeled before."""
    points, classes = synthetic_points()
    labeled, outputs = model_outputs(points, classes) if needs_model else (np.array([], dtype=np.int64), {})
    inputs = {"embeddings": points.astype(np.float32), "clusters": classes, "labels": classes, **outputs}
    knobs = dict(KNOBS.get(name, {}))
    if name not in strategies:
        method = scores.get(name)
        services = {"rng": generator(0, name)} if "rng" in inspect.signature(method.build).parameters else {}
        inputs["scores"] = method.build(inputs["embeddings"], **services, **method.validate(knobs))
        name, knobs = "score", {}
    selection = choose(name, inputs, BUDGET, labeled=labeled, seed=0, normalize=False, knobs=knobs)
    return selection.indices, labeled


def figure(page: str) -> str:
    """The panels of a page side by side, as SVG that follows the reader's light or dark theme."""
    names, needs_model = PANELS[page], page in NEED_MODEL
    width, height = len(names) * (SIDE + GAP) - GAP, HEAD + SIDE
    summaries = {row["name"]: row["summary"] for row in KINDS["strategies"]()}
    about = "; ".join(f"{name}: {summaries[name]}" for name in names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="{escape(FONT)}">',
        f"<desc>The first {BUDGET} picks, numbered in order, from a synthetic set of points. {escape(about)}</desc>",
        _style(),
        '<rect class="page" width="100%" height="100%"/>',
        *(_panel(name, i * (SIDE + GAP), needs_model) for i, name in enumerate(names)),
    ]
    return "\n".join([*parts, "</svg>\n"])


def _style() -> str:
    light, dark = PAGES["light"], PAGES["dark"]
    rules = "".join(f".{name}{{{rule}}}" for name, rule in _rules(light.background, light.ink).items())
    night = "".join(f".{name}{{{rule}}}" for name, rule in _rules(dark.background, dark.ink).items())
    return f"<style>{rules}@media (prefers-color-scheme: dark){{{night}}}</style>"


def _rules(background: str, ink: str) -> dict[str, str]:
    return {
        "page": f"fill:{background}",
        "box": f"fill:none;stroke:{ink};stroke-opacity:.25",
        "name": f"fill:{ink};font-size:13px",
        "points": f"stroke:{ink};stroke-opacity:.35;stroke-width:4.4;stroke-linecap:round",
        "known": f"fill:none;stroke:{ink};stroke-width:1.8",
        "pick": f"fill:{PALETTE[0]};stroke:{background}",
        "order": "fill:#fff;font-size:11px;font-weight:bold;text-anchor:middle",
    }


def _panel(name: str, left: int, needs_model: bool) -> str:
    points, _ = synthetic_points()
    indices, labeled = picks(name, needs_model)
    x, y = left + SIDE * points[:, 0], HEAD + SIDE * (1 - points[:, 1])
    marks = [
        f'<text class="name" x="{left + 2}" y="15">{escape(name)}</text>',
        f'<rect class="box" x="{left + 0.5}" y="{HEAD + 0.5}" width="{SIDE - 1}" height="{SIDE - 1}"/>',
        # Lines without length and with round ends: dots in a quarter of the bytes.
        f'<path class="points" d="{"".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))}"/>',
        *(f'<rect class="known" x="{x[i] - 5:.1f}" y="{y[i] - 5:.1f}" width="10" height="10"/>' for i in labeled),
    ]
    # The first pick lies above the later ones.
    for order, i in reversed(list(enumerate(indices, start=1))):
        marks.append(f'<circle class="pick" cx="{x[i]:.1f}" cy="{y[i]:.1f}" r="8"/>')
        marks.append(f'<text class="order" x="{x[i]:.1f}" y="{y[i] + 4:.1f}">{order}</text>')
    return "\n".join(marks)


def main() -> None:
    """Write every figure anew, and see that every strategy has a page."""
    for row in KINDS["strategies"]():
        page_of(row["name"])
    for page in PANELS:
        (FIGURES / f"strategies-{page}.svg").write_text(figure(page), encoding="utf-8")


if __name__ == "__main__":
    main()
