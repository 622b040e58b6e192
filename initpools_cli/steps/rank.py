"""All images in the order a strategy would take them, best first."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.config import RankTable, SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.reference_classifier import answers, logits, reference
from initpools_cli.steps.rows import distance_identity, excluded, facts_of, identity, subject_of, there
from initpools_cli.steps.strategy_inputs import Supply, bought, candidates_of, pick, supply, with_score
from initpools_cli.steps.strategy_name import StrategySpec, balanced, named, refuse_source
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, refuse_missing
from initpools_cli.strategies.selection import Selection

#: How many images a strategy orders itself by default, where a larger choice of it does not begin with a smaller one.
DEPTH = 1000


def rank(context: Context, brought: UserFiles, source: str = "") -> tuple[FinishedStep, bool]:
    """Write ``rank/<strategy>/{sorted_idx.npy,scores.npy}``, or find it already done.

    Parameters
    ----------
    source : str
        ``--from``; for a strategy on distances, default: the reference classifier's logits where it is registered to
        rank there and there are labels, else the newest embeddings.

    Raises
    ------
    UserError
        Anything wrong with strategy, depth or inputs.
    """
    from initpools_cli.strategies.select import refuse_none_left

    table, select = context.settings.rank, context.settings.select
    strategy = balanced(named(table.strategy), select)
    refuse_source(strategy, brought, source)
    knobs = strategy.knobs(table.params, select.order, context.origins(table.params, "rank.params"))
    seen = there(context, brought)
    labeled, _ = bought(strategy, brought, context)
    labeled = labeled if labeled is None else labeled[seen[labeled]]
    candidates = candidates_of(context, strategy, brought)
    available = _available(labeled, candidates)
    refuse_none_left(available, int(candidates.sum()))
    given = _supply(context, strategy, brought, source)
    depth = _depth(strategy, table, select, available)
    asked = strategy.needed & MODEL_OUTPUTS - given.arrays.keys()
    strategy = strategy.counted(context.clusters)
    resolved = {
        "strategy": strategy.base,
        **strategy.identity(knobs, table.params),
        **brought.identity,
        "depth": depth,
        "views": table.views if "view_probs" in asked else 0,
        "passes": table.passes if "mc_probs" in asked else 0,
        "members": table.members if "member_probs" in asked else 0,
        "balance": strategy.balance.kind,
        "n_clusters": strategy.balance.n_clusters,
        "normalize": select.normalize,
        "sample": select.sample,
        "seed": context.seed,
        "source": given.origin,
        **distance_identity(select),
        **identity(given.facts, seen, labeled, select),
        **({"oracle": True} if strategy.oracle else {}),
    }
    step = context.run.step(
        "rank",
        strategy.folder,
        resolved,
        {**context.items_checksum(), **given.reads},
        force=context.force,
        also=strategy.spellings,
    )
    if step.finished:
        return step.finished, False
    with context.writing(step) as scratch:
        if asked:
            classifier = _done(context, given.origin)
            given.arrays |= answers(context, classifier, asked, table.reference, brought, labeled)
        selection = pick(
            strategy,
            given.arrays,
            depth,
            select,
            knobs,
            context.seed,
            labeled=labeled,
            kept=candidates,
            facts=given.facts,
            report=context.report,
        )
        _tell_skipped(context.report, selection, depth, select)
        free = seen.copy()
        free[[] if labeled is None else labeled] = False
        selection = with_the_rest(selection, np.flatnonzero(free))
        write_array(scratch / "sorted_idx.npy", selection.indices)
        if selection.scores is not None:
            write_array(scratch / "scores.npy", by_image(selection, len(seen)))
        step.outcome = {"ranked": len(selection.indices)}
    return FinishedStep(context.run, step.folder), True


def rank_from_files(
    rank: RankTable, select: SelectTable, brought: UserFiles, seed: int, report: Reporter | None = None
) -> Selection:
    """The ranking from brought arrays alone, without a run."""
    from initpools_cli.strategies.select import as_rows, images_of, refuse_none_left

    strategy = balanced(named(rank.strategy), select)
    arrays, exclude = brought.arrays(report), excluded(brought)
    own_scores = "scores" not in arrays
    arrays = with_score(
        strategy, arrays, rank.params, normalize=select.normalize, seed=seed, exclude=exclude, report=report
    )
    labeled, _ = bought(strategy, brought, None)
    images = images_of(arrays)
    total = int(images[-1]) + 1
    images = np.setdiff1d(images, as_rows("--exclude", exclude, total), assume_unique=True)
    free = np.setdiff1d(images, as_rows("--labeled", labeled, total), assume_unique=True)
    refuse_none_left(len(free), len(images))
    knobs = strategy.knobs(rank.params, select.order)
    depth = _depth(strategy, rank, select, len(free))
    facts = facts_of(subject_of(strategy, arrays, own_scores=own_scores))
    selection = pick(
        strategy, arrays, depth, select, knobs, seed, labeled=labeled, exclude=exclude, facts=facts, report=report
    )
    if report is not None:
        _tell_skipped(report, selection, depth, select)
    return with_the_rest(selection, free)


def _tell_skipped(report: Reporter, selection: Selection, depth: int, select: SelectTable) -> None:
    if len(selection.indices) < depth:
        report.once(
            f"{len(selection.indices):,} images are at least min_distance = {select.min_distance:g} from each other "
            "and from labeled images; the others come after them."
        )


def with_the_rest(selection: Selection, free: np.ndarray) -> Selection:
    """What a strategy ordered, and then the images that it did not: by its score where it gave all one, then by index.

    Copies and rows of length zero come after all of them.

    Parameters
    ----------
    free : (m,) int64
        All images there are to rank, ascending.

    Returns
    -------
    Selection
        Of all of them. Scores are NaN for those that the strategy gave none.
    """
    others = np.setdiff1d(free, selection.fallback, assume_unique=True)
    rest = np.setdiff1d(others, selection.indices, assume_unique=True)
    scores = np.full(len(rest), np.nan)
    # Spread over clusters or drawn from a sample, the scores are not those of all images in their order.
    if (
        selection.candidate_scores is not None
        and len(selection.candidate_scores) == len(others)
        and selection.clusters is None
    ):
        scores = selection.candidate_scores[np.searchsorted(others, rest)]
        order = np.argsort(-scores, kind="stable")
        rest, scores = rest[order], scores[order]
    last = selection.fallback[~np.isin(selection.fallback, selection.indices)]
    scores = np.concatenate([scores, np.full(len(last), np.nan)])
    indices = np.concatenate([selection.indices, rest, last])
    return Selection(indices, None if selection.scores is None else np.concatenate([selection.scores, scores]))


def by_image(selection: Selection, count: int) -> np.ndarray:
    """The score of every image by its index, (n,) float64; NaN where it was not ranked."""
    scores = np.full(count, np.nan)
    scores[selection.indices] = selection.scores
    return scores


def _supply(context: Context, strategy: StrategySpec, brought: UserFiles, source: str) -> Supply:
    """The strategy's inputs, those of the reference classifier among them."""
    in_logits = strategy.method.traits.ranks_logits and brought.embeddings is None
    labeled_data = context.data.splits["train"].labels is not None
    if (in_logits and not source and labeled_data) or source == "logits":
        done = reference(context, context.settings.rank.reference, brought)
        given = Supply(brought.arrays(classes=context.data.classes), brought.checksums())
        given.add("embeddings", logits(done), done, "logits.npy")
        given.subject = subject_of(strategy, given.arrays)
        return given
    given = supply(context, strategy, brought, source, context.settings.rank.params, with_model=True)
    asked = strategy.needed & MODEL_OUTPUTS - given.arrays.keys()
    if asked:
        if brought.probs is not None:
            # Another classifier's answers do not belong to these probabilities.
            refuse_missing(strategy.name, sorted(asked), given.arrays)
        done = reference(context, context.settings.rank.reference, brought)
        given.reads |= done.checksums("classifier.safetensors")
        given.origin = done.id
    return given


def _depth(strategy: StrategySpec, table: RankTable, select: SelectTable, available: int) -> int:
    """How many images the strategy orders itself."""
    if table.depth > available:
        raise UserError(
            f"The strategy is to order {table.depth} images itself, and there are only {available} to rank.",
            "Lower --depth, or leave it out.",
        )
    own = available if strategy.method.traits.nested else DEPTH
    return table.depth or min(own, select.sample or available, available)


def _done(context: Context, step_id: str) -> FinishedStep:
    done = context.run.find_step(step_id)
    assert done is not None, "the reference classifier was made a moment ago"
    return done


def _available(labeled: np.ndarray | None, kept: np.ndarray) -> int:
    free = kept.copy()
    if labeled is not None:
        free[labeled] = False
    return int(free.sum())
