"""One number per image: a pretext task's own loss, or a registered score of embeddings or of training dynamics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from initpools_cli.core.config import Settings
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array
from initpools_cli.core.registry import Method, revisions_of
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep, PendingStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.encoder import load
from initpools_cli.steps.rows import zero_count
from initpools_cli.steps.score_inputs import origin_of
from initpools_cli.steps.score_name import is_oracle, pretext_score, score_names, unknown_score
from initpools_cli.steps.user_files import UserFiles

BATCH = 256
#: Settings of [score] that a score may be made with, beside its knobs.
SETTINGS = ("views", "reference", "epochs", "runs")


def score(
    context: Context,
    name: str,
    source: str = "",
    brought: UserFiles | None = None,
    params: Mapping[str, Any] | None = None,
) -> tuple[FinishedStep, bool]:
    """Write ``score/<name>/scores.npy``, (n,) float64, or find it already done.

    The score of a pretext task goes into the folder of its pretrain's name.

    Parameters
    ----------
    name : str
        The score's name.
    source : str
        The pretrain or the embeddings to score with; default: the newest there are.
    brought : UserFiles, optional
        Embeddings from a file.
    params : mapping, optional
        Its knobs; default: those of ``[score.params]``.

    Raises
    ------
    UserError
        No such score, or nothing to score with.
    """
    from initpools_cli.scores.registry import scores

    given = context.settings.score.params if params is None else params
    if name in scores:
        return _from_arrays(context, scores.get(name), source, brought or UserFiles(), given)
    return _from_pretext(context, name, source, given)


def _from_pretext(context: Context, name: str, source: str, params: Mapping[str, Any]) -> tuple[FinishedStep, bool]:
    """The pretext task's loss of every train image, averaged over views."""
    from initpools_cli.pretext.registry import pretexts

    if name not in score_names():
        raise unknown_score(name)
    method = next(each for each in pretexts if pretext_score(each) == name)
    for key in params:
        raise UserError(f"'{name}' has no knob '{key}'.", "It has score.views and score.reference.")
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
    step.renew = context.command_for(*_words(context, name, "--from", done.name))

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
                candidates=np.flatnonzero(context.data.kept),
                on_block=bar.advance,
            ),
        )


def _from_arrays(
    context: Context, method: Method, source: str, brought: UserFiles, params: Mapping[str, Any]
) -> tuple[FinishedStep, bool]:
    """A registered score, over the images that there are; the others get the median, which puts them at neither end."""
    knobs = method.validate(params, context.origins(params, "score.params"))
    origin = origin_of(context, method, source, brought)
    settings, normalize = context.settings.score, context.settings.select.normalize
    table: dict[str, Any] = {"method": method.name, "params": method.identity(knobs), "source": origin.name}
    table |= revisions_of((method, knobs))
    if "embeddings" in method.inputs:
        table["normalize"] = normalize
        table |= zero_count(origin.load()[0]["embeddings"], np.ones(int(context.data.kept.sum()), bool))
    if "rng" in inspect.signature(method.build).parameters:
        table["seed"] = context.seed
    if is_oracle(method):
        table |= {"oracle": True, "epochs": settings.epochs, "runs": settings.runs, "seed": context.seed}
    step = context.run.step(
        "score", method.name, table, {**context.items_checksum(), **origin.reads}, force=context.force
    )
    if step.finished:
        return step.finished, False
    step.renew = context.command_for(*_words(context, method.name, *origin.flags, params=params))
    kept = context.labeled_only(method.name) if is_oracle(method) else context.data.kept
    _tell_zero(context.report, table)

    def compute() -> np.ndarray:
        sets = origin.load()
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
    with context.writing(step) as scratch:
        found = compute()
        write_array(scratch / "scores.npy", found)
        inside = found[kept]
        step.outcome |= {
            "lowest": float(inside.min()),
            "median": float(np.median(inside)),
            "highest": float(inside.max()),
        }
        if step.table.get("oracle"):
            step.outcome |= {"oracle": True, "leaks": int(context.labeled_only(step.table["method"]).sum())}
    try:
        refuse_constant(inside)
    except UserError as error:
        context.report.warn(f"{error.fact} Strategies will refuse to rank by it.")
    return FinishedStep(context.run, step.folder), True


def score_from_files(settings: Settings, brought: UserFiles, report: Reporter | None = None) -> np.ndarray:
    """A score of brought embeddings, (n,) float64, without a run.

    Raises
    ------
    UserError
        No such score, or one that is not made of embeddings.
    """
    from initpools_cli.scores.registry import scores
    from initpools_cli.strategies.arrays import INPUTS

    name, arrays = settings.score.method, brought.arrays()
    if name not in scores and name not in score_names():
        raise unknown_score(name)
    if name not in scores or not set(scores.get(name).inputs) <= arrays.keys():
        raise UserError(
            f"The score {name} is not made of embeddings, and nothing else was given.", "Name a run with --run DIR."
        )
    method = scores.get(name)
    knobs = method.validate(settings.score.params)
    if report is not None and "embeddings" in method.inputs:
        points = INPUTS["embeddings"].check(arrays["embeddings"])
        _tell_zero(report, zero_count(points, np.ones(len(points), bool)))
    return evaluate(method, arrays, knobs, settings.select.normalize, settings.run.seed, report)


def _tell_zero(report: Reporter, table: Mapping[str, Any]) -> None:
    if "zero_rows" in table:
        report.warn(f"{table['zero_rows']:,} embeddings are zero: their images get the median score.")


def evaluate(
    method: Method,
    arrays: Mapping[str, np.ndarray],
    knobs: Mapping[str, Any],
    normalize: bool,
    seed: int,
    report: Reporter | None = None,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """A registered score of arrays alone, (n,) float64.

    Embeddings of length zero are left out, as they are near to all others by accident; their images get the median.

    Parameters
    ----------
    arrays : mapping of str to array
        What the score asks for, by name; embeddings as they come.
    normalize : bool
        Scale embeddings to length 1, as strategies get them.
    seed : int
        Decides everything that is drawn.
    report : Reporter, optional
        Where it is said how long it will take, if that is long.
    seen : (n,) bool, optional
        The images that there are; the others get the median, too.
    """
    from initpools_cli.core.seeds import generator
    from initpools_cli.strategies.arrays import INPUTS, as_embeddings
    from initpools_cli.strategies.runtime import expectation

    given: dict[str, Any] = {name: arrays[name] for name in method.inputs}
    rows = None
    if "embeddings" in given:
        checked = INPUTS["embeddings"].check(given["embeddings"])
        rows = _scored(checked, seen)
        given["embeddings"] = as_embeddings(checked if len(rows) == len(checked) else checked[rows], normalize)
        n, d = given["embeddings"].shape
        # Every image is scored, so that there is no choosing among fewer.
        told = expectation(method.name, method, n, d, n, knobs, 0, samples=())
        if told is not None and report is not None:
            report.say(told)
    if "rng" in inspect.signature(method.build).parameters:
        given["rng"] = generator(seed, method.name)
    found: np.ndarray = method.build(**given, **knobs)
    if rows is None or len(rows) == len(arrays["embeddings"]):
        return found
    every = np.full(len(arrays["embeddings"]), np.median(found))
    every[rows] = found
    return every


def _scored(embeddings: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """The rows that are there and have a length, ascending; all that are there where none has one."""
    from initpools_cli.strategies.duplicates import zero_rows

    rows = np.arange(len(embeddings)) if seen is None else np.flatnonzero(seen)
    lengthy = rows[~zero_rows(embeddings if len(rows) == len(embeddings) else embeddings[rows])]
    return lengthy if len(lengthy) else rows


def can_score(context: Context, name: str, source: str) -> bool:
    """Whether that pretrain of the run is one that the score is made of."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores

    done = context.run.find_step(f"pretrain/{source}")
    if done is None:
        return False
    if name in scores:
        return "dynamics" in scores.get(name).inputs and "dynamics.npy" in done.facts["writes"]
    return pretext_score(pretexts.get(done.table["method"])) == name


def scores_of(
    context: Context,
    name: str,
    source: str = "",
    brought: UserFiles | None = None,
    params: Mapping[str, Any] | None = None,
) -> FinishedStep:
    """The score that a strategy of that name ranks by; made here where it is missing.

    Parameters
    ----------
    source : str
        The pretrain or the embeddings to score with. Default: for a pretext task the newest score there is, else its
        newest pretrain; for a score of embeddings the newest embeddings; for one of dynamics the newest that there are.
    brought : UserFiles, optional
        Embeddings from a file.
    params : mapping, optional
        Its knobs, over those of ``[score.params]``, where that table is about this score or about none.
    """
    from initpools_cli.scores.registry import scores

    table = context.settings.score
    asked = {**(table.params if table.method in ("", name) else {}), **(params or {})}
    if name in scores:
        flags = _flags(source, brought if "embeddings" in scores.get(name).inputs else None)
        words = _words(context, name, *flags, params=asked)
        done, fresh = score(context.made_on_the_way(*words), name, source, brought, asked)
        context.report.once(f"scores: {done.id}{', made first' if fresh else ''}")
        return done
    made = [done for done in context.run.steps("score") if _is_asked_for(context, done.table, name)]
    if source:
        made = [done for done in made if done.table["source"] == f"pretrain/{source}"]
    if made:
        if not source:
            _say_newer(context, name, made)
        context.report.once(f"scores: {made[-1].id}")
        return made[-1].require_fresh()
    words = _words(context, name, *_flags(source), params=asked)
    context.report.say(f"making scores first: `{context.command_for(*words)}`")
    return score(context.made_on_the_way(*words), name, source, None, asked)[0]


def _is_asked_for(context: Context, table: Mapping[str, Any], name: str) -> bool:
    """Whether a score was made as this command line says; what it does not say may be anything."""
    said: dict[str, Any] = {key: getattr(context.settings.score, key) for key in SETTINGS}
    said = {key: value for key, value in said.items() if f"score.{key}" in context.given}
    if "run.seed" in context.given:
        said["seed"] = context.seed
    return table["method"] == name and all(table.get(key, value) == value for key, value in said.items())


def _say_newer(context: Context, name: str, made: list[FinishedStep]) -> None:
    """Say where a pretrain is newer than the scores that are taken."""
    from initpools_cli.pretext.registry import pretexts

    methods = {each.name for each in pretexts if pretext_score(each) == name}
    newer = [step for step in context.run.steps("pretrain") if step.table["method"] in methods][-1:]
    if newer and not any(done.table["source"] == newer[0].id for done in made):
        command = context.command_for("score", name)
        context.report.once(f"{newer[0].id} is newer and has no scores yet: `{command}`")


def _flags(source: str, brought: UserFiles | None = None) -> tuple[str, ...]:
    if brought is not None and brought.embeddings is not None:
        return ("--embeddings", str(brought.embeddings.resolve()))
    return ("--from", source) if source else ()


def _words(context: Context, name: str, *flags: str, params: Mapping[str, Any] | None = None) -> list[str]:
    """The command that makes a score with the settings of this command line, in words."""
    settings: dict[str, Any] = {f"score.params.{key}": value for key, value in (params or {}).items()}
    settings |= {f"score.{key}": getattr(context.settings.score, key) for key in SETTINGS}
    settings["select.normalize"] = context.settings.select.normalize
    said = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in settings.items()
        if key.startswith("score.params.") or key in context.given
    ]
    return ["score", name, *flags, *(word for text in said for word in ("--set", text))]
