"""Inputs of a strategy, and the call of the strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.reporter import Reporter
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.rows import tell
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.strategies.arrays import rounding_note
from initpools_cli.strategies.duplicates import RowFacts
from initpools_cli.strategies.selection import Selection

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StrategyInputs:
    """All inputs of a strategy, and their source; a `Provider` resolves them.

    Attributes
    ----------
    strategy : StrategySpec
        With the number of clusters for the balance.
    knobs : dict
        The values of all its own knobs.
    params : mapping
        The knobs that the user set, with those of its score.
    arrays : dict of str to ndarray
        By the names of `strategies.arrays.INPUTS`.
    n : int
        One more than the highest index of an image.
    images : (m,) int64
        The images that are neither excluded nor left out of the data set, ascending.
    candidates : (c,) int64
        The images to choose from, with labeled ones.
    hidden : (h,) int64
        All other images.
    labeled : (m,) int64 or None
        The images that are labeled already; None if that is not known.
    subject : ndarray or None
        The embeddings, or patches, that the strategy or its score reads.
    facts : RowFacts or None
        Which rows of `subject` are copies or zero.
    items : DataFrame or None
        The train rows of items.csv; None without a run.
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    source : str
        The step of its embeddings or scores, or "".
    """

    strategy: StrategySpec
    knobs: Mapping[str, Any]
    params: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    n: int
    images: np.ndarray
    candidates: np.ndarray
    hidden: np.ndarray
    labeled: np.ndarray | None
    subject: np.ndarray | None
    facts: RowFacts | None
    items: pd.DataFrame | None = None
    reads: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def adding(self, arrays: Mapping[str, np.ndarray]) -> StrategyInputs:
        """The same with further arrays."""
        return replace(self, arrays={**self.arrays, **arrays})

    def from_step(self, source: str, reads: Mapping[str, str]) -> StrategyInputs:
        """The same with another step as the source, which is read too."""
        return replace(self, source=source, reads={**self.reads, **reads})

    @property
    def image_mask(self) -> np.ndarray:
        """`images` as a mask, (n,) bool."""
        mask = np.zeros(self.n, bool)
        mask[self.images] = True
        return mask

    def unlabeled(self, images: np.ndarray) -> np.ndarray:
        """The images of `images` that are not labeled."""
        return images if self.labeled is None else np.setdiff1d(images, self.labeled, assume_unique=True)


def pick(
    inputs: StrategyInputs,
    budget: int,
    select: SelectTable,
    seed: int,
    report: Reporter | None = None,
    budget_name: str = "budget=",
    partitions: int | None = None,
) -> Selection:
    """Let the strategy choose, with the settings of [select] for every strategy.

    Parameters
    ----------
    partitions : int
        From how many partitions it chooses first; 1: from all images at once; None: for a command without the option.
    report : Reporter, optional
        Prints notes: the runtime, if it is long, and which embeddings are zero or copies.
    """
    from initpools_cli.strategies.checks import refuse_constant_outputs
    from initpools_cli.strategies.runtime import expectation
    from initpools_cli.strategies.select import choose, common_settings

    strategy, arrays, candidates = inputs.strategy, inputs.arrays, inputs.candidates
    embeddings = arrays.get("embeddings")
    if report is not None and embeddings is not None and np.ndim(embeddings) == 2 and strategy.balance.kind == "none":
        n, d = len(candidates), embeddings.shape[1]
        note = expectation(strategy.name, strategy.method, n, d, budget, inputs.knobs, select.sample, partitions)
        if note is not None:
            report.say(note)
    selection = choose(
        strategy.method,
        arrays,
        budget,
        labeled=inputs.labeled,
        exclude=inputs.hidden,
        n=inputs.n if inputs.n == len(candidates) + len(inputs.hidden) else None,
        seed=seed,
        balance=strategy.balance.kind,
        n_clusters=strategy.balance.n_clusters,
        partitions=partitions or 1,
        knobs=inputs.knobs,
        facts=inputs.facts,
        budget_name=budget_name,
        **common_settings(select),
    )
    if report is not None:
        note = rounding_note(strategy.method, arrays)
        if note:
            report.once(note)
        rest = candidates
        if select.semdedup:
            rest = np.setdiff1d(candidates, selection.near_copies, assume_unique=True)
            count, images = len(selection.near_copies), len(inputs.unlabeled(candidates))
            report.say(
                f"{count:,} of {min(images, select.sample or images):,} images are near-copies of others and are left "
                f"out (select.semdedup = {select.semdedup:g})"
            )
        if inputs.facts is not None:
            tell(report, inputs.facts, rest, inputs.labeled, select.copies)
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
    origins: Mapping[str, str] | None = None,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """Add the score that the strategy ranks by, if it is computed from the arrays alone.

    Parameters
    ----------
    params : mapping
        The knobs that the user set, with those of the score.
    exclude : ndarray, optional
        Indices or mask of the images to leave out.
    origins : mapping of str to str, optional
        Where each knob was set, for errors.
    """
    from initpools_cli.strategies.candidates import as_rows

    scoring = strategy.scoring
    if scoring is None or "scores" in arrays or not set(scoring.inputs) <= arrays.keys():
        return dict(arrays)
    knobs = scoring.validate(strategy.score_knobs(params), origins)
    n = len(arrays[scoring.inputs[0]])
    mask = np.ones(n, bool)
    mask[as_rows("exclude", exclude, n)] = False
    return {**arrays, "scores": evaluate(scoring, arrays, knobs, normalize, seed, report, mask)}
