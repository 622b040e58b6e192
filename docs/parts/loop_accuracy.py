"""Generated parts of docs/honest.md: accuracy, its intervals and confidences in simulated labeling loops."""

from __future__ import annotations

import pandas as pd

from initpools_cli.stats.temperature import PRIOR
from parts.statistics import RESULTS
from parts.text import percent, span, table

METHODS = {
    "wilson": "Wilson's, of all labels",
    "wilson-60": "**Wilson's, of 60 % as many images (printed)**",
    "wilson-random": "Wilson's, of all labels, folds without equal shares of the classes",
    "nested": "nested cross-validation (Bates, Hastie & Tibshirani 2021), 10 repetitions",
    "nested-wilson": "Wilson's around the nested estimate, with its standard error",
}


def _cells(pool: str) -> pd.DataFrame:
    rows = pd.read_csv(RESULTS / "confidence.csv")
    return rows[(rows["encoder"] == "efficientnet-lite0") & (rows["pool"] == pool)]


def _points(rows: pd.DataFrame) -> str:
    """Format how much the estimate is above the accuracy."""
    return span(100 * (rows["estimate"] - rows["truth"]), "{:+.1f}")


def confidence_intervals() -> str:
    """Tabulate the coverage and width of intervals of randomly drawn labels, over data sets and numbers of labels."""
    rows = _cells("random")
    lines = [
        (
            title,
            f"{span(100 * own['coverage'])} %",
            f"{100 * own['coverage_error'].max():.1f}",
            span(own["width_over_binomial"], "{:.2f}"),
            _points(own),
            span(own["loops"], "{:,.0f}"),
        )
        for method, title in METHODS.items()
        if len(own := rows[rows["method"] == method])
    ]
    header = (
        "interval", "coverage", "largest standard error, points", "width, relative to a test set of as many images",
        "points above the accuracy", "loops per cell",
    )  # fmt: skip
    return table(header, lines)


def confidence_chosen() -> str:
    """Tabulate the coverage of the interval that is printed for chosen images, by number of labels."""
    rows = _cells("chosen")
    rows = rows[rows["method"] == "wilson-60"]
    lines = [
        (labels, f"{span(100 * own['coverage'])} %", _points(own), span(own["loops"]))
        for labels, own in rows.groupby("labels")
    ]
    return table(("labels", "coverage", "points above the accuracy", "loops per data set"), lines)


def calibration() -> str:
    """Tabulate means over the cells before and after temperature scaling."""
    rows = pd.read_csv(RESULTS / "confidence-calibration.csv")
    names = ("confidence", "nll", "brier", "ece")
    lines = []
    for (encoder, pool), own in rows.groupby(["encoder", "pool"]):
        before, after = own[own["prior"] == 0], own[own["prior"] == PRIOR]
        data = before["data"].unique()
        changes = (f"{before[name].mean():.3f} → {after[name].mean():.3f}" for name in names)
        where = f"`{encoder}`, {pool} ({', '.join(data)})"
        lines.append((where, span(after["loops"]), f"{after['accuracy'].mean():.3f}", *changes))
    header = (
        "embeddings, labels", "loops per cell", "accuracy", "mean confidence", "negative log-likelihood",
        "Brier score", "calibration error",
    )  # fmt: skip
    return table(header, lines)


def audit() -> str:
    """Tabulate the estimate from an audit sample beside cross-validation and the mean confidence."""
    rows = pd.read_csv(RESULTS / "audit.csv")
    rows = rows[(rows["data"] == "all") & (rows["encoder"] == "all")]
    lines = []
    for place, own in rows.groupby(["query", "labels", "audit_images"], sort=False):
        by_method = own.set_index("method")
        ours, cross_validation = by_method.loc["audit"], by_method.loc["cross-validation"]
        lines.append(
            (
                *place,
                ours["loops"],
                percent(ours["coverage"]),
                f"{100 * ours['width']:.0f}",
                f"{100 * ours['error']:.1f}",
                percent(cross_validation["coverage"]),
                f"{100 * cross_validation['error']:.1f}",
                f"{100 * by_method['error']['mean confidence']:.1f}",
            )
        )
    header = (
        "query", "labels", "audit images", "loops", "coverage", "width", "error", "cross-validation: coverage",
        "cross-validation: error", "mean confidence: error",
    )  # fmt: skip
    return table(header, lines)


PARTS = {
    "confidence-intervals": confidence_intervals,
    "confidence-chosen": confidence_chosen,
    "calibration": calibration,
    "audit": audit,
}
