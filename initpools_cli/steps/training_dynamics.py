"""Training dynamics of a classifier on all train labels, for the scores that read labels."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.files import write_array
from initpools_cli.core.registry import revisions_of
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import derive
from initpools_cli.steps.context import Context


def label_dynamics(context: Context, number: int, what: str) -> FinishedStep:
    """Return the step ``dynamics/labels-s<seed>``; train the classifier if there is none.

    Its arrays are (epochs, n): true_probs, correct, el2n and grand of `training.dynamics.record_dynamics`; NaN and
    False for images that a long tail leaves out, and for those without a label.

    Parameters
    ----------
    number : int
        Which of ``score.runs``, from 0: its seed is the root seed plus this.
    what : str
        The score, for messages.

    Raises
    ------
    UserError
        The data set has no labels.
    """
    from initpools_cli.training.label_access import LabelAccess
    from initpools_cli.training.learners.registry import learners

    context.require_labels(f"The score {what}")
    context.require_one_class(f"The score {what}")
    # With dropout, the noise of dropout would be measured.
    learner = learners.get("scratch")
    knobs = learner.validate({"dropout": 0.0})
    seed, epochs = context.seed + number, context.settings.score.epochs
    context.require_images("A score of training with labels")
    step = context.run.step(
        "dynamics",
        f"labels-s{seed}",
        {
            "learner": learner.name,
            "params": learner.identity(knobs),
            **revisions_of((learner, knobs)),
            "epochs": epochs,
            "seed": seed,
            "oracle": True,
        },
        context.items_checksum(),
        force=context.force,
    )
    context.report.once(f"labeled training: {step.id}")
    if step.finished:
        return step.finished

    from initpools_cli.training.dynamics import record_dynamics

    split = context.data.splits["train"]
    rows = np.flatnonzero(context.labeled_only("training on labels"))
    assert split.labels is not None
    access = LabelAccess({"train": split.labels})
    labels = access.read(rows)
    context.report.say(f"training on the labels of {len(rows)} images for {epochs} epochs: {step.id}")
    with (
        context.writing(step) as scratch,
        context.report.progress(step.id, epochs, "epochs") as bar,
    ):
        checkpoint = scratch / "work" / "checkpoint.pt"
        if checkpoint.exists():
            context.report.say(f"resuming {step.id}")
        dynamics = record_dynamics(
            split.images if len(rows) == len(split.images) else split.images[rows],
            labels,
            len(context.data.classes),
            epochs=epochs,
            seed=derive(seed, "dynamics"),
            device=context.machine.device,
            checkpoint=checkpoint,
            knobs=knobs,
            on_epoch=lambda epoch, accuracy: bar.advance(note=f"accuracy {accuracy:.1%}"),
        )
        for name, values in dynamics.items():
            fill_value = False if values.dtype == bool else np.nan
            array = np.full((epochs, len(split.images)), fill_value, values.dtype)
            array[:, rows] = values
            write_array(scratch / f"{name}.npy", array)
        checkpoint.unlink()
        step.outcome = {"labels": len(rows), "leaks": access.leaks, "accuracy": float(dynamics["correct"][-1].mean())}
    return FinishedStep(context.run, step.folder)
