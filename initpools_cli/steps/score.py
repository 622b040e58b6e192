"""One number per image: a pretext task's own loss, or a registered score of embeddings or of training dynamics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array
from initpools_cli.core.registry import Method, revisions_of
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.encoder import load
from initpools_cli.steps.evaluate import evaluate, outcome_of, tell_zero
from initpools_cli.steps.recall import report_recall
from initpools_cli.steps.rows import zero_count
from initpools_cli.steps.score_inputs import origin_of
from initpools_cli.steps.score_name import is_oracle, pretext_score, score_names, unknown_score
from initpools_cli.steps.user_files import UserArrays, UserFiles

BATCH = 256
#: Settings of [score] besides the knobs of a score.
SETTINGS = ("views", "reference", "epochs", "runs")


def score(
    context: Context,
    name: str,
    source: str = "",
    user: UserArrays | None = None,
    params: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
) -> tuple[FinishedStep, bool]:
    """Write ``score/<name>/scores.npy``, (n,) float64, if it does not exist.

    The score of a pretext task goes into the folder of its pretrain's name.

    Parameters
    ----------
    name : str
        The score's name.
    source : str
        The pretrain or the embeddings to score with; default: the newest pretrain, or the embeddings of `newest`.
    user : UserArrays, optional
        Embeddings from a file.
    params : mapping, optional
        Its knobs; default: those of ``[score.params]``.
    origins : mapping of str to str, optional
        Where those knobs were set, for errors; default: in ``[score.params]``.

    Raises
    ------
    UserError
        No such score, or nothing to score with.
    """
    from initpools_cli.scores.registry import scores

    knobs = context.settings.score.params if params is None else params
    if name in scores and (scores.own(name) or name not in score_names()):
        origins = context.knob_origins(knobs, "score.params") if origins is None else origins
        return _from_arrays(context, scores.get(name), source, user or UserArrays(), knobs, origins)
    return _from_pretext(context, name, source, knobs)


def _from_pretext(context: Context, name: str, source: str, params: Mapping[str, Any]) -> tuple[FinishedStep, bool]:
    """The pretext task's loss of every train image, averaged over views."""
    from initpools_cli.pretext.registry import pretexts

    if name not in score_names():
        raise unknown_score(name)
    context.require_images(f"The score '{name}'")
    method = next(each for each in pretexts if pretext_score(each) == name)
    for key in params:
        raise UserError(f"'{name}' has no knob '{key}'.", "Set score.views or score.reference.", key)
    table = context.settings.score
    possible = [step for step in context.run.steps("pretrain") if step.table["method"] == method.name]
    pretrains = [step for step in possible if source in ("", step.name)]
    if not pretrains:
        what = f"of {method.name} named '{source}'" if source else f"'{method.name}'"
        raise UserError(
            f"The run {context.run.path} has no pretrain {what} to score with.",
            f"Leave --from out to score with {possible[-1].name}."
            if possible
            else f"Make it with `{context.command_for('pretrain', method.name)}`.",
            source or method.name,
        )
    pretrain = pretrains[-1]
    step = context.run.step(
        "score",
        pretrain.name,
        {
            "method": name,
            "source": pretrain.id,
            "views": table.views,
            "reference": table.reference,
            "seed": context.seed,
        },
        {**context.items_checksum(), **pretrain.require_fresh().checksums("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(*score_command(context, name, "--from", pretrain.name))

    from initpools_cli.training.infer import scores

    images = context.data.splits["train"].images
    with context.report.progress(f"score {name}", len(images) * table.views, "images") as bar:
        return _write(
            context,
            step,
            lambda: scores(
                load(context, pretrain),
                images,
                views=table.views,
                reference=table.reference,
                batch=BATCH,
                seed=context.seed,
                device=context.machine.device,
                threads=context.machine.threads,
                candidates=np.flatnonzero(context.data.kept),
                on_block=bar.advance,
            ),
        )


def _from_arrays(
    context: Context,
    method: Method,
    source: str,
    user: UserArrays,
    params: Mapping[str, Any],
    origins: Mapping[str, str],
) -> tuple[FinishedStep, bool]:
    """A registered score of the images of the data set; images that it leaves out get the median."""
    knobs = method.validate(params, origins)
    origin = origin_of(context, method, source, user)
    settings, normalize = context.settings.score, context.settings.select.normalize
    table: dict[str, Any] = {"method": method.name, "params": method.identity(knobs), "source": origin.name}
    table |= revisions_of((method, knobs))
    if "embeddings" in method.inputs:
        table["normalize"] = normalize
        table |= zero_count(origin.sets[0]["embeddings"], np.ones(int(context.data.kept.sum()), bool))
    if "rng" in inspect.signature(method.build).parameters:
        table["seed"] = context.seed
    if is_oracle(method):
        table |= {"oracle": True, "epochs": settings.epochs, "runs": settings.runs, "seed": context.seed}
    step = context.run.step(
        "score", method.name, table, {**context.items_checksum(), **origin.reads}, force=context.force
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(*score_command(context, method.name, *origin.flags, params=params))
    mask = context.labeled_only(method.name) if is_oracle(method) else context.data.kept
    tell_zero(context.report, table)

    def compute() -> np.ndarray:
        sets = origin.sets
        if "dynamics" in method.inputs:
            unseen = int((sets[0]["dynamics"][:, 0] == 0).sum())
            step.outcome["unseen"] = unseen
            if unseen:
                context.report.warn(
                    f"{origin.name} has no dynamics of {unseen} of {mask.sum()} images: they were in the incomplete "
                    "batch of every epoch, and get the median score."
                )
        values = np.mean(
            [evaluate(method, arrays, knobs, normalize, context.seed, context.report) for arrays in sets], axis=0
        )
        scores = np.full(len(mask), np.median(values))
        scores[mask] = values
        return scores

    return _write(context, step, compute)


def _write(context: Context, step: PendingStep, compute: Callable[[], np.ndarray]) -> tuple[FinishedStep, bool]:
    """Write the scores; warn if they are constant."""
    from initpools_cli.strategies.checks import refuse_constant

    mask = context.data.kept
    with context.writing(step) as scratch, report_recall(context.report, step):
        scores = compute()
        write_array(scratch / "scores.npy", scores)
        inside = scores[mask]
        step.outcome |= outcome_of(inside)
        if step.table.get("oracle"):
            step.outcome |= {"oracle": True, "leaks": int(context.labeled_only(step.table["method"]).sum())}
    try:
        refuse_constant(inside)
    except UserError as error:
        context.report.warn(f"{error.fact} Strategies will refuse to rank by it.")
    return FinishedStep(context.run, step.folder), True


def source_flags(source: str, files: UserFiles | None = None) -> tuple[str, ...]:
    """The option for what a score is computed from."""
    if files is not None and files.embeddings is not None:
        ids = ("--id-column", files.id_column) if files.id_column else ()
        return ("--embeddings", str(files.embeddings.resolve()), *ids)
    return ("--from", source) if source else ()


def score_command(context: Context, name: str, *flags: str, params: Mapping[str, Any] | None = None) -> list[str]:
    """The words of the command that computes a score with the settings of this command line."""
    settings: dict[str, Any] = {f"score.params.{key}": value for key, value in (params or {}).items()}
    settings |= {f"score.{key}": getattr(context.settings.score, key) for key in SETTINGS}
    settings["select.normalize"] = context.settings.select.normalize
    assignments = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in settings.items()
        if key.startswith("score.params.") or key in context.origins
    ]
    return ["score", name, *flags, *(word for text in assignments for word in ("--set", text))]
