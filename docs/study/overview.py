"""Start of the page: the comparisons, and a summary of the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from initpools_cli.cli.catalog import KINDS
from initpools_cli.core.rundir import Run
from initpools_cli.stats.verdicts import MEASURES
from initpools_cli.steps.run_data import read_items
from study.sweeps import AGAINST, Study
from study.text import LEGEND, conjoined, counted, points, sign, table

#: Names of the measures in sentences.
MEASURE_NAMES = {
    "first pool": "accuracy with the first pool alone",
    "area": "the mean over the learning curve",
    "last round": "accuracy at the last round",
}


def question(study: Study) -> list[str]:
    """Describe the comparisons, and list the missing sweeps."""
    inits = [init for sweep in study.sweeps for init in sweep.table["init"] if init != AGAINST]
    sizes = sorted({sweep.size for sweep in study.sweeps})
    summaries = {row["name"]: row["summary"] for row in KINDS["learners"]()}
    rows = []
    for setting in study.settings:
        sweeps = study.of(setting)
        learner, tables = sweeps[0].learner, [sweep.table for sweep in sweeps]
        numbers = (conjoined(sorted({each[key] for each in tables})) for key in ("rounds", "seeds"))
        queries = conjoined(query for each in tables if each["rounds"] for query in each["query"]) or "–"
        rows.append((setting, summaries[learner], queries, *numbers, len(tables)))
    missing = conjoined(f"`{name}`" for name in study.missing)
    growth = (
        ["*Later rounds*: where queries are listed, each pool then grew in rounds, by each query."]
        if any(sweep.table["rounds"] for sweep in study.sweeps)
        else []
    )
    facts = [
        f"*Data sets*: {conjoined(sweep.data for sweep in study.sweeps)}.",
        f"*First pools*: {conjoined(sizes)} labels, chosen by {conjoined(inits)} ([descriptions](methods.md)), and "
        f"compared with `{AGAINST}` at the same seeds.",
        *growth,
        "*Accuracy*: on the test split.",
    ]
    return [
        "For readers who want to know whether a first pool that is chosen without labels is better than a random one, "
        "with how many labels, and whether the gain lasts.",
        "\n".join(f"- {each}" for each in facts),
        table(("learner and encoder", "what it is", "queries", "rounds", "seeds", "sweeps finished"), rows),
        f"Not finished, and not on this page: {missing}." if missing else "",
        *_setups(study),
        f"In all tables: {LEGEND}",
    ]


def _setups(study: Study) -> list[str]:
    """Tabulate what differs between the data sets: images, candidates, and the pretraining of the encoders."""
    rows = []
    for run in study.runs:
        sweeps = [sweep for sweep in study.sweeps if sweep.data == run.path.name]
        splits = read_items(run)["split"].value_counts()
        shares = conjoined(f"{100 * sweep.table['candidates']:g} %" for sweep in sweeps)
        encoders = dict.fromkeys(sweep.encoder for sweep in sweeps)
        rows.append(
            (run.path.name, f"{splits['train']:,}", f"{splits.get('test', 0):,}", shares, *_made(run, encoders))
        )
    header = ("data set", "train", "test", "candidates for each seed", "encoders")
    return ["What differs between the data sets:", table(header, rows)] if len(rows) > 1 else []


def _made(run: Run, encoders: Iterable[str]) -> list[str]:
    """Describe how each encoder of a run was made."""
    parts = []
    for name in encoders:
        pretrain, embedding = run.find_step(f"pretrain/{name}"), run.find_step(f"embed/{name}")
        if pretrain is not None:
            width = pretrain.table.get("width", 1)
            narrow = f", channels × {width:g}" if width != 1 else ""
            parts.append(f"{name}: {pretrain.table['epochs']} epochs{narrow}")
        elif embedding is not None and "size" in embedding.table:
            parts.append(f"{name}: input of {embedding.table['size'] or 224} pixels")
    return ["; ".join(parts) or "–"]


def in_short(study: Study, setting: str) -> list[str]:
    """Summarize all sweeps of one setting."""
    rows = study.verdicts(setting)
    heading = f"## In short: {setting}"
    if not set(rows["verdict"]) & {"better", "worse", "not distinguishable"}:
        verdicts = conjoined(rows["verdict"])
        return [
            heading,
            f"All {len(rows)} comparisons with {AGAINST}: {verdicts}. The differences are below, without verdicts.",
        ]
    counts = [
        f"- By {MEASURE_NAMES[str(measure)]}: of {len(of)} comparisons with {AGAINST}, {counted(of['verdict'])}."
        for measure, of in rows.groupby("measure", sort=False)
    ]
    return [heading, "\n".join([*counts, *_lasting(rows), *_groups(rows)]), _by_strategy(rows), *_extremes(rows)]


def _lasting(rows: pd.DataFrame) -> Iterator[str]:
    """Count how many first pools stayed better, or worse."""
    start = rows[rows["measure"] == "first pool"].set_index(["name", "data", "init"])["verdict"].to_dict()
    end = rows[rows["measure"] == "last round"]
    began = pd.Series(
        [start.get(key, "") for key in zip(end["name"], end["data"], end["init"], strict=True)], end.index
    )
    for verdict, other in (("better", "worse"), ("worse", "better")):
        of = end.loc[began == verdict, "verdict"]
        if len(of):
            yield (
                f"- Of the {len(of)} curves (one per query) that began {verdict} than {AGAINST}, "
                f"{(of == verdict).sum()} were still {verdict} at the last round, and {(of == other).sum()} {other}."
            )


def _tally(rows: pd.DataFrame) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Count, for each first pool and measure, how often it was better and worse, and of how many; the best first."""
    tally = {
        str(init): {
            str(measure): (int((each["verdict"] == "better").sum()), int((each["verdict"] == "worse").sum()), len(each))
            for measure, each in of.groupby("measure", sort=False)
        }
        for init, of in rows.groupby("init", sort=False)
    }
    margin = {init: by["first pool"][0] - by["first pool"][1] for init, by in tally.items()}
    return {init: tally[init] for init in sorted(tally, key=lambda init: -margin[init])}


def _groups(rows: pd.DataFrame) -> Iterator[str]:
    """Group first pools by whether they were ever better, worse, both or neither."""
    start = {init: by["first pool"] for init, by in _tally(rows).items()}
    better = [f"{init} ({up} of {of})" for init, (up, down, of) in start.items() if up and not down]
    worse = [f"{init} ({down} of {of})" for init, (up, down, of) in start.items() if down and not up]
    both = [init for init, (up, down, _) in start.items() if up and down]
    neither = [init for init, (up, down, _) in start.items() if not up and not down]
    for words, inits in (
        ("were better at least once and never worse", better),
        ("were worse at least once and never better", worse),
        ("were sometimes better and sometimes worse", both),
        (f"were never distinguishable from {AGAINST}", neither),
    ):
        if inits:
            yield f"- First pools that {words}: {conjoined(inits)}."


def _by_strategy(rows: pd.DataFrame) -> str:
    measures = [measure for measure in MEASURES if measure in set(rows["measure"])]
    lines = [
        (f"`{init}`", *(_counts(by[measure]) if measure in by else "–" for measure in measures))
        for init, by in _tally(rows).items()
    ]
    return table(("first pool", *(MEASURE_NAMES[measure] for measure in measures)), lines)


def _counts(tally: tuple[int, int, int]) -> str:
    better, worse, of = tally
    return f"{better} ▲ {worse} ▼ of {of}"


def _extremes(rows: pd.DataFrame) -> list[str]:
    """List the largest gain and the largest loss of each data set and size."""
    start = rows[rows["measure"] == "first pool"]
    sizes = sorted(set(start["size"]))
    lines = []
    for data, own in start.groupby("data", sort=False):
        cells = []
        for size in sizes:
            of = own[own["size"] == size].sort_values("difference")
            ends = (of.iloc[-1], of.iloc[0]) if len(of) else ()
            texts = [f"{end['init']} {points(end['difference'])}{sign(end['verdict'])}" for end in ends]
            cells.append("; ".join(texts) or "not finished")
        lines.append((data, *cells))
    return [
        f"The best and the worst first pools and their difference from {AGAINST}, in points of accuracy (selected "
        "after seeing the results, so the true differences are probably smaller):",
        table(("data set", *(f"{size} labels" for size in sizes)), lines),
    ]
