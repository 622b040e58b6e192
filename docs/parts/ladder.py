"""Generated parts about large data: selections and searches as measured, and what 100 million images would take."""

from __future__ import annotations

import numpy as np
import pandas as pd

from parts.statistics import RESULTS
from parts.text import number, table

#: The calculated selection: images, dimensions, machines, cores of each, and bytes a second of each one's network.
IMAGES, DIMENSIONS, MACHINES, CORES, NETWORK = 100_000_000, 512, 16, 16, 1.25e9
#: Bytes of an embedding's value, and bytes that a pass sends or returns for each row.
VALUE, PER_ROW = 2, 16
#: Rows of a call on the cluster, and seconds that the scheduler takes for one.
PART, CALL = 65_536, 0.001
CALCULATED = ("kcenter", "stratified", "kmeans", "typiclust", "prototypicality")


def _results() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "ladder.csv")


def ladder() -> str:
    """Tabulate seconds, memory and coverage of every strategy by number of images, a table for each budget."""
    rows = _results()
    return "\n\n".join(_ladder(own, budget) for budget, own in rows.groupby("budget"))


def _ladder(rows: pd.DataFrame, budget: int) -> str:
    sizes = sorted(rows["n"].unique())
    random = rows[rows["strategy"] == "random"].set_index("n")["distance"]
    body = []
    for name, own in rows.groupby("strategy", sort=False):
        by_size = own.set_index("n")
        results = by_size[by_size["status"] == "done"]
        largest = results.index.max()
        last = results.loc[largest]
        body.append(
            [
                # The name of a peer begins with its library.
                name if ", " in name else f"`{name}`",
                *(_seconds(by_size, n) for n in sizes),
                f"{last['gigabytes']:.2f}",
                f"{last['distance'] / random[largest]:.2f}",
            ]
        )
    header = [f"{budget:,} of", *(f"{n:,}" for n in sizes), "GB of memory", "distance"]
    return table(header, body)


def _seconds(by_size: pd.DataFrame, n: int) -> str:
    """Return the seconds of a run, or how it ended."""
    if n not in by_size.index:
        return "not run"
    run = by_size.loc[n]
    if run["status"] == "done":
        return number(run["seconds"])
    return f"> {run['limit']:,.0f}" if run["status"] == "stopped" else "failed"


def ladder_goals() -> str:
    """Say which goals of the largest size are met, and which strategies were not run at it."""
    rows = _results()
    rows = rows[~rows["strategy"].str.contains(", ")]
    largest = rows["n"].max()
    own = rows[(rows["n"] == largest) & (rows["status"] == "done")]
    goals = np.where(own["strategy"].isin(("kcenter", "stratified")), 600, 3600)
    missed = [
        f"`{row.strategy}` with {row.budget:,} picks ({number(row.seconds)} s)"
        for row in own[(own["seconds"] > goals) | (own["gigabytes"] > 4)].itertuples()
    ]
    missing = [f"`{name}`" for name in rows["strategy"].unique() if name not in {*own["strategy"]}]
    sentences = [
        f"The goals for {largest:,} images are ten minutes for `kcenter` and `stratified`, an hour for the others, and "
        f"4 GB. They are met by all that were run at this size{', but ' + ', '.join(missed) if missed else ''}."
    ]
    if missing:
        sentences.append(f"Not run at this size: {', '.join(missing)}.")
    return " ".join(sentences)


def assumptions() -> str:
    """List the assumptions of the calculated selection."""
    size = IMAGES * DIMENSIONS * VALUE
    return "\n".join(
        [
            f"- *Bytes.* {IMAGES:,} × {DIMENSIONS} × {VALUE} bytes (float16) are {size / 1e9:.0f} GB: "
            f"{size / MACHINES / 1e9:.1f} GB for each of {MACHINES} machines. If a machine has that much free memory, "
            "its share is read from the disk once, and later passes read it from memory.",
            "- *Computing.* Proportional to images × dimensions, from the largest measured number of images, on "
            f"{MACHINES} machines with {CORES} cores each.",
            f"- *Passes.* How often the rows are read, as measured. A pass is a list of calls for {PART:,} rows each, "
            f"{-(-IMAGES // PART):,} calls in all, for which the scheduler takes about {1000 * CALL:.0f} ms each.",
            f"- *Network.* Rows do not go over the network. A pass sends or returns at most {PER_ROW} bytes for each "
            "image (a distance, the label of a cluster), all through the process that selects, at "
            f"{NETWORK / 1e9:g} GB/s ({8 * NETWORK / 1e9:g} Gbit/s).",
        ]
    )


def hundred_million() -> str:
    """Tabulate what a selection from 100 million images would take, from the largest measured one of each strategy."""
    rows = _results()
    rows = rows[(rows["budget"] == rows["budget"].min()) & (rows["status"] == "done")]
    rows = rows[(rows["status"] == "done") & rows["strategy"].isin(CALCULATED)]
    body = []
    for name in CALCULATED:
        own = rows[rows["strategy"] == name].sort_values("n")
        if not len(own):
            continue
        largest, read = own.iloc[-1], own[own["read"] > 0].iloc[-1]
        passes = read["read"] * 1e9 / (read["n"] * read["d"] * VALUE)
        work = IMAGES * DIMENSIONS / (largest["n"] * largest["d"])
        computing = largest["seconds"] * largest["threads"] * work / (MACHINES * CORES)
        network = passes * IMAGES * PER_ROW / NETWORK
        scheduling = passes * IMAGES / PART * CALL
        body.append(
            [
                f"`{name}`",
                f"{largest['n']:,}: {number(largest['seconds'])} s",
                f"{passes:.0f}",
                number(largest["seconds"] * largest["threads"] * work / 3600),
                number(computing / 60),
                number(network / 60),
                number(scheduling / 60),
                number((computing + network + scheduling) / 60),
                number(largest["gigabytes"] * IMAGES / largest["n"]),
            ]
        )
    header = [
        "",
        "measured",
        "passes",
        "core hours",
        "computing, min",
        "network, min",
        "calls, min",
        "sum, min",
        "memory, GB",
    ]
    return table(header, body)


def approximate_neighbors() -> str:
    """Tabulate the seconds and the recall of approximate nearest neighbors by number of probes."""
    names = {"generated": "generated in clusters", "train": "CIFAR-10 by `efficientnet-lite0`, with jitter"}
    rows = pd.read_csv(RESULTS / "index.csv")
    rows = rows[(rows["search"] == "ivf") & (rows["status"] == "done")].sort_values(["data", "probes"])
    return table(
        ["embeddings", "probes", "seconds", "recall"],
        [
            [f"{row.n:,} × {row.d}, {names[row.data]}", row.probes, f"{row.seconds:,.0f}", f"{row.recall:.1%}"]
            for row in rows.itertuples()
        ],
    )


PARTS = {
    "ladder": ladder,
    "ladder-goals": ladder_goals,
    "approximate-neighbors": approximate_neighbors,
    "assumptions": assumptions,
    "hundred-million": hundred_million,
}
