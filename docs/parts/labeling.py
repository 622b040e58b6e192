"""Generated parts of docs/labeling.md: the labeling page, forecasts, stopping, doubtful labels and near-duplicates."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import percent, span, table


def label_page() -> str:
    """Tabulate the actions of labeling in the grid, beside those of labeling one by one."""
    rows = pd.read_csv(RESULTS / "label_page.csv")
    alone = rows[rows["labeling"] == "one by one"].set_index(["data", "batch"])["actions"]
    lines = [
        (
            row.data,
            row.batch,
            percent(row.suggestions_right),
            row.keys,
            row.clicks,
            row.drags,
            row.scrolls,
            row.actions,
            alone[row.data, row.batch],
            percent(row.to_one_by_one),
            row.errors,
        )
        for row in rows[rows["labeling"] == "grid"].itertuples()
    ]
    header = (
        "data set", "images in a batch", "correct suggestions", "key presses", "clicks", "drags", "scrolls",
        "all actions", "actions one by one", "grid / one by one", "errors",
    )  # fmt: skip
    return table(header, lines)


def label_page_paint() -> str:
    """Say how fast the grid shows the images of a run."""
    row = pd.read_csv(RESULTS / "label_page_paint.csv").iloc[-1]
    return (
        f"When the grid showed all {row['images']:,} images of a run ({row['data']}), the first appeared after "
        f"{row['first_paint_ms'] / 1000:.1f} s, and the slowest of 100 frames of fast scrolling took "
        f"{row['slowest_frame_ms'] / 1000:.1f} s, on two cores that other programs used as well."
    )


def forecast() -> str:
    """Tabulate errors and coverage of forecasts of the gain by data set, as means over the encoders."""
    rows = pd.read_csv(RESULTS / "forecast.csv")
    rows = rows[(rows["data"] != "held out") & (rows["labels_from"] == 70) & rows["more"].isin((50, 100))]
    columns = ["gain", "ours_error", "none_error", "score_ratio", "coverage"]
    means = rows.groupby(["data", "more"])[columns].mean()
    header = ("data", "more labels", "gain", "error", "no change", "score", "coverage")
    return table(
        header,
        (
            (
                *place,
                *(f"{100 * row[name]:.1f}" for name in columns[:3]),
                f"{row['score_ratio']:.2f}",
                percent(row["coverage"]),
            )
            for place, row in means.iterrows()
        ),
    )


def stopping() -> str:
    """Tabulate how often the stopping rule stops, and too early, with the query `tcm`; sum up the other queries."""
    rows = pd.read_csv(RESULTS / "stopping.csv")
    rows = rows[(rows["data"] == "all") & (rows["encoder"] == "all")]
    bound, interval = (rows[rows["rule"] == rule] for rule in ("bound", "audit interval"))
    lines = [
        (
            row.audit_images_a_batch,
            percent(row.target),
            f"{percent(row.reached)} of {row.loops}",
            percent(row.stopped),
            percent(row.too_early),
            *(
                f"{value:.0f}" if value == value else "–"
                for value in (row.labels_when_reached, row.labels_when_stopped)
            ),
        )
        for row in bound[bound["query"] == "tcm"].itertuples()
    ]
    header = (
        "audit images per 20 chosen", "target", "loops that reached it", "stopped", "too early", "labels when reached",
        "labels when stopped",
    )  # fmt: skip
    early = round((bound["too_early"] * bound["loops"]).sum())
    sentence = (
        f"With `tcm`, `margin` and random batches, it stopped too early in {early or 'none'} of "
        f"{bound['loops'].sum():,} combinations of loop and target. To stop when the lower end of the audit interval "
        f"reaches the target is faster. This was too early in up to {percent(interval['too_early'].max(), 1)} of the "
        "loops of one query and target; the interval is only valid for one look, not for a look after every round."
    )
    return table(header, lines) + "\n\n" + sentence


def review() -> str:
    """Tabulate the precision of the list of doubtful labels, beside cleanlab's; sum up all combinations."""
    rows = pd.read_csv(RESULTS / "review.csv")
    first = rows[rows["k"] == "wrong"]
    means = first.groupby(["data", "noise", "labels"])[["initpools", "cleanlab"]].mean()
    sizes = sorted(first["labels"].unique())
    noises = {"uniform": "any class", "similar": "similar class"}
    lines = [
        (f"{data}, {title}", *(f"{means.loc[(data, noise, n), name]:.2f}" for n in sizes for name in means.columns))
        for data in first["data"].unique()
        for noise, title in noises.items()
    ]
    header = ("data set, noise", *(title for n in sizes for title in (f"{n:,} labels", "cleanlab")))
    above = int((rows["difference"] > 2 * rows["error"]).sum())
    behind = rows[rows["difference"] < 0]
    sentence = (
        f"Over all {len(rows)} combinations of data set, number of labels, noise and length of the list, the mean is "
        f"{rows['initpools'].mean():.2f}, and {rows['cleanlab'].mean():.2f} with cleanlab. The list of initpools is "
        f"better by more than two standard errors in {above} combinations, and worse by more than two in "
        f"{(behind['difference'] < -2 * behind['error']).sum() or 'none'}. It is worse at all in {len(behind)}, by at "
        f"most {-behind['difference'].min():.2f}."
    )
    return table(header, lines) + "\n\n" + sentence


def near_duplicates() -> str:
    """Tabulate the precision of near-duplicates by encoder, and the recall of planted copies."""
    pairs = pd.read_csv(RESULTS / "near-duplicates-pairs.csv")
    recalls = pd.read_csv(RESULTS / "near-duplicates-recall.csv")
    kinds = [*dict.fromkeys(recalls["kind"])]
    recall_of = recalls.set_index(["data", "kind"])["recall"]
    lines = []
    for (data, encoder), judgments in pairs.groupby(["data", "encoder"]):
        cells = [f"{recall_of[data, kind]:.2f}" if encoder == "efficientnet-lite0" else "–" for kind in kinds]
        lines.append((data, f"`{encoder}`", f"{judgments['near'].sum()} of {len(judgments)}", *cells))
    return table(("data set", "encoder", "precision", *kinds), lines)


def split_overlap() -> str:
    """Tabulate the largest shares of test images with a near-duplicate among the train images."""
    rows = pd.read_csv(RESULTS / "split-overlap.csv")
    sources = ("efficientnet-lite0", "simclr", "pixels", "pca")
    rows["groups"] = rows["groups"].fillna("")
    lines = []
    for (data, groups), own in rows.groupby(["data", "groups"], sort=False):
        share = own.drop_duplicates("embeddings", keep="last").set_index("embeddings")["share"]
        cells = [percent(share[name], 1) if name in share else "–" for name in sources]
        lines.append((data, groups.replace("x", "×") or "none", *cells))
    return table(("data set", "groups that a random split divides", *(f"`{name}`" for name in sources)), lines)


def group_intervals() -> str:
    """Say how often intervals over groups, and over images, contain the accuracy."""
    rows = pd.read_csv(RESULTS / "groups-intervals.csv")
    low, high = rows["groups"].min(), rows["groups"].max()
    shares = [span(100 * rows[name]) for name in ("over_groups", "over_images")]
    return (
        f"In simulations with {low} to {high} groups, the 95 % interval contained the accuracy in {shares[0]} % of "
        f"cases; an interval that ignores groups, in {shares[1]} %."
    )


def group_split() -> str:
    """Tabulate the accuracy on images whose classes can't be learned, by how the test split was drawn."""
    rows = pd.read_csv(RESULTS / "groups.csv")
    titles = {"without": "random images", "with": "whole patients"}
    return table(
        ("test split", "root seeds", "mean accuracy", "lowest", "highest"),
        (
            (titles[row.split], row.seeds, *(percent(value / 100, 1) for value in (row.mean, row.lowest, row.highest)))
            for row in rows.itertuples()
        ),
    )


PARTS = {
    "label-page": label_page,
    "label-page-paint": label_page_paint,
    "forecast": forecast,
    "stopping": stopping,
    "review": review,
    "near-duplicates": near_duplicates,
    "split-overlap": split_overlap,
    "group-intervals": group_intervals,
    "group-split": group_split,
}
