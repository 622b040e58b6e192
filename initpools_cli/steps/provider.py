"""Resolve the inputs of a command once; see `run_provider` and `file_provider`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from initpools_cli.core.budget import Share
from initpools_cli.core.config import Settings
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.settings import knob_origins
from initpools_cli.datasets.multilabel import labeled_rows, one_class_error
from initpools_cli.steps.context import Context
from initpools_cli.steps.query_set import resolve_query_set
from initpools_cli.steps.report_card import CardData
from initpools_cli.steps.strategy_inputs import StrategyInputs
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserArrays, UserFiles
from initpools_cli.strategies.arrays import ONE_CLASS, inputs_of
from initpools_cli.strategies.candidates import refuse_none_left
from initpools_cli.strategies.duplicates import RowFacts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class InputRequest:
    """A strategy whose inputs are asked for, and what the user set for it.

    Attributes
    ----------
    strategy : StrategySpec
    params : mapping
        The knobs that the user set, with those of the strategy's score.
    origins : mapping of str to str
        Where they were set.
    with_model : bool
        Whether the caller has a classifier that computes missing model outputs.
    logits : callable or None
        Trains or finds the reference classifier whose logits are the embeddings.
    """

    strategy: StrategySpec
    params: Mapping[str, Any]
    origins: Mapping[str, str]
    with_model: bool
    logits: Callable[[], FinishedStep] | None


@dataclass
class PartialInputs:
    """Inputs of a strategy while they are collected; the attributes are those of `StrategyInputs`.

    `queries` are the images of the query set, which are not chosen.
    """

    arrays: dict[str, np.ndarray]
    reads: dict[str, str] = field(default_factory=dict)
    source: str = ""
    subject: np.ndarray | None = None
    queries: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def read(self, step: FinishedStep, *files: str) -> None:
        """Add the checksums of files of a finished step, which are read."""
        self.reads |= step.checksums(*files)
        self.source = self.source or step.id


@dataclass(frozen=True)
class Scores:
    """One number per image; in a run with their step.

    Attributes
    ----------
    values : (n,) float64
    outcome : mapping
        The lowest, the median and the highest of them.
    step : FinishedStep or None
    fresh : bool
        False if the step was finished already.
    """

    values: np.ndarray
    outcome: Mapping[str, Any]
    step: FinishedStep | None = None
    fresh: bool = True


class Provider(ABC):
    """Resolver of the inputs of one command.

    Attributes
    ----------
    settings : Settings
    origins : mapping of str to str
        Where the user set each dotted key.
    report : Reporter
    files : UserFiles
    source : str
        ``--from``; "" for its default.
    context : Context or None
        Of the run; None without one.
    """

    context: Context | None = None

    def __init__(
        self, settings: Settings, origins: Mapping[str, str], report: Reporter, files: UserFiles, source: str = ""
    ) -> None:
        self.settings, self.origins, self.report = settings, origins, report
        self.files, self.source = files, source
        self._facts: dict[int, tuple[np.ndarray, RowFacts]] = {}

    @property
    @abstractmethod
    def user(self) -> UserArrays:
        """The arrays of the files."""

    @property
    @abstractmethod
    def every(self) -> np.ndarray:
        """All images, (n,) int64, ascending."""

    @property
    @abstractmethod
    def images(self) -> np.ndarray:
        """The images that are neither excluded nor left out of the data set, (m,) int64, ascending."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """The root seed."""

    @property
    @abstractmethod
    def groups(self) -> np.ndarray | None:
        """The group of each image, (n,) int64; None without groups."""

    @abstractmethod
    def clusters(self, n_clusters: int) -> int:
        """The number of clusters: `n_clusters`, or a default if it is 0."""

    @property
    @abstractmethod
    def multilabel(self) -> bool:
        """Whether images can have several labels."""

    @abstractmethod
    def score(self, name: str) -> Scores:
        """The score of that name for every image, with the knobs of [score.params]."""

    @abstractmethod
    def duplicates(self) -> pd.DataFrame:
        """The table of groups of near-duplicates, see `duplicate_table`."""

    @abstractmethod
    def card_embeddings(self, source: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The embeddings for report cards, and the checksums of their files.

        Parameters
        ----------
        source : str
            The step from which the pool was chosen, or "".
        """

    def at_work(self) -> AbstractContextManager[None]:
        """Compute with the threads and on the device of [run]; steps of a run do so by themselves."""
        return nullcontext()

    def card_data(self, inputs: StrategyInputs, embeddings: np.ndarray | None) -> CardData:
        """The data for report cards: the images of `inputs`, with these embeddings."""
        normalize = self.settings.select.normalize
        data = CardData.of(embeddings, normalize, inputs.images, inputs.labeled, *self._labels())
        return replace(data, groups=self.groups)

    def resolve(
        self,
        strategy: StrategySpec,
        params: Mapping[str, Any],
        *tables: str,
        order: str = "",
        with_model: bool = False,
        logits: Callable[[], FinishedStep] | None = None,
    ) -> StrategyInputs:
        """Resolve all inputs of a strategy.

        Parameters
        ----------
        strategy : StrategySpec
        params, with_model, logits
            As in `InputRequest`.
        *tables : str
            The dotted tables of the knobs, the most specific first, e.g. "select.params".
        order : str
            Which scores come first; default: select.order.

        Raises
        ------
        UserError
            A knob that is not valid, or an input that is missing or does not fit.
        """
        if self.multilabel:
            strategy = strategy.for_multilabel()
        origins = knob_origins(self.origins, params, *tables)
        knobs = strategy.knobs(params, order or self.settings.select.order, origins)
        labeled, candidates = self._labeled_images(strategy), self._candidates(strategy)
        free = candidates if labeled is None else np.setdiff1d(candidates, labeled)
        refuse_none_left(len(free), len(candidates))
        inputs = self._find(InputRequest(strategy, params, origins, with_model, logits))
        if len(inputs.queries):
            candidates, free = (np.setdiff1d(each, inputs.queries) for each in (candidates, free))
            self.report.once(f"The {len(inputs.queries)} images of --query-set are not chosen.")
            if not len(free):
                raise UserError(
                    f"--query-set {self.files.query_set} names all images without a label: none is left to choose.",
                    "Name fewer images in the query set, or give embeddings of other images.",
                    self.files.query_set,
                )
        if self.multilabel and (with_classes := ONE_CLASS & {*strategy.method.optional} & inputs.arrays.keys()):
            raise one_class_error(
                f"'{strategy.name}' with {', '.join(sorted(with_classes))}", "Leave them out: it works without, too."
            )
        return StrategyInputs(
            strategy=strategy.with_clusters(self.clusters),
            knobs=knobs,
            params=params,
            arrays=inputs.arrays,
            n=int(self.every[-1]) + 1,
            images=self.images,
            candidates=candidates,
            hidden=np.setdiff1d(self.every, candidates, assume_unique=True),
            labeled=labeled,
            subject=inputs.subject,
            facts=self._facts_of(inputs.subject),
            items=self.user.items,
            reads=inputs.reads,
            source=inputs.source,
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
        """The same with another ``--from``; files are not read again."""
        return self._copy(source=source)

    def with_settings(self, settings: Settings) -> Self:
        """The same with other settings."""
        return self._copy(settings=settings)

    def with_whole_budget(self) -> Self:
        """The same with select.budget as a number of images, if it is a share."""
        select = self.settings.select
        if not isinstance(select.budget, Share):
            return self
        budget = select.budget.of(len(self.images))
        self.report.say(f"--budget {select.budget.text}: {budget:,} of {len(self.images):,} images")
        select = select.model_copy(update={"budget": budget})
        return self.with_settings(self.settings.model_copy(update={"select": select}))

    def _copy(self, **changes: Any) -> Self:
        self.user, self.images  # noqa: B018 -- read before the copy, so that both have them
        clone = copy(self)
        clone.__dict__ |= changes
        return clone

    @abstractmethod
    def _find(self, request: InputRequest) -> PartialInputs:
        """The arrays of a strategy; see `resolve`."""

    @abstractmethod
    def _labeled_images(self, strategy: StrategySpec) -> np.ndarray | None:
        """The images that are labeled already, (m,) int64, ascending; None without ``--labeled`` and ``--labels``.

        They are those of ``--labeled``, else of ``--labels``, unless the strategy itself reads the labels.
        """

    def _with_query_set(self, inputs: PartialInputs) -> None:
        """Replace the images of ``--query-set`` by their embeddings."""
        n = int(self.every[-1]) + 1
        inputs.arrays, inputs.queries = resolve_query_set(inputs.arrays, n, "--query-set")

    def _group_arrays(self, strategy: StrategySpec) -> dict[str, np.ndarray]:
        """The groups, if the strategy or select.per_group needs them.

        Raises
        ------
        UserError
            There are none.
        """
        most = self.settings.select.per_group
        if "groups" not in inputs_of(strategy.method, strategy.balance.kind, most):
            return {}
        if self.groups is None:
            what = f"'{strategy.name}'" if strategy.balance.kind == "groups" else f"select.per_group = {most}"
            raise UserError(
                f"{what} needs groups, and there are none.",
                "Add --groups FILE.csv, a table with the columns path or index, and group.",
                what,
            )
        return {"groups": self.groups}

    def _candidates(self, strategy: StrategySpec) -> np.ndarray:
        """The images that the strategy may choose from."""
        return self.images

    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The labels of the data set, (n,) int64 or (n, c) int8, and its classes."""
        return None, ()

    def _facts_of(self, subject: np.ndarray | None) -> RowFacts | None:
        """Which rows are zero or copies; computed once for each array."""
        if subject is None:
            return None
        if id(subject) not in self._facts:
            # The array is stored with its facts, so that no other array gets its id.
            self._facts[id(subject)] = (subject, RowFacts.of(subject))
        return self._facts[id(subject)][1]

    def _labels_as_labeled(self, strategy: StrategySpec) -> np.ndarray | None:
        """The images with a label in ``--labels``, unless the strategy reads the labels."""
        if self.user.labels is None or "labels" in strategy.method.inputs:
            return None
        return labeled_rows(self.user.labels.by_image)
