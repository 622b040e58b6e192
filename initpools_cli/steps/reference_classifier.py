"""Reference classifier of rankings: trained once, and stored in the run."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file, write_array
from initpools_cli.core.registry import revisions_of
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import derive
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.steps.context import Context
from initpools_cli.steps.user_files import UserArrays

if TYPE_CHECKING:
    from initpools_cli.training.learners.registry import Classifier
    from initpools_cli.training.network import TrainedNetwork


def reference(context: Context, source: str, user: UserArrays) -> FinishedStep:
    """Return the classifier of rankings; train it if there is none.

    Parameters
    ----------
    source : str
        "val", "test" (the predecessor's "reverse": leaking), "labeled" (the train images of ``--labeled``), a .csv of
        annotations, or "auto": val if there is one, else test.

    Raises
    ------
    UserError
        No labels, or no such split or file.
    """
    from initpools_cli.networks.weights import save_weights
    from initpools_cli.training.learners.registry import learners

    context.require_images(
        "A reference classifier",
        "Pass the probabilities of a model of yours, --probs FILE.npy, or rank by a strategy that needs no model.",
    )
    examples = _examples(context, source, user)
    name, images, labels = examples.name, examples.images, examples.labels
    learner = learners.get("scratch")
    knobs = learner.validate({})
    step = context.run.step(
        "reference",
        name,
        {
            "learner": learner.name,
            "params": learner.identity(knobs),
            **revisions_of((learner, knobs)),
            "seed": context.seed,
        },
        {**context.items_checksum(), **examples.reads},
    )
    leaking = " (leaking: it has seen the test labels)" if name == "test" else ""
    context.report.say(f"reference classifier: {step.id}, {len(labels)} labels{leaking}")
    if step.finished:
        return step.finished
    context.report.say(f"training {step.id} on {len(labels)} images")
    data = context.data
    classes = labels.shape[1] if labels.ndim == 2 else max(len(data.classes), int(labels.max()) + 1)
    command = context.command_for("rank", context.settings.rank.strategy, "--reference", source)
    with context.writing(step, command=command) as scratch:
        model = learner.build(
            images, labels, classes, derive(context.seed, "reference", name), context.machine.device, None, **knobs
        )
        write_array(scratch / "logits.npy", model.logits(data.splits["train"].images).astype(np.float32))
        save_weights(model.network, scratch / "classifier.safetensors")
        step.outcome = {"labels": len(labels), "classes": classes, "leaking": name == "test"}
    return FinishedStep(context.run, step.folder)


def logits(step: FinishedStep) -> np.ndarray:
    """(n, c) float32 of the unaugmented train images."""
    return step.array("logits.npy")


def model_outputs(
    context: Context,
    step: FinishedStep,
    names: AbstractSet[str],
    source: str,
    user: UserArrays,
    labeled: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The classifier's outputs for all train images, by the names of strategies' inputs.

    Parameters
    ----------
    names : set of str
        Of `strategies.arrays.MODEL_OUTPUTS`.
    source, user
        See `reference`.
    labeled : (m,) int64, optional
        The labeled images for VAAL's discriminator; default: those that the classifier was trained on.
    """
    from initpools_cli.training.experiment import OutputCounts
    from initpools_cli.training.learners.registry import softmax
    from initpools_cli.training.logistic import sigmoid
    from initpools_cli.training.model_outputs import compute_outputs

    table = context.settings.rank
    outputs: dict[str, np.ndarray] = {}
    if "probs" in names:
        outputs["probs"] = softmax(logits(step).astype(np.float64))
    if "label_probs" in names:
        outputs["label_probs"] = sigmoid(logits(step).astype(np.float64))
    if names - {"probs", "label_probs", "vaal_scores"}:
        outputs |= compute_outputs(
            _classifier(context, step),
            context.data.splits["train"].images,
            names - {"probs", "label_probs"},
            OutputCounts(table.views, table.passes, table.members),
            derive(context.seed, "reference answers"),
            lambda count: _members(context, step, count, source, user),
        )
    if "vaal_scores" in names:
        outputs["vaal_scores"] = _vaal_scores(context, source, user, labeled)
    return outputs


def _classifier(context: Context, step: FinishedStep) -> TrainedNetwork:
    from initpools_cli.networks.build import build_encoder
    from initpools_cli.networks.weights import load_weights
    from initpools_cli.training.network import Network, TrainedNetwork

    images = context.data.splits["train"].images
    knobs, facts = step.table["params"], step.facts["outcome"]
    shape = {"channels": images.shape[3], "size": min(images.shape[1:3])}
    encoder = build_encoder(knobs["network"], **shape, width=knobs["width"], seed=0)
    network = Network(encoder, facts["classes"], 0, knobs["dropout"])
    load_weights(network, step.verified_path("classifier.safetensors"))
    return TrainedNetwork(network.to(context.machine.device), context.machine.device)


def _members(context: Context, step: FinishedStep, count: int, source: str, user: UserArrays) -> Iterator[Classifier]:
    """Further classifiers, trained like that one with other seeds."""
    from initpools_cli.training.learners.registry import learners

    learner, examples = learners.get(step.table["learner"]), _examples(context, source, user)
    classes, device = step.facts["outcome"]["classes"], context.machine.device
    for number in range(count):
        context.report.say(f"training classifier {number + 2} of {count + 1} on {len(examples.labels)} images")
        seed = derive(context.seed, "reference", examples.name, "member", number)
        yield learner.build(examples.images, examples.labels, classes, seed, device, None, **step.table["params"])


def _vaal_scores(context: Context, source: str, user: UserArrays, labeled: np.ndarray | None) -> np.ndarray:
    """VAAL's scores of all train images, (n,) float64; 0 for those that a long tail leaves out."""
    from initpools_cli.training.vaal import vaal_scores

    rows = np.flatnonzero(context.data.kept)
    pool, examples = context.data.splits["train"].images[rows], _examples(context, source, user)
    if labeled is None or not len(labeled):
        labeled = np.empty(0, np.int64) if examples.rows is None else np.intersect1d(examples.rows, rows)
    places = np.searchsorted(rows, labeled)
    if not len(labeled):
        pool = np.concatenate([pool, examples.images])
        places = np.arange(len(rows), len(pool))
    context.report.say(f"training VAAL's discriminator: {len(places)} labeled images, {len(pool) - len(places)} others")
    scores = np.zeros(len(context.data.kept))
    values = vaal_scores(pool, places, derive(context.seed, "reference vaal"), context.machine.device)
    scores[rows] = values[: len(rows)]
    return scores


@dataclass(frozen=True)
class TrainingExamples:
    """Training data of a classifier.

    Attributes
    ----------
    name : str
        Of its folder.
    images, labels : ndarray
        (m, h, w, c) uint8, and (m,) int64 or (m, classes) int8.
    reads : dict of str to str
        SHA-256 by path.
    rows : (m,) int64 or None
        Their train images; None if they are of another split.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    reads: dict[str, str]
    rows: np.ndarray | None = None


def _examples(context: Context, source: str, user: UserArrays) -> TrainingExamples:
    data = context.data
    if source == "labeled" or source.endswith(".csv"):
        return _from_train(context, source, user)
    context.require_labels("A reference classifier")
    if source == "auto":
        source = "val" if "val" in data.splits and data.splits["val"].labels is not None else "test"
    if source not in ("val", "test"):
        raise UserError(
            f"--reference {source} is not valid.", "Use val, test, labeled, or a CSV file with annotations.", source
        )
    split = data.splits.get(source)
    if split is None or split.labels is None:
        raise UserError(
            f"{data.spec.name} has no labeled {source} split.",
            f"Use one of its splits, {', '.join(data.splits)}, or --reference FILE.csv with annotations.",
            source,
        )
    rows = split.labeled
    if len(rows) == len(split.labels):
        return TrainingExamples(source, split.images, split.labels, {})
    context.report.once(f"reference classifier: {len(rows)} of the {len(split.labels)} {source} images have a label.")
    return TrainingExamples(source, split.images[rows], split.labels[rows], {})


def _from_train(context: Context, source: str, user: UserArrays) -> TrainingExamples:
    split = context.data.splits["train"]
    if source != "labeled":
        path = require_file(Path(source), "--reference")
        sha256 = checksum(path)
        annotations = user.labels_in(path, "--reference")
        rows, labels = annotations.rows, annotations.labels
        checksums = {str(path.resolve()): sha256}
        return TrainingExamples(f"file-{path.stem}", split.images[rows], labels, checksums, rows)
    if user.labels is not None:
        rows, labels = user.labels.rows, user.labels.labels
    elif user.labeled is not None:
        context.require_labels("--labeled without --labels")
        rows, file = user.labeled, user.files.labeled
        if len(rows) == 0:
            raise UserError(f"{file} (--labeled) names no image.", "Name at least one labeled image.", str(file))
        assert split.labels is not None
        labels = split.labels[rows]
        places = labeled_rows(labels)
        if len(places) < len(rows):
            first = np.delete(rows, places)[0]
            raise UserError(
                f"{file} (--labeled) names {len(rows) - len(places)} images without a label in the data set, the first "
                f"{first}.",
                "Pass their labels with --labels FILE, or leave these images out of the file.",
                str(first),
            )
    else:
        raise UserError(
            "--reference labeled needs --labeled or --labels.", "Add --labeled FILE or --labels FILE.", "labeled"
        )
    return TrainingExamples("labeled", split.images[rows], labels, user.checksums, rows)
