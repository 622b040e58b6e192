"""The end of the page: what all this does not show, and how it was made."""

from __future__ import annotations

import math
from datetime import datetime
from importlib import metadata

import pandas as pd

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.stats.verdicts import ALPHA
from initpools_cli.steps.context import read_items
from study.sweeps import Study
from study.text import conjoined, seconds, table

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "faiss-cpu")


def limits(study: Study) -> list[str]:
    """What may not be concluded."""
    encoders = conjoined(sweep.table["encoders"][0] for sweep in study.sweeps)
    alarms = ALPHA * len(study.sweeps)
    highest = conjoined(
        name
        for sweep in study.sweeps
        for name, knobs in sweep.table["params"].items()
        if name in sweep.table["init"] and knobs.get("order") == "highest"
    )
    tests = {run.path.name: int((read_items(run)["split"] == "test").sum()) for run in study.runs}
    image = conjoined(f"{100 / count:.2g} points on {name}" for name, count in tests.items() if count)
    said = [
        f"*Other encoders.* Learners, and first pools that look at embeddings, have {encoders}, pretrained once on "
        "each data set. Another network, length or seed of pretraining may say otherwise.",
        "*Other test images.* What varies over seeds is which images may be chosen, and what is drawn at random; the "
        f"test split stays, and intervals do not cover it. One test image is {image}.",
        "*Other data.* The images that two seeds choose from overlap: intervals are about this data set, not the next.",
        f"*Equality.* Not distinguishable is not equal. {' '.join(_width(study, each) for each in study.learners)}",
        f"*A page without false alarms.* Each sweep is corrected by itself. Were there no difference anywhere, up to "
        f"{alarms:.1f} of the {len(study.sweeps)} sweeps would be expected to claim one. Intervals, labels needed and "
        "correlations are not corrected.",
        "*The best each can do.* Every method has its defaults; nothing was tuned."
        + (f" By {highest} the highest scores come first; the lowest were not tried." if highest else ""),
        *_on_top(study),
        "*Large images, many classes, large budgets.* This is what a laptop does in an evening.",
    ]
    return ["## What this does not show", "\n".join(f"- {each}" for each in said)]


def _on_top(study: Study) -> list[str]:
    """What stands on another encoder than the learners do."""
    used = {f"pretrain/{sweep.table['encoders'][0]}" for sweep in study.sweeps}
    stands = {
        (done.name, done.table["source"])
        for run in study.runs
        for done in run.steps("pretrain")
        if "source" in done.table
    }
    return [
        f"*{name} on these embeddings.* The clusters of {name} were trained on top of {source}, not on the encoder "
        "that everything else here stands on; on that one they may be better or worse."
        for name, source in sorted(stands)
        if source and source not in used
    ]


def _width(study: Study, learner: str) -> str:
    """How wide the intervals are, and how many seeds a point would take."""
    rows = study.verdicts(learner)
    half, needed = ((rows["high"] - rows["low"]) / 2).median(), rows["seeds_for_a_point"].median()
    if math.isnan(half + needed):
        return ""
    return (
        f"With {learner}, half of the intervals of a difference reach farther than {100 * half:.1f} points to either "
        f"side, and to see one point would take about {needed:,.0f} seeds."
    )


def provenance(study: Study) -> list[str]:
    """What made the numbers, and how long it took."""
    here = machine()
    steps = pd.concat([_steps(run) for run in study.runs], ignore_index=True)
    kinds = list(dict.fromkeys(steps["kind"]))
    spent = steps.pivot_table(index="run", columns="kind", values="taken", aggfunc="sum", sort=False).fillna(0)
    sums = [(run, *map(seconds, own[kinds]), seconds(own.sum())) for run, own in spent.iterrows()]
    shown = steps.assign(time=steps["taken"].map(seconds), step=steps["kind"] + "/" + steps["name"])
    columns = ["run", "step", "time", "device", "threads", "torch", "version", "commit"]
    commands = "\n".join(f"initpools compare {sweep.done.folder}" for sweep in study.sweeps[:1])
    return [
        "## How it was made",
        f"By `make laptop-study`; this page by `docs/results.py`, on {here['cpu']} with {here['cores']} cores, Python "
        f"{here['python']}, {', '.join(_libraries())}. All steps took {seconds(steps['taken'].sum())}, with whatever "
        "else the machine had to do; of a step that was interrupted and resumed, the last stretch counts.",
        table(("run", *kinds, "all"), sums),
        f"<details>\n<summary>Every step</summary>\n\n{table(columns, shown[columns].to_numpy())}\n\n</details>",
        f"All verdicts of a sweep, with intervals, p-values and effects, and in words:\n\n```console\n{commands}\n```",
    ]


def _steps(run: Run) -> pd.DataFrame:
    """The finished steps of a run, oldest first."""
    rows = []
    for done in run.steps():
        facts = done.facts
        started, finished = (datetime.fromisoformat(facts[end]) for end in ("started", "finished"))
        kind, _, name = done.id.partition("/")
        about = {key: facts.get(key, "") for key in ("device", "threads", "torch", "version")}
        commit = facts.get("git_commit", "")[:7]
        taken = (finished - started).total_seconds()
        rows.append({"run": run.path.name, "kind": kind, "name": name, "taken": taken, **about, "commit": commit})
    return pd.DataFrame(rows)


def _libraries() -> list[str]:
    """Versions of what computes, where it is installed."""
    found = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    return [f"{name} {found[name]}" for name in LIBRARIES if name in found]
