"""Run some cells of a sweep again, without writing anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initpools_cli.steps.context import Context
from initpools_cli.sweeps.jobs import run_cells, select_pools
from initpools_cli.sweeps.spec import build_spec
from initpools_cli.sweeps.sweep import data_by_encoder, settings_of


def replay(context: Context, selects: Callable[[str, str, str, str, int], bool]) -> list[dict[str, Any]]:
    """Run some cells of a sweep, and return their rows of rounds.csv.

    The seeds of a block are run together, as in the sweep, so that the same machine gives the same bytes.

    Parameters
    ----------
    context : Context
        With the settings of the sweep.
    selects : callable
        Returns whether to run the cell of an encoder, init, query, learner and seed. The query is "" for the first
        pool, whose row belongs to the first query.
    """
    from initpools_cli.training.experiment import Experiment, block_jobs, first_pool_jobs

    spec = build_spec(context, multilabel=context.data.multilabel)
    by_encoder, _ = data_by_encoder(context, spec, None)
    settings = settings_of(context, spec, next(iter(by_encoder.values())))
    inits, queries = [each.name for each in spec.inits], [each.name for each in spec.queries]
    seeds = context.settings.al.seeds
    pools = {(job.encoder, job.init, tuple(job.seeds)): job for job in first_pool_jobs(list(by_encoder), inits, seeds)}
    rows: list[dict[str, Any]] = []
    for block in block_jobs(list(by_encoder), inits, queries, list(spec.learners), seeds):
        names = ["", block.query] if block.with_first else [block.query]
        if not any(
            selects(block.encoder, block.init, query, block.learner, seed) for query in names for seed in block.seeds
        ):
            continue
        experiment = Experiment(by_encoder[block.encoder], settings, context.machine.device)
        pool = select_pools(pools[block.encoder, block.init, tuple(block.seeds)], experiment)
        errors = {row["seed"]: row["error"] for row in pool.failures}
        rows += run_cells(block, experiment, pool.picks, errors).rows
    return rows
