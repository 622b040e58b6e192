"""Find the score that a strategy ranks by, or compute it on the way."""

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
    user: UserArrays | None = None,
    params: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> FinishedStep:
    """The score that a strategy of that name ranks by; made here where it is missing.

    Parameters
    ----------
    source : str
        The pretrain or the embeddings to score with. Default: for a pretext task the newest score there is, else its
        newest pretrain; for a score of embeddings the newest embeddings; for one of dynamics the newest that there are.
    user : UserArrays, optional
        Embeddings from a file.
    params : mapping, optional
        Its knobs, over those of ``[score.params]``, where that table is about this score or about none.
    places : mapping of str to str, optional
        Where `params` were set, for errors.
    """
    from initpools_cli.scores.registry import scores

    table = context.settings.score
    asked = {**(table.params if table.method in ("", name) else {}), **(params or {})}
    files = UserFiles() if user is None else user.files
    known = context.origins(asked, "score.params") | dict(places or {})
    if name in scores:
        flags = source_flags(source, files if "embeddings" in scores.get(name).inputs else None)
        words = score_command(context, name, *flags, params=asked)
        done, fresh = score(context.for_needed_step(*words), name, source, user, asked, known)
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
    words = score_command(context, name, *source_flags(source), params=asked)
    context.report.say(f"making scores first: `{context.command_for(*words)}`")
    return score(context.for_needed_step(*words), name, source, None, asked)[0]


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
