"""What a query asks of a trained model, and what the model answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import numpy as np

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import derive
from initpools_cli.strategies.arrays import FROM_A_MODEL
from initpools_cli.training.experiment import ExperimentSettings, OutputCounts
from initpools_cli.training.learners.registry import Classifier, LearnerTraits, learners, softmax

#: What no learner gives: another model is trained for it, on images.
BESIDE_THE_LEARNER = frozenset({"vaal_scores"})


def refuse_unanswerable(name: str, query: Method, learner: Method[LearnerTraits], space: str) -> None:
    """Refuse a query that asks what a learner can't give.

    Parameters
    ----------
    name : str
        The query, as the user names it.
    space : str
        Where distances are measured; see `training.arena.Protocol`.

    Raises
    ------
    UserError
        What it asks for, and the learners that can.
    """
    asks = {*query.inputs} & FROM_A_MODEL - BESIDE_THE_LEARNER
    if space == "learner" and "embeddings" in query.inputs:
        asks.add("features")
    missing = sorted(asks - {*learner.traits.gives})
    if missing:
        able = [other.name for other in learners if asks <= {*other.traits.gives}]
        raise UserError(
            f"The query {name} asks a model for {', '.join(missing)}, which the learner {learner.name} can't give.",
            f"Take another --learner: {', '.join(able)}.",
        )


def asks_model(query: Method, space: str) -> bool:
    """Whether the query looks at anything that a model gives."""
    asked = {*query.inputs, *query.optional}
    return bool(asked & FROM_A_MODEL - BESIDE_THE_LEARNER) or (space == "learner" and "embeddings" in asked)


def answers(
    query: Method,
    learner: Method[LearnerTraits],
    model: Classifier,
    inputs: np.ndarray,
    protocol: ExperimentSettings,
    seed: int,
    members: Callable[[int], Iterable[Classifier]],
) -> dict[str, np.ndarray]:
    """The query's inputs that the model gives: those it needs, and those it can do without where the learner has them.

    Parameters
    ----------
    inputs : ndarray
        What the learner reads of the images that the query chooses from.
    seed, members
        As in `ask`.
    """
    asked = {*query.inputs, *query.optional} & {*learner.traits.gives}
    found = ask(model, inputs, asked, protocol.ways, seed, members)
    if protocol.space == "learner" and "embeddings" in query.inputs:
        found["embeddings"] = model.features(inputs)
    return found


def ask(
    model: Classifier,
    inputs: np.ndarray,
    asked: Set[str],
    ways: OutputCounts,
    seed: int,
    members: Callable[[int], Iterable[Classifier]],
) -> dict[str, np.ndarray]:
    """What a model says of images, by the names of strategies' inputs.

    Parameters
    ----------
    inputs : ndarray
        What the model reads of n images.
    asked : set of str
        Of probs, features, head, mc_probs, view_probs and member_probs; others are passed over.
    seed : int
        Decides dropout and views.
    members : callable
        So many further models, trained from other seeds.
    """
    _require_room(model, inputs, asked, ways)
    found: dict[str, np.ndarray] = {}
    if "probs" in asked:
        found["probs"] = softmax(model.logits(inputs))
    if "features" in asked:
        found["features"] = model.features(inputs)
    if "head" in asked:
        found["head"] = model.head
    if "mc_probs" in asked:
        found["mc_probs"] = softmax(model.mc_logits(inputs, passes=ways.passes, seed=derive(seed, "passes")))
    if "view_probs" in asked:
        found["view_probs"] = softmax(model.view_logits(inputs, views=ways.views, seed=derive(seed, "views")))
    if "member_probs" in asked:
        others = (softmax(member.logits(inputs)) for member in members(ways.members - 1))
        found["member_probs"] = np.stack([softmax(model.logits(inputs)), *others])
    return found


def _require_room(model: Classifier, inputs: np.ndarray, asked: Set[str], ways: OutputCounts) -> None:
    """Refuse more answers for each image than fit into memory, as logits and as probabilities."""
    times = {"mc_probs": ways.passes, "view_probs": ways.views, "member_probs": ways.members}
    most = max((times[name] for name in asked & times.keys()), default=0)
    if most and len(inputs):
        classes = model.logits(inputs[:1]).shape[1]
        require_memory(
            2 * most * len(inputs) * classes * 8,
            f"{most:,} answers for each of {len(inputs):,} images and {classes} classes take",
            "Lower passes, views or members, or choose among fewer images: --set select.sample=N.",
        )
