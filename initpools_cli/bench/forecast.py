"""Forecast the runtime of a suite, and decide which sweeps are too slow or too late to run."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.bench.jobs import Job, is_done
from initpools_cli.bench.prepare import Preparation, SuiteContext, pretrains_of
from initpools_cli.bench.suite import NamedSuite, flat
from initpools_cli.core.cpu import thread_count
from initpools_cli.core.durations import duration
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.strategies.runtime import operations, speed

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset

#: Rough rates of one core, until something was measured: pixels per second in training, images per second in
#: embedding by a published backbone, seconds per cell apart from the choice of the pool.
TRAINED_PIXELS, EMBEDDED_IMAGES, SECONDS_PER_CELL = 300_000.0, 40.0, 0.1
#: Dimensions of embeddings that are not made yet.
DIMENSIONS = 512


class Forecast:
    """Forecast of runtimes, corrected by the sweeps that are finished.

    Parameters
    ----------
    suite : NamedSuite
    place : SuiteContext
    data : mapping of str to Dataset
        The data sets that could be opened.
    preparations : mapping of str to Preparation
        Their existing encoders and embeddings.
    """

    def __init__(
        self,
        suite: NamedSuite,
        place: SuiteContext,
        data: Mapping[str, Dataset],
        preparations: Mapping[str, Preparation],
    ) -> None:
        self.suite, self.place, self.preparations = suite, place, preparations
        self.images = {name: int(each.kept.sum()) for name, each in data.items()}
        self._pixels = {
            name: int(each.splits["train"].images[0].size) if each.has_images else 0 for name, each in data.items()
        }
        self._rate = 0.0
        self._dimensions: dict[tuple[str, str], int] = {}
        self._timings: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.run_seconds = 0.0

    def announce(self, jobs: Sequence[Job]) -> None:
        """Print the plan: data sets, cells and the forecast."""
        report, threads = self.place.report, thread_count(int(self.place.machine.get("run.threads", 0)))
        cells = sum(job.cells for job in jobs)
        strategies = {name for job in jobs for name in job.strategies}
        sets = "1 data set" if len(self.images) == 1 else f"{len(self.images)} data sets"
        report.say(
            f"suite {self.suite.name}: {self.suite.suite.title}\n"
            f"{sets}, {len(strategies)} strategies, {len(jobs)} sweeps, {cells:,} cells"
        )
        whole = 0.0
        for name, images in self.images.items():
            own = [job for job in jobs if job.data == name]
            open_jobs = [job for job in own if self._finished(job) is None]
            encoders = self._preparation(name, threads)
            sweeps = sum(self.seconds(job) for job in open_jobs)
            whole += encoders + sweeps / min(threads, len(self.images))
            cells_done = sum(job.cells for job in own) - sum(job.cells for job in open_jobs)
            report.say(
                f"  {name}: {images:,} train images, {sum(job.cells for job in own):,} cells, {cells_done:,} done"
                + (f"; encoders about {duration(encoders)}" if encoders else "")
                + (f"; sweeps about {duration(max(1.0, sweeps))} on one core" if open_jobs else "")
            )
        if whole:
            limit = self.suite.suite.hours
            at_most = f"; no sweep begins after {limit:g} hours of sweeps" if limit else ""
            report.say(
                f"about {duration(max(1.0, whole))} in all, roughly forecast{at_most}; Ctrl-C keeps what is finished"
            )

    def seconds(self, job: Job) -> float:
        """Forecast the runtime of a sweep on one core."""
        each = [self.pool_seconds(job, strategy) for strategy in job.strategies]
        rounds = 1 + int(job.settings.get("al.rounds", 0)) * len(job.queries)
        return (
            job.seeds * len(job.encoders) * sum(pool + SECONDS_PER_CELL * rounds * len(job.learners) for pool in each)
        )

    def pool_seconds(self, job: Job, strategy: str) -> float:
        """Forecast the runtime of one first pool from similar jobs, else from the trait `cost` of the strategy."""
        candidates = self._candidates(job)
        if timings := self._timings[strategy]:
            # The best estimate is the largest measured size that is not larger than this job's.
            size, seconds = max(timings, key=lambda each: (each[0] <= candidates * job.budget, each[0]))
            return seconds * max(1.0, candidates * job.budget / size)
        method = parse_strategy(strategy).method
        if not method.traits.cost:
            return 0.0
        self._rate = self._rate or speed() / thread_count(0)
        knobs = {key: default for key, (_, default) in method.knobs.items()}
        dimensions = max(self._dimensions.get((job.data, encoder), DIMENSIONS) for encoder in job.encoders)
        return operations(method, candidates, dimensions, job.budget, knobs) / self._rate

    def measure(self, data: str, sources: Mapping[str, str]) -> None:
        """Read the dimensions of the embeddings of a data set.

        Parameters
        ----------
        data : str
        sources : mapping of str to str
            Name of the step of embeddings, by encoder.
        """
        for encoder, step in sources.items():
            file = self.place.run(data).path / "embed" / step / "train.npy"
            self._dimensions[data, encoder] = int(np.load(file, mmap_mode="r").shape[1])

    def refusal(self, job: Job) -> str:
        """Return why a job is not run, "" if it is: its strategy is too slow, or the hours are used up."""
        hours, most = self.suite.suite.hours, self.suite.suite.seconds_per_pool
        if hours and self.run_seconds > hours * 3600:
            return f"The {hours:g} hours of the suite are used up."
        if most and (slow := [name for name in job.strategies if self.pool_seconds(job, name) > most]):
            seconds = duration(self.pool_seconds(job, slow[0]))
            return f"A first pool of {slow[0]} would take about {seconds}, and the suite allows {most:g} s."
        return ""

    def learn(self, job: Job, step: FinishedStep) -> None:
        """Update the forecast by the runtimes of a finished sweep."""
        seconds: dict[str, Any] = step.facts["outcome"].get("seconds", {})
        self.run_seconds += sum(float(each) for each in seconds.values())
        for strategy in job.strategies:
            name = parse_strategy(strategy).name
            runtimes = [float(each) for key, each in seconds.items() if key.rsplit("|", 1)[0] == name]
            if runtimes:
                size = self._candidates(job) * job.budget
                self._timings[strategy].append((size, statistics.mean(runtimes) / job.seeds))

    def _candidates(self, job: Job) -> int:
        return max(1, round(self.images[job.data] * float(job.settings.get("al.candidates", 0.9))))

    def _finished(self, job: Job) -> FinishedStep | None:
        sources = self.preparations[job.data].sources
        if not all(name in sources for name in job.encoders):
            return None
        return is_done(job, job.flags(sources), self.place.run(job.data))

    def _preparation(self, data: str, threads: int) -> float:
        """Forecast the time to pretrain and embed on all threads; steps that are finished take none."""
        seconds, preparation = 0.0, self.preparations[data]
        entry = next(each for each in self.suite.suite.data if each.name == data)
        for each in pretrains_of(self.suite, entry):
            if each.name not in preparation.pretrains:
                settings = flat(self.suite.suite.settings, entry.settings, each.settings)
                epochs = int(settings.get("pretrain.epochs", 100))
                seconds += self.images[data] * self._pixels[data] * epochs / TRAINED_PIXELS / threads
        own = {each.name for each in self.suite.suite.pretrains}
        for encoder in self.suite.suite.encoders:
            if encoder.source not in own and encoder.name in preparation.missing:
                seconds += self.images[data] / EMBEDDED_IMAGES / threads
        return seconds
