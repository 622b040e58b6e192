"""Generated parts of docs/very-large.md: commands on large inputs, and what grows in long sessions."""

from __future__ import annotations

from typing import Any

import pandas as pd

from parts.statistics import RESULTS
from parts.text import number, table

#: What the size of each part counts.
UNITS = {"memmap": "rows", "folder": "images", "sweep": "cells", "loop": "rounds", "page": "actions"}
#: Processor seconds are given for one of so many parts of a session.
SHARES = {"loop": 10, "page": 20}
#: The commands that judge and draw a sweep, and the goal for their clock seconds.
JUDGED, GOAL = ("compare load", "plot curves", "plot report"), 30


def inputs() -> str:
    """Tabulate the seconds and the memory of commands on large inputs."""
    rows = _results()
    rows = rows[~rows["part"].isin(SHARES)]
    return table(
        ("command", "input", "clock, s", "processor, s", "memory, MiB"),
        (
            (
                row.step,
                f"{row.size:,} {UNITS[row.part]}",
                number(row.clock_seconds),
                number(row.processor_seconds),
                f"{row.peak_mib:,.0f}",
            )
            for row in rows.itertuples()
        ),
    )


def judged() -> str:
    """Say how long it takes to judge and to draw the sweep, and whether the goal is met."""
    rows = _results()
    rows = rows[(rows["part"] == "sweep") & rows["step"].isin(JUDGED)]
    clock, processor = rows["clock_seconds"].sum(), rows["processor_seconds"].sum()
    goal = f"The goal of {GOAL} seconds on the clock is"
    result = "met" if clock <= GOAL else f"not shown to be met: beside other work it took {number(clock)}"
    return (
        f"Comparing and plotting the sweep (`compare`, `plot curves`, `plot report`) took {number(processor)} seconds "
        f"of processor time. {goal} {result}."
    )


def sessions() -> str:
    """Tabulate processor seconds, memory and open files at the start, in the middle and at the end of a session."""
    rows = _results()
    rows = rows[rows["part"].isin(SHARES)]
    return table(
        ("session", "processor, s", "memory, MiB", "open files"),
        (
            (
                f"{row.size:,} {UNITS[row.part]} (seconds for {row.size // SHARES[row.part]:,})",
                _marks(row, "processor_seconds", "{:.1f}"),
                _marks(row, "mib", "{:.0f}"),
                _marks(row, "open_files", "{:.0f}"),
            )
            for row in rows.itertuples()
        ),
    )


def _results() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "load.csv")


def _marks(row: Any, what: str, form: str) -> str:
    return " → ".join(form.format(getattr(row, f"{what}_{mark}")) for mark in ("start", "middle", "end"))


PARTS = {"load-inputs": inputs, "load-judged": judged, "load-sessions": sessions}
