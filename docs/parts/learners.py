"""Generated parts about training: scaling of embeddings, features and clusters of pretext tasks, cost of sweeps."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import number, percent, table


def scale() -> str:
    """Tabulate accuracies of learners with a common scale, and with one for each dimension."""
    rows = pd.read_csv(RESULTS / "scale.csv")
    budgets = sorted(rows["budget"].unique())
    lines = []
    for (learner, source, data), own in rows.groupby(["learner", "source", "data"]):
        by_budget = own.set_index("budget")
        cells = [
            f"{100 * by_budget['common'][n]:.1f} / {100 * by_budget['each'][n]:.1f}" if n in by_budget.index else "–"
            for n in budgets
        ]
        lines.append((f"`{learner}`", source, data, own["seeds"].iloc[0], *cells))
    return table(("learner", "embeddings", "data", "seeds", *(f"{n} labels" for n in budgets)), lines)


def features() -> str:
    """Tabulate the accuracies on features of each pretext task."""
    rows = pd.read_csv(RESULTS / "features.csv").sort_values("linear_accuracy", ascending=False)
    titles = {"untrained": "the same network, untrained", "pca": "`pca` of the pixels"}
    return table(
        ("features", "linear probe", "k-NN", "epochs", "seconds"),
        (
            (
                titles.get(row.features, f"`{row.features}`"),
                percent(row.linear_accuracy, 1),
                percent(row.knn_accuracy, 1),
                *(f"{value:.0f}" if value == value else "–" for value in (row.epochs, row.seconds)),
            )
            for row in rows.itertuples()
        ),
    )


def clusters() -> str:
    """Say how accurate the clusters of SCAN are."""
    row = pd.read_csv(RESULTS / "clusters.csv").iloc[-1]
    return (
        f"`scan`, trained for {row['scan_epochs']} epochs after {row['simclr_epochs']} epochs of `simclr`, clusters "
        f"MNIST's test digits with an accuracy of {percent(row['test_acc'], 1)} under the best matching of clusters to "
        "classes (`benchmarks/clusters.py`)."
    )


def sweep_cost() -> str:
    """Say how long a sweep took, and tabulate the time of a plain loop with scikit-learn by query."""
    row = pd.read_csv(RESULTS / "sweep.csv").iloc[-1]
    cost = row["seconds"] * row["threads"] / row["cells"]
    queries = [name.removeprefix("by_hand_") for name in row.index if name.startswith("by_hand_")]
    queries = [name for name in queries if not name.startswith("seconds")]
    by_hand = table(
        ("", *(f"`{query}`" for query in queries)),
        [("seconds per cell", *(number(row[f"by_hand_{query}"]) for query in queries))],
    )
    return (
        f"The {row['cells']:,} cells took {row['seconds']:,} s on {row['threads']} cores, which is {number(cost)} s of "
        f"one core per cell. A plain loop with scikit-learn takes {row['times']:.1f} times as long in total:\n\n"
        f"{by_hand}"
    )


PARTS = {"scale": scale, "features": features, "clusters": clusters, "sweep-cost": sweep_cost}
