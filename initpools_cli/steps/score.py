"""One number per image from a trained pretext task: its own loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.files import write_array
from initpools_cli.core.rundir import Done
from initpools_cli.steps.context import Context

BATCH = 256


def score_names() -> dict[str, Any]:
    """The scores there are, by name, with what a high one means."""
    from initpools_cli.pretext.registry import pretexts

    return {m.name: m.build.high_score for m in pretexts if m.build.high_score}


def score(context: Context, method: str, source: str = "") -> tuple[Done, bool]:
    """Write ``score/<pretrain>/scores.npy``, (n,) float64, or find it already done.

    Parameters
    ----------
    method : str
        The score's name: that of a pretext task.
    source : str
        The pretrain to score with; default: the newest of that task.

    Raises
    ------
    UserError
        No such score, or no pretrain of that task.
    """
    from initpools_cli.pretext.registry import pretexts

    if method not in score_names():
        raise unknown_name("score", method, score_names(), "initpools list scores")
    name = pretexts.get(method).name
    table = context.settings.score
    trained = [step for step in context.run.steps("pretrain") if step.table["method"] == name]
    if source:
        trained = [step for step in trained if step.name == source]
    if not trained:
        raise UserError(
            f"The run {context.run.path} has no pretrain '{source or name}' to score with.",
            f"Make it with `{context.command_for('pretrain', name)}`.",
        )
    done = trained[-1]
    step = context.run.step(
        "score",
        done.name,
        {"method": name, "source": done.id, "views": table.views, "reference": table.reference, "seed": context.seed},
        {**context.items_checksum(), **done.require_fresh().reads("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False

    from initpools_cli.steps.pretrain import load
    from initpools_cli.strategies.guards import refuse_constant
    from initpools_cli.training.infer import scores

    pretext = load(context, done)
    images = context.data.splits["train"].images
    with (
        context.writing(step) as scratch,
        context.report.progress(f"score {name}", len(images) * table.views) as bar,
    ):
        found = scores(
            pretext,
            images,
            views=table.views,
            reference=table.reference,
            batch=BATCH,
            seed=context.seed,
            device=context.machine.device,
            candidates=np.flatnonzero(context.data.kept),
            on_block=bar.advance,
        )
        write_array(scratch / "scores.npy", found)
        step.outcome = {"lowest": float(found.min()), "median": float(np.median(found)), "highest": float(found.max())}
    try:
        refuse_constant(found[context.data.kept])
    except UserError as error:
        context.report.warn(f"{error.fact} Strategies will refuse to rank by it.")
    return Done(context.run, step.folder), True


def scores_of(context: Context, method: str, source: str = "") -> Done:
    """The score that a strategy of that name ranks by; made here where it is missing.

    Parameters
    ----------
    source : str
        The pretrain to score with; default: the newest score there is, else the newest pretrain of that task.
    """
    made = [done for done in context.run.steps("score") if done.table["method"] == method]
    if source:
        made = [done for done in made if done.table["source"] == f"pretrain/{source}"]
    if made:
        newer = [step for step in context.run.steps("pretrain") if step.table["method"] == method][-1:]
        if not source and newer and not any(done.table["source"] == newer[0].id for done in made):
            command = context.command_for("score", method)
            context.report.once(f"{newer[0].id} is newer and has no scores yet: `{command}`")
        context.report.once(f"scores: {made[-1].id}")
        return made[-1].require_fresh()
    words = ["score", method, *(["--from", source] if source else [])]
    context.report.say(f"making scores first: `{context.command_for(*words)}`")
    return score(context.made_on_the_way(*words), method, source)[0]
