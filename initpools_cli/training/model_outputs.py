"""Outputs of a trained model that a query reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import numpy as np

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import derive
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.training.experiment import ExperimentSettings, OutputCounts
from initpools_cli.training.learners.registry import Classifier, LearnerTraits, learners, softmax
from initpools_cli.training.logistic import sigmoid

#: Inputs that no learner provides; a separate model is trained for them on images.
BESIDE_THE_LEARNER = frozenset({"vaal_scores"})
#: Inputs of queries for several labels per image, and the outputs of the same kind with one class.
MULTILABEL_OUTPUTS = {"label_probs": "probs", "mc_label_probs": "mc_probs"}


def require_outputs(name: str, query: Method, learner: Method[LearnerTraits], space: str) -> None:
    """Refuse a query that needs outputs which the learner does not provide.

    Parameters
    ----------
    name : str
        The user's name of the query.
    query, learner : Method
    space : str
        Space of distances; see `ExperimentSettings`.

    Raises
    ------
    UserError
        Names the missing outputs, and the learners that provide them.
    """
    outputs = {*query.inputs} & MODEL_OUTPUTS - BESIDE_THE_LEARNER
    if space == "learner" and "embeddings" in query.inputs:
        outputs.add("features")
    outputs = {MULTILABEL_OUTPUTS.get(name, name) for name in outputs}
    missing = sorted(outputs - {*learner.traits.gives})
    if missing:
        able = [other.name for other in learners if outputs <= {*other.traits.gives}]
        raise UserError(
            f"The query {name} needs {', '.join(missing)}, which the learner {learner.name} does not provide.",
            f"Use another --learner: {', '.join(able)}.",
            learner.name,
        )


def reads_model(query: Method, space: str) -> bool:
    """Return whether the query reads any output of a model."""
    names = {*query.inputs, *query.optional}
    return bool(names & MODEL_OUTPUTS - BESIDE_THE_LEARNER) or (space == "learner" and "embeddings" in names)


def query_outputs(
    query: Method,
    learner: Method[LearnerTraits],
    model: Classifier,
    inputs: np.ndarray,
    settings: ExperimentSettings,
    seed: int,
    members: Callable[[int], Iterable[Classifier]],
) -> dict[str, np.ndarray]:
    """Compute the model outputs that a query reads: required ones, and optional ones that the learner provides.

    Parameters
    ----------
    query, learner : Method
    model : Classifier
    inputs : ndarray
        Inputs of the learner for the images that the query selects from.
    seed, members
        As in `compute_outputs`.
    """
    gives = {*learner.traits.gives}
    gives |= {several for several, one in MULTILABEL_OUTPUTS.items() if one in gives}
    names = {*query.inputs, *query.optional} & gives
    outputs = compute_outputs(model, inputs, names, settings.outputs, seed, members)
    if settings.space == "learner" and "embeddings" in query.inputs:
        outputs["embeddings"] = model.features(inputs)
    return outputs


def compute_outputs(
    model: Classifier,
    inputs: np.ndarray,
    names: Set[str],
    counts: OutputCounts,
    seed: int,
    members: Callable[[int], Iterable[Classifier]],
) -> dict[str, np.ndarray]:
    """Compute outputs of a model, by the names of strategies' inputs.

    Parameters
    ----------
    model : Classifier
    inputs : ndarray
        Inputs of the model for n images.
    names : set of str
        Any of probs, features, head, mc_probs, view_probs, member_probs, label_probs and mc_label_probs; others are
        ignored.
    counts : OutputCounts
    seed : int
        Determines dropout and views.
    members : callable
        Yields that many further models, trained from other seeds.
    """
    _require_room(model, inputs, names, counts)
    outputs: dict[str, np.ndarray] = {}
    if "probs" in names:
        outputs["probs"] = softmax(model.logits(inputs))
    if "features" in names:
        outputs["features"] = model.features(inputs)
    if "head" in names:
        outputs["head"] = model.head
    if "mc_probs" in names:
        outputs["mc_probs"] = softmax(model.mc_logits(inputs, passes=counts.passes, seed=derive(seed, "passes")))
    if "view_probs" in names:
        outputs["view_probs"] = softmax(model.view_logits(inputs, views=counts.views, seed=derive(seed, "views")))
    if "label_probs" in names:
        outputs["label_probs"] = sigmoid(model.logits(inputs))
    if "mc_label_probs" in names:
        passes = model.mc_logits(inputs, passes=counts.passes, seed=derive(seed, "passes"))
        outputs["mc_label_probs"] = sigmoid(passes)
    if "member_probs" in names:
        others = (softmax(member.logits(inputs)) for member in members(counts.members - 1))
        outputs["member_probs"] = np.stack([softmax(model.logits(inputs)), *others])
    return outputs


def _require_room(model: Classifier, inputs: np.ndarray, names: Set[str], counts: OutputCounts) -> None:
    """Refuse outputs that do not fit into memory, as logits and as probabilities."""
    times = {"mc_probs": counts.passes, "view_probs": counts.views, "member_probs": counts.members}
    times["mc_label_probs"] = counts.passes
    most = max((times[name] for name in names & times.keys()), default=0)
    if most and len(inputs):
        classes = model.logits(inputs[:1]).shape[1]
        require_memory(
            2 * most * len(inputs) * classes * 8,
            f"{most:,} predictions for each of {len(inputs):,} images and {classes} classes take",
            "Use fewer passes, views or members, or select from fewer images: --set select.sample=N.",
        )
