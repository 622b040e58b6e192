"""Resolve the inputs of a command from the user's files alone, without a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.config import DEFAULT_CLUSTERS
from initpools_cli.core.errors import UserError
from initpools_cli.core.settings import knob_origins
from initpools_cli.datasets.embedding_items import ids_of
from initpools_cli.datasets.row_ids import Ids, read_ids
from initpools_cli.steps.context import at_work
from initpools_cli.steps.evaluate import evaluate, outcome_of, tell_zero
from initpools_cli.steps.provider import InputRequest, PartialInputs, Provider, Scores
from initpools_cli.steps.recall import report_recall
from initpools_cli.steps.rows import subject_of, zero_count
from initpools_cli.steps.score_name import score_names, unknown_score
from initpools_cli.steps.strategy_inputs import with_score
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserArrays
from initpools_cli.strategies.arrays import INPUTS, refuse_missing
from initpools_cli.strategies.candidates import as_rows, images_of

if TYPE_CHECKING:
    import pandas as pd


class FileProvider(Provider):
    """Resolves from the user's files alone, without a run."""

    @property
    def seed(self) -> int:
        """The root seed."""
        return self.settings.run.seed

    @cached_property
    def user(self) -> UserArrays:
        """The arrays of the files."""
        arrays = UserArrays(self.files, None, (), self.report, self.multilabel)
        ids = self._ids(arrays)
        if ids is None:
            return arrays
        with_items = replace(arrays, items=self._items([row.path or row.index for row in ids.rows]))
        # Files that were read to count the images are not read again.
        with_items.__dict__.update(
            {key: value for key, value in arrays.__dict__.items() if key in ("_arrays", "embeddings_file")}
        )
        return with_items

    def _ids(self, user: UserArrays) -> Ids | None:
        """The ids stored with the embeddings, else those of ``--ids``."""
        if user.embeddings_file is not None:
            return ids_of(user.embeddings_file, self.files.ids)
        if self.files.ids is None:
            return None
        # Tables of labels can be read only once the images are known.
        names = ("patches", "probs", "scores", "clusters", "order")
        arrays = {name: array for name in names if (array := user.get(name)) is not None}
        return read_ids(self.files.ids, len(images_of(arrays or user.arrays)))

    def _items(self, paths: Sequence[str]) -> pd.DataFrame:
        """One row per image, like those of items.csv; paths are the ids."""
        import pandas as pd

        count = len(paths)
        return pd.DataFrame({"index": range(count), "path": paths, "split": "train", "class": "", "sha256": "-"})

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The groups of ``--groups``."""
        if not self.files.groups:
            return None
        items = self.user.items
        return self.user.groups(self._items([""] * (int(self.every[-1]) + 1)) if items is None else items)

    @cached_property
    def every(self) -> np.ndarray:
        """The images with a row in the arrays, (n,) int64; with only a ranking, the images that it names."""
        return images_of(self.user.arrays)

    @cached_property
    def images(self) -> np.ndarray:
        """The images that are not excluded."""
        excluded = as_rows("--exclude", self.user.excluded, int(self.every[-1]) + 1)
        return np.setdiff1d(self.every, excluded, assume_unique=True)

    def clusters(self, n_clusters: int) -> int:
        """The number of clusters: `n_clusters` if it is not 0, else the default."""
        return n_clusters or DEFAULT_CLUSTERS

    @property
    def multilabel(self) -> bool:
        """Whether the settings say so."""
        return self.settings.dataset.multilabel

    def score(self, name: str) -> Scores:
        """A registered score of the user's arrays."""
        from initpools_cli.scores.registry import scores

        if name not in scores and name not in score_names():
            raise unknown_score(name)
        arrays = self.user.arrays
        if name not in scores or not set(scores.get(name).inputs) <= arrays.keys():
            raise UserError(f"The score '{name}' is not computed from embeddings.", "Name a run with --run DIR.", name)
        method, params = scores.get(name), self.settings.score.params
        knobs = method.validate(params, knob_origins(self.origins, params, "score.params"))
        if "embeddings" in method.inputs:
            points = INPUTS["embeddings"].check(arrays["embeddings"])
            tell_zero(self.report, zero_count(points, np.ones(len(points), bool)))
        values = evaluate(method, arrays, knobs, self.settings.select.normalize, self.seed, self.report)
        return Scores(values, outcome_of(values))

    def duplicates(self) -> pd.DataFrame:
        """Groups among the rows of the user's embeddings."""
        from initpools_cli.steps.duplicate_table import duplicate_table

        embeddings = INPUTS["embeddings"].check(self.user.arrays["embeddings"])
        items = self.user.items
        return duplicate_table(embeddings, items, np.ones(len(embeddings), bool))

    def card_embeddings(self, source: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The user's embeddings, if any."""
        return self.user.get("embeddings"), {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Compute with the threads and on the device of [run], and print the recall of approximate searches."""
        with at_work(self.settings.run), report_recall(self.report):
            yield

    def _find(self, request: InputRequest) -> PartialInputs:
        strategy = request.strategy
        if strategy.ranking:
            self.require_run(f"'{strategy.name}'")
        own_scores = "scores" not in self.user.arrays
        arrays = with_score(
            strategy,
            {**self.user.arrays, **self._group_arrays(strategy)},
            request.params,
            normalize=self.settings.select.normalize,
            seed=self.seed,
            exclude=self.user.excluded,
            origins=request.origins,
            report=self.report,
        )
        refuse_missing(strategy.name, sorted(strategy.inputs), arrays)
        inputs = PartialInputs(arrays, subject=subject_of(strategy, arrays, own_scores=own_scores))
        if "query_set" in strategy.inputs:
            self._with_query_set(inputs)
        return inputs

    def _labeled_images(self, strategy: StrategySpec) -> np.ndarray | None:
        labeled = self.user.labeled
        if labeled is None:
            labeled = self._labels_as_labeled(strategy)
        if labeled is None:
            return None
        return np.intersect1d(as_rows("--labeled", labeled, int(self.every[-1]) + 1), self.images)
