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
from initpools_cli.steps.recall import measured_recall
from initpools_cli.steps.rows import zero_count
from initpools_cli.steps.score_inputs import origin_of
from initpools_cli.steps.score_name import is_oracle, pretext_score, score_names, unknown_score
from initpools_cli.steps.user_files import UserArrays, UserFiles

BATCH = 256
#: Settings of [score] that a score may be made with, beside its knobs.
SETTINGS = ("views", "reference", "epochs", "runs")


def score(
    context: Context,
    name: str,
    source: str = "",
    user: UserArrays | None = None,
    params: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> tuple[FinishedStep, bool]:
    """Write ``score/<name>/scores.npy``, (n,) float64, or find it already done.

    The score of a pretext task goes into the folder of its pretrain's name.

    Parameters
    ----------
    name : str
        The score's name.
    source : str
        The pretrain or the embeddings to score with; default: the newest there are.
    user : UserArrays, optional
        Embeddings from a file.
    params : mapping, optional
        Its knobs; default: those of ``[score.params]``.
    places : mapping of str to str, optional
        Where those knobs were set, for errors; default: in ``[score.params]``.

    Raises
    ------
    UserError
        No such score, or nothing to score with.
    """
    from initpools_cli.scores.registry import scores

    given = context.settings.score.params if params is None else params
    if name in scores and (scores.own(name) or name not in score_names()):
        known = context.knob_origins(given, "score.params") if places is None else places
        return _from_arrays(context, scores.get(name), source, user or UserArrays(), given, known)
    return _from_pretext(context, name, source, given)


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
    trained = [step for step in possible if source in ("", step.name)]
    if not trained:
        wanted = f"of {method.name} named '{source}'" if source else f"'{method.name}'"
        raise UserError(
            f"The run {context.run.path} has no pretrain {wanted} to score with.",
            f"Leave --from out to score with {possible[-1].name}."
            if possible
            else f"Make it with `{context.command_for('pretrain', method.name)}`.",
            source or method.name,
        )
    done = trained[-1]
    step = context.run.step(
        "score",
        done.name,
        {"method": name, "source": done.id, "views": table.views, "reference": table.reference, "seed": context.seed},
        {**context.items_checksum(), **done.require_fresh().checksums("encoder.safetensors")},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(*score_command(context, name, "--from", done.name))

    from initpools_cli.training.infer import scores

    images = context.data.splits["train"].images
    with context.report.progress(f"score {name}", len(images) * table.views, "images") as bar:
        return _write(
            context,
            step,
            lambda: scores(
                load(context, done),
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
    places: Mapping[str, str],
) -> tuple[FinishedStep, bool]:
    """A registered score, over the images that there are; the others get the median, which puts them at neither end."""
    knobs = method.validate(params, places)
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
    kept = context.labeled_only(method.name) if is_oracle(method) else context.data.kept
    tell_zero(context.report, table)

    def compute() -> np.ndarray:
        sets = origin.sets
        if "dynamics" in method.inputs:
            unseen = int((sets[0]["dynamics"][:, 0] == 0).sum())
            step.outcome["unseen"] = unseen
            if unseen:
                context.report.warn(
                    f"{origin.name} has no dynamics of {unseen} of {kept.sum()} images: they were in the incomplete "
                    "batch of every epoch, and get the median score."
                )
        values = np.mean(
            [evaluate(method, arrays, knobs, normalize, context.seed, context.report) for arrays in sets], axis=0
        )
        found = np.full(len(kept), np.median(values))
        found[kept] = values
        return found

    return _write(context, step, compute)


def _write(context: Context, step: PendingStep, compute: Callable[[], np.ndarray]) -> tuple[FinishedStep, bool]:
    """Seal the scores, and say so where no order can be made of them."""
    from initpools_cli.strategies.checks import refuse_constant

    kept = context.data.kept
    with context.writing(step) as scratch, measured_recall(context.report, step):
        found = compute()
        write_array(scratch / "scores.npy", found)
        inside = found[kept]
        step.outcome |= outcome_of(inside)
        if step.table.get("oracle"):
            step.outcome |= {"oracle": True, "leaks": int(context.labeled_only(step.table["method"]).sum())}
    try:
        refuse_constant(inside)
    except UserError as error:
        context.report.warn(f"{error.fact} Strategies will refuse to rank by it.")
    return FinishedStep(context.run, step.folder), True


def source_flags(source: str, files: UserFiles | None = None) -> tuple[str, ...]:
    """The option that names what a score is computed from."""
    if files is not None and files.embeddings is not None:
        ids = ("--id-column", files.id_column) if files.id_column else ()
        return ("--embeddings", str(files.embeddings.resolve()), *ids)
    return ("--from", source) if source else ()


def score_command(context: Context, name: str, *flags: str, params: Mapping[str, Any] | None = None) -> list[str]:
    """The command that makes a score with the settings of this command line, in words."""
    settings: dict[str, Any] = {f"score.params.{key}": value for key, value in (params or {}).items()}
    settings |= {f"score.{key}": getattr(context.settings.score, key) for key in SETTINGS}
    settings["select.normalize"] = context.settings.select.normalize
    said = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in settings.items()
        if key.startswith("score.params.") or key in context.origins
    ]
    return ["score", name, *flags, *(word for text in said for word in ("--set", text))]
