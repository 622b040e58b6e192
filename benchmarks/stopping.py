"""Claim: `--stop-at` stops before the accuracy is reached in at most 5 % of loops.

Replays the loops of loops.py with 2 or 10 audit images in each batch of 20 others. For each loop and target, the loop
stops at the first round whose bound (`stats.anytime_bound`, 95 %) is at least the target. It is too early if the model
of that round is right about fewer of the images without a label than the target says. Beside it, two rules without a
guarantee under repeated looks: the lower end of the 95 % interval of the audit sample, and that of cross-validation.

    python benchmarks/stopping.py FOLDER        rewrites benchmarks/results/stopping.csv (FOLDER of loops.py)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from audit import estimates
from loops import Loop, State, stored  # noqa: F401 - read by pickle
from record import RESULTS

from initpools_cli.core.cpu import machine
from initpools_cli.stats.anytime_bound import anytime_bound

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)


def bounds(loop):
    """Lower bound of each rule after each round."""
    right, counts = [], []
    for now in range(len(loop.states)):
        if now:
            foreseen = loop.states[now - 1].foreseen
            right.append(int(foreseen.sum()))
            counts.append(len(foreseen))
        _, by_method = estimates(loop, now)
        yield {
            "bound": anytime_bound(right, counts) if counts else 0.0,
            "audit interval": by_method["audit"][1],
            "cross-validation": by_method["cross-validation"][1],
        }


def main():
    groups = {}
    for (data, encoder, query, audit), loops in stored(Path(sys.argv[1])).items():
        for loop in loops:
            round_bounds = list(bounds(loop))
            truth = [state.rest for state in loop.states]
            labels = [len(state.right) for state in loop.states]
            for target in TARGETS:
                first = next((labels[i] for i, each in enumerate(truth) if each >= target), np.nan)
                for rule in round_bounds[0]:
                    stop = next((i for i, each in enumerate(round_bounds) if each[rule] >= target), None)
                    early = stop is not None and truth[stop] < target
                    labels_at_stop = np.nan if stop is None else labels[stop]
                    for where in ((data, encoder), ("all", "all")):
                        key = (*where, query, audit, target, rule)
                        groups.setdefault(key, []).append((stop is not None, early, labels_at_stop, first))
    rows = []
    for (data, encoder, query, audit, target, rule), values in sorted(groups.items()):
        is_stopped, early, labels_at_stop, first = np.array(values, dtype=np.float64).T
        row = {**machine(), "numpy": np.__version__, "data": data, "encoder": encoder, "query": query}
        row |= {"audit_images_a_batch": audit, "target": target, "rule": rule, "loops": len(values)}
        row |= {"reached": f"{np.isfinite(first).mean():.3f}", "stopped": f"{is_stopped.mean():.3f}"}
        row |= {"too_early": f"{early.mean():.4f}"}
        both = np.isfinite(labels_at_stop) & np.isfinite(first)
        row |= {"labels_when_reached": f"{first[both].mean():.0f}" if both.any() else ""}
        row |= {"labels_when_stopped": f"{labels_at_stop[both].mean():.0f}" if both.any() else ""}
        rows.append(row)
    pd.DataFrame(rows).to_csv(RESULTS / "stopping.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
