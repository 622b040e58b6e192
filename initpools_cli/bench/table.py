"""The table of a suite: one row for every cell, with its provenance, as parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.bench.jobs import Job
from initpools_cli.bench.run import Progress
from initpools_cli.bench.suite import Data, NamedSuite
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.rundir import ITEMS, FinishedStep
from initpools_cli.stats.metric_names import METRICS, MULTILABEL_METRICS
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.sweeps.results import rounds_of

if TYPE_CHECKING:
    import pandas as pd

#: Columns that say what a cell is.
CELL = (
    *("suite", "data", "origin", "data_sha256", "encoder", "encoder_step", "encoder_sha256", "learner"),
    *("strategy", "variant", "strategy_sha256", "added", "query", "budget", "candidates", "knobs", "seed"),
)
#: Columns of metrics of which higher is better.
METRIC_COLUMNS = tuple(dict.fromkeys((*METRICS, *MULTILABEL_METRICS)))
#: Columns of what was measured.
RESULT = (
    *("round", "labeled", *METRIC_COLUMNS, "nll", "ece", "absent_classes", "leaks"),
    *("pool_seconds", "seconds"),
)
#: Columns of how it was computed.
PROVENANCE = ("version", "git_commit", "device", "threads", "cpu", "libraries", "sweep", "finished", "status", "error")
COLUMNS = (*CELL, *RESULT, *PROVENANCE)
TEXT = {
    *("suite", "data", "origin", "data_sha256", "encoder", "encoder_step", "encoder_sha256", "learner", "strategy"),
    *("variant", "strategy_sha256", "query", "knobs", "version", "git_commit", "device", "cpu", "libraries", "sweep"),
    *("finished", "status", "error"),
}
WHOLE = {"budget", "seed", "round", "labeled", "absent_classes", "leaks", "threads"}


def table_path(out: Path, suite: str) -> Path:
    """Return the path of a suite's table."""
    return out / f"{suite}.parquet"


def table_of(suite: NamedSuite, progress: Progress, extra: Sequence[str] = ()) -> pd.DataFrame:
    """Collect the rows of all sweeps of a suite.

    Parameters
    ----------
    extra : sequence of str
        Strategies of the user, as typed.

    Returns
    -------
    DataFrame
        With `COLUMNS`; cells that were not run have the status "not run" and the reason as the error.
    """
    import pandas as pd

    entries = {entry.name: entry for entry in suite.suite.data}
    own = {parse_strategy(name).name for name in extra}
    parts = []
    for job in progress.jobs:
        entry = entries[job.data]
        if job in progress.not_run:
            parts.append(pd.DataFrame(list(_not_run(suite.name, job, entry, progress.not_run[job], own))))
            continue
        sources = progress.preparations[job.data].sources
        parts.append(_rows(suite.name, job, entry, progress.done[job], own, sources))
    return typed(pd.concat(parts, ignore_index=True))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give every column its type; text is "" where it is missing, and numbers are null."""
    import pandas as pd

    table = table.reindex(columns=list(COLUMNS))
    for column in COLUMNS:
        if column in TEXT:
            values = table[column].astype(object)
            table[column] = values.where(values.notna(), "").astype(str)
        elif column == "added":
            table[column] = table[column].astype(bool)
        else:
            table[column] = pd.to_numeric(table[column]).astype("Int64" if column in WHOLE else "float64")
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as parquet, atomically; the same table gives the same bytes with the same version of pyarrow."""
    with atomic_file(path) as stream:
        table.to_parquet(stream, index=False, engine="pyarrow")


def read_table(path: Path, suite: str) -> pd.DataFrame:
    """Read a table of `write_table`.

    Parameters
    ----------
    suite : str
        The suite as typed, for errors.

    Raises
    ------
    UserError
        There is no such file, or it is not a table of a suite.
    """
    import pandas as pd
    from pyarrow import ArrowException

    if not path.is_file():
        raise UserError(
            f"There is no table {path}.",
            f"Make it with `initpools bench --suite {suite} -o {path.parent}`, or name another folder with --dir.",
            path,
        )
    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except (ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path} can't be read as parquet: {str(error).splitlines()[0]:.200}.",
            f"Write it again with `initpools bench --suite {suite} -o {path.parent}`.",
            path,
        ) from None
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise UserError(
            f"{path} is not a table of `initpools bench`: it has no column '{missing[0]}'.",
            f"Write it with `initpools bench --suite {suite} -o {path.parent}`.",
            missing[0],
        )
    return table[list(COLUMNS)]


def _rows(
    suite: str, job: Job, entry: Data, step: FinishedStep, extra: set[str], sources: Mapping[str, str]
) -> pd.DataFrame:
    facts, table = step.facts, step.table
    rounds = rounds_of(step)
    encoders = {step: name for name, step in sources.items()}
    seconds = facts["outcome"].get("seconds", {})
    keys = [tuple(map(str, key)) for key in rounds[["init", "query", "learner", "encoder"]].to_numpy()]
    by_pool = [_per_seed(seconds, job, init, encoder) for init, _, _, encoder in keys]
    by_trial = [
        _per_seed(seconds, job, init, query or table["query"][0], learner, encoder)
        for init, query, learner, encoder in keys
    ]
    plugins = table.get("plugins", {})
    rows = rounds.rename(columns={"init": "strategy"}).assign(
        suite=suite,
        data=job.data,
        origin=entry.origin or entry.name,
        data_sha256=facts["reads"][ITEMS],
        encoder_step=[f"embed/{name}" for name in rounds["encoder"]],
        encoder=[encoders.get(name, name) for name in rounds["encoder"]],
        encoder_sha256=[_encoder_sum(facts["reads"], name) for name in rounds["encoder"]],
        variant=[_variant(job, name) for name in rounds["init"]],
        knobs=[_knobs(table["params"], init, learner) for init, _, learner, _ in keys],
        strategy_sha256=[plugins.get(name, {}).get("sha256", "") for name in rounds["init"]],
        added=[name in extra for name in rounds["init"]],
        budget=table["init_budget"],
        candidates=table["candidates"],
        pool_seconds=by_pool,
        seconds=[pool + trial for pool, trial in zip(by_pool, by_trial, strict=True)],
        sweep=step.id,
        **{
            key: facts.get(key, "")
            for key in ("version", "git_commit", "device", "threads", "cpu", "libraries", "finished")
        },
    )
    if "libraries" not in facts:
        rows["libraries"] = f"torch {facts['torch']}" if "torch" in facts else ""
    return rows


def _per_seed(seconds: Mapping[str, float], job: Job, *key: str) -> float:
    return float(seconds.get("|".join(key), float("nan"))) / job.seeds


def _encoder_sum(reads: Mapping[str, str], step: str) -> str:
    """One checksum for the embeddings of all splits that a sweep reads; "" where it reads none."""
    files = sorted((path, checksum) for path, checksum in reads.items() if path.startswith(f"embed/{step}/"))
    return hashlib.sha256(json.dumps(files).encode()).hexdigest() if files else ""


def _variant(job: Job, strategy: str) -> str:
    """The knobs of a strategy that the suite sets, such as "delta=0.4"."""
    base = strategy.partition("@")[0]
    knobs = {key.split(".", 3)[3]: value for key, value in job.settings.items() if key.startswith(f"al.params.{base}.")}
    return " ".join(f"{key}={value}" for key, value in sorted(knobs.items()))


def _knobs(params: Mapping[str, Any], strategy: str, learner: str) -> str:
    return json.dumps({name: params[name] for name in (strategy, learner) if name in params}, sort_keys=True)


def _not_run(suite: str, job: Job, entry: Data, reason: str, extra: set[str]) -> Iterator[dict[str, Any]]:
    for encoder in job.encoders:
        for learner in job.learners:
            for strategy in map(parse_strategy, job.strategies):
                for seed in range(job.seeds):
                    yield {
                        "suite": suite,
                        "data": job.data,
                        "origin": entry.origin or entry.name,
                        "encoder": encoder,
                        "learner": learner,
                        "strategy": strategy.name,
                        "variant": _variant(job, strategy.name),
                        "added": strategy.name in extra,
                        "budget": job.budget,
                        "candidates": job.settings.get("al.candidates", 0.9),
                        "seed": seed,
                        "round": 0,
                        "sweep": f"al/{job.name}",
                        "status": "not run",
                        "error": reason,
                    }
