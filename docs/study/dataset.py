"""Results on one data set: accuracies, differences from random, curves, verdicts, labels needed."""

from __future__ import annotations

import math

import pandas as pd

from initpools_cli.core.rundir import Run
from initpools_cli.stats.intervals import mean_interval
from initpools_cli.stats.learning_curves import failures
from initpools_cli.stats.verdicts import values_of
from initpools_cli.steps.run_data import read_items
from study.curves import figure_name, has_curves
from study.sweeps import AGAINST, Study, Sweep
from study.text import conjoined, counted, points, sign, table

#: Maximum number of list items that are shown; the others are counted.
SHOWN = 6


def data_set(study: Study, run: Run) -> list[str]:
    """Write the section on a run, with a part for each setting."""
    data = run.path.name
    settings = [setting for setting in study.settings if study.of(setting, data)]
    if not settings:
        return [f"## {data}", "No sweep is finished."]
    items = read_items(run)
    splits = items["split"].value_counts()
    sizes = conjoined(f"{splits[split]:,} {split}" for split in ("train", "val", "test") if split in splits)
    parts = [f"## {data}", f"{sizes} images of {items['label'].nunique()} classes."]
    for setting in settings:
        sweeps, rows = study.of(setting, data), study.verdicts(setting, data)
        with_curves = [sweep for sweep in sweeps if has_curves(sweep)]
        parts += [
            f"### {data}, {setting}",
            _setting(sweeps, int(splits["train"])),
            _accuracies([sweep for sweep in sweeps if not sweep.table["rounds"]] or sweeps, rows),
            *(
                _differences([sweep for sweep in sweeps if sweep.table["rounds"]], rows, measure)
                for measure in ("area", "last round")
            ),
            _pictures(with_curves) if with_curves else "",
            _words(rows),
            _needed(study.rows("savings", setting, data)),
        ]
    return parts


def _setting(sweeps: list[Sweep], train: int) -> str:
    """Describe the encoder, the candidates, and how many of them are labeled at the end."""
    encoders = conjoined(sweep.encoder for sweep in sweeps)
    shares = conjoined(f"{100 * sweep.table['candidates']:g} %" for sweep in sweeps)
    n_failed = sum(len(failures(sweep.rounds)) for sweep in sweeps)
    lost = f" Failed cells, left out together with their pairs: {n_failed}." if n_failed else ""
    most = [sweep.last for sweep in sweeps if sweep.last > sweep.table["candidates"] * train / 2]
    alike = f" With {conjoined(most)} labels most of these are labeled, whatever was chosen first." if most else ""
    return f"Encoder: {encoders}. Each seed chooses from its own random {shares} of the train images.{alike}{lost}"


def _accuracies(sweeps: list[Sweep], rows: pd.DataFrame) -> str:
    """Tabulate, by first pool and size, the mean, half of the interval, and the verdict's sign."""
    start = rows[rows["measure"] == "first pool"]
    verdicts = start.set_index(["name", "init"])["verdict"].map(sign).to_dict()
    columns = [
        {
            str(init): _accuracy(values) + verdicts.get((sweep.name, init), "")
            for init, values in values_of(sweep.rounds, "accuracy", "first pool").groupby("init", sort=False)["value"]
        }
        for sweep in sweeps
    ]
    inits = dict.fromkeys(init for column in columns for init in column)
    lines = [(f"`{init}`", *(column.get(init, "") for column in columns)) for init in inits]
    seeds = conjoined(sorted({sweep.table["seeds"] for sweep in sweeps}))
    return (
        f"Accuracy with the first pool alone, in %: mean over {seeds} seeds ± half of its 95 % interval.\n\n"
        f"{table(('first pool', *(f'{sweep.size} labels' for sweep in sweeps)), lines)}"
    )


def _accuracy(values: pd.Series) -> str:
    mean, low, high = mean_interval(values)
    if math.isnan(mean):
        return "failed"
    return f"{100 * mean:.1f}" if math.isnan(low) else f"{100 * mean:.1f} ± {50 * (high - low):.1f}"


def _differences(sweeps: list[Sweep], rows: pd.DataFrame, measure: str) -> str:
    """Tabulate the differences of all queries, by first pool and size."""
    of = rows[rows["measure"] == measure]
    if not len(of):
        return ""
    queries = list(dict.fromkeys(of["query"]))
    cells = {
        (row["name"], row["init"], row["query"]): f"{points(row['difference'])}{sign(row['verdict'])}"
        for row in of.to_dict("records")
    }
    lines = [
        (f"`{init}`", *(" · ".join(cells.get((sweep.name, init, query), "") for query in queries) for sweep in sweeps))
        for init in dict.fromkeys(of["init"])
    ]
    where = {"area": "mean over the learning curve", "last round": "last round"}[measure]
    ends = (
        f"{sweep.size} to {sweep.last} labels" if measure == "area" else f"{sweep.size}, at {sweep.last} labels"
        for sweep in sweeps
    )
    order = f"queries, in this order: {' · '.join(queries)}" if len(queries) > 1 else f"query {queries[0]}"
    return f"Difference from {AGAINST}, {where}, in points ({order}).\n\n{table(('first pool', *ends), lines)}"


def _pictures(sweeps: list[Sweep]) -> str:
    """Show the figures, with a legend."""
    images = [
        f"![Learning curves of {sweep.data} from first pools of {sweep.size} labels](figures/{figure_name(sweep)})"
        for sweep in sweeps
    ]
    reading = (
        f"Learning curves, one figure per size of first pool. Black: {AGAINST}, with its 95 % band. In color: first "
        f"pools whose mean over the curve is distinguishable from {AGAINST}. Thin and gray: the others."
    )
    return "\n\n".join([reading, *images])


def _words(rows: pd.DataFrame) -> str:
    """Count the verdicts, and list the most notable ones as sentences."""
    significant = rows[rows["verdict"].isin(["better", "worse"])].sort_values("difference")
    start, end = (significant[significant["measure"] == measure] for measure in ("first pool", "last round"))
    gains, losses = start[start["verdict"] == "better"], start[start["verdict"] == "worse"]
    lasting = end.loc[end["difference"].abs().sort_values(ascending=False).index]
    notable = [*gains["sentence"].iloc[-1:], *losses["sentence"].iloc[:1], *lasting["sentence"].iloc[:SHOWN]]
    count = f"In all, of {len(rows)} comparisons: {counted(rows['verdict'])}."
    if not notable:
        return count
    more = f" ({len(lasting) - SHOWN} more are in the table)" if len(lasting) > SHOWN else ""
    last = f"the differences at the last round{more}" if len(lasting) else "no difference at the last round"
    sentences = "\n".join(f"- {sentence}" for sentence in notable)
    return f"{count} The largest gain and loss of a first pool, and {last}:\n\n{sentences}"


def _needed(rows: pd.DataFrame) -> str:
    """Count the curves that reach the final accuracy of random with fewer labels, and list the certain ones."""
    if not len(rows):
        return ""
    lines = []
    for _, of in rows.groupby("name", sort=False):
        end = int(of["of"].iloc[0])
        sooner, never = of[of["labels"] < end], of[of["labels"].map(math.isinf)]
        surely = sooner[sooner["high"] < end].sort_values("labels")
        examples = [
            f"{row['init']} with {row['query']} at {row['labels']:.0f} ({row['low']:.0f} to {row['high']:.0f})"
            for row in surely.head(SHOWN).to_dict("records")
        ]
        more = [f"{len(surely) - SHOWN} more"] if len(surely) > SHOWN else []
        lines.append(
            f"- {end} labels: {len(sooner)} of {len(of)} curves reach it with fewer, {len(never)} of {len(of)} never. "
            f"With fewer over the whole 95 % interval: {conjoined([*examples, *more]) or 'none'}."
        )
    return (
        f"Labels at which a mean curve reaches the final accuracy of {AGAINST} with the same query. Where curves are "
        "flat, a small difference in accuracy takes many labels. The intervals are not corrected for their number.\n\n"
    ) + "\n".join(lines)
