"""Choose the images to label first, and store them with a report card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.audit_size import audit_size
from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_frame
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.core.seeds import derive
from initpools_cli.steps.audit_sample import AUDIT, draw, mix, readable
from initpools_cli.steps.context import Context
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.recall import report_recall
from initpools_cli.steps.report_card import CardData, NearestPicks, nearness, read_card, short_card, write_card
from initpools_cli.steps.rows import identity, tell_short, zero_count
from initpools_cli.steps.strategy_inputs import StrategyInputs, pick
from initpools_cli.steps.strategy_name import parse_strategy, with_balance
from initpools_cli.strategies.selection import Selection

if TYPE_CHECKING:
    import pandas as pd

#: Columns of a pool's items.csv and of ``-o pool.csv``.
COLUMNS = ["order", "index", "path", "label", "score", "cluster", "represents"]


@dataclass(frozen=True)
class Pool:
    """Images to label, in order of choice.

    Attributes
    ----------
    rows : DataFrame
        The columns `COLUMNS`; unknown paths and labels are empty. With an audit sample, a last column
        ``origin`` says of each image whether the strategy chose it (batch) or it was drawn at random (audit).
    card : dict
        The short report card.
    inputs : StrategyInputs
        The inputs of the strategy.
    step : FinishedStep or None
        Its step, in a run.
    fresh : bool
        False if the step was finished already.
    """

    rows: pd.DataFrame
    card: dict[str, Any]
    inputs: StrategyInputs
    step: FinishedStep | None = None
    fresh: bool = True

    @property
    def indices(self) -> np.ndarray:
        """The images, (budget,) int64."""
        return self.rows["index"].to_numpy(np.int64)

    @classmethod
    def from_step(cls, step: FinishedStep, inputs: StrategyInputs, fresh: bool) -> Pool:
        """Read the pool of a step."""
        return cls(read_pool(step), read_card(step), inputs, step, fresh)


def resolve_pool(provider: Provider) -> StrategyInputs:
    """Resolve the inputs of the strategy of [select].

    Raises
    ------
    UserError
        Anything wrong with strategy, budget or inputs.
    """
    select = provider.settings.select
    if not select.budget:
        raise UserError("Missing option --budget.", "Add it, for example --budget 20.", "--budget")
    return provider.resolve(with_balance(parse_strategy(select.strategy), select), select.params, "select.params")


def select_pool(provider: Provider, inputs: StrategyInputs | None = None) -> Pool:
    """Choose a pool; a run stores it in ``pool/<strategy>-b<budget>-s<seed>/``.

    The files are indices.npy, items.csv, card.toml, and, if the strategy reads embeddings, represents.npy: the nearest
    pick of each image.

    Parameters
    ----------
    inputs : StrategyInputs, optional
        From `resolve_pool`.

    Raises
    ------
    UserError
        Anything wrong with strategy, budget or inputs.
    """
    inputs = inputs or resolve_pool(provider)
    context, select = provider.context, provider.settings.select
    if context is None:
        selection, origins, data, near = _choose(provider, inputs)
        card = short_card(data, selection.indices, near, inputs.strategy.name)
        return Pool(pool_rows(selection, near, inputs.items, origins), card, inputs)
    step = _step(context, select, inputs, provider.files.identity)
    if step.finished:
        return Pool.from_step(step.finished, inputs, False)
    with context.writing(step) as scratch, report_recall(context.report, step):
        selection, origins, data, near = _choose(provider, inputs)
        write_array(scratch / "indices.npy", selection.indices)
        write_frame(scratch / "items.csv", pool_rows(selection, near, inputs.items, origins))
        if near is not None:
            represents = np.full(inputs.n, -1, np.int64)
            represents[data.point_rows] = near.owner
            write_array(scratch / "represents.npy", represents)
        write_card(scratch, short_card(data, selection.indices, near, inputs.strategy.name))
        step.outcome = {"picked": len(selection.indices)}
        if origins is not None:
            step.outcome["audit"] = int((origins == AUDIT).sum())
    return Pool.from_step(FinishedStep(context.run, step.folder), inputs, True)


def _choose(
    provider: Provider, inputs: StrategyInputs
) -> tuple[Selection, np.ndarray | None, CardData, NearestPicks | None]:
    """The picks with the audit sample, their origins if there is one, and the data and distances for the card."""
    select, report = provider.settings.select, provider.report
    audit = _audit_sample(provider, inputs)
    others = replace(inputs, candidates=np.setdiff1d(inputs.candidates, audit), hidden=np.union1d(inputs.hidden, audit))
    selection = pick(others, select.budget, select, provider.seed, report, "--budget ", select.partitions)
    tell_short(report, len(selection.indices), select.budget, select)
    origins = None
    if len(audit):
        selection, origins = mix(selection, audit, derive(provider.seed, "audit", 0))
        report.say(f"{len(audit)} audit images, drawn at random, are mixed into the {select.budget} of --budget.")
    data = provider.card_data(inputs, inputs.arrays.get("embeddings"))
    return selection, origins, data, nearness(data, selection.indices)


def _audit_sample(provider: Provider, inputs: StrategyInputs) -> np.ndarray:
    """Draw the audit sample, before the strategy chooses among the others."""
    select = provider.settings.select
    count = audit_size(select.audit, select.budget)
    if not count:
        return np.empty(0, np.int64)
    free = inputs.unlabeled(inputs.images)
    if select.budget + count > len(free):
        raise UserError(
            f"--budget {select.budget} and --audit {select.audit} ask for {select.budget + count:,} images, but only "
            f"{len(free):,} have no label.",
            "Use a smaller --budget or --audit.",
            f"{select.budget + count:,}",
        )
    return draw(free[readable(provider.context, free)], count, derive(provider.seed, "audit", 0))


def _step(context: Context, select: SelectTable, inputs: StrategyInputs, classes: dict[str, list[str]]) -> PendingStep:
    """Return the step of the pool, with everything that it depends on."""
    strategy = inputs.strategy
    table = {
        **select.identity(),
        **classes,
        "strategy": strategy.base,
        "balance": strategy.balance.kind,
        **strategy.identity(inputs.knobs, inputs.params),
        "n_clusters": strategy.balance.n_clusters,
        "seed": context.seed,
        "source": inputs.source,
        **zero_count(inputs.arrays.get("embeddings"), inputs.image_mask),
        **identity(inputs.facts, inputs.image_mask, inputs.labeled, select),
        **({"oracle": True} if strategy.oracle else {}),
    }
    ending = f"-b{select.budget}-s{context.seed}"
    return context.run.step(
        "pool",
        f"{strategy.folder}{ending}",
        table,
        {**context.items_checksum(), **inputs.reads},
        force=context.force,
        also=[f"{name}{ending}" for name in strategy.spellings],
    )


def pool_rows(
    selection: Selection,
    near: NearestPicks | None,
    items: pd.DataFrame | None,
    origins: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row a pick, in order of choice; the column ``label`` is empty, for the annotator."""
    import pandas as pd

    count = len(selection.indices)
    counts = [pd.NA] * count if near is None else np.bincount(near.owner, minlength=count)
    paths = [""] * count if items is None else items["path"].to_numpy()[selection.indices]
    rows = pd.DataFrame(
        {
            "order": np.arange(count),
            "index": selection.indices,
            "path": paths,
            "label": "",
            "score": selection.scores if selection.scores is not None else np.nan,
            "cluster": pd.array(
                selection.clusters if selection.clusters is not None else [pd.NA] * count, dtype="Int64"
            ),
            "represents": pd.array(counts, dtype="Int64"),
        },
        columns=COLUMNS,
    )
    return rows if origins is None else rows.assign(origin=origins)


def read_pool(step: FinishedStep) -> pd.DataFrame:
    """A finished pool's items.csv."""
    return read_picks(step, "items.csv")


def read_picks(step: FinishedStep, file: str) -> pd.DataFrame:
    """Read a table of picks of a step."""
    return step.frame(
        file,
        dtype={"path": str, "label": str},
        keep_default_na=False,
        na_values={"score": [""], "cluster": [""], "represents": [""]},
    )


def with_labels(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """The rows with the labels of the data set."""
    context.require_labels("--with-labels")
    classes = context.data.train_items["class"].to_numpy()
    return rows.assign(label=classes[rows["index"].to_numpy()])
