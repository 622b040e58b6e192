"""First pools under supervised and semi-supervised learners: results of finished sweeps, and the tables about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from initpools_cli.core.cpu import machine
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.stats.paired import Paired, holm, paired
from initpools_cli.stats.verdicts import decide
from initpools_cli.sweeps.results import rounds_of
from study.sweeps import AGAINST
from study.text import points, sign, table

#: The learner that the others are compared with, by kind of input.
SUPERVISED = {"self-training": "linear", "label-spreading": "knn", "flexmatch": "finetune"}
#: What a row of results is about.
KEYS = ("data", "encoder", "labels", "learner", "init")
#: Labels in the first pools of the study.
SIZES = (10, 20, 50, 100)
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def rows_of(run: Run, name: str) -> Iterator[dict[str, object]]:
    """Yield one row for each first pool and learner of a finished sweep: its accuracy at every seed.

    Raises
    ------
    UserError
        The sweep is not finished, or a cell failed.
    """
    step = run.find_step(f"al/{name}")
    if step is None:
        raise UserError(
            f"{run.path} has no finished sweep {name}.", "Make it with `make semi-supervised-study`.", f"{name}"
        )
    rounds = rounds_of(step)
    if (rounds["status"] != "ok").any():
        n_failed = int((rounds["status"] != "ok").sum())
        raise UserError(f"{n_failed} cells of {step.folder} failed.", f"Run `{step.renewal()}` again.", str(n_failed))
    seconds = _seconds(step)
    about = {**machine(), **{name: metadata.version(name) for name in LIBRARIES}}
    for (encoder, learner, init), own in rounds.groupby(["encoder", "learner", "init"], sort=False):
        accuracy = own.sort_values("seed")["accuracy"]
        yield {
            "data": run.path.name,
            "encoder": encoder,
            "labels": int(own["labeled"].iloc[0]),
            "learner": learner,
            "init": init,
            "seeds": len(own),
            "accuracy": " ".join(f"{value:.5f}" for value in accuracy),
            "leaks": int(own["leaks"].sum()),
            "sweep_seconds": round(seconds),
            **about,
        }


def _seconds(step: FinishedStep) -> float:
    start, end = (datetime.fromisoformat(step.facts[key]) for key in ("started", "finished"))
    return (end - start).total_seconds()


def encoded(rows: Sequence[dict[str, object]]) -> str:
    """Encode rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


class Results:
    """Accuracies of all cells, by data set, encoder, labels, learner and first pool.

    Attributes
    ----------
    rows : DataFrame
        The rows of the file.
    """

    def __init__(self, file: Path) -> None:
        self.rows = pd.read_csv(file, keep_default_na=False)
        self._cells = {
            tuple(row[key] for key in KEYS): np.array(row["accuracy"].split(), dtype=float)
            for row in self.rows.to_dict("records")
        }

    def names(self, key: str, **conditions: object) -> list[object]:
        """Return the values of a column, in order of appearance, among the rows with the given values."""
        rows = self.rows
        for column, value in conditions.items():
            rows = rows[rows[column] == value]
        return list(dict.fromkeys(rows[key].tolist()))

    def cell(self, *key: object) -> NDArray[np.float64]:
        """Return the accuracy at every seed."""
        return self._cells[key]

    def has(self, *key: object) -> bool:
        """Return whether there is such a row."""
        return key in self._cells

    def sweeps(self) -> list[tuple[object, object, object]]:
        """Return the data set, encoder and labels of every sweep."""
        return list(dict.fromkeys(zip(self.rows["data"], self.rows["encoder"], self.rows["labels"], strict=True)))

    def missing(self) -> list[str]:
        """Return the combinations of data set, encoder and labels without results, as text."""
        sweeps = {*self.sweeps()}
        grid = product(self.names("data"), self.names("encoder"), SIZES)
        return [
            f"{data} with {encoder} and {labels} labels"
            for data, encoder, labels in grid
            if (data, encoder, labels) not in sweeps
        ]


def comparisons(results: Results) -> pd.DataFrame:
    """Compare every first pool with random, paired by seed and corrected by Holm over each sweep.

    Returns
    -------
    DataFrame
        The columns of `KEYS`, difference, low, high and verdict.
    """
    rows = []
    for sweep in results.sweeps():
        setting = dict(zip(("data", "encoder", "labels"), sweep, strict=True))
        names = [
            (learner, init)
            for learner in results.names("learner", **setting)
            for init in results.names("init", **setting, learner=learner)
            if init != AGAINST
        ]
        pairs = [paired(results.cell(*sweep, *name), results.cell(*sweep, name[0], AGAINST)) for name in names]
        rows += _verdict_rows([(*sweep, *name) for name in names], pairs)
    return pd.DataFrame(rows)


def learner_gains(results: Results, counterparts: Mapping[str, str] = SUPERVISED) -> pd.DataFrame:
    """Compare learners with others on the same pools.

    Parameters
    ----------
    results : Results
    counterparts : mapping of str to str
        The other learner by learner; default: the supervised one of each semi-supervised one.

    Returns
    -------
    DataFrame
        As of `comparisons`; corrected over each data set, encoder and number of labels.
    """
    rows = []
    for sweep in results.sweeps():
        setting = dict(zip(("data", "encoder", "labels"), sweep, strict=True))
        names = [
            (learner, init)
            for learner, init in product(counterparts, results.names("init", **setting))
            if results.has(*sweep, learner, init) and results.has(*sweep, counterparts[learner], init)
        ]
        pairs = [
            paired(results.cell(*sweep, learner, init), results.cell(*sweep, counterparts[learner], init))
            for learner, init in names
        ]
        rows += _verdict_rows([(*sweep, *name) for name in names], pairs)
    return pd.DataFrame(rows)


def gain_changes(results: Results) -> pd.DataFrame:
    """Compare the gain over random under a semi-supervised learner with that under its supervised counterpart.

    Returns
    -------
    DataFrame
        As of `comparisons`; the difference is that of the gains.
    """
    rows = []
    for sweep in results.sweeps():
        setting = dict(zip(("data", "encoder", "labels"), sweep, strict=True))
        names, pairs = [], []
        for learner, init in product(SUPERVISED, results.names("init", **setting)):
            both = (learner, SUPERVISED[learner])
            if init == AGAINST or not all(results.has(*sweep, each, init) for each in both):
                continue
            gains = [results.cell(*sweep, each, init) - results.cell(*sweep, each, AGAINST) for each in both]
            names.append((*sweep, learner, init))
            pairs.append(paired(*gains))
        rows += _verdict_rows(names, pairs)
    return pd.DataFrame(rows)


def _verdict_rows(names: Sequence[tuple[object, ...]], pairs: Sequence[Paired]) -> list[dict[str, object]]:
    p_values = holm([each.p for each in pairs])
    return [
        {
            **dict(zip(KEYS, name, strict=True)),
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "verdict": decide(each, float(p), len(pairs)),
        }
        for name, each, p in zip(names, pairs, p_values, strict=True)
    ]


def tally(rows: pd.DataFrame, key: str, names: tuple[str, str] = ("better", "worse")) -> str:
    """Tabulate by one column: how often better and worse, and the mean difference in points.

    Parameters
    ----------
    names : (str, str)
        Headings of the columns of "better" and "worse".
    """
    lines = []
    for name, own in rows.groupby(key, sort=key == "labels"):
        better, worse = ((own["verdict"] == verdict).sum() for verdict in ("better", "worse"))
        label = name if key == "labels" else f"`{name}`"
        lines.append((label, len(own), better, worse, points(own["difference"].mean())))
    return table((key.replace("init", "first pool"), "comparisons", *names, "mean difference"), lines)


def never_worse(rows: pd.DataFrame) -> list[str]:
    """Return the first pools that are better than random at least once, and never worse."""
    return [
        str(init)
        for init, own in rows.groupby("init", sort=False)
        if (own["verdict"] == "better").any() and not (own["verdict"] == "worse").any()
    ]


def accuracies(results: Results, verdict_rows: pd.DataFrame, data: object, encoder: object) -> str:
    """Tabulate the mean accuracy of each first pool, by labels and learner, with the sign of its verdict."""
    sizes = sorted(results.names("labels", data=data, encoder=encoder))
    verdict_of = verdict_rows.set_index(list(KEYS))["verdict"].to_dict()
    lines = []
    for size in sizes:
        setting = {"data": data, "encoder": encoder, "labels": size}
        names = results.names("learner", **setting)
        for learner in names:
            cells = []
            for init in results.names("init", data=data, encoder=encoder):
                key = (data, encoder, size, learner, init)
                verdict = sign(verdict_of[key]) if key in verdict_of else ""
                cells.append(f"{100 * results.cell(*key).mean():.1f}{verdict}" if results.has(*key) else "–")
            lines.append((size, f"`{learner}`", *cells))
    inits = [f"`{init}`" for init in results.names("init", data=data, encoder=encoder)]
    return table(("labels", "learner", *inits), lines)
