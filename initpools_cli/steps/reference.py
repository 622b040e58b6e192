"""The reference classifier of rankings: trained once on labels that are said, and kept in the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of, write_array
from initpools_cli.core.rundir import Done
from initpools_cli.core.seeds import derive
from initpools_cli.steps.bring import Brought, read_labeled, read_labels
from initpools_cli.steps.context import Context
from initpools_cli.steps.inputs import train_items


def reference(context: Context, wanted: str, brought: Brought) -> Done:
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

    name, images, labels, reads = _examples(context, wanted, brought)
    learner = learners.get("scratch")
    knobs = learner.validate({})
    step = context.run.step(
        "reference",
        name,
        {"learner": learner.name, "params": knobs, "seed": context.seed},
        {**context.items_checksum(), **reads},
    )
    leaking = " (leaking: it has seen the test labels)" if name == "test" else ""
    context.report.say(f"reference classifier: {step.id}, {len(labels)} labels{leaking}")
    if step.finished:
        return step.finished
    context.report.say(f"training {step.id} on {len(labels)} images")
    data = context.data
    classes = max(len(data.classes), int(labels.max()) + 1)
    command = context.command_for("rank", context.settings.rank.strategy, "--reference", wanted)
    with context.writing(step, command=command) as scratch:
        model = learner.build(
            images, labels, classes, derive(context.seed, "reference", name), context.machine.device, None, **knobs
        )
        write_array(scratch / "logits.npy", model.logits(data.splits["train"].images).astype(np.float32))
        save_weights(model.network, scratch / "classifier.safetensors")
        step.outcome = {"labels": len(labels), "classes": classes, "leaking": name == "test"}
    return Done(context.run, step.folder)


def logits(done: Done) -> np.ndarray:
    """(n, c) float32 of the unaugmented train images."""
    return done.array("logits.npy")


def view_logits(context: Context, done: Done) -> np.ndarray:
    """(views, n, c) float64 of random views of the train images."""
    from initpools_cli.networks.build import build_encoder
    from initpools_cli.networks.weights import load_weights
    from initpools_cli.training.network import Network, Trained

    images = context.data.splits["train"].images
    knobs, facts = done.table["params"], done.facts["outcome"]
    shape = {"channels": images.shape[3], "size": min(images.shape[1:3])}
    encoder = build_encoder(knobs["network"], **shape, width=knobs["width"], seed=0)
    network = Network(encoder, facts["classes"], 0, knobs["dropout"])
    load_weights(network, done.folder / "classifier.safetensors")
    model = Trained(network.to(context.machine.device), context.machine.device)
    return model.view_logits(images, views=context.settings.rank.views, seed=derive(context.seed, "reference views"))


def _examples(context: Context, wanted: str, brought: Brought) -> tuple[str, np.ndarray, np.ndarray, dict[str, str]]:
    data = context.data
    if wanted == "labeled" or wanted.endswith(".csv"):
        return _from_train(context, wanted, brought)
    context.require_labels("A reference classifier")
    if wanted == "auto":
        wanted = "val" if "val" in data.splits else "test"
    if wanted not in ("val", "test"):
        raise UserError(f"--reference {wanted} is not known.", "It is val, test, labeled, or a .csv of annotations.")
    split = data.splits.get(wanted)
    if split is None or split.labels is None:
        raise UserError(
            f"{data.spec.name} has no labelled {wanted} split.",
            f"Its splits are {', '.join(data.splits)}; or use --reference FILE.csv with annotations.",
        )
    return wanted, split.images, split.labels, {}


def _from_train(context: Context, wanted: str, brought: Brought) -> tuple[str, np.ndarray, np.ndarray, dict[str, str]]:
    split = context.data.splits["train"]
    items = train_items(context)
    if wanted != "labeled":
        path = Path(wanted)
        rows, labels, _ = read_labels(path, items, context.data.classes, "--reference")
        return f"file-{path.stem}", split.images[rows], labels, {str(path.resolve()): sha256_of(path)}
    if brought.labels is not None:
        rows, labels, _ = read_labels(brought.labels, items, context.data.classes)
    elif brought.labeled is not None:
        context.require_labels("--labeled without --labels")
        rows = read_labeled(brought.labeled, items)
        if len(rows) == 0:
            raise UserError(f"{brought.labeled} (--labeled) names no image.", "Name at least one labelled image.")
        assert split.labels is not None
        labels = split.labels[rows]
    else:
        raise UserError(
            "--reference labeled needs to know which images are labelled.", "Add --labeled FILE or --labels FILE."
        )
    return "labeled", split.images[rows], labels, brought.checksums()
