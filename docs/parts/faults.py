"""Generated parts of README.md and docs/run-directory.md: how many faults were tried, and what became of the runs."""

from __future__ import annotations

import pandas as pd

from parts.statistics import RESULTS
from parts.text import table

#: What a row of the table sums, by the beginning of the fault's name.
KINDS = {
    "SIG": "signals at random moments, also at the start of Python",
    "killed": "a kill at a file call, or in the middle of a write",
    "no space": "a full disk",
    "over quota": "a full quota",
    "read-only": "a disk that becomes read-only",
    "input/output": "an input/output error",
    "too many": "too many open files",
    "a ": "a damaged file of a finished run",
}
OTHERS = "several processes at once, foreign locks, closed or full streams, other clocks and folders"


def counts() -> str:
    """Tabulate the tries and those that survived, by kind of fault."""
    rows = pd.read_csv(RESULTS / "faults.csv")
    kinds = [
        next((words for start, words in KINDS.items() if fault.startswith(start)), OTHERS) for fault in rows["fault"]
    ]
    sums = rows.groupby(kinds, sort=False)[["tries", "survived"]].sum()
    order = [words for words in (*KINDS.values(), OTHERS) if words in sums.index]
    return table(
        ("fault", "commands", "tries", "survived"),
        (
            (
                words,
                rows["command"][[kind == words for kind in kinds]].nunique(),
                f"{sums['tries'][words]:,}",
                f"{sums['survived'][words]:,}",
            )
            for words in order
        ),
    )


def total() -> str:
    """Say how many faults were tried, and how many survived."""
    rows = pd.read_csv(RESULTS / "faults.csv")
    tries, survivals = rows["tries"].sum(), rows["survived"].sum()
    lost = int(rows[["lost", "torn", "traceback"]].to_numpy().sum())
    return (
        f"`make faults` tests this: it kills commands, makes file calls fail and damages files. {survivals:,} of "
        f"{tries:,} tries ended as promised;\n{lost or 'none'} lost or damaged a result "
        "([the table](docs/run-directory.md#what-is-promised))."
    )


PARTS = {"faults": counts, "faults-total": total}
