"""Resolve the inputs of a command from a run and the user's files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.datasets.embedding_items import derived_splits
from initpools_cli.datasets.row_ids import Ids, rows_by_split
from initpools_cli.steps.clusters import CLUSTERS, clusters_of
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest, newest_patches
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.find_ranking import find_ranking, ranked_images
from initpools_cli.steps.find_scores import scores_of
from initpools_cli.steps.provider import InputRequest, PartialInputs, Provider, Scores
from initpools_cli.steps.recall import report_recall
from initpools_cli.steps.rows import subject_of
from initpools_cli.steps.score import score
from initpools_cli.steps.score_inputs import warn_of_oracle
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserArrays, UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, image_axis

if TYPE_CHECKING:
    import pandas as pd


class RunProvider(Provider):
    """Resolves from the user's files, else from the steps of a run, which are computed if they are missing.

    Parameters
    ----------
    context : Context
    files : UserFiles, optional
    source : str
        ``--from``: the step of the embeddings and scores; "" for its default.
    """

    context: Context

    def __init__(self, context: Context, files: UserFiles | None = None, source: str = "") -> None:
        super().__init__(context.settings, context.origins, context.report, files or UserFiles(), source)
        self.context = context
        self._matrices: dict[str, np.ndarray] = {}

    def for_command(self, context: Context, source: str) -> RunProvider:
        """The same files and data for another command that this one needs."""
        return self._copy(context=context, settings=context.settings, source=source)

    @property
    def seed(self) -> int:
        """The root seed: the user's, else the run's."""
        return self.context.seed

    @cached_property
    def user(self) -> UserArrays:
        """The arrays of the files, for the images of the run."""
        data = self.context.data
        return UserArrays(self.files, data.train_items, data.classes, self.report, data.multilabel, self._train_rows)

    def _train_rows(self, ids: Ids) -> np.ndarray:
        """The row of each train image in embeddings with these ids."""
        data = self.context.data
        return rows_by_split(ids, data.items, derived_splits(data, self.context.identity.seed), data.root)["train"]

    @cached_property
    def image_mask(self) -> np.ndarray:
        """The train images of the data set, (n,) bool, without those of ``--exclude``."""
        mask: np.ndarray = self.context.data.kept
        excluded = self.user.excluded
        if excluded is None:
            return mask
        rest = mask.copy()
        rest[excluded] = False
        count = int(mask.sum() - rest.sum())
        self.report.once(f"{self.files.exclude} (--exclude): {count} images are left out.")
        return rest

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The groups of ``--groups``, else those of the data set."""
        data = self.context.data
        groups = self.user.groups(data.train_items, data.root)
        return data.groups if groups is None else groups

    @property
    def every(self) -> np.ndarray:
        """All train images of the data set."""
        return np.arange(len(self.context.data.kept))

    @cached_property
    def images(self) -> np.ndarray:
        """`image_mask` as indices."""
        return np.flatnonzero(self.image_mask)

    def clusters(self, n_clusters: int) -> int:
        """The number of clusters; see `Context.clusters`."""
        return self.context.clusters(n_clusters)

    @property
    def multilabel(self) -> bool:
        """Whether the data set has several labels per image."""
        return self.context.data.multilabel

    def score(self, name: str) -> Scores:
        """The score of a step, which is computed if it is missing."""
        step, fresh = score(self.context, name, self.source, self.user)
        return Scores(step.array("scores.npy"), step.facts["outcome"], step, fresh)

    def duplicates(self) -> pd.DataFrame:
        """Groups among the images of the run, by the user's embeddings, else those of --from, else the newest."""
        from initpools_cli.steps.duplicate_table import duplicate_table

        embeddings, _ = self.card_embeddings("")
        assert embeddings is not None
        return duplicate_table(embeddings, self.context.data.train_items, self.context.data.kept)

    def card_embeddings(self, source: str) -> tuple[np.ndarray | None, Mapping[str, str]]:
        """The user's embeddings, else those of `source`, else the newest."""
        embeddings = self.user.get("embeddings")
        if embeddings is not None:
            return embeddings, {}
        kind, _, name = source.partition("/")
        step = newest(self.context, self.source or (name if kind == "embed" else ""))
        return self.matrix(step), step.checksums("train.npy")

    def matrix(self, step: FinishedStep) -> np.ndarray:
        """The train embeddings or patches of a finished step, memory-mapped; the same array at every call."""
        if step.id not in self._matrices:
            self._matrices[step.id] = matrix(step)
        return self._matrices[step.id]

    def _find(self, request: InputRequest) -> PartialInputs:
        context, strategy = self.context, request.strategy
        required = strategy.inputs
        inputs = PartialInputs({**self.user.arrays, **self._group_arrays(strategy)}, dict(self.user.checksums))
        arrays = inputs.arrays
        self._refuse_other_counts(arrays)
        outputs = required & MODEL_OUTPUTS - arrays.keys()
        if outputs and not request.with_model:
            raise UserError(
                f"'{strategy.name}' needs {', '.join(sorted(outputs))} of a trained model.",
                f"Pass --probs FILE.npy, or use a command that trains one: `initpools rank {strategy.argument}`, "
                f"`initpools al-run --query {strategy.argument}`.",
                strategy.name,
            )
        if request.logits is not None:
            step = request.logits()
            arrays["embeddings"] = step.array("logits.npy")
            inputs.read(step, "logits.npy")
        elif "embeddings" in required and "embeddings" not in arrays:
            step = newest(context, self.source)
            arrays["embeddings"] = self.matrix(step)
            inputs.read(step, "train.npy")
        own_scores = "scores" in required and bool(strategy.score) and "scores" not in arrays
        points = self._add_score(request, inputs) if own_scores else None
        if "labels" in required and "labels" not in arrays:
            context.require_labels(f"The strategy {strategy.name}")
            warn_of_oracle(context, strategy.name)
            labels = context.data.splits["train"].labels
            assert labels is not None
            arrays["labels"] = labels
        if strategy.ranking and "order" not in arrays:
            step = find_ranking(context, strategy.ranking)
            arrays["order"] = ranked_images(step)
            inputs.read(step, "sorted_idx.npy")
        if "patches" in required and "patches" not in arrays:
            step = newest_patches(context, self.source)
            arrays["patches"] = self.matrix(step)
            inputs.read(step, "train.npy")
        if "clusters" in required and "clusters" not in arrays:
            step = clusters_of(context, "" if required & {"embeddings", "scores"} else self.source)
            arrays["clusters"] = step.array(CLUSTERS)
            inputs.read(step, CLUSTERS)
        if "query_set" in required:
            self._with_query_set(inputs)
            arrays = inputs.arrays
        about = arrays if points is None else {**arrays, "embeddings": points}
        inputs.subject = subject_of(strategy, about, own_scores=own_scores)
        return inputs

    def _add_score(self, request: InputRequest, inputs: PartialInputs) -> np.ndarray | None:
        """Add the score that a strategy ranks by; return the embeddings that it is computed from, if it is."""
        context, strategy, arrays = self.context, request.strategy, inputs.arrays
        scoring, params = strategy.scoring, strategy.score_knobs(request.params)
        of_embeddings = scoring is not None and {*scoring.inputs} == {"embeddings"}
        points = arrays.get("embeddings")
        if scoring is not None and of_embeddings and self.files.exclude is not None:
            # The score of the run's step is among all of its images.
            if points is None:
                step = newest(context, self.source)
                points = self.matrix(step)
                inputs.read(step, "train.npy")
                inputs.source = step.id
            knobs = scoring.validate(params, request.origins)
            normalize = self.settings.select.normalize
            with report_recall(self.report):
                arrays["scores"] = evaluate(
                    scoring, {"embeddings": points}, knobs, normalize, self.seed, self.report, self.image_mask
                )
            return points
        about = self.source if strategy.reads_embeddings or "embeddings" not in strategy.inputs else ""
        step = scores_of(context, strategy.score, about, self.user, params, request.origins)
        arrays["scores"] = step.array("scores.npy")
        inputs.read(step, "scores.npy")
        if of_embeddings and points is None:
            made_of = context.run.find_step(str(step.table["source"]))
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

    def _labeled_images(self, strategy: StrategySpec) -> np.ndarray | None:
        labeled, flag, file = self.user.labeled, "--labeled", self.files.labeled
        if labeled is None:
            labeled, flag, file = self._labels_as_labeled(strategy), "--labels", self.files.labels
        if labeled is None:
            return None
        mask = self.context.data.kept
        outside = labeled[~mask[labeled]]
        if len(outside):
            self.report.once(
                f"{file} ({flag}): {len(outside)} of its {len(labeled)} images are not among the {int(mask.sum())} "
                f"to choose from and have no effect, the first {outside[0]}."
            )
        return labeled[mask[labeled] & self.image_mask[labeled]]

    def _candidates(self, strategy: StrategySpec) -> np.ndarray:
        """The images; for a strategy that reads the data set's labels only those with a label."""
        if not strategy.oracle or self.files.labels is not None or self.files.scores is not None:
            return self.images
        return np.flatnonzero(self.context.labeled_only(strategy.name) & self.image_mask)

    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        return self.context.data.splits["train"].labels, self.context.data.classes
