"""The table of first pools in the README."""

from __future__ import annotations

from initpools_cli.networks.efficientnet_lite import DEFAULT
from initpools_cli.stats.verdicts import values_of
from initpools_cli.strategies.defaults import FIRST_POOL
from study.sweeps import AGAINST, Study
from study.text import sign, table

START, END = "<!-- first pools -->", "<!-- end of first pools -->"
SIZES = (10, 20, 100)


def with_first_pools(text: str, study: Study) -> str:
    """Return the text with the table between its marks: the default strategy and random on the default backbone."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n\n{_first_pools(study)}\n\n{END}{rest.partition(END)[2]}"


def _first_pools(study: Study) -> str:
    sweeps = [
        sweep
        for sweep in study.sweeps
        if sweep.encoder == DEFAULT and sweep.learner == "linear" and not sweep.table["rounds"] and sweep.size in SIZES
    ]
    cells = {}
    for sweep in sweeps:
        means = values_of(sweep.rounds, "accuracy", "first pool").groupby("init")["value"].mean()
        rows = study.verdicts_by_name[sweep.name].verdicts
        own = rows[(rows["sweep"] == sweep.data) & (rows["init"] == FIRST_POOL) & (rows["measure"] == "first pool")]
        numbers = f"{100 * means[AGAINST]:.1f} → {100 * means[FIRST_POOL]:.1f}"
        cells[sweep.data, sweep.size] = f"{numbers} {sign(own['verdict'].iloc[0])}".strip()
    names = list(dict.fromkeys(sweep.data for sweep in sweeps))
    lines = [(size, *(cells.get((name, size), "–") for name in names)) for size in SIZES]
    return table(("labels", *names), lines)
