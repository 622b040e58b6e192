"""Resolve the inputs of a command from a run and the user's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.datasets.embedding_items import derived_splits
from initpools_cli.datasets.row_ids import Ids, rows_by_split
from initpools_cli.steps.clusters import CLUSTERS, clusters_of
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest, newest_patches
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.find_scores import scores_of
from initpools_cli.steps.provider import FoundArrays, Provider, Scores
from initpools_cli.steps.rank import find_ranking, ranked_images
from initpools_cli.steps.recall import measured_recall
from initpools_cli.steps.rows import subject_of
from initpools_cli.steps.score import score
from initpools_cli.steps.score_inputs import warn_of_oracle
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserArrays, UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, image_axis

if TYPE_CHECKING:
    import pandas as pd


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
        super().__init__(context.settings, context.origins, context.report, files or UserFiles(), source)
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
        return UserArrays(self.files, data.train_items, data.classes, self.report, data.multilabel, self._train_rows)

    def _train_rows(self, ids: Ids) -> np.ndarray:
        """The row of each train image in embeddings with these ids."""
        data = self.context.data
        return rows_by_split(ids, data.items, derived_splits(data, self.context.identity.seed), data.root)["train"]

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

    @cached_property
    def groups(self) -> np.ndarray | None:
        """Those of ``--groups`` for picks alone, else those of the data set."""
        data = self.context.data
        found = self.user.groups(data.train_items, data.root)
        return data.groups if found is None else found

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

    @property
    def multilabel(self) -> bool:
        """Whether the data set has several labels per image."""
        return self.context.data.multilabel

    def score(self, name: str) -> Scores:
        """The score that a step holds, computed here where it is missing."""
        done, fresh = score(self.context, name, self.source, self.user)
        return Scores(done.array("scores.npy"), done.facts["outcome"], done, fresh)

    def duplicates(self) -> pd.DataFrame:
        """Groups among the images of the run, by the user's embeddings, else those of --from, else the newest."""
        from initpools_cli.steps.duplicate_table import duplicate_table

        embeddings, _ = self.measured("")
        assert embeddings is not None
        return duplicate_table(embeddings, self.context.data.train_items, self.context.data.kept)

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
        found = FoundArrays({**self.user.arrays, **self._group_arrays(strategy)}, dict(self.user.checksums))
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
        if strategy.ranking and "order" not in arrays:
            done = find_ranking(context, strategy.ranking)
            arrays["order"] = ranked_images(done)
            found.read(done, "sorted_idx.npy")
        if "patches" in wants and "patches" not in arrays:
            done = newest_patches(context, self.source)
            arrays["patches"] = self.matrix(done)
            found.read(done, "train.npy")
        if "clusters" in wants and "clusters" not in arrays:
            done = clusters_of(context, "" if wants & {"embeddings", "scores"} else self.source)
            arrays["clusters"] = done.array(CLUSTERS)
            found.read(done, CLUSTERS)
        if "query_set" in wants:
            self._with_query_set(found)
            arrays = found.arrays
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
            with measured_recall(self.report):
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
