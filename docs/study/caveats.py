"""End of the page: limitations, and how the results were computed."""

from __future__ import annotations

import math
from datetime import datetime
from importlib import metadata

import pandas as pd

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.stats.verdicts import ALPHA
from initpools_cli.steps.run_data import read_items
from study.sweeps import Study
from study.text import conjoined, seconds, table

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "faiss-cpu")


def limits(study: Study) -> list[str]:
    """List the limitations."""
    encoders = conjoined(sweep.encoder for sweep in study.sweeps)
    alarms = ALPHA * len(study.sweeps)
    highest = conjoined(
        name
        for sweep in study.sweeps
        for name, knobs in sweep.table["params"].items()
        if name in sweep.table["init"] and knobs.get("order") == "highest"
    )
    tests = {run.path.name: int((read_items(run)["split"] == "test").sum()) for run in study.runs}
    image = conjoined(f"{100 / count:.2g} points on {name}" for name, count in tests.items() if count)
    widths = " ".join(_width(study, each) for each in study.settings)
    points = [
        f"*Other encoders.* Learners, and first pools that read embeddings, use {encoders}. Encoders that "
        "were trained on the data sets were trained once. Another network, or another length or seed of pretraining, "
        "may give other results.",
        "*Other test images.* Seeds vary the candidates and all random draws. The test split is fixed, and the "
        f"intervals do not account for it. One test image is {image}.",
        "*Other data.* The candidates of different seeds overlap, so the intervals apply to this data set only.",
        f"*That first pools are equal.* Not distinguishable does not mean equal. {widths}",
        f"*That every verdict is right.* Each sweep is corrected separately. If there were no difference at all, up to "
        f"{alarms:.1f} of the {len(study.sweeps)} sweeps would still be expected to report one. Intervals, labels "
        "needed and correlations are not corrected.",
        "*The best possible result of each method.* All methods use their defaults; nothing was tuned."
        + (f" With {highest}, the highest scores come first; the lowest were not tried." if highest else ""),
        *_on_top(study),
        "*Large images, many classes, large budgets.* These experiments take a laptop one evening.",
    ]
    return ["## What this does not show", "\n".join(f"- {each}" for each in points)]


def _on_top(study: Study) -> list[str]:
    """List pretrains that were trained on another encoder than that of the learners."""
    encoders = {f"pretrain/{sweep.table['encoders'][0]}" for sweep in study.sweeps}
    based_on = {
        (step.name, step.table["source"])
        for run in study.runs
        for step in run.steps("pretrain")
        if "source" in step.table
    }
    return [
        f"*{name} on these embeddings.* The clusters of {name} were trained on top of {source}, not on the encoder "
        "used everywhere else here; with that encoder they may be better or worse."
        for name, source in sorted(based_on)
        if source and source not in encoders
    ]


def _width(study: Study, setting: str) -> str:
    """Report the width of the intervals, and the number of seeds that one point would need."""
    rows = study.verdicts(setting)
    half, seeds_needed = ((rows["high"] - rows["low"]) / 2).median(), rows["seeds_for_a_point"].median()
    if math.isnan(half + seeds_needed):
        return ""
    return (
        f"With {setting}, the median interval of a difference is ± {100 * half:.1f} points, and detecting one point "
        f"would take about {seeds_needed:,.0f} seeds."
    )


def provenance(study: Study) -> list[str]:
    """Describe the machine, the versions, and the time of every step."""
    here = machine()
    steps = pd.concat([_steps(run) for run in study.runs], ignore_index=True)
    kinds = list(dict.fromkeys(steps["kind"]))
    times = steps.pivot_table(index="run", columns="kind", values="duration", aggfunc="sum", sort=False).fillna(0)
    sums = [(run, *map(seconds, own[kinds]), seconds(own.sum())) for run, own in times.iterrows()]
    rows = steps.assign(time=steps["duration"].map(seconds), step=steps["kind"] + "/" + steps["name"])
    columns = ["run", "step", "time", "device", "threads", "torch", "version", "commit"]
    commands = "\n".join(f"initpools compare {sweep.step.folder}" for sweep in study.sweeps[:1])
    return [
        "## How it was made",
        f"Computed with `make laptop-study`; this page was written by `docs/results.py`, on {here['cpu']} with "
        f"{here['cores']} cores, Python {here['python']}, {', '.join(_libraries())}. All steps together took "
        f"{seconds(steps['duration'].sum())}, on a machine that also ran other jobs. For a step that was interrupted "
        "and resumed, only the last part counts.",
        table(("run", *kinds, "all"), sums),
        f"<details>\n<summary>Every step</summary>\n\n{table(columns, rows[columns].to_numpy())}\n\n</details>",
        "All verdicts of a sweep, with intervals, p-values, effect sizes and sentences:\n\n"
        f"```console\n{commands}\n```",
    ]


def _steps(run: Run) -> pd.DataFrame:
    """Tabulate the finished steps of a run, oldest first."""
    rows = []
    for step in run.steps():
        facts = step.facts
        start, end = (datetime.fromisoformat(facts[key]) for key in ("started", "finished"))
        kind, _, name = step.id.partition("/")
        about = {key: facts.get(key, "") for key in ("device", "threads", "torch", "version")}
        commit = facts.get("git_commit", "")[:7]
        duration = (end - start).total_seconds()
        rows.append({"run": run.path.name, "kind": kind, "name": name, "duration": duration, **about, "commit": commit})
    return pd.DataFrame(rows)


def _libraries() -> list[str]:
    """List the installed versions of the numerical libraries."""
    versions = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    return [f"{name} {versions[name]}" for name in LIBRARIES if name in versions]
