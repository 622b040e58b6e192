"""Choose the images to label, and write them with what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_frame
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.report_card import (
    CardData,
    NearestPicks,
    full_facts,
    ground_of,
    nearness,
    short_card,
    write_card,
)
from initpools_cli.steps.rows import excluded, facts_of, identity, subject_of, tell_short, there, zero_count
from initpools_cli.steps.strategy_inputs import bought, candidates_of, pick, supply, with_score
from initpools_cli.steps.strategy_name import balanced, named
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import refuse_missing
from initpools_cli.strategies.selection import Selection

if TYPE_CHECKING:
    import pandas as pd

#: Columns of a pool's items.csv and of ``-o pool.csv``.
COLUMNS = ["order", "index", "path", "label", "score", "cluster", "represents"]


def select_pool(context: Context, brought: UserFiles, source: str = "") -> tuple[FinishedStep, bool]:
    """Write ``pool/<strategy>-b<budget>-s<seed>/{indices.npy,items.csv,card.toml}``, or find it already done.

    Where the strategy reads embeddings, ``represents.npy`` too: the pick that each image is nearest to.

    Raises
    ------
    UserError
        Anything wrong with strategy, budget or inputs.
    """
    table = context.settings.select
    _require_budget(table)
    strategy = balanced(named(table.strategy), table)
    knobs = strategy.knobs(table.params, table.order, context.origins(table.params, "select.params"))
    given = supply(context, strategy, brought, source, table.params)
    data = context.data
    items = context.data.train_items
    seen = there(context, brought)
    labeled, _ = bought(strategy, brought, context)
    labeled = labeled if labeled is None else labeled[seen[labeled]]
    candidates = candidates_of(context, strategy, brought)
    embeddings = given.arrays.get("embeddings")
    strategy = strategy.counted(context.clusters)
    resolved = {
        **table.identity(),
        **brought.identity,
        "strategy": strategy.base,
        "balance": strategy.balance.kind,
        **strategy.identity(knobs, table.params),
        "n_clusters": strategy.balance.n_clusters,
        "seed": context.seed,
        "source": given.origin,
        **(zero_count(embeddings, seen) | identity(given.facts, seen, labeled, table)),
        **({"oracle": True} if strategy.oracle else {}),
    }
    step = context.run.step(
        "pool",
        f"{strategy.folder}-b{table.budget}-s{context.seed}",
        resolved,
        {**context.items_checksum(), **given.reads},
        force=context.force,
        also=[f"{name}-b{table.budget}-s{context.seed}" for name in strategy.spellings],
    )
    if step.finished:
        return step.finished, False
    with context.writing(step) as scratch:
        selection = pick(
            strategy,
            given.arrays,
            table.budget,
            table,
            knobs,
            context.seed,
            labeled=labeled,
            kept=candidates,
            facts=given.facts,
            report=context.report,
        )
        tell_short(context.report, len(selection.indices), table.budget, table)
        train = data.splits["train"]
        ground = ground_of(embeddings, table.normalize, np.flatnonzero(seen), labeled, train.labels, data.classes)
        near = nearness(ground, selection.indices)
        write_array(scratch / "indices.npy", selection.indices)
        write_frame(scratch / "items.csv", pool_rows(selection, near, items))
        if near is not None:
            represents = np.full(len(data.kept), -1, np.int64)
            represents[ground.measured] = near.owner
            write_array(scratch / "represents.npy", represents)
        write_card(scratch, short_card(ground, selection.indices, near, strategy.name))
        step.outcome = {"picked": len(selection.indices)}
    return FinishedStep(context.run, step.folder), True


@dataclass(frozen=True)
class FilePool:
    """A pool from files alone.

    Attributes
    ----------
    rows : DataFrame
        As in items.csv; paths are empty.
    ground : CardData
    card : dict
    """

    rows: pd.DataFrame
    ground: CardData
    card: dict[str, Any]


def select_from_files(
    table: SelectTable, brought: UserFiles, seed: int, *, full: bool = False, report: Reporter | None = None
) -> FilePool:
    """The pool from brought arrays alone, without a run; `full` asks for the full card."""
    from initpools_cli.strategies.select import as_rows, images_of

    arrays, labeled, selection = _choose_from_files(table, brought, seed, report)
    images = images_of(arrays)
    total = int(images[-1]) + 1
    images = np.setdiff1d(images, as_rows("--exclude", excluded(brought), total), assume_unique=True)
    known = np.intersect1d(as_rows("labeled", labeled, total), images)
    ground = ground_of(arrays.get("embeddings"), table.normalize, images, known)
    near = nearness(ground, selection.indices)
    if full:
        card = full_facts(ground, selection.indices, table, seed, table.n_clusters, named(table.strategy).name)
    else:
        card = short_card(ground, selection.indices, near, named(table.strategy).name)
    return FilePool(pool_rows(selection, near, None), ground, card)


def indices_from_files(table: SelectTable, brought: UserFiles, seed: int) -> np.ndarray:
    """The images of that pool alone, (budget,) int64."""
    return _choose_from_files(table, brought, seed)[2].indices


def _choose_from_files(
    table: SelectTable, brought: UserFiles, seed: int, report: Reporter | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray | None, Selection]:
    _require_budget(table)
    strategy = balanced(named(table.strategy), table)
    arrays, exclude = brought.arrays(report), excluded(brought)
    own_scores = "scores" not in arrays
    arrays = with_score(
        strategy, arrays, table.params, normalize=table.normalize, seed=seed, exclude=exclude, report=report
    )
    labeled, _ = bought(strategy, brought, None)
    knobs = strategy.knobs(table.params, table.order)
    refuse_missing(strategy.name, sorted(strategy.needed), arrays)
    facts = facts_of(subject_of(strategy, arrays, own_scores=own_scores))
    picked = pick(
        strategy,
        arrays,
        table.budget,
        table,
        knobs,
        seed,
        labeled=labeled,
        exclude=exclude,
        facts=facts,
        report=report,
    )
    if report is not None:
        tell_short(report, len(picked.indices), table.budget, table)
    return arrays, labeled, picked


def _require_budget(table: SelectTable) -> None:
    if not table.budget:
        raise UserError("How many images to label is not said.", "Add --budget, for example --budget 20.")


def pool_rows(selection: Selection, near: NearestPicks | None, items: pd.DataFrame | None) -> pd.DataFrame:
    """One row a pick, in order of choice; the label is for the annotator and stays empty."""
    import pandas as pd

    count = len(selection.indices)
    represented = [pd.NA] * count if near is None else np.bincount(near.owner, minlength=count)
    paths = [""] * count if items is None else items["path"].to_numpy()[selection.indices]
    return pd.DataFrame(
        {
            "order": np.arange(count),
            "index": selection.indices,
            "path": paths,
            "label": "",
            "score": selection.scores if selection.scores is not None else np.nan,
            "cluster": pd.array(
                selection.clusters if selection.clusters is not None else [pd.NA] * count, dtype="Int64"
            ),
            "represents": pd.array(represented, dtype="Int64"),
        },
        columns=COLUMNS,
    )


def read_pool(done: FinishedStep) -> pd.DataFrame:
    """A finished pool's items.csv."""
    return read_rows(done, "items.csv")


def read_rows(done: FinishedStep, file: str) -> pd.DataFrame:
    """A table of picks that a step has written."""
    return done.frame(
        file,
        dtype={"path": str, "label": str},
        keep_default_na=False,
        na_values={"score": [""], "cluster": [""], "represents": [""]},
    )


def with_labels(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """The same rows with the data set's own labels filled in."""
    context.require_labels("--with-labels")
    classes = context.data.train_items["class"].to_numpy()
    return rows.assign(label=classes[rows["index"].to_numpy()])
