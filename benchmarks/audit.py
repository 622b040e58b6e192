"""Claim: the 95 % interval from audit images holds the accuracy on the images without a label in about 95 % of loops.

Replays the loops of loops.py: 2 or 10 audit images in each batch of 20 others. The truth is the accuracy of the model
of all labels on all images without a label. Beside it, the interval of cross-validation on all labels, Wilson's
interval of the audit images alone, and the mean calibrated confidence.

    python benchmarks/audit.py FOLDER        rewrites benchmarks/results/audit.csv (FOLDER of loops.py)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from loops import Loop, State, stored  # noqa: F401 - read by pickle
from record import RESULTS

from initpools_cli.core.cpu import machine
from initpools_cli.stats.audit_accuracy import audit_accuracy
from initpools_cli.stats.proportions import cross_validated_interval, share_interval

#: Rounds after which the accuracy is estimated, from 0.
ROUNDS = (0, 2, 4, 8, 13)


def estimates(loop, now):
    """Truth, and estimate, low and high of each method, after a round."""
    state = loop.states[now]
    n = len(state.right)
    audit, rounds = loop.audit[:n], loop.rounds[:n]
    right, audit_right = int(state.right.sum()), state.right[audit]
    return state.rest, {
        "audit": audit_accuracy(state.right, state.confidence, audit, rounds, state.left, state.rest_confidence),
        "audit images alone": (audit_right.mean(), *share_interval(int(audit_right.sum()), len(audit_right))),
        "cross-validation": (right / n, *cross_validated_interval(right, n)),
        "mean confidence": (state.rest_confidence, np.nan, np.nan),
    }


def main():
    groups = {}
    for (data, encoder, query, audit), loops in stored(Path(sys.argv[1])).items():
        for loop in loops:
            for now in ROUNDS:
                truth, by_method = estimates(loop, now)
                labels, audit_images = len(loop.states[now].right), (now + 1) * audit
                for where in ((data, encoder), ("all", "all")):
                    for method, values in by_method.items():
                        key = (*where, query, labels, audit_images, method)
                        groups.setdefault(key, []).append((truth, *values))
    rows = []
    for (data, encoder, query, labels, audit_images, method), values in groups.items():
        truth, estimate, low, high = np.array(values).T
        row = {**machine(), "numpy": np.__version__, "data": data, "encoder": encoder, "query": query}
        row |= {"labels": labels, "audit_images": audit_images, "method": method, "loops": len(values)}
        row |= {"truth": f"{truth.mean():.4f}", "estimate": f"{estimate.mean():.4f}"}
        row["error"] = f"{np.sqrt(((estimate - truth) ** 2).mean()):.4f}"
        if np.isfinite(low).all():
            row |= {"coverage": f"{((low <= truth) & (truth <= high)).mean():.4f}"}
            row |= {"truth_above": f"{(truth > high).mean():.4f}", "truth_below": f"{(truth < low).mean():.4f}"}
            row["width"] = f"{(high - low).mean():.4f}"
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(["data", "encoder", "query", "audit_images", "labels", "method"])
    table.to_csv(RESULTS / "audit.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
