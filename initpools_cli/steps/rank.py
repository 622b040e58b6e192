"""All images in the order in which a strategy would choose them, best first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from initpools_cli.core.config import RankTable, SelectTable
from initpools_cli.core.durations import duration
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.recall import report_recall
from initpools_cli.steps.reference_classifier import model_outputs, reference
from initpools_cli.steps.rows import distance_identity, identity
from initpools_cli.steps.strategy_inputs import StrategyInputs, pick
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy, refuse_source, with_balance
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, numbers, refuse_missing
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.selection import Selection

#: How many images a strategy that is not nested orders itself by default.
DEPTH = 1000
#: The same if the others follow by distance and ordering all takes more than minutes: images² × dimensions exceed
#: `MOST`.
LONG_DEPTH, MOST = 10_000, 10**13
#: In the table of a ranking whose other images follow by distance; in older versions they follow by index.
REST = "distance"
#: The table of its knobs.
PARAMS = "rank.params"


@dataclass(frozen=True)
class Ranking:
    """Images in order, best first.

    Attributes
    ----------
    indices : (m,) int64
        The ranked images; with ``--all-rows`` all others follow.
    scores : (m,) float64 or None
        In that order; NaN for images without one.
    n_ranked : int
        Number of ranked images.
    rows : int
        Number of rows of train, ranked or not.
    step : FinishedStep or None
        Its step, in a run.
    fresh : bool
        False if the step was finished already.
    """

    indices: np.ndarray
    scores: np.ndarray | None
    n_ranked: int
    rows: int
    step: FinishedStep | None = None
    fresh: bool = True

    @classmethod
    def from_step(cls, step: FinishedStep, rows: int, *, fresh: bool) -> Ranking:
        """Read the ranking of a finished step."""
        order = step.array("sorted_idx.npy")
        scores = step.array("scores.npy")[order] if "scores.npy" in step.facts["writes"] else None
        return cls(order, scores, step.facts["outcome"].get("ranked", len(order)), rows, step, fresh)

    @property
    def note(self) -> str:
        """Which rows of train are not ranked; empty if all are."""
        if self.n_ranked == self.rows:
            return ""
        others = f"the other {self.rows - self.n_ranked:,}"
        if len(self.indices) == self.rows:
            return f"The order has all {self.rows:,} rows: {self.n_ranked:,} ranked, then {others} by ascending index."
        return f"The order has {self.n_ranked:,} of {self.rows:,} rows; --all-rows appends {others}."

    def with_all_rows(self, every: np.ndarray) -> Ranking:
        """Append the rows that are not ranked, by ascending index.

        Parameters
        ----------
        every : (rows,) int64
            All rows, ascending.
        """
        others = np.setdiff1d(every, self.indices, assume_unique=True)
        scores = None if self.scores is None else np.append(self.scores, np.full(len(others), np.nan))
        return replace(self, indices=np.append(self.indices, others), scores=scores)


def rank(provider: Provider) -> Ranking:
    """Rank all images; a run stores the order in ``rank/<strategy>/{sorted_idx.npy,scores.npy}``.

    Without ``--from``, a strategy that is registered to rank logits reads those of the reference classifier if there
    are labels; all others read the embeddings of the labeling loop, else the newest.

    Images that are labeled, excluded or not kept are not ranked; `rank.all_rows` appends them.

    Raises
    ------
    UserError
        If strategy, depth or inputs are not valid.
    """
    context, select, table = provider.context, provider.settings.select, provider.settings.rank
    strategy = with_balance(parse_strategy(table.strategy), select)
    if strategy.ranking:
        raise UserError(
            f"'{strategy.name}' is a ranking already.",
            f"Name a strategy: `initpools rank {strategy.ranking}`.",
            strategy.name,
        )
    refuse_source(strategy, provider.files, provider.source)
    _refuse_groups(provider, strategy)
    inputs = _resolve(provider, strategy)
    if inputs.knobs.get("order") == "stratified":
        raise UserError(
            "order = 'stratified' gives no ranking: its picks depend on the budget.",
            "Use `initpools select-pool`, or order=middle.",
            "stratified",
        )
    missing = inputs.strategy.inputs & MODEL_OUTPUTS - inputs.arrays.keys()
    depth = _depth(inputs, table, select)
    rest = _has_rest(inputs, depth, select)
    if context is None:
        return _order(inputs, depth, rest, provider)
    step = _step(context, inputs, depth, rest, missing, provider.files.identity)
    n_rows = len(provider.every)
    if step.finished:
        return Ranking.from_step(step.finished, n_rows, fresh=False)
    with context.writing(step) as scratch, report_recall(context.report, step):
        if missing:
            inputs = inputs.adding(_model_outputs(context, provider, inputs, missing))
        ranking = _order(inputs, depth, rest, provider)
        write_array(scratch / "sorted_idx.npy", ranking.indices)
        if ranking.scores is not None:
            write_array(scratch / "scores.npy", by_image(ranking, inputs.n))
        step.outcome = {"ranked": ranking.n_ranked, "rows": len(ranking.indices), "train_rows": n_rows}
    return Ranking.from_step(FinishedStep(context.run, step.folder), n_rows, fresh=True)


def _refuse_groups(provider: Provider, strategy: StrategySpec) -> None:
    """Refuse groups that have no effect on the order."""
    groups = provider.files.groups
    if groups and strategy.balance.kind != "groups" and not provider.settings.select.per_group:
        raise UserError(
            f"--groups {groups} has no effect on the order of '{strategy.name}'.",
            f"Use '{strategy.base}@groups', or add --set select.per_group=1.",
            groups,
        )


def _resolve(provider: Provider, strategy: StrategySpec) -> StrategyInputs:
    """Resolve the strategy's inputs; train the reference classifier if they need it."""
    context, params = provider.context, provider.settings.rank.params
    if context is None:
        return provider.resolve(strategy, params, PARAMS)
    classifier = partial(reference, context, provider.settings.rank.reference, provider.user)
    ranks_logits = strategy.method.traits.ranks_logits and provider.files.embeddings is None
    has_labels = context.data.splits["train"].labels is not None
    if (ranks_logits and not provider.source and has_labels) or provider.source == "logits":
        return provider.resolve(strategy, params, PARAMS, logits=classifier)
    inputs = provider.resolve(strategy, params, PARAMS, with_model=True)
    missing = inputs.strategy.inputs & MODEL_OUTPUTS - inputs.arrays.keys()
    if not missing:
        return inputs
    if provider.files.probs is not None:
        # The outputs of another classifier do not belong to these probabilities.
        refuse_missing(strategy.name, sorted(missing), inputs.arrays)
    step = classifier()
    return inputs.from_step(step.id, step.checksums("classifier.safetensors"))


def _model_outputs(
    context: Context, provider: Provider, inputs: StrategyInputs, missing: set[str]
) -> dict[str, np.ndarray]:
    """The missing model outputs of all images, by the reference classifier."""
    classifier = context.run.find_step(inputs.source)
    assert classifier is not None, "the reference classifier was trained a moment ago"
    return model_outputs(context, classifier, missing, context.settings.rank.reference, provider.user, inputs.labeled)


def _step(
    context: Context, inputs: StrategyInputs, depth: int, rest: bool, missing: set[str], classes: dict[str, list[str]]
) -> PendingStep:
    """Return the step of the ranking, with everything that it depends on."""
    table, select, strategy = context.settings.rank, context.settings.select, inputs.strategy
    settings: dict[str, Any] = {
        "strategy": strategy.base,
        **strategy.identity(inputs.knobs, inputs.params),
        **classes,
        "depth": depth,
        **({"rest": REST} if rest else {}),
        "views": table.views if "view_probs" in missing else 0,
        "passes": table.passes if "mc_probs" in missing else 0,
        "members": table.members if "member_probs" in missing else 0,
        "balance": strategy.balance.kind,
        "n_clusters": strategy.balance.n_clusters,
        "normalize": select.normalize,
        "sample": select.sample,
        "seed": context.seed,
        "source": inputs.source,
        **distance_identity(select),
        **identity(inputs.facts, inputs.image_mask, inputs.labeled, select),
        **({"oracle": True} if strategy.oracle else {}),
        **({"all_rows": True} if table.all_rows else {}),
    }
    return context.run.step(
        "rank",
        strategy.folder,
        settings,
        {**context.items_checksum(), **inputs.reads},
        force=context.force,
        also=strategy.spellings,
    )


def _order(inputs: StrategyInputs, depth: int, rest: bool, provider: Provider) -> Ranking:
    """Return the strategy's own order of `depth` images, and all others after them, by distance if `rest`."""
    select, report = provider.settings.select, provider.report
    free = inputs.unlabeled(inputs.images)
    if rest and not provider.settings.rank.depth and depth == LONG_DEPTH < len(free):
        report.say(_depth_note(inputs, depth, len(free)))
    selection = pick(inputs, depth, select, provider.seed, report)
    if len(selection.indices) < depth:
        report.once(_short_note(len(selection.indices), select))
    if rest:
        selection = replace(selection, candidate_scores=_distances(inputs, selection, free, select))
    order = with_the_rest(selection, free)
    ranking = Ranking(order.indices, order.scores, len(order.indices), len(provider.every))
    return ranking.with_all_rows(provider.every) if provider.settings.rank.all_rows else ranking


def _short_note(n_ranked: int, select: SelectTable) -> str:
    """Return the note on why the strategy orders fewer images than `depth`."""
    apart = f"are at least min_distance = {select.min_distance:g} from each other and from labeled images"
    different = f"are no near-copies of others by semdedup = {select.semdedup:g}"
    reasons = [text for text, value in ((apart, select.min_distance), (different, select.semdedup)) if value]
    return f"{n_ranked:,} images {' and '.join(reasons)}; the others come after them."


def _depth_note(inputs: StrategyInputs, depth: int, images: int) -> str:
    """Return the note on the default depth, and on the runtime for all images."""
    from initpools_cli.strategies.runtime import operations, speed

    method, d = inputs.strategy.method, inputs.arrays["embeddings"].shape[1]
    seconds = operations(method, images, d, images, inputs.knobs) / speed()
    return (
        f"{inputs.strategy.name} orders the first {depth:,} of {images:,} images; the others follow by distance to the "
        f"nearest of them, the farthest first. --depth all orders all, in about {duration(seconds)}."
    )


def _has_rest(inputs: StrategyInputs, depth: int, select: SelectTable) -> bool:
    """Return whether the images after the first `depth` follow by distance."""
    strategy, available = inputs.strategy, len(inputs.unlabeled(inputs.candidates))
    by_distance = strategy.method.traits.rest is not None and strategy.balance.kind == "none"
    return by_distance and (depth < available or select.min_distance > 0 or select.semdedup > 0)


def _distances(inputs: StrategyInputs, selection: Selection, free: np.ndarray, select: SelectTable) -> np.ndarray:
    """Measure the images that `with_the_rest` appends, aligned with `candidate_scores`; NaN for those selected."""
    rest, others = inputs.strategy.method.traits.rest, np.setdiff1d(free, last_rows(selection), assume_unique=True)
    assert rest is not None, "checked by _has_rest"
    # Rows are scaled one by one, so these are the embeddings that the strategy has read.
    points = as_embeddings(numbers("embeddings", inputs.arrays["embeddings"]), select.normalize)
    rows = np.setdiff1d(others, selection.indices, assume_unique=True)
    centers = selection.indices if inputs.labeled is None else np.union1d(inputs.labeled, selection.indices)
    scores = np.full(len(others), np.nan)
    scores[np.searchsorted(others, rows)] = rest(points, rows, centers, inputs.knobs)
    return scores


def with_the_rest(selection: Selection, free: np.ndarray) -> Selection:
    """Append all other images to a selection: by score if each has one, then by index.

    Copies, rows of length zero and near-copies that were left out come after all of them.

    Parameters
    ----------
    free : (m,) int64
        All images to rank, ascending.

    Returns
    -------
    Selection
        Of all of them. Scores are NaN for images without one.
    """
    late = last_rows(selection)
    others = np.setdiff1d(free, late, assume_unique=True)
    rest = np.setdiff1d(others, selection.indices, assume_unique=True)
    scores = np.full(len(rest), np.nan)
    # The scores of a balanced or sampled selection are not in the order of all images.
    if (
        selection.candidate_scores is not None
        and len(selection.candidate_scores) == len(others)
        and selection.clusters is None
    ):
        scores = selection.candidate_scores[np.searchsorted(others, rest)]
        order = np.argsort(-scores, kind="stable")
        rest, scores = rest[order], scores[order]
    last = late[~np.isin(late, selection.indices)]
    scores = np.concatenate([scores, np.full(len(last), np.nan)])
    indices = np.concatenate([selection.indices, rest, last])
    return Selection(indices, None if selection.scores is None else np.concatenate([selection.scores, scores]))


def last_rows(selection: Selection) -> np.ndarray:
    """The images that come after all others: copies, rows of length zero, near-copies that were left out."""
    return np.concatenate([selection.fallback, selection.near_copies])


def by_image(ranking: Ranking, count: int) -> np.ndarray:
    """The score of every image by its index, (n,) float64; NaN for images that are not ranked."""
    scores = np.full(count, np.nan)
    scores[ranking.indices] = ranking.scores
    return scores


def _depth(inputs: StrategyInputs, table: RankTable, select: SelectTable) -> int:
    """How many images the strategy orders itself."""
    available = len(inputs.unlabeled(inputs.candidates))
    if table.depth == "all":
        return min(available, select.sample or available)
    if table.depth > available:
        raise UserError(
            f"--depth {table.depth} is more than the {available} images to rank.",
            "Lower --depth, or leave out --depth.",
            str(table.depth),
        )
    own = _default_depth(inputs, available)
    return table.depth or min(own, select.sample or available, available)


def _default_depth(inputs: StrategyInputs, available: int) -> int:
    """How many images the strategy orders itself if no depth is set; the same on any machine."""
    traits = inputs.strategy.method.traits
    if not traits.nested:
        return DEPTH
    within = inputs.strategy.balance.kind != "none"
    if traits.rest is None or within or available**2 * inputs.arrays["embeddings"].shape[1] <= MOST:
        return available
    return LONG_DEPTH
