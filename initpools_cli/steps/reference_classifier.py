"""The reference classifier of rankings: trained once on labels that are said, and kept in the run."""

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


def reference(context: Context, wanted: str, user: UserArrays) -> FinishedStep:
    """The classifier that rankings ask, trained here where it is missing.

    Parameters
    ----------
    wanted : str
        "val", "test" (the predecessor's "reverse": leaking), "labeled" (the train images of ``--labeled``), a .csv of
        annotations, or "auto": val where there is one, else test.

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
    examples = _examples(context, wanted, user)
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
    command = context.command_for("rank", context.settings.rank.strategy, "--reference", wanted)
    with context.writing(step, command=command) as scratch:
        model = learner.build(
            images, labels, classes, derive(context.seed, "reference", name), context.machine.device, None, **knobs
        )
        write_array(scratch / "logits.npy", model.logits(data.splits["train"].images).astype(np.float32))
        save_weights(model.network, scratch / "classifier.safetensors")
        step.outcome = {"labels": len(labels), "classes": classes, "leaking": name == "test"}
    return FinishedStep(context.run, step.folder)


def logits(done: FinishedStep) -> np.ndarray:
    """(n, c) float32 of the unaugmented train images."""
    return done.array("logits.npy")


def answers(
    context: Context,
    done: FinishedStep,
    asked: AbstractSet[str],
    wanted: str,
    user: UserArrays,
    labeled: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """What the classifier says of all train images, by the names of strategies' inputs.

    Parameters
    ----------
    asked : set of str
        Of `strategies.inputs.MODEL_OUTPUTS`.
    wanted, user
        What the classifier was trained on; see `reference`.
    labeled : (m,) int64, optional
        What counts as labeled for VAAL's discriminator; where nothing does, what the classifier was trained on.
    """
    from initpools_cli.training.experiment import OutputCounts
    from initpools_cli.training.learners.registry import softmax
    from initpools_cli.training.logistic import sigmoid
    from initpools_cli.training.model_outputs import compute_outputs

    table = context.settings.rank
    found: dict[str, np.ndarray] = {}
    if "probs" in asked:
        found["probs"] = softmax(logits(done).astype(np.float64))
    if "label_probs" in asked:
        found["label_probs"] = sigmoid(logits(done).astype(np.float64))
    if asked - {"probs", "label_probs", "vaal_scores"}:
        found |= compute_outputs(
            _classifier(context, done),
            context.data.splits["train"].images,
            asked - {"probs", "label_probs"},
            OutputCounts(table.views, table.passes, table.members),
            derive(context.seed, "reference answers"),
            lambda count: _members(context, done, count, wanted, user),
        )
    if "vaal_scores" in asked:
        found["vaal_scores"] = _discriminated(context, wanted, user, labeled)
    return found


def _classifier(context: Context, done: FinishedStep) -> TrainedNetwork:
    from initpools_cli.networks.build import build_encoder
    from initpools_cli.networks.weights import load_weights
    from initpools_cli.training.network import Network, TrainedNetwork

    images = context.data.splits["train"].images
    knobs, facts = done.table["params"], done.facts["outcome"]
    shape = {"channels": images.shape[3], "size": min(images.shape[1:3])}
    encoder = build_encoder(knobs["network"], **shape, width=knobs["width"], seed=0)
    network = Network(encoder, facts["classes"], 0, knobs["dropout"])
    load_weights(network, done.verified_path("classifier.safetensors"))
    return TrainedNetwork(network.to(context.machine.device), context.machine.device)


def _members(context: Context, done: FinishedStep, count: int, wanted: str, user: UserArrays) -> Iterator[Classifier]:
    """Further classifiers, trained as that one from other seeds."""
    from initpools_cli.training.learners.registry import learners

    learner, examples = learners.get(done.table["learner"]), _examples(context, wanted, user)
    classes, device = done.facts["outcome"]["classes"], context.machine.device
    for number in range(count):
        context.report.say(f"training classifier {number + 2} of {count + 1} on {len(examples.labels)} images")
        seed = derive(context.seed, "reference", examples.name, "member", number)
        yield learner.build(examples.images, examples.labels, classes, seed, device, None, **done.table["params"])


def _discriminated(context: Context, wanted: str, user: UserArrays, labeled: np.ndarray | None) -> np.ndarray:
    """VAAL's scores of all train images, (n,) float64; 0 for those that a long tail leaves out."""
    from initpools_cli.training.vaal import vaal_scores

    kept = np.flatnonzero(context.data.kept)
    pool, known = context.data.splits["train"].images[kept], np.empty(0, np.int64)
    examples = _examples(context, wanted, user)
    if labeled is not None and len(labeled):
        known = labeled
    elif examples.rows is not None:
        known = np.intersect1d(examples.rows, kept)
    places = np.searchsorted(kept, known)
    if not len(known):
        pool = np.concatenate([pool, examples.images])
        places = np.arange(len(kept), len(pool))
    context.report.say(f"training VAAL's discriminator: {len(places)} labeled images, {len(pool) - len(places)} others")
    scores = np.zeros(len(context.data.kept))
    found = vaal_scores(pool, places, derive(context.seed, "reference vaal"), context.machine.device)
    scores[kept] = found[: len(kept)]
    return scores


@dataclass(frozen=True)
class TrainingExamples:
    """What a classifier is trained on.

    Attributes
    ----------
    name : str
        Of its folder.
    images, labels : ndarray
        (m, h, w, c) uint8, and (m,) int64 or (m, classes) int8.
    reads : dict of str to str
        SHA-256 by path.
    rows : (m,) int64 or None
        Which train images they are, where they are some.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    reads: dict[str, str]
    rows: np.ndarray | None = None


def _examples(context: Context, wanted: str, user: UserArrays) -> TrainingExamples:
    data = context.data
    if wanted == "labeled" or wanted.endswith(".csv"):
        return _from_train(context, wanted, user)
    context.require_labels("A reference classifier")
    if wanted == "auto":
        wanted = "val" if "val" in data.splits and data.splits["val"].labels is not None else "test"
    if wanted not in ("val", "test"):
        raise UserError(
            f"--reference {wanted} is not valid.", "Use val, test, labeled, or a CSV file with annotations.", wanted
        )
    split = data.splits.get(wanted)
    if split is None or split.labels is None:
        raise UserError(
            f"{data.spec.name} has no labeled {wanted} split.",
            f"Use one of its splits, {', '.join(data.splits)}, or --reference FILE.csv with annotations.",
            wanted,
        )
    rows = split.labeled
    if len(rows) == len(split.labels):
        return TrainingExamples(wanted, split.images, split.labels, {})
    context.report.once(f"reference classifier: {len(rows)} of the {len(split.labels)} {wanted} images have a label.")
    return TrainingExamples(wanted, split.images[rows], split.labels[rows], {})


def _from_train(context: Context, wanted: str, user: UserArrays) -> TrainingExamples:
    split = context.data.splits["train"]
    if wanted != "labeled":
        path = require_file(Path(wanted), "--reference")
        before = checksum(path)
        found = user.labels_in(path, "--reference")
        rows, labels = found.rows, found.labels
        reads = {str(path.resolve()): before}
        return TrainingExamples(f"file-{path.stem}", split.images[rows], labels, reads, rows)
    if user.labels is not None:
        rows, labels = user.labels.rows, user.labels.labels
    elif user.labeled is not None:
        context.require_labels("--labeled without --labels")
        rows, file = user.labeled, user.files.labeled
        if len(rows) == 0:
            raise UserError(f"{file} (--labeled) names no image.", "Name at least one labeled image.", str(file))
        assert split.labels is not None
        labels = split.labels[rows]
        known = labeled_rows(labels)
        if len(known) < len(rows):
            first = np.delete(rows, known)[0]
            raise UserError(
                f"{file} (--labeled) names {len(rows) - len(known)} images without a label in the data set, the first "
                f"{first}.",
                "Pass their labels with --labels FILE, or leave these images out of the file.",
                str(first),
            )
    else:
        raise UserError(
            "--reference labeled needs --labeled or --labels.", "Add --labeled FILE or --labels FILE.", "labeled"
        )
    return TrainingExamples("labeled", split.images[rows], labels, user.checksums, rows)
