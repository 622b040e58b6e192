"""Resolve what a command needs, once: from a run and the user's files, or from the files alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from initpools_cli.core.config import DEFAULT_CLUSTERS, Settings, knob_origins
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.clusters import CLUSTERS, clusters_of
from initpools_cli.steps.context import Context, at_work
from initpools_cli.steps.embed import matrix, newest, newest_patches
from initpools_cli.steps.evaluate import evaluate, outcome_of, tell_zero
from initpools_cli.steps.find_scores import scores_of
from initpools_cli.steps.report_card import CardData
from initpools_cli.steps.rows import subject_of, zero_count
from initpools_cli.steps.score import score
from initpools_cli.steps.score_inputs import warn_of_oracle
from initpools_cli.steps.score_name import score_names, unknown_score
from initpools_cli.steps.strategy_inputs import StrategyInputs, with_score
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserArrays, UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, image_axis, refuse_missing
from initpools_cli.strategies.duplicates import RowFacts
from initpools_cli.strategies.select import as_rows, images_of, refuse_none_left


@dataclass
class FoundArrays:
    """The arrays of a strategy while they are collected; the attributes are those of `StrategyInputs`."""

    arrays: dict[str, np.ndarray]
    reads: dict[str, str] = field(default_factory=dict)
    source: str = ""
    subject: np.ndarray | None = None

    def read(self, done: FinishedStep, *files: str) -> None:
        """Note that files of a finished step are read."""
        self.reads |= done.checksums(*files)
        self.source = self.source or done.id


@dataclass(frozen=True)
class Scores:
    """One number per image; in a run with the step that holds them.

    Attributes
    ----------
    values : (n,) float64
    outcome : mapping
        The lowest, the median and the highest of them.
    done : FinishedStep or None
    fresh : bool
        False where the step was done already.
    """

    values: np.ndarray
    outcome: Mapping[str, Any]
    done: FinishedStep | None = None
    fresh: bool = True


class Provider(ABC):
    """What resolves the inputs of one command.

    Attributes
    ----------
    settings : Settings
    places : mapping of str to str
        The dotted keys that the user set, and where.
    report : Reporter
    files : UserFiles
    source : str
        ``--from``; "" for the newest.
    context : Context or None
        Of the run; None without one.
    """

    context: Context | None = None

    def __init__(
        self, settings: Settings, places: Mapping[str, str], report: Reporter, files: UserFiles, source: str = ""
    ) -> None:
        self.settings, self.places, self.report = settings, places, report
        self.files, self.source = files, source
        self._facts: dict[int, tuple[np.ndarray, RowFacts]] = {}

    @property
    @abstractmethod
    def user(self) -> UserArrays:
        """What the files hold."""

    @property
    @abstractmethod
    def every(self) -> np.ndarray:
        """All images, (n,) int64, ascending."""

    @property
    @abstractmethod
    def images(self) -> np.ndarray:
        """Those neither excluded nor left out of the data set, (m,) int64, ascending."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """The root seed."""

    @abstractmethod
    def clusters(self, asked: int) -> int:
        """How many clusters to look for; `asked` may be 0."""

    @abstractmethod
    def score(self, name: str) -> Scores:
        """The score of that name for every image, with the knobs of [score.params]."""

    @abstractmethod
    def measured(self, chosen_from: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The embeddings that pools are measured on, and the checksums of what is read for them.

        Parameters
        ----------
        chosen_from : str
            The step that a pool was chosen from, or "".
        """

    def at_work(self) -> AbstractContextManager[None]:
        """Compute with the threads and on the device of [run]; steps of a run do so by themselves."""
        return nullcontext()

    def card_data(self, inputs: StrategyInputs, embeddings: np.ndarray | None) -> CardData:
        """What pools are measured on: the seen images, with these embeddings."""
        normalize = self.settings.select.normalize
        return CardData.of(embeddings, normalize, inputs.images, inputs.labeled, *self._labels())

    def resolve(
        self,
        strategy: StrategySpec,
        given: Mapping[str, Any],
        *tables: str,
        order: str = "",
        with_model: bool = False,
        logits: Callable[[], FinishedStep] | None = None,
    ) -> StrategyInputs:
        """Everything a strategy is called with.

        Parameters
        ----------
        strategy : StrategySpec
        given : mapping
            The knobs that the user set, those of the strategy's score among them.
        *tables : str
            The dotted tables that they may be set in, the most specific first, e.g. "select.params".
        order : str
            Which end of a score comes first; default: select.order.
        with_model : bool
            Whether the caller has a classifier that computes what is still missing.
        logits : callable, optional
            Trains or finds the reference classifier whose logits are the embeddings.

        Raises
        ------
        UserError
            A knob that is not valid, or an input that is missing or does not fit.
        """
        places = knob_origins(self.places, given, *tables)
        knobs = strategy.knobs(given, order or self.settings.select.order, places)
        labeled, candidates = self._labeled(strategy), self._candidates(strategy)
        free = candidates if labeled is None else np.setdiff1d(candidates, labeled)
        refuse_none_left(len(free), len(candidates))
        found = self._find(strategy, given, places, with_model, logits)
        return StrategyInputs(
            strategy.counted(self.clusters),
            knobs,
            given,
            found.arrays,
            int(self.every[-1]) + 1,
            self.images,
            candidates,
            np.setdiff1d(self.every, candidates, assume_unique=True),
            labeled,
            found.subject,
            self._facts_of(found.subject),
            self.user.items,
            found.reads,
            found.source,
        )

    def require_run(self, what: str) -> Context:
        """The context of the run.

        Raises
        ------
        UserError
            There is none, and `what` needs one.
        """
        if self.context is None:
            raise UserError(f"{what} needs a run, and only files are given.", "Name the run with --run DIR.", what)
        return self.context

    def with_source(self, source: str) -> Self:
        """The same with another ``--from``; files that one of them has read are not read again."""
        return self._copy(source=source)

    def with_settings(self, settings: Settings) -> Self:
        """The same with other settings."""
        return self._copy(settings=settings)

    def _copy(self, **other: Any) -> Self:
        self.user, self.images  # noqa: B018 -- read before the copy, so that both have them
        copied = copy(self)
        copied.__dict__ |= other
        return copied

    @abstractmethod
    def _find(
        self,
        strategy: StrategySpec,
        given: Mapping[str, Any],
        places: Mapping[str, str],
        with_model: bool,
        logits: Callable[[], FinishedStep] | None,
    ) -> FoundArrays:
        """The arrays of a strategy; see `resolve`."""

    @abstractmethod
    def _labeled(self, strategy: StrategySpec) -> np.ndarray | None:
        """Those of `images` that are labeled already, (m,) int64, ascending; None where nothing says so.

        Those of ``--labeled``, or else of ``--labels``, unless the strategy itself reads the labels.
        """

    def _candidates(self, strategy: StrategySpec) -> np.ndarray:
        """Those of `images` that the strategy may choose from."""
        return self.images

    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The labels of the data set, (n,) int64, and its classes."""
        return None, ()

    def _facts_of(self, subject: np.ndarray | None) -> RowFacts | None:
        """Which rows are zero or copies; computed once for each array."""
        if subject is None:
            return None
        if id(subject) not in self._facts:
            # The array is kept beside its facts, so that its id is not given to another one.
            self._facts[id(subject)] = (subject, RowFacts.of(subject))
        return self._facts[id(subject)][1]

    def _labels_as_labeled(self, strategy: StrategySpec) -> np.ndarray | None:
        """The images with a label in ``--labels``, where the strategy does not read them."""
        if self.user.labels is None or "labels" in strategy.method.inputs:
            return None
        return np.flatnonzero(self.user.labels.by_image >= 0)


class RunProvider(Provider):
    """Resolves from a run: what the user passes, else what steps hold, computed here where it is missing.

    Parameters
    ----------
    context : Context
    files : UserFiles, optional
    source : str
        ``--from``: the step that embeddings and scores are from; "" for the newest.
    """

    context: Context

    def __init__(self, context: Context, files: UserFiles | None = None, source: str = "") -> None:
        super().__init__(context.settings, context.given, context.report, files or UserFiles(), source)
        self.context = context
        self._matrices: dict[str, np.ndarray] = {}

    def for_command(self, context: Context, source: str) -> RunProvider:
        """The same files and data for another command that is run on the way."""
        return self._copy(context=context, settings=context.settings, source=source)

    @property
    def seed(self) -> int:
        """The root seed: what the user gave, else the run's."""
        return self.context.seed

    @cached_property
    def user(self) -> UserArrays:
        """What the files hold, of the images of the run."""
        data = self.context.data
        return UserArrays(self.files, data.train_items, data.classes, self.report)

    @cached_property
    def seen(self) -> np.ndarray:
        """The train images of the data set, (n,) bool, without those of ``--exclude``."""
        kept: np.ndarray = self.context.data.kept
        excluded = self.user.excluded
        if excluded is None:
            return kept
        found = kept.copy()
        found[excluded] = False
        count = int(kept.sum() - found.sum())
        self.report.once(f"{self.files.exclude} (--exclude): {count} images are left out.")
        return found

    @property
    def every(self) -> np.ndarray:
        """All train images of the data set."""
        return np.arange(len(self.context.data.kept))

    @cached_property
    def images(self) -> np.ndarray:
        """`seen` as indices."""
        return np.flatnonzero(self.seen)

    def clusters(self, asked: int) -> int:
        """As many as asked, else as the data set has classes, else the usual number."""
        return self.context.clusters(asked)

    def score(self, name: str) -> Scores:
        """The score that a step holds, computed here where it is missing."""
        done, fresh = score(self.context, name, self.source, self.user)
        return Scores(done.array("scores.npy"), done.facts["outcome"], done, fresh)

    def measured(self, chosen_from: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The user's embeddings, else those that a pool was chosen from, else the newest."""
        given = self.user.get("embeddings")
        if given is not None:
            return given, {}
        kind, _, name = chosen_from.partition("/")
        done = newest(self.context, self.source or (name if kind == "embed" else ""))
        return self.matrix(done), done.checksums("train.npy")

    def matrix(self, done: FinishedStep) -> np.ndarray:
        """The train embeddings or patches of a finished step, memory-mapped; the same array at every call."""
        if done.id not in self._matrices:
            self._matrices[done.id] = matrix(done)
        return self._matrices[done.id]

    def _find(
        self,
        strategy: StrategySpec,
        given: Mapping[str, Any],
        places: Mapping[str, str],
        with_model: bool,
        logits: Callable[[], FinishedStep] | None,
    ) -> FoundArrays:
        context, wants = self.context, strategy.needed
        found = FoundArrays(dict(self.user.arrays), dict(self.user.checksums))
        arrays = found.arrays
        self._refuse_other_counts(arrays)
        asked = wants & MODEL_OUTPUTS - arrays.keys()
        if asked and not with_model:
            raise UserError(
                f"'{strategy.name}' needs {', '.join(sorted(asked))} of a trained model.",
                f"Pass --probs FILE.npy, or use a command that trains one: `initpools rank {strategy.argument}`, "
                f"`initpools al-run --query {strategy.argument}`.",
                strategy.name,
            )
        if logits is not None:
            done = logits()
            arrays["embeddings"] = done.array("logits.npy")
            found.read(done, "logits.npy")
        elif "embeddings" in wants and "embeddings" not in arrays:
            done = newest(context, self.source)
            arrays["embeddings"] = self.matrix(done)
            found.read(done, "train.npy")
        own_scores = "scores" in wants and bool(strategy.score) and "scores" not in arrays
        points = self._scored(strategy, given, places, found) if own_scores else None
        if "labels" in wants and "labels" not in arrays:
            context.require_labels(f"The strategy {strategy.name}")
            warn_of_oracle(context, strategy.name)
            labels = context.data.splits["train"].labels
            assert labels is not None
            arrays["labels"] = labels
        if "patches" in wants and "patches" not in arrays:
            done = newest_patches(context, self.source)
            arrays["patches"] = self.matrix(done)
            found.read(done, "train.npy")
        if "clusters" in wants and "clusters" not in arrays:
            done = clusters_of(context, "" if wants & {"embeddings", "scores"} else self.source)
            arrays["clusters"] = done.array(CLUSTERS)
            found.read(done, CLUSTERS)
        about = arrays if points is None else {**arrays, "embeddings": points}
        found.subject = subject_of(strategy, about, own_scores=own_scores)
        return found

    def _scored(
        self, strategy: StrategySpec, given: Mapping[str, Any], places: Mapping[str, str], found: FoundArrays
    ) -> np.ndarray | None:
        """Add the score that a strategy ranks by; return the embeddings that it is computed from, if it is."""
        context, scoring, arrays = self.context, strategy.scoring, found.arrays
        of_embeddings = scoring is not None and {*scoring.inputs} == {"embeddings"}
        points = arrays.get("embeddings")
        if scoring is not None and of_embeddings and self.files.exclude is not None:
            # The step of the run holds the score among all of its images.
            if points is None:
                done = newest(context, self.source)
                points = self.matrix(done)
                found.read(done, "train.npy")
                found.source = done.id
            knobs = scoring.validate(strategy.score_knobs(given), places)
            normalize = self.settings.select.normalize
            arrays["scores"] = evaluate(
                scoring, {"embeddings": points}, knobs, normalize, self.seed, self.report, self.seen
            )
            return points
        about = self.source if strategy.reads_embeddings or "embeddings" not in strategy.needed else ""
        done = scores_of(context, strategy.score, about, self.user, strategy.score_knobs(given), places)
        arrays["scores"] = done.array("scores.npy")
        found.read(done, "scores.npy")
        if of_embeddings and points is None:
            made_of = context.run.find_step(str(done.table["source"]))
            return None if made_of is None else self.matrix(made_of)
        return points

    def _refuse_other_counts(self, arrays: Mapping[str, np.ndarray]) -> None:
        count = len(self.context.data.kept)
        for name, array in arrays.items():
            axis = image_axis(name, array.shape)
            if axis is not None and array.shape[axis] != count:
                raise UserError(
                    f"{name} has {array.shape[axis]} rows, but {self.context.data.spec.name} has {count} train images.",
                    "Save one row per train image, in the order of data/items.csv; or leave out --run and --dataset, "
                    "to work from the file alone.",
                    str(array.shape[axis]),
                )

    def _labeled(self, strategy: StrategySpec) -> np.ndarray | None:
        labeled, flag, file = self.user.labeled, "--labeled", self.files.labeled
        if labeled is None:
            labeled, flag, file = self._labels_as_labeled(strategy), "--labels", self.files.labels
        if labeled is None:
            return None
        kept = self.context.data.kept
        outside = labeled[~kept[labeled]]
        if len(outside):
            self.report.once(
                f"{file} ({flag}): {len(outside)} of its {len(labeled)} images are not among the {int(kept.sum())} "
                f"to choose from and have no effect, the first {outside[0]}."
            )
        return labeled[kept[labeled] & self.seen[labeled]]

    def _candidates(self, strategy: StrategySpec) -> np.ndarray:
        """The seen images; to a strategy that reads the data set's labels those with a label."""
        if not strategy.oracle or self.files.labels is not None or self.files.scores is not None:
            return self.images
        return np.flatnonzero(self.context.labeled_only(strategy.name) & self.seen)

    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        return self.context.data.splits["train"].labels, self.context.data.classes


class FileProvider(Provider):
    """Resolves from the user's files alone, without a run."""

    @property
    def seed(self) -> int:
        """The root seed."""
        return self.settings.run.seed

    @cached_property
    def user(self) -> UserArrays:
        """What the files hold."""
        return UserArrays(self.files, None, (), self.report)

    @cached_property
    def every(self) -> np.ndarray:
        """The images that the arrays have rows of, (n,) int64; of a ranking alone those that it names."""
        return images_of(self.user.arrays)

    @cached_property
    def images(self) -> np.ndarray:
        """Those that are not excluded."""
        excluded = as_rows("--exclude", self.user.excluded, int(self.every[-1]) + 1)
        return np.setdiff1d(self.every, excluded, assume_unique=True)

    def clusters(self, asked: int) -> int:
        """As many as asked, else the usual number."""
        return asked or DEFAULT_CLUSTERS

    def score(self, name: str) -> Scores:
        """A registered score of the user's arrays."""
        from initpools_cli.scores.registry import scores
        from initpools_cli.strategies.arrays import INPUTS

        if name not in scores and name not in score_names():
            raise unknown_score(name)
        arrays = self.user.arrays
        if name not in scores or not set(scores.get(name).inputs) <= arrays.keys():
            raise UserError(f"The score '{name}' is not computed from embeddings.", "Name a run with --run DIR.", name)
        method, given = scores.get(name), self.settings.score.params
        knobs = method.validate(given, knob_origins(self.places, given, "score.params"))
        if "embeddings" in method.inputs:
            points = INPUTS["embeddings"].check(arrays["embeddings"])
            tell_zero(self.report, zero_count(points, np.ones(len(points), bool)))
        found = evaluate(method, arrays, knobs, self.settings.select.normalize, self.seed, self.report)
        return Scores(found, outcome_of(found))

    def measured(self, chosen_from: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The user's embeddings, if any."""
        return self.user.get("embeddings"), {}

    def at_work(self) -> AbstractContextManager[None]:
        """Compute with the threads and on the device of [run]."""
        return at_work(self.settings.run)

    def _find(
        self,
        strategy: StrategySpec,
        given: Mapping[str, Any],
        places: Mapping[str, str],
        with_model: bool,
        logits: Callable[[], FinishedStep] | None,
    ) -> FoundArrays:
        own_scores = "scores" not in self.user.arrays
        arrays = with_score(
            strategy,
            self.user.arrays,
            given,
            normalize=self.settings.select.normalize,
            seed=self.seed,
            exclude=self.user.excluded,
            origins=places,
            report=self.report,
        )
        refuse_missing(strategy.name, sorted(strategy.needed), arrays)
        return FoundArrays(arrays, subject=subject_of(strategy, arrays, own_scores=own_scores))

    def _labeled(self, strategy: StrategySpec) -> np.ndarray | None:
        labeled = self.user.labeled
        if labeled is None:
            labeled = self._labels_as_labeled(strategy)
        if labeled is None:
            return None
        return np.intersect1d(as_rows("--labeled", labeled, int(self.every[-1]) + 1), self.images)
