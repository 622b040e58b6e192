"""Begin the run of a data set, and make its encoders and embeddings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initpools_cli.bench.data import dataset_settings, require_items
from initpools_cli.bench.suite import Data, Encoder, NamedSuite, Pretrain, flat
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.core.settings import load_settings
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import embed
from initpools_cli.steps.pretrain import find_encoder, pretrain


@dataclass(frozen=True)
class SuiteContext:
    """Folders, device and reporter of a suite.

    Attributes
    ----------
    out : Path
        Folder of the results, with a run directory for each data set.
    data : Path or None
        Folder of the user's data, ``--data``.
    machine : dict
        Settings [run]: device and threads.
    report : Reporter
    """

    out: Path
    data: Path | None
    machine: Mapping[str, Any]
    report: Reporter

    def run(self, data: str) -> Run:
        """Return the run directory of a data set."""
        return Run(self.out / data)


@dataclass
class Preparation:
    """A data set that is ready for sweeps.

    Attributes
    ----------
    pretrains : dict of str to str
        Name of the step, by pretrain of the suite.
    sources : dict of str to str
        Name of the step of embeddings, by encoder of the suite.
    missing : dict of str to str
        Why a pretrain or an encoder is missing.
    """

    pretrains: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def open_context(
    run: Run, table: str, flags: Mapping[str, Any], where: str, report: Reporter, command: str = ""
) -> Context:
    """Return the context of a step of a suite.

    Parameters
    ----------
    flags : mapping of dotted key to value
    where : str
        The suite's file, for messages.
    command : str
        The command that makes the step, as a user would type it; default: that of this process.
    """
    settings, origins = load_settings(table, flags=flags)
    context = Context(run, settings, dict.fromkeys(origins, where), report)
    context.command = command or context.command
    return context


def begin(suite: NamedSuite, entry: Data, place: SuiteContext) -> Context:
    """Begin the run of a data set, or find it with the same images, and return its context.

    Raises
    ------
    UserError
        The data set can't be obtained, or has other images than those of the suite.
    """
    run, flags = place.run(entry.name), dict(place.machine)
    settings = flat(suite.suite.settings, entry.settings)
    if not run.exists:
        flags |= dataset_settings(entry, place.data, place.out, place.report)
        flags |= {key: value for key, value in settings.items() if key.startswith(("dataset.", "run."))}
    context = open_context(run, "embed", flags, suite.file, place.report)
    is_new = context.begin_run()
    try:
        require_items(entry, run)
    except UserError:
        if is_new:
            run.remove()
        raise
    context.require_labels("A benchmark")
    return context


def find_preparation(suite: NamedSuite, entry: Data, place: SuiteContext, context: Context) -> Preparation:
    """Find the existing encoders and embeddings of a data set; nothing is computed.

    Parameters
    ----------
    context : Context
        From `begin`; its opened data are used.
    """
    run, preparation = place.run(entry.name), Preparation()
    for each in pretrains_of(suite, entry):
        if not each.start or each.start in preparation.pretrains:
            step = find_encoder(_pretraining(suite, entry, each, place, context, preparation.pretrains))
            preparation.pretrains |= {} if step is None else {each.name: step.name}
    own = {each.name for each in suite.suite.pretrains}
    for encoder in _encoders(suite, entry):
        source = preparation.pretrains.get(encoder.source, "" if encoder.source in own else encoder.source)
        if source and run.find_step(f"embed/{source}"):
            preparation.sources[encoder.name] = source
        else:
            preparation.missing[encoder.name] = f"The embeddings of {encoder.name} are not made yet."
    return preparation


def prepare(suite: NamedSuite, entry: Data, place: SuiteContext, context: Context) -> Preparation:
    """Make the encoders and embeddings of a data set that are missing.

    Parameters
    ----------
    context : Context
        From `begin`; its opened data are used.
    """
    preparation = Preparation()
    for each in pretrains_of(suite, entry):
        try:
            preparation.pretrains[each.name] = _pretrain(suite, entry, each, place, context, preparation.pretrains)
        except UserError as error:
            preparation.missing[each.name] = error.fact
            place.report.warn(f"{entry.name}, pretrain {each.name}: {error.fact} {error.remedy}")
    for encoder in _encoders(suite, entry):
        try:
            preparation.sources[encoder.name] = _embed(suite, entry, encoder, place, context, preparation)
        except UserError as error:
            preparation.missing[encoder.name] = error.fact
            place.report.warn(f"{entry.name}, encoder {encoder.name}: {error.fact} {error.remedy}")
    return preparation


def pretrains_of(suite: NamedSuite, entry: Data) -> Sequence[Pretrain]:
    """Return the pretrains of a suite that are trained on a data set."""
    return [each for each in suite.suite.pretrains if not each.data or entry.name in each.data]


def _encoders(suite: NamedSuite, entry: Data) -> Sequence[Encoder]:
    names = {
        name for sweep in suite.suite.sweeps if not sweep.data or entry.name in sweep.data for name in sweep.encoders
    }
    return [encoder for encoder in suite.suite.encoders if encoder.name in names]


def _pretrain(
    suite: NamedSuite, entry: Data, each: Pretrain, place: SuiteContext, context: Context, pretrains: Mapping[str, str]
) -> str:
    if each.start and each.start not in pretrains:
        raise UserError(
            f"The pretrain {each.name} starts from {each.start}, which was not trained on {entry.name}.",
            f"Add {entry.name} to the data of {each.start}.",
            each.start,
        )
    return pretrain(_pretraining(suite, entry, each, place, context, pretrains))[0].name


def _pretraining(
    suite: NamedSuite,
    entry: Data,
    each: Pretrain,
    place: SuiteContext,
    data_context: Context,
    pretrains: Mapping[str, str],
) -> Context:
    """Return the context of a pretrain."""
    flags = flat(suite.suite.settings, entry.settings, each.settings) | {"pretrain.method": each.method}
    flags = {key: value for key, value in flags.items() if key.startswith("pretrain.")}
    if each.start:
        flags["pretrain.source"] = pretrains[each.start]
    if each.seed:
        flags["run.seed"] = each.seed
    run = place.run(entry.name)
    command = ["initpools", "pretrain", each.method, "--run", str(run.path)]
    context = open_context(
        run,
        "pretrain",
        dict(place.machine) | flags,
        suite.file,
        place.report,
        _command_text(command, flags, "pretrain.method"),
    )
    _share(data_context, context, "seed" if each.seed else "")
    return context


def _embed(
    suite: NamedSuite,
    entry: Data,
    encoder: Encoder,
    place: SuiteContext,
    data_context: Context,
    preparation: Preparation,
) -> str:
    pretrains, missing = preparation.pretrains, preparation.missing
    own = {each.name for each in suite.suite.pretrains}
    if encoder.source in own and encoder.source not in pretrains:
        why = missing.get(encoder.source, f"{encoder.source} is not trained on {entry.name}.")
        raise UserError(why, f"Add {entry.name} to the data of {encoder.source}.", encoder.source)
    source = pretrains.get(encoder.source, encoder.source)
    flags = {
        key: value
        for key, value in flat(suite.suite.settings, entry.settings).items()
        if key.startswith("embed.") and encoder.source not in own
    }
    run = place.run(entry.name)
    command = _command_text(["initpools", "embed", source, "--run", str(run.path)], flags)
    context = open_context(run, "embed", dict(place.machine) | flags, suite.file, place.report, command)
    _share(data_context, context)
    return embed(context, source)[0].name


def _share(data_context: Context, context: Context, *leave_out: str) -> None:
    data_context.share(context)
    for name in leave_out:
        context.__dict__.pop(name, None)


def _command_text(words: Sequence[str], flags: Mapping[str, Any], *leave_out: str) -> str:
    sets = [f"{key}={value}" for key, value in flags.items() if key not in leave_out and key != "run.seed"]
    seed = ["--seed", str(flags["run.seed"])] if "run.seed" in flags else []
    return shlex.join([*words, *(part for each in sets for part in ("--set", each)), *seed])
