"""Draw what the run has: one function a kind gathers its data, ``analysis/`` draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Done
from initpools_cli.core.version import version
from initpools_cli.steps.bring import Brought, read_labeled, read_labels
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.inputs import train_items
from initpools_cli.steps.pool import read_pool

if TYPE_CHECKING:
    pass

#: Endings of what a figure is written as.
FORMATS = (".html", ".png", ".svg")

Gathered = tuple[dict[str, Any], list[Done]]


def plot(context: Context, kind: str, names: list[str], brought: Brought, source: str, output: Path | None) -> Path:
    """Write the figure and return where.

    Parameters
    ----------
    names : list of str
        The sweep, pools, scores or pretrains to draw; default: the newest sweep, all of the others.
    source : str
        The embeddings, for kinds that need them.
    output : Path, optional
        .html, .png or .svg; default: ``plot/<kind>.html`` in the run.

    Raises
    ------
    UserError
        An unknown kind, or nothing to draw yet, with the command that makes it.
    """
    from initpools_cli.analysis.registry import plots

    method = plots.get(kind)
    knobs = method.validate(context.settings.plot.params)
    gathered, steps = GATHER[method.name](context, names, brought, source, knobs)
    figure = method.build(**gathered, **knobs)
    target = output or context.run.path / "plot" / f"{method.name}.html"
    facts = context.run.facts()
    provenance = {
        "run": str(context.run.path),
        "data set": facts["dataset"]["name"],
        "command": context.command,
        "initpools": version(),
        **{step.id: step.facts["command"] for step in steps},
    }
    return write_figure(
        figure, target, f"{method.name} — {facts['dataset']['name']}", provenance, context.settings.plot.theme
    )


def plot_from_files(
    kind: str, params: Mapping[str, Any], brought: Brought, seed: int, theme: Any, output: Path, command: str
) -> Path:
    """A scatter of brought embeddings with the brought indices marked, or scores, without a run."""
    import pandas as pd

    from initpools_cli.analysis.registry import plots
    from initpools_cli.strategies.choose import as_rows
    from initpools_cli.strategies.inputs import INPUTS

    method = plots.get(kind)
    knobs = method.validate(params)
    arrays = {name: INPUTS[name].check(array) for name, array in brought.arrays().items()}
    if method.name == "scatter" and "embeddings" in arrays:
        count = len(arrays["embeddings"])
        picks = None
        if brought.labeled:
            named = read_labeled(brought.labeled, None)
            checked = as_rows("--labeled", named, count)
            # Indices keep the order they came in: it is the order of choice.
            rows = checked if named.dtype == bool else named
            picks = pd.DataFrame({"index": rows, "order": np.arange(len(rows))})
        gathered = {
            "points": _projected(arrays["embeddings"], knobs, seed),
            "items": pd.DataFrame({"index": np.arange(count)}),
            "picks": picks,
        }
    elif method.name == "scores" and "scores" in arrays:
        gathered = {"scores": pd.DataFrame({"name": str(brought.scores), "score": arrays["scores"]})}
    else:
        raise UserError(
            f"`plot {kind}` can't be drawn from the given files alone.",
            "Name a run with --run DIR; scatter takes --embeddings, and scores takes --scores.",
        )
    return write_figure(
        method.build(**gathered, **knobs), output, kind, {"command": command, "initpools": version()}, theme
    )


def write_figure(figure: Any, target: Path, title: str, provenance: Mapping[str, str], theme: Any) -> Path:
    """As one of `FORMATS`, by the file's ending."""
    from initpools_cli.analysis.html import figure_html
    from initpools_cli.analysis.image import image_bytes
    from initpools_cli.core.files import atomic_file, write_text

    if target.suffix.lower() == ".html":
        write_text(target, figure_html(figure, title, provenance, theme))
    else:
        drawn = image_bytes(figure, target.suffix, theme)
        with atomic_file(target) as stream:
            stream.write(drawn)
    return target


def _curves(context: Context, names: list[str], brought: Brought, source: str, knobs: Mapping[str, Any]) -> Gathered:
    import pandas as pd

    from initpools_cli.steps.rounds import rounds_of

    sweeps = _chosen(context, "al", names, "initpools al-run --init random,typiclust --query random,margin")
    latest = sweeps if names else sweeps[-1:]
    return {"rounds": pd.concat([rounds_of(step) for step in latest], ignore_index=True)}, latest


def _histogram(context: Context, names: list[str], brought: Brought, source: str, knobs: Mapping[str, Any]) -> Gathered:
    import pandas as pd

    items = train_items(context)
    if brought.labels:
        rows, labels, classes = read_labels(brought.labels, items, context.data.classes)
        items = items.assign(label=pd.array([pd.NA] * len(items), dtype="Int64"), **{"class": ""})
        items.loc[rows, "label"] = labels
        items.loc[rows, "class"] = np.array(classes)[labels]
    else:
        context.require_labels("`plot histogram` counts classes: it")
    items = items[context.data.kept]
    pools = _chosen(context, "pool", names, "initpools select-pool typiclust --budget 20")
    found = []
    for step in pools:
        picked = read_pool(step)["index"]
        found.append(items.loc[items["index"].isin(picked), ["index", "label", "class"]].assign(pool=step.name))
    return {"pools": pd.concat(found, ignore_index=True), "items": items}, pools


def _scatter(context: Context, names: list[str], brought: Brought, source: str, knobs: Mapping[str, Any]) -> Gathered:
    embedded = newest(context, source)
    asks = names or context.run.folders("pool")
    pools = _chosen(context, "pool", names, "initpools select-pool typiclust --budget 20") if asks else []
    latest = pools[-1:]
    picks = read_pool(latest[0])[["index", "order"]] if latest else None
    kept = np.flatnonzero(context.data.kept)
    points = _projected(np.asarray(matrix(embedded))[kept], knobs, context.seed)
    return {"points": points, "items": train_items(context).iloc[kept], "picks": picks}, [embedded, *latest]


def _scores(context: Context, names: list[str], brought: Brought, source: str, knobs: Mapping[str, Any]) -> Gathered:
    import pandas as pd

    steps = _chosen(context, "score", names, "initpools score simclr")
    frames = [pd.DataFrame({"name": step.name, "score": step.array("scores.npy")[context.data.kept]}) for step in steps]
    return {"scores": pd.concat(frames, ignore_index=True)}, steps


def _losses(context: Context, names: list[str], brought: Brought, source: str, knobs: Mapping[str, Any]) -> Gathered:
    import pandas as pd

    steps = _chosen(context, "pretrain", names, "initpools pretrain simclr")
    logs = [step.frame("log.csv").assign(pretrain=step.name, task=step.table["method"]) for step in steps]
    return {"logs": pd.concat(logs, ignore_index=True)}, steps


def _projected(embeddings: np.ndarray, knobs: Mapping[str, Any], seed: int) -> np.ndarray:
    from initpools_cli.analysis.projection import pca_2d, tsne_2d

    return {"pca": pca_2d, "tsne": tsne_2d}[knobs["projection"]](embeddings, seed)


def _chosen(context: Context, kind: str, names: list[str], command: str) -> list[Done]:
    """The named finished steps of a kind, or all of them."""
    made = {step.name: step for step in context.run.steps(kind)}
    if not made:
        raise UserError(f"The run {context.run.path} has nothing in {kind}/ to draw yet.", f"Make it with `{command}`.")
    missing = [name for name in names if name not in made]
    if missing:
        raise UserError(f"The run {context.run.path} has no {kind}/{missing[0]}.", f"It has: {', '.join(made)}.")
    if names:
        return [made[name].require_fresh() for name in names]
    fresh = [step for step in made.values() if not step.lost and not step.stale_input()]
    for step in made.values():
        if step not in fresh:
            context.report.warn(f"{step.id} is not drawn: renew it with `{step.renewal()}`")
    return fresh or [list(made.values())[-1].require_fresh()]


#: What each registered kind is drawn from. The test that walks the registry fails where one is missing.
GATHER: Mapping[str, Callable[..., Gathered]] = {
    "curves": _curves,
    "histogram": _histogram,
    "losses": _losses,
    "scatter": _scatter,
    "scores": _scores,
}
