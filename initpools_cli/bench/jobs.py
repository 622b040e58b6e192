"""The sweeps of a suite, one job each."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initpools_cli.bench.suite import NOTHING_LABELED, Suite, Sweeps, flat
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import revisions_of
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.steps.score_name import score_names
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy, refuse_same_stem
from initpools_cli.strategies.arrays import MODEL_OUTPUTS

#: What every strategy is compared with.
AGAINST = "random"
#: Strategies that need a file of the user.
OF_FILES = {"score", "file"}


@dataclass(frozen=True)
class Job:
    """One sweep of `al-run` on one data set.

    Attributes
    ----------
    data : str
        The data set's name in the suite.
    name : str
        Name of the sweep.
    encoders : tuple of str
        Names of the encoders in the suite.
    strategies, learners, queries : tuple of str
    budget, seeds : int
    settings : mapping
        Further settings by dotted key.
    """

    data: str
    name: str
    encoders: tuple[str, ...]
    strategies: tuple[str, ...]
    learners: tuple[str, ...]
    queries: tuple[str, ...]
    budget: int
    seeds: int
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def cells(self) -> int:
        """Number of trials."""
        each = len(self.encoders) * len(self.strategies) * len(self.learners) * len(self.queries)
        return each * self.seeds

    def flags(self, sources: dict[str, str]) -> dict[str, Any]:
        """Return the settings of `al-run`.

        Parameters
        ----------
        sources : dict of str to str
            Name of the step of embeddings of each encoder.
        """
        return {
            "al.rounds": 0,
            **self.settings,
            "al.init": list(self.strategies),
            "al.query": list(self.queries),
            "al.learner": list(self.learners),
            "al.budget": self.budget,
            "al.seeds": self.seeds,
            "al.encoders": [sources[encoder] for encoder in self.encoders],
        }


def strategy_names() -> list[str]:
    """Return all strategies and scores that choose a first pool without a model, and read no labels."""
    from initpools_cli.strategies.registry import strategies

    specs = [
        parse_strategy(name) for name in dict.fromkeys([*strategies.names(), *score_names()]) if name not in OF_FILES
    ]
    return [
        each.name
        for each in specs
        if not each.oracle and not MODEL_OUTPUTS & set(each.method.inputs) and not _reads_labels(each)
    ]


def jobs_of(suite: Suite, extra: Sequence[str] = ()) -> list[Job]:
    """Return the sweeps of a suite, the smallest budgets first.

    Parameters
    ----------
    extra : sequence of str
        Strategies of the user, each compared wherever the suite compares strategies.
    """
    jobs = [job for sweeps in suite.sweeps for job in _jobs_of_sweeps(suite, sweeps)]
    jobs += [job for name in extra for job in _with_strategy(jobs, name)]
    order = {data.name: place for place, data in enumerate(suite.data)}
    return sorted(jobs, key=lambda job: (job.budget, order[job.data]))


def refuse_added(suite: Suite, extra: Sequence[str]) -> None:
    """Refuse strategies that can't be compared, before anything is computed.

    Raises
    ------
    UserError
        A file can't be loaded, a strategy needs a trained model, is in the suite already, or is named twice.
    """
    names = {parse_strategy(name).name for job in jobs_of(suite) for name in job.strategies}
    specs = [parse_strategy(name) for name in extra]
    refuse_same_stem(specs)
    for place, spec in enumerate(specs):
        needs = MODEL_OUTPUTS & set(spec.method.inputs)
        if needs:
            needs_text = ", ".join(sorted(needs))
            raise UserError(
                f"--add {extra[place]} needs a trained model for {needs_text}, but a first pool has none.",
                "Add a strategy without a model: `initpools list strategies`.",
                extra[place],
            )
        if spec.name in names:
            raise UserError(f"--add {spec.name} is compared already.", "Leave it out.", spec.name)
        names.add(spec.name)


def command_of(job: Job, flags: dict[str, Any], run: Path) -> str:
    """Return the `al-run` command of a job as a user would type it."""
    words = ["initpools", "al-run", "--run", str(run), "--name", job.name]
    for key, value in flags.items():
        if key == "run.threads":
            continue
        words += ["--set", f"{key}={_toml(value)}"]
    return shlex.join(words)


def is_done(job: Job, flags: dict[str, Any], run: Run) -> FinishedStep | None:
    """Return the finished sweep of a job, by its settings, inputs and versions of strategies; None if there is none.

    `al-run` also compares the digest of everything; this is for plans, and to skip thousands of finished sweeps.
    """
    plain = run.find_step(f"al/{job.name}")
    if plain is None:
        return None
    if _is_of(job, flags, plain):
        return plain
    # `al-run` appends six digits to the name if another sweep has it.
    pattern = re.compile(re.escape(job.name) + "-[0-9a-f]{6}")
    others = [step for step in run.folders("al") if pattern.fullmatch(step.name) and _is_of(job, flags, step)]
    return max(others, key=lambda step: step.facts["finished"], default=None)


def _is_of(job: Job, flags: dict[str, Any], step: FinishedStep) -> bool:
    if step.missing_file:
        return False
    table = step.table
    specs = [parse_strategy(name) for name in (*job.strategies, *job.queries)]
    settings: dict[str, Any] = {
        "learner": flags["al.learner"],
        "budget": job.budget,
        "seeds": job.seeds,
        "encoders": flags["al.encoders"],
        "candidates": flags.get("al.candidates", 0.9),
    }
    same = all(table.get(key) == value for key, value in settings.items())
    same = same and [_base(name) for name in table["init"]] == [
        _base(spec.name) for spec in specs[: len(job.strategies)]
    ]
    same = same and table["query"] == [spec.name for spec in specs[len(job.strategies) :]]
    same = same and table["rounds"] == flags.get("al.rounds", 0)
    current = revisions_of(*((spec.method, {}) for spec in specs))
    same = same and table.get("plugins", {}) == current.get("plugins", {})
    revisions = table.get("revisions", {})
    same = same and all(revisions.get(spec.method.name, 1) == spec.method.revision({}) for spec in specs)
    same = same and all(table["params"].get(name, {}).get(knob) == value for name, knob, value in _knobs_set(flags))
    return same and not step.stale_input()


def _knobs_set(flags: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for key, value in flags.items():
        if key.startswith("al.params."):
            _, _, name, knob = key.split(".", 3)
            yield name, knob, value


def _jobs_of_sweeps(suite: Suite, sweeps: Sweeps) -> Iterator[Job]:
    everything = strategy_names() if sweeps.strategies == NOTHING_LABELED else []
    strategies = [name for name in everything if name not in sweeps.without] or list(sweeps.strategies)
    inits = _split(strategies, "strategy" in sweeps.places)
    encoders = _split(sweeps.encoders, "encoder" in sweeps.places)
    learners = _split(sweeps.learners, "learner" in sweeps.places)
    for data in suite.data:
        if sweeps.data and data.name not in sweeps.data:
            continue
        settings = flat(suite.settings, data.settings, sweeps.settings)
        for budget, init, encoder, learner in itertools.product(sweeps.budgets, inits, encoders, learners):
            places = {
                "strategy": parse_strategy(init[0]).folder,
                "encoder": encoder[0],
                "learner": learner[0],
                "budget": budget,
            }
            name = sweeps.name.format(**places)
            yield Job(data.name, name, encoder, init, learner, tuple(sweeps.queries), budget, suite.seeds, settings)


def _split(values: Sequence[str], apart: bool) -> list[tuple[str, ...]]:
    return [(value,) for value in values] if apart else [tuple(values)]


def _with_strategy(jobs: Sequence[Job], name: str) -> Iterator[Job]:
    """Yield the jobs with a strategy in place of those of the suite, each once."""
    spec, contents = parse_strategy(name), set()
    for job in jobs:
        if AGAINST not in job.strategies:
            continue
        strategies = {_base(each) for each in (*job.strategies, *job.queries)}
        settings = {key: value for key, value in job.settings.items() if not _is_knob_of(key, strategies)}
        content = (job.data, job.encoders, job.learners, job.queries, job.budget, json.dumps(settings, sort_keys=True))
        if content not in contents:
            contents.add(content)
            folder = (
                job.name.replace(AGAINST, spec.folder) if job.strategies == (AGAINST,) else f"{spec.folder}-{job.name}"
            )
            yield Job(
                job.data, folder, job.encoders, (name,), job.learners, job.queries, job.budget, job.seeds, settings
            )


def _is_knob_of(key: str, strategies: set[str]) -> bool:
    return key.startswith("al.params.") and key.split(".")[2] in strategies


def _base(name: str) -> str:
    return name.partition("@")[0]


def _reads_labels(spec: StrategySpec) -> bool:
    return "labels" in spec.method.inputs or (spec.scoring is not None and "labels" in spec.scoring.inputs)


def _toml(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | bool) else str(value)
