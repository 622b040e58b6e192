"""A classifier watched while it learns all train labels: what the scores that know the labels are made of."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.files import write_array
from initpools_cli.core.registry import revisions_of
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import derive
from initpools_cli.steps.context import Context


def label_dynamics(context: Context, number: int, what: str) -> FinishedStep:
    """The labeled training ``dynamics/labels-s<seed>``, made here where it is missing.

    Its arrays are (epochs, n): true_probs, correct, el2n and grand of `training.dynamics.record_dynamics`; NaN and
    False for images that a long tail leaves out, and for those without a label.

    Parameters
    ----------
    number : int
        Which of ``score.runs``, from 0: its seed is the root seed plus this.
    what : str
        Who asks, for messages.

    Raises
    ------
    UserError
        The data set has no labels.
    """
    from initpools_cli.training.label_access import LabelAccess
    from initpools_cli.training.learners.registry import learners

    context.require_labels(f"The score {what}")
    context.require_one_class(f"The score {what}")
    # Dropout would measure its own noise.
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
    kept = np.flatnonzero(context.labeled_only("training on labels"))
    assert split.labels is not None
    door = LabelAccess({"train": split.labels})
    labels = door.read(kept)
    context.report.say(f"training on the labels of {len(kept)} images for {epochs} epochs: {step.id}")
    with (
        context.writing(step) as scratch,
        context.report.progress(step.id, epochs, "epochs") as bar,
    ):
        checkpoint = scratch / "work" / "checkpoint.pt"
        if checkpoint.exists():
            context.report.say(f"resuming {step.id}")
        found = record_dynamics(
            split.images if len(kept) == len(split.images) else split.images[kept],
            labels,
            len(context.data.classes),
            epochs=epochs,
            seed=derive(seed, "dynamics"),
            device=context.machine.device,
            checkpoint=checkpoint,
            knobs=knobs,
            on_epoch=lambda epoch, accuracy: bar.advance(note=f"accuracy {accuracy:.1%}"),
        )
        for name, values in found.items():
            missing = False if values.dtype == bool else np.nan
            whole = np.full((epochs, len(split.images)), missing, values.dtype)
            whole[:, kept] = values
            write_array(scratch / f"{name}.npy", whole)
        checkpoint.unlink()
        step.outcome = {"labels": len(kept), "leaks": door.leaks, "accuracy": float(found["correct"][-1].mean())}
    return FinishedStep(context.run, step.folder)
