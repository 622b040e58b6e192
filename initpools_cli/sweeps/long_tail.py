"""Outcomes of finished sweeps on a long tail: balanced accuracy, recall of rare classes, labels for all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.rundir import FinishedStep
from initpools_cli.stats.learning_curves import CURVE, with_shared_start
from initpools_cli.stats.long_tail import is_long_tail, labels_until_seen, rare_recall, rarest_third
from initpools_cli.steps.run_data import read_items, read_mask

if TYPE_CHECKING:
    import pandas as pd

RECALLS, PICKS = "recalls.csv", "picks.npz"
#: Columns that a row of recalls.csv shares with rounds.csv.
KEYS = [*CURVE, "seed", "round", "labeled"]


@dataclass(frozen=True)
class LongTail:
    """The classes of a data set whose class counts differ more than tenfold.

    Attributes
    ----------
    names : list of str
    counts : (c,) int64
        Number of train images of each class.
    labels : (n,) int64
        Of the train images; -1 for none.
    """

    names: list[str]
    counts: np.ndarray
    labels: np.ndarray

    @property
    def rare(self) -> np.ndarray:
        """The rarest third of the classes."""
        return rarest_third(self.counts)

    @property
    def note(self) -> str:
        """The main outcome of the sweep, with the reason."""
        counts = self.counts[self.counts > 0]
        rare = [self.names[each] for each in self.rare]
        names = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if rare[5:] else "")
        return (
            f"Long tail: the classes have {counts.min():,} to {counts.max():,} train images, so balanced accuracy is "
            f"the main outcome. Rarest third of the classes: {names}."
        )


def long_tail_of(step: FinishedStep) -> LongTail | None:
    """Return the classes of a sweep's data set; None if their counts do not differ more than tenfold.

    Data sets with several labels per image have none.
    """
    import pandas as pd

    names = list(step.frame(RECALLS, nrows=0).columns[len(KEYS) :]) if RECALLS in step.facts["writes"] else []
    items = read_items(step.run)
    train = items[items["split"] == "train"]
    if not names or not pd.api.types.is_numeric_dtype(train["label"]):
        return None
    labels = train["label"].fillna(-1).to_numpy(np.int64)
    counts = np.bincount(labels[read_mask(step.run) & (labels >= 0)], minlength=len(names))
    return LongTail(names, counts, labels) if is_long_tail(counts) else None


def with_rare_recall(step: FinishedStep, rounds: pd.DataFrame, tail: LongTail) -> pd.DataFrame:
    """Add the column ``rare_recall``, the mean recall of the rarest third of the classes, to rows of rounds.csv."""
    recalls = step.frame(RECALLS, keep_default_na=False, na_values={name: [""] for name in tail.names})
    values = rare_recall(recalls[tail.names].to_numpy(np.float64), tail.rare)
    table = recalls[KEYS].assign(rare_recall=values)
    return rounds.merge(table, on=KEYS, how="left")


def count_labels(step: FinishedStep, tail: LongTail) -> pd.DataFrame:
    """Count the labels until every class has one, for each cell.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, labels (infinite if some class has none), bought.
    """
    import pandas as pd

    classes, rows = np.flatnonzero(tail.counts), []
    with np.load(step.verified_path(PICKS), allow_pickle=False) as file:
        for key in file.files:
            *curve, seed = key.split("|")
            picks = file[key]
            rows.append((*curve, int(seed), labels_until_seen(tail.labels[picks], classes), len(picks)))
    return pd.DataFrame(rows, columns=[*CURVE, "seed", "labels", "bought"])


def outcomes(step: FinishedStep, rounds: pd.DataFrame, tail: LongTail) -> pd.DataFrame:
    """Summarize each curve of a sweep on a long tail at its last round.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, labeled, seeds; balanced_accuracy and rare_recall (means over seeds, with
        _low and _high, their 95 % intervals); labels_until_seen (median over seeds, infinite if half of them never
        see all), seen (seeds that see all classes).
    """
    import pandas as pd

    from initpools_cli.stats.intervals import mean_interval

    curves = with_shared_start(rounds)
    last_round = curves[(curves["status"] == "ok") & (curves["round"] == curves["round"].max())]
    label_counts = count_labels(step, tail)
    rows: list[dict[str, Any]] = []
    for curve, cells in last_round.groupby(CURVE, sort=False):
        row: dict[str, Any] = dict(zip(CURVE, curve, strict=True))
        row |= {"labeled": int(cells["labeled"].max()), "seeds": len(cells)}
        for name in ("balanced_accuracy", "rare_recall"):
            mean, low, high = mean_interval(cells[name].to_numpy(np.float64))
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        own = label_counts[(label_counts[CURVE] == list(curve)).all(axis=1)]["labels"].to_numpy()
        row |= {"labels_until_seen": float(np.median(own)) if len(own) else np.nan, "seen": int(np.isfinite(own).sum())}
        rows.append(row)
    return pd.DataFrame(rows)


def long_tail_notes(step: FinishedStep, rounds: pd.DataFrame) -> list[str]:
    """Return the outcomes of a sweep on a long tail, one line for each curve; empty for other sweeps.

    Parameters
    ----------
    step : FinishedStep
    rounds : DataFrame
        From `results.rounds_of`.
    """
    tail = long_tail_of(step)
    if tail is None:
        return []
    rows = outcomes(step, rounds, tail).to_dict("records")
    return [tail.note, *(_line({str(key): value for key, value in row.items()}) for row in rows)]


def _line(row: dict[str, Any]) -> str:
    curve = ", ".join(str(row[key]) for key in CURVE if row[key])
    parts = []
    for name, title in (("balanced_accuracy", "balanced accuracy"), ("rare_recall", "recall of the rarest third")):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        interval = "" if np.isnan(low) else f" ({low:.1%} to {high:.1%})"
        parts.append(f"{title} {row[name]:.1%}{interval}")
    labels = row["labels_until_seen"]
    until = f"every class seen after {labels:.0f} labels" if np.isfinite(labels) else "not every class seen"
    return f"{curve}, {row['labeled']:,} labels: {', '.join(parts)}, {until} ({row['seen']} of {row['seeds']} seeds)."
