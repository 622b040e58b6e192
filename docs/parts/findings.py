"""Generated parts of docs/findings.md: tables of the preregistered studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from parts.comparisons import NOT_RUN, Cell, difference, difference_table, values
from parts.statistics import read_results
from parts.text import table

BUDGETS = (500, 1000, 5000)
ORDERS = ("highest", "middle", "lowest", "stratified")
DECODERS = {"sigmoid": "vae", "tanh": "tanh"}
#: Prefixes of the runs of each encoder: on CIFAR-10, on its long tail.
ENCODERS = {"vae": "cifar10-vae", "simclr": "cifar10-simclr", "efficientnet-lite0": "cifar10"}
LONG_TAIL = {"simclr": "lt-simclr", "efficientnet-lite0": "lt"}
MEDMNIST = {"PathMNIST-mini": "pathmnist", "PneumoniaMNIST": "pneumonia"}
FIRST = ("kmeans-random", "typiclust")
LEARNERS = ("linear", "knn")
QUERIES = ("random", "margin")
ENCODER_SEEDS = 3


def _runs(prefix: str) -> list[str]:
    """Return the names of an encoder's runs: its own, or one for each seed."""
    return [prefix, *(f"{prefix}{seed}" for seed in range(ENCODER_SEEDS))]


def _own(encoder: str) -> tuple[str, ...]:
    return {"simclr": ("simclr",), "vae": ("vae",)}.get(encoder, ())


def _loss_orders(decoder: str) -> Iterator[Cell]:
    for order in ORDERS:
        for budget in BUDGETS:
            yield Cell(
                f"`{order}`",
                f"{budget:,} labels",
                values(run=_runs(f"cifar10-{DECODERS[decoder]}"), sweep=f"{order}-{budget}", init="vae"),
                values(run="cifar10", sweep=f"first-{budget}", init="random", learner="linear"),
            )


def loss_orders(decoder: str) -> str:
    """Tabulate pools by reconstruction loss against random ones (H1.1)."""
    return difference_table("order of the losses", _loss_orders(decoder))


def loss_trend() -> str:
    """Compare the difference of the highest losses at 10 % with that at 1 % (H1.2)."""
    family = {(cell.row, cell.column): cell for cell in _loss_orders("sigmoid")}
    first, last = (family["`highest`", f"{budget:,} labels"] for budget in (BUDGETS[0], BUDGETS[-1]))
    if not (first.first and first.second and last.first and last.second):
        return NOT_RUN
    result, signs = difference(*([a - b for a, b in zip(c.first, c.second * 3, strict=False)] for c in (last, first)))
    points = 100 * result.difference, 100 * result.low, 100 * result.high
    return (
        f"The difference at 10 % minus that at 1 %: {points[0]:+.1f} points ({points[1]:+.1f} to {points[2]:+.1f}), "
        f"p = {result.p:.4f}, signs by encoder {signs}."
    )


def loss_scratch() -> str:
    """Tabulate pools by reconstruction loss with networks trained from scratch."""
    random = values(run="cifar10", sweep="scratch-500", init="random")
    family = [
        Cell(
            f"`{order}`",
            f"{decoder} decoder",
            values(run=f"cifar10-{kind}0", sweep=f"scratch-{order}-500", init="vae"),
            random,
        )
        for order in ORDERS
        for decoder, kind in DECODERS.items()
    ]
    return difference_table("order of the losses", family)


def loss_contrast() -> str:
    """Tabulate correlations of reconstruction losses with contrast and file size (H1.3)."""
    lines = [
        (f"{row['decoder']}, seed {row['seed']}", f"{float(row['contrast']):+.2f}", f"{float(row['jpeg_bytes']):+.2f}")
        for row in read_results("preregistered-losses")
    ]
    return table(("decoder", "loss and contrast", "loss and size of the JPEG file"), lines)


def windows() -> str:
    """Tabulate correlations of accuracy with the loss of pools (H1.4)."""
    lines = [
        (row["what"], *(f"{float(row[key]):+.2f}" for key in ("value", "low", "high")))
        for row in read_results("preregistered-windows-correlations")
    ]
    return table(("Spearman's correlation of accuracy and mean loss", "value", "95 % from", "to"), lines)


def vae_features() -> str:
    """Tabulate `typiclust` on features of autoencoders against random pools (H1.5)."""
    where = {"run": _runs("cifar10-vae"), "learner": "linear"}
    family = [
        Cell(
            "`typiclust`",
            f"{budget:,} labels",
            values(**where, sweep=f"first-{budget}", init="typiclust"),
            values(**where, sweep=f"first-{budget}", init="random"),
        )
        for budget in BUDGETS
    ]
    return difference_table("pool", family)


def _spread() -> Iterator[Cell]:
    for pool in ("vae", "vae@kmeans10"):
        for budget in (10, 50, 100, 500):
            where = {"run": _runs("cifar10-vae"), "sweep": f"spread-{budget}"}
            yield Cell(f"`{pool}`", f"{budget} labels", values(**where, init=pool), values(**where, init="random"))


def spread() -> str:
    """Tabulate pools of the highest losses, spread over clusters and not (H1.6)."""
    return difference_table("pool", _spread())


def spread_classes() -> str:
    """Tabulate the entropy of the classes of these pools."""
    lines = []
    for pool in ("random", "vae", "vae@kmeans10"):
        row = [f"`{pool}`"]
        for budget in (10, 50, 100, 500):
            by_run = values("class_entropy", run=_runs("cifar10-vae"), sweep=f"spread-{budget}", init=pool)
            row.append(f"{pd.concat(by_run).mean():.2f}" if by_run else NOT_RUN)
        lines.append(row)
    return table(("pool", *(f"{budget} labels" for budget in (10, 50, 100, 500))), lines)


def _first_pools(encoder: str, learner: str) -> Iterator[Cell]:
    for pool in (*FIRST, *_own(encoder)):
        for budget in BUDGETS:
            where = {"run": _runs(ENCODERS[encoder]), "sweep": f"first-{budget}", "learner": learner}
            yield Cell(f"`{pool}`", f"{budget:,} labels", values(**where, init=pool), values(**where, init="random"))


def first_pools(encoder: str, learner: str) -> str:
    """Tabulate first pools of an encoder against random ones (H2.1)."""
    return difference_table("pool", _first_pools(encoder, learner))


def _rounds(
    prefix: str, pools: Sequence[str], labels: Sequence[int], queries: Sequence[str], metric: str
) -> Iterator[Cell]:
    for query in queries:
        for pool in pools:
            for number, labeled in enumerate(labels):
                # The first pool is the same for every query, and no query has been made.
                where = {"run": _runs(prefix), "sweep": "rounds", "round": number}
                where |= {"query": query} if number else {}
                yield Cell(
                    f"`{pool}`, then `{query}`",
                    f"{labeled:,}",
                    values(metric, **where, init=pool),
                    values(metric, **where, init="random"),
                )


def rounds(encoder: str) -> str:
    """Tabulate first pools against random ones over the rounds after them (H2.2)."""
    pools = (*FIRST, *_own(encoder))
    return difference_table(
        "pool and query", _rounds(ENCODERS[encoder], pools, range(500, 2501, 500), QUERIES, "accuracy")
    )


def signs() -> str:
    """Tabulate the difference of `typiclust` from random at 500 labels by encoder (H2.3)."""
    lines = []
    for prefix in ENCODERS.values():
        for run in _runs(prefix):
            where = {"run": run, "sweep": "first-500", "learner": "linear"}
            first, second = values(**where, init="typiclust"), values(**where, init="random")
            if first and second:
                result, _ = difference(first, second)
                lines.append((run, *(f"{100 * value:+.1f}" for value in (result.difference, result.low, result.high))))
    return table(("run", "points", "95 % from", "to"), lines)


def _tail_pools(encoder: str) -> tuple[str, ...]:
    return (*FIRST, "kcenter", *_own(encoder))


def _tail(encoder: str) -> Iterator[Cell]:
    sweeps = (("140 labels", {"sweep": "rounds", "round": 0}), ("1,400 labels", {"sweep": "first-1400"}))
    for pool in _tail_pools(encoder):
        for column, where in sweeps:
            place = {"run": _runs(LONG_TAIL[encoder]), **where}
            yield Cell(
                f"`{pool}`",
                column,
                values("balanced_accuracy", **place, init=pool),
                values("balanced_accuracy", **place, init="random"),
            )
    if encoder == "efficientnet-lite0":
        for column, where in sweeps:
            yield Cell(
                "`vae`",
                column,
                values("balanced_accuracy", run=_runs("lt-vae"), **where, init="vae"),
                values("balanced_accuracy", run="lt", **where, init="random"),
            )


def long_tail(encoder: str) -> str:
    """Tabulate first pools of a long tail against random ones (H3.1)."""
    return difference_table("pool", _tail(encoder))


def rare_recall(encoder: str) -> str:
    """Tabulate the recall of the rarest third of the classes, and the labels until every class is seen (H3.2)."""
    lines = []
    for pool in ("random", *_tail_pools(encoder)):
        row = [f"`{pool}`"]
        for where in ({"sweep": "rounds", "round": 0}, {"sweep": "first-1400"}):
            by_run = values("rare_recall", run=_runs(LONG_TAIL[encoder]), **where, init=pool)
            row.append(f"{100 * pd.concat(by_run).mean():.1f}" if by_run else NOT_RUN)
        for query in QUERIES:
            where = {"sweep": "rounds", "query": query}
            by_run = values("labels_until_seen", run=_runs(LONG_TAIL[encoder]), **where, init=pool)
            row.append(_median(pd.concat(by_run)) if by_run else NOT_RUN)
        lines.append(row)
    header = (
        "pool", "rare recall, 140 labels", "rare recall, 1,400 labels", "labels with `random` rounds",
        "labels with `margin` rounds",
    )  # fmt: skip
    return table(header, lines)


def _median(labels: pd.Series) -> str:
    """Format the median of the labels until every class is seen, which some cells never do."""
    never = labels.isna().mean()
    return "more than were bought" if never >= 0.5 else f"{labels.fillna(float('inf')).median():g}"


def _reference_pools() -> list[str]:
    ranks = [f"rank/{name}" for name in ("entropy", "margin", "bald", "consistency", "vaal-cosine", "kcenter")]
    return [*ranks, "hard-to-contrast", "easy-to-contrast", "ambiguous-to-contrast"]


def _cold_start(data: str, learner: str) -> Iterator[Cell]:
    for pool in _reference_pools():
        for labeled in (20, 120):
            where = {"run": _runs(f"{MEDMNIST[data]}-simclr"), "sweep": learner, "labeled": labeled}
            first, second = (values(**where, init=name) for name in (pool, "random"))
            complete = len(first) == len(second) == ENCODER_SEEDS
            yield Cell(f"`{pool}`", f"{labeled} labels", first if complete else [], second)


def cold_start(data: str, learner: str) -> str:
    """Tabulate reference pools against random ones (H4.1)."""
    return difference_table("pool", _cold_start(data, learner))


def first_and_later() -> str:
    """Tabulate the correlation of the pools' accuracies at 20 and 120 labels (H4.2)."""
    lines = [
        (row["data"], f"`{row['learner']}`", f"{float(row['spearman']):+.2f}", f"{float(row['corrected']):.3f}")
        for row in read_results("preregistered-first-later")
    ]
    if not lines:
        return "Not run."
    return table(("data set", "learner", "Spearman's correlation", "corrected p"), lines)


def study_failures() -> str:
    """Say how many cells failed."""
    from parts.comparisons import RESULTS

    rows = pd.read_parquet(RESULTS / "preregistered.parquet")
    failures = int((rows["status"] != "ok").sum())
    return f"{len(rows):,} cells and rounds were measured; {failures} failed."


def study_time() -> str:
    """Sum up the time of the steps by kind, and name the machine."""
    rows = pd.DataFrame(read_results("preregistered-time"))
    rows["kind"] = rows["step"].str.split("/").str[0]
    hours = rows["seconds"].astype(float).groupby(rows["kind"]).sum() / 3600
    first, torch = rows.iloc[0], rows.loc[rows["torch"] != "", "torch"].iloc[0]
    kinds = table(("step", "hours"), [(f"`{kind}`", f"{value:.1f}") for kind, value in hours.items()])
    return f"{first['cpu']}, {first['cores']} cores, PyTorch {torch}; one thread for each step.\n\n{kinds}"


PARTS: Mapping[str, Callable[..., str]] = {
    "loss-orders": loss_orders,
    "loss-trend": loss_trend,
    "loss-scratch": loss_scratch,
    "loss-contrast": loss_contrast,
    "loss-windows": windows,
    "vae-features": vae_features,
    "spread": spread,
    "spread-classes": spread_classes,
    "study-first-pools": first_pools,
    "first-pool-rounds": rounds,
    "first-pool-signs": signs,
    "long-tail": long_tail,
    "rare-recall": rare_recall,
    "cold-start": cold_start,
    "first-and-later": first_and_later,
    "study-failures": study_failures,
    "study-time": study_time,
}
