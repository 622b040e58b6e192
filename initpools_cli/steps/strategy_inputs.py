"""Give a strategy what its signature asks for: from the user's files, else from the run, made where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.clusters import CLUSTERS, clusters_of
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest, newest_patches
from initpools_cli.steps.rows import facts_of, subject_of, tell, there
from initpools_cli.steps.score import evaluate, scores_of
from initpools_cli.steps.score_inputs import warn_of_oracle
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserFiles, read_labels, read_rows
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, image_axis, rounding_note
from initpools_cli.strategies.duplicates import RowFacts
from initpools_cli.strategies.selection import Selection

if TYPE_CHECKING:
    pass


@dataclass
class Supply:
    """What a strategy is called with, and where it came from.

    Attributes
    ----------
    arrays : dict of str to ndarray
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    origin : str
        The step its embeddings or scores are from, or "".
    subject : ndarray or None
        The embeddings, or patches, that the strategy or its score is about.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    subject: np.ndarray | None = None

    @cached_property
    def facts(self) -> RowFacts | None:
        """What is known of the rows of what the strategy is about."""
        return facts_of(self.subject)

    def add(self, name: str, array: np.ndarray, done: FinishedStep, *files: str) -> None:
        """An array read from a finished step."""
        self.arrays[name] = array
        self.reads |= done.checksums(*files)
        self.origin = self.origin or done.id


def bought(
    strategy: StrategySpec, brought: UserFiles, context: Context | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Which images are labeled already, and the labels that were brought.

    Those of ``--labeled``, or else of ``--labels``, unless the strategy is an oracle that asks for the labels of images
    it has yet to choose.

    Parameters
    ----------
    context : Context, optional
        Of the run; without one labels come as an array of all images.

    Returns
    -------
    labeled : ndarray or None
        (m,) int64; without a run as it came.
    labels : (n,) int64 or None
        -1 where there is none.

    Raises
    ------
    UserError
        Files that can't be read or don't fit, or a table of labels without a run.
    """
    items = None if context is None else context.data.train_items
    labeled = read_rows(brought.labeled, "--labeled", items) if brought.labeled is not None else None
    labels = None
    if brought.labels is not None and context is not None and items is not None:
        rows, found, _ = read_labels(
            brought.labels, items, brought.classes_in(context.data.classes), report=context.report
        )
        labels = np.full(len(items), -1)
        labels[rows] = found
    elif brought.labels is not None:
        labels = brought.arrays().get("labels")
        if labels is None:
            raise UserError(
                f"{brought.labels} (--labels) is a table, and without a run it is not known what its rows are of.",
                "Name the run with --run DIR, or bring an .npy of one class number per image, -1 for none.",
            )
    if labeled is None and labels is not None and "labels" not in strategy.method.inputs:
        labeled = np.flatnonzero(labels >= 0)
    if labeled is not None and context is not None:
        labeled = _there(labeled, context, brought)
    return labeled, labels


def _there(labeled: np.ndarray, context: Context, brought: UserFiles) -> np.ndarray:
    """Those that a long tail does not leave out; says how many it does."""
    kept = context.data.kept
    outside = labeled[~kept[labeled]]
    if len(outside):
        flag, file = ("--labeled", brought.labeled) if brought.labeled is not None else ("--labels", brought.labels)
        context.report.once(
            f"{file} ({flag}): {len(outside)} of its {len(labeled)} images, the first {outside[0]}, are none of the "
            f"{int(kept.sum())} to choose from, and count for nothing in the choice."
        )
    return labeled[kept[labeled]]


def candidates_of(context: Context, strategy: StrategySpec, brought: UserFiles) -> np.ndarray:
    """The images that a strategy chooses among, (n,) bool: one that reads the data set's labels knows only those."""
    reads_labels = strategy.oracle and brought.labels is None and brought.scores is None
    seen = there(context, brought)
    return context.labeled_only(strategy.name) & seen if reads_labels else seen


def pick(
    strategy: StrategySpec,
    arrays: Mapping[str, np.ndarray],
    budget: int,
    select: SelectTable,
    knobs: Mapping[str, Any],
    seed: int,
    *,
    labeled: np.ndarray | None = None,
    kept: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    facts: RowFacts | None = None,
    report: Reporter | None = None,
) -> Selection:
    """Let the strategy choose, with the settings of [select] that hold wherever a strategy runs.

    Parameters
    ----------
    labeled : ndarray, optional
        Indices or mask of the images that are labeled already.
    kept : ndarray, optional
        (n,) bool, the images there are to choose from; None: all that the arrays tell of.
    exclude : ndarray, optional
        Instead of `kept`: indices or mask of the images that are not seen.
    facts : Rows, optional
        As for `choose`.
    report : Reporter, optional
        Where it is said how long it will take, if that is long; and which embeddings say nothing new.
    """
    from initpools_cli.strategies.checks import refuse_constant_outputs
    from initpools_cli.strategies.runtime import expectation
    from initpools_cli.strategies.select import as_rows, choose

    embeddings = arrays.get("embeddings")
    if report is not None and embeddings is not None and np.ndim(embeddings) == 2 and strategy.balance.kind == "none":
        n, d = embeddings.shape if kept is None else (int(kept.sum()), embeddings.shape[1])
        told = expectation(strategy.name, strategy.method, n, d, budget, knobs, select.sample)
        if told is not None:
            report.say(told)
    exclude = exclude if kept is None or kept.all() else ~kept
    selection = choose(
        strategy.method,
        arrays,
        budget,
        labeled=labeled,
        exclude=exclude,
        n=None if kept is None else len(kept),
        seed=seed,
        normalize=select.normalize,
        balance=strategy.balance.kind,
        n_clusters=strategy.balance.n_clusters,
        sample=select.sample,
        copies=select.copies,
        min_distance=select.min_distance,
        knobs=knobs,
        facts=facts,
    )
    rounded = "" if report is None else rounding_note(strategy.method, arrays)
    if report is not None and rounded:
        report.once(rounded)
    if report is not None and facts is not None:
        n = len(facts.original)
        images = np.setdiff1d(np.arange(n), as_rows("exclude", exclude, n))
        tell(report, facts, images, as_rows("labeled", labeled, n), select.copies)
    refuse_constant_outputs(strategy.method, selection)
    return selection


def with_score(
    strategy: StrategySpec,
    arrays: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    normalize: bool,
    seed: int,
    exclude: np.ndarray | None = None,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """The arrays, and the score that the strategy ranks by where it is made of them alone.

    Parameters
    ----------
    params : mapping
        The knobs that were given, those of the score among them.
    exclude : ndarray, optional
        Indices or mask of the images that are not seen.
    """
    from initpools_cli.strategies.select import as_rows

    scoring = strategy.scoring
    if scoring is None or "scores" in arrays or not set(scoring.inputs) <= arrays.keys():
        return dict(arrays)
    knobs = scoring.validate(strategy.score_knobs(params))
    n = len(arrays[scoring.inputs[0]])
    seen = np.ones(n, bool)
    seen[as_rows("exclude", exclude, n)] = False
    return {**arrays, "scores": evaluate(scoring, arrays, knobs, normalize, seed, report, seen)}


def supply(
    context: Context,
    strategy: StrategySpec,
    brought: UserFiles,
    source: str,
    params: Mapping[str, Any],
    *,
    with_model: bool = False,
) -> Supply:
    """Inputs that need no classifier: what was brought, then embeddings, scores, clusters and labels of the run.

    What the strategy can do without is not made: it uses that where it was brought.

    Parameters
    ----------
    source : str
        ``--from``; default: the newest embeddings.
    params : mapping
        The knobs that were given, those of the strategy's score among them.
    with_model : bool
        Whether the caller has a classifier to ask for what is still missing.

    Raises
    ------
    UserError
        Brought arrays whose row count is not the data set's, or a model to ask where there is none.
    """
    given = Supply(brought.arrays(classes=context.data.classes), brought.checksums())
    count = len(context.data.kept)
    if brought.labels is not None:
        labels = bought(strategy, brought, context)[1]
        given.arrays |= {} if labels is None else {"labels": labels}
    for name, array in given.arrays.items():
        axis = image_axis(name, array.shape)
        if axis is not None and array.shape[axis] != count:
            raise UserError(
                f"{name} has {array.shape[axis]} rows, but {context.data.spec.name} has {count} train images.",
                "Bring one row per train image, in the order of data/items.csv; or name no run, to work from the file.",
            )
    wants = strategy.needed
    asked = wants & MODEL_OUTPUTS - given.arrays.keys()
    if asked and not with_model:
        raise UserError(
            f"'{strategy.name}' asks a trained model for {', '.join(sorted(asked))}, and there is none here.",
            f"Bring them with --probs FILE.npy, or let a classifier be trained: `initpools rank {strategy.name}`, "
            f"`initpools al-run --query {strategy.name}`.",
        )
    if "embeddings" in wants and "embeddings" not in given.arrays:
        done = newest(context, source)
        given.add("embeddings", matrix(done), done, "train.npy")
    own_scores = "scores" in wants and bool(strategy.score) and "scores" not in given.arrays
    scored = strategy.scoring
    about_embeddings = own_scores and scored is not None and {*scored.inputs} == {"embeddings"}
    points = given.arrays.get("embeddings")
    if about_embeddings and scored is not None and brought.exclude is not None:
        # The score of the run is among all of its images.
        if points is None:
            done = newest(context, source)
            points = matrix(done)
            given.reads |= done.checksums("train.npy")
            given.origin = done.id
        knobs = scored.validate(strategy.score_knobs(params))
        seen = there(context, brought)
        arrays, report = {"embeddings": points}, context.report
        given.arrays["scores"] = evaluate(
            scored, arrays, knobs, context.settings.select.normalize, context.seed, report, seen
        )
    elif own_scores:
        about = source if strategy.reads_embeddings or "embeddings" not in wants else ""
        done = scores_of(context, strategy.score, about, brought, strategy.score_knobs(params))
        given.add("scores", done.array("scores.npy"), done, "scores.npy")
        if about_embeddings and points is None:
            made_of = context.run.find_step(str(done.table["source"]))
            points = None if made_of is None else matrix(made_of)
    if "labels" in wants and "labels" not in given.arrays:
        context.require_labels(f"The strategy {strategy.name}")
        warn_of_oracle(context, strategy.name)
        labels = context.data.splits["train"].labels
        assert labels is not None
        given.arrays["labels"] = labels
    if "patches" in wants and "patches" not in given.arrays:
        done = newest_patches(context, source)
        given.add("patches", matrix(done), done, "train.npy")
    if "clusters" in wants and "clusters" not in given.arrays:
        done = clusters_of(context, "" if wants & {"embeddings", "scores"} else source)
        given.add("clusters", done.array(CLUSTERS), done, CLUSTERS)
    about_them = given.arrays if points is None else {**given.arrays, "embeddings": points}
    given.subject = subject_of(strategy, about_them, own_scores=own_scores)
    return given
