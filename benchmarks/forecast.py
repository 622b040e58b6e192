"""Claim: from 70 labels on, the forecast gain of 50 and 100 labels beats 'no change' and the last slope by 20 %.

Replays the loops of loops.py. The truth is the accuracy on test images after 20, 50 and 100 further labels minus that
now, interpolated between rounds. The constants of `initpools_cli.stats.forecast` are fitted on sign-digits and
CIFAR-10; MNIST and waste had no part in them. For 20 labels the goal is missed, so the tool does not forecast them.

- no change: gain 0. last slope: the difference of the last two cross-validated accuracies, for each label.
- Their 90 % intervals are the 5 % and 95 % quantiles of their errors on the data sets of the fit, for each number of
  further labels.
- score: interval score (Gneiting & Raftery 2007), the width plus 20 times what is missed; the mean. Smaller is better.

    python benchmarks/forecast.py FOLDER          rewrites benchmarks/results/forecast.csv (FOLDER of loops.py)
    python benchmarks/forecast.py FOLDER --fit    prints constants
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from loops import Loop, State, stored  # noqa: F401 - read by pickle
from record import RESULTS
from scipy.optimize import minimize

from initpools_cli.core.cpu import machine
from initpools_cli.stats import forecast

FITTED = ("sign-digits", "cifar10-12k")
MORE = (20, 50, 100)


def cases(loops):
    """A row for each round and number of further labels."""
    rows = []
    for (data, encoder, query, audit), runs in loops.items():
        for loop in runs if audit == 2 else ():
            labels = np.array([len(state.right) for state in loop.states])
            test_accuracy = np.array([state.test for state in loop.states])
            accuracy = np.array([state.right.mean() for state in loop.states])
            for now, state in enumerate(loop.states[1:], 1):
                last = (accuracy[now] - accuracy[now - 1]) / (labels[now] - labels[now - 1])
                for more in MORE:
                    if labels[now] + more <= labels[-1]:
                        gain = np.interp(labels[now] + more, labels, test_accuracy) - test_accuracy[now]
                        about = (1 - state.rest_confidence, accuracy[now], state.parts[0])
                        rows.append((data, encoder, query, more, labels[now], gain, last * more, *about))
    names = ["data", "encoder", "query", "more", "labels", "gain", "last", "error", "accuracy", "half"]
    return pd.DataFrame(rows, columns=names)


def score(low, high, truth):
    """Interval score of 90 % intervals."""
    return high - low + 20 * np.maximum(low - truth, 0) + 20 * np.maximum(truth - high, 0)


def fit(table):
    """Constants for the gain (least absolute error) and for its interval (interval score)."""
    table = table[table["labels"] >= forecast.FEWEST]
    weight = 1 / table.groupby(["data", "encoder", "query"])["labels"].transform("size")
    weight = weight / np.sqrt(table["more"] / table["labels"])
    grows = np.log1p(table["more"] / table["labels"])
    slope = (table["accuracy"] - table["half"]) / np.log(0.8 / 0.5)

    def gain(constants):
        return np.maximum(0, constants[0] * table["error"] + constants[1] * slope) * grows

    first = minimize(lambda c: (weight * abs(gain(c) - table["gain"])).sum(), [0.1, 0.2], method="Nelder-Mead").x
    mean, root = gain(first), np.sqrt(table["labels"])

    def loss(c):
        low = mean - abs(c[0]) * mean - abs(c[1]) / root
        high = mean + abs(c[2]) / root + abs(c[3]) * np.sqrt(table["more"]) / table["labels"]
        return (weight * score(low, high, table["gain"])).sum()

    second = minimize(loss, [0.4, 0.15, 0.16, 0.33], method="Nelder-Mead", options={"maxiter": 4000}).x
    print("OF_ERROR, OF_SLOPE =", first.round(3), "BELOW, NOISE_BELOW, NOISE_ABOVE, FAR_ABOVE =", abs(second).round(3))


def forecasts(table):
    """The table with each method's mean, low and high."""
    gains = []
    for row in table.itertuples():
        slope = forecast.slope_of(row.error, row.accuracy, row.half)
        gains.append(forecast.expected_gain(slope, row.labels, row.more))
    names = ["ours", "ours_low", "ours_high"]
    table = table.assign(**dict(zip(names, np.array(gains).T, strict=True)), none=0.0)
    is_fit_data = table["data"].isin(FITTED)
    for name in ("none", "last"):
        for more in MORE:
            rows = table["more"] == more
            low, high = np.quantile((table["gain"] - table[name])[rows & is_fit_data], [0.05, 0.95])
            table.loc[rows, f"{name}_low"] = table.loc[rows, name] + low
            table.loc[rows, f"{name}_high"] = table.loc[rows, name] + high
    return table


def summary(table):
    """A row for each data set, encoder, range of labels and number of further labels."""
    table["from"] = pd.cut(table["labels"], [0, 50, forecast.FEWEST - 1, 130, 1_000], labels=[22, 51, 70, 131])
    for everything in (False, True):
        part = table[table["labels"] >= forecast.FEWEST] if everything else table
        keys = ["data", "encoder", "more"] if everything else ["query", "from", "more"]
        if not everything:
            part = part[~part["data"].isin(FITTED)]
        for values, group in part.groupby(keys, observed=True):
            labels_of = dict(zip(keys, values, strict=True))
            row = {key: labels_of.get(key, "all") for key in ("data", "encoder", "query")}
            row["data"] = row["data"] if everything else "held out"
            row |= {
                "labels_from": labels_of.get("from", forecast.FEWEST),
                "more": labels_of["more"],
                "forecasts": len(group),
            }
            row["gain"] = f"{group['gain'].mean():.4f}"
            errors, scores = {}, {}
            for name in ("ours", "none", "last"):
                errors[name] = abs(group[name] - group["gain"]).mean()
                scores[name] = score(group[f"{name}_low"], group[f"{name}_high"], group["gain"]).mean()
                row |= {f"{name}_error": f"{errors[name]:.4f}", f"{name}_score": f"{scores[name]:.4f}"}
            inside = (group["ours_low"] <= group["gain"]) & (group["gain"] <= group["ours_high"])
            yield row | {
                "error_ratio": f"{errors['ours'] / min(errors['none'], errors['last']):.3f}",
                "score_ratio": f"{scores['ours'] / min(scores['none'], scores['last']):.3f}",
                "coverage": f"{inside.mean():.3f}",
            }


def main():
    table = cases(stored(Path(sys.argv[1])))
    if "--fit" in sys.argv:
        return fit(table[table["data"].isin(FITTED)])
    same = {**machine(), "numpy": np.__version__}
    rows = pd.DataFrame([same | row for row in summary(forecasts(table))])
    rows.to_csv(RESULTS / "forecast.csv", index=False, lineterminator="\n")
    return None


if __name__ == "__main__":
    main()
