"""Results of `probcover` with several radii."""

from __future__ import annotations

from initpools_cli.core.rundir import FinishedStep
from initpools_cli.stats.paired import paired
from initpools_cli.stats.verdicts import values_of
from initpools_cli.sweeps.results import rounds_of
from study.sweeps import AGAINST, Study
from study.text import points, table

#: Beginning of the names of sweeps with a radius: ``lite0-radius-0.6``.
NAMES = "lite0-radius-"
STRATEGY = "probcover"


def radii(study: Study) -> list[str]:
    """Tabulate the difference of `probcover` from random by radius, and with the radius of its own rule."""
    sweeps = {
        (run.path.name, step.name.removeprefix(NAMES)): step
        for run in study.runs
        for step in run.folders("al")
        if step.name.startswith(NAMES)
    }
    if not sweeps:
        return []
    sizes = {int(step.facts["table"]["init_budget"]) for step in sweeps.values()}
    (size,) = sizes
    own = {sweep.data: sweep.step for sweep in study.sweeps if sweep.name == f"lite0-linear-{size}"}
    deltas = sorted({delta for _, delta in sweeps}, key=float)
    lines = []
    for data in dict.fromkeys(data for data, _ in sweeps):
        cells = [_difference(sweeps[data, delta]) if (data, delta) in sweeps else "" for delta in deltas]
        lines.append((data, *cells, _difference(own[data]) if data in own else ""))
    return [
        f"## {STRATEGY} by radius",
        f"The result of `{STRATEGY}` depends on its radius `delta`. The table has the difference in accuracy from "
        f"{AGAINST} with a first pool of {size} labels, in points with the 95 % interval: for several radii "
        f"(embeddings of length 1), and for the radius that `{STRATEGY}` sets by its own rule. The learner is linear, "
        "on the default backbone. Which radius is best can't be known before the images are labeled.",
        table(("data set", *deltas, "own rule"), lines),
    ]


def _difference(step: FinishedStep) -> str:
    values = values_of(rounds_of(step), "accuracy", "first pool").set_index(["init", "seed"])["value"]
    difference = paired(values[STRATEGY].to_numpy(), values[AGAINST].to_numpy())
    return f"{points(difference.difference)} ({points(difference.low)} to {points(difference.high)})"
