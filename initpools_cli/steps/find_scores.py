"""Find the score that a strategy ranks by, or compute it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.score import SETTINGS, score, score_command, source_flags
from initpools_cli.steps.score_name import pretext_score
from initpools_cli.steps.user_files import UserArrays, UserFiles


def can_score(context: Context, name: str, source: str) -> bool:
    """Whether a score can be computed from the pretrain `source` of the run."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores

    step = context.run.find_step(f"pretrain/{source}")
    if step is None:
        return False
    if name in scores:
        return "dynamics" in scores.get(name).inputs and "dynamics.npy" in step.facts["writes"]
    return pretext_score(pretexts.get(step.table["method"])) == name


def scores_of(
    context: Context,
    name: str,
    source: str = "",
    user: UserArrays | None = None,
    params: Mapping[str, Any] | None = None,
    param_origins: Mapping[str, str] | None = None,
) -> FinishedStep:
    """Return the scores that the strategy of that name ranks by; compute them if there are none.

    Parameters
    ----------
    source : str
        The pretrain or the embeddings to score with. Default: for a pretext task the newest score there is, else its
        newest pretrain; for a score of embeddings those of `newest`; for one of dynamics the newest dynamics.
    user : UserArrays, optional
        Embeddings from a file.
    params : mapping, optional
        Knobs of the score. They override ``[score.params]``, if that table is for this score or for any.
    param_origins : mapping of str to str, optional
        Where `params` were set, for errors.
    """
    from initpools_cli.scores.registry import scores

    table = context.settings.score
    knobs = {**(table.params if table.method in ("", name) else {}), **(params or {})}
    files = UserFiles() if user is None else user.files
    origins = context.knob_origins(knobs, "score.params") | dict(param_origins or {})
    if name in scores:
        flags = source_flags(source, files if "embeddings" in scores.get(name).inputs else None)
        words = score_command(context, name, *flags, params=knobs)
        step, fresh = score(context.for_needed_step(*words), name, source, user, knobs, origins)
        context.report.once(f"scores: {step.id}{', made first' if fresh else ''}")
        return step
    steps = [step for step in context.run.steps("score") if _matches_settings(context, step.table, name)]
    if source:
        steps = [step for step in steps if step.table["source"] == f"pretrain/{source}"]
    if steps:
        if not source:
            _say_newer(context, name, steps)
        context.report.once(f"scores: {steps[-1].id}")
        return steps[-1].require_fresh()
    words = score_command(context, name, *source_flags(source), params=knobs)
    context.report.say(f"making scores first: `{context.command_for(*words)}`")
    return score(context.for_needed_step(*words), name, source, None, knobs)[0]


def _matches_settings(context: Context, table: Mapping[str, Any], name: str) -> bool:
    """Whether scores were computed with the settings of the command line; all other settings may differ."""
    settings: dict[str, Any] = {key: getattr(context.settings.score, key) for key in SETTINGS}
    settings = {key: value for key, value in settings.items() if f"score.{key}" in context.origins}
    if "run.seed" in context.origins:
        settings["seed"] = context.seed
    return table["method"] == name and all(table.get(key, value) == value for key, value in settings.items())


def _say_newer(context: Context, name: str, steps: list[FinishedStep]) -> None:
    """Print a note if a pretrain is newer than the scores in use."""
    from initpools_cli.pretext.registry import pretexts

    methods = {each.name for each in pretexts if pretext_score(each) == name}
    newer = [each for each in context.run.steps("pretrain") if each.table["method"] in methods][-1:]
    if newer and not any(step.table["source"] == newer[0].id for step in steps):
        command = context.command_for("score", name)
        context.report.once(f"{newer[0].id} is newer and has no scores yet: `{command}`")
