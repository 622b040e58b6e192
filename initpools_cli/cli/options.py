"""Options that commands share."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from initpools_cli.cli import completion
from initpools_cli.core.reporter import Reporter

if TYPE_CHECKING:
    from initpools_cli.core.rundir import Run
    from initpools_cli.steps.context import Context
    from initpools_cli.steps.provider import Provider
    from initpools_cli.steps.user_files import UserFiles

RUN, OUTPUT = "Run and configuration", "Output"
#: Options of `Common` that name a run, and those on output, which every command has.
PLACE = ("run", "dataset")
MESSAGES = ("as_json", "quiet", "verbose")
#: The options of `Common` of each command that does not have all of them, as the others would change nothing.
SHARED = {
    "label": (*PLACE, "config", "sets", "seed", "threads", *MESSAGES),
    "export": (*PLACE, "config", "sets", "seed", "threads", *MESSAGES),
    "plot": (*PLACE, "config", "sets", "seed", "device", "threads", *MESSAGES),
    "list": MESSAGES,
    "status": (*PLACE, *MESSAGES),
    "compare": (*PLACE, *MESSAGES),
    "verify": (*PLACE, *MESSAGES),
    "repair": (*PLACE, "config", "sets", "seed", *MESSAGES),
    "clean": (*PLACE, *MESSAGES),
    "bench": ("device", "threads", *MESSAGES),
    "bench table": MESSAGES,
    "bench report": MESSAGES,
    "bench verify": ("device", *MESSAGES),
}


@dataclass
class Common:
    """The options that commands share, with the run, the settings and the output that follow from them."""

    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            help="Run directory; default: $INITPOOLS_RUN, runs/<dataset>, or the run used last.",
            rich_help_panel=RUN,
        ),
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME|FILE|FOLDER",
            help="Data set: a name (`initpools list datasets`), a folder of images, .parquet, .tar or .csv files of "
            "images, an .npz file or a file of embeddings; its run is runs/<dataset>.",
            rich_help_panel=RUN,
            autocompletion=completion.datasets,
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Read settings from a TOML file.", rich_help_panel=RUN),
    ] = None
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, e.g. pretrain.epochs=20; repeatable.",
            rich_help_panel=RUN,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Random seed; default: that of the run.", rich_help_panel=RUN),
    ] = None
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.", rich_help_panel=RUN)
    ] = None
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Number of CPU threads; 0: all.", rich_help_panel=RUN)
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Repeat the step even if it is done.", rich_help_panel=RUN)] = (
        False
    )
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only results and warnings.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print details.", rich_help_panel=OUTPUT)] = (
        False
    )

    def __post_init__(self) -> None:
        """Begin without a run."""
        #: The run of the command, once it is known.
        self.current_run: Run | None = None

    @property
    def report(self) -> Reporter:
        """Messages and progress; of the processes that torchrun starts, the first one prints them."""
        return Reporter(self.quiet or os.environ.get("RANK", "0") != "0", self.verbose)

    def locate(self) -> Run:
        """Find the run and print its path."""
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run

        self.current_run = Run(locate(self.run, self.dataset))
        self.report.say(f"run: {self.current_run.path}")
        return self.current_run

    def settings(
        self, table: str, flags: Mapping[str, Any] | None = None, knobs: Collection[str] = ()
    ) -> tuple[Any, dict[str, str]]:
        """Return all settings, and where the user set each key."""
        from initpools_cli.core.settings import load_settings

        common_flags = {
            "dataset.name": self.dataset,
            "run.seed": self.seed,
            "run.device": self.device,
            "run.threads": self.threads,
        }
        return load_settings(
            table, file=self.config, sets=self.sets or (), flags={**common_flags, **(flags or {})}, knobs=knobs
        )

    def starts_run(self, dataset: str, table: str) -> bool:
        """Whether a command starts the run of a data set: no other data set is named, and the run does not exist."""
        from initpools_cli.core.errors import UserError
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run

        settings, origins = self.settings(table)
        name = settings.dataset.name if "dataset.name" in origins else None
        if name not in (None, dataset):
            return False
        try:
            return not Run(locate(self.run, name)).exists
        except UserError:
            return True

    def _is_fixed_without(self, groups: str, table: str) -> bool:
        """Return whether the run exists and was started with other groups, or with none."""
        from initpools_cli.core.config import DatasetTable
        from initpools_cli.core.errors import UserError
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run
        from initpools_cli.steps.run_data import absolute, read_identity

        settings, origins = self.settings(table)
        try:
            run = Run(locate(self.run, settings.dataset.name if "dataset.name" in origins else None))
        except UserError:
            return False
        return run.exists and read_identity(run).table.groups != absolute(DatasetTable(groups=groups)).groups

    def value_set(self, key: str) -> Any:
        """Return the value of a setting in --config or --set; None if it is not set."""
        from initpools_cli.core.settings import value_set

        return value_set(key, self.config, self.sets or ())

    def start(
        self,
        table: str,
        flags: Mapping[str, Any] | None = None,
        knobs: Collection[str] = (),
        *,
        may_create: bool = False,
        classes: str | None = None,
        of_labels: bool = False,
    ) -> Context:
        """Return the context of a step in a run.

        Parameters
        ----------
        classes : str, optional
            Value of ``--classes``: a new run stores them, an existing run must have the same.
        of_labels : bool
            Whether in an existing run they are the classes of ``--labels``, not of the run.
        may_create : bool
            Whether the command may start a run of the default data set.

        Raises
        ------
        UserError
            There is no run, or a setting is not valid.
        """
        from initpools_cli.core.errors import UserError
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run
        from initpools_cli.steps.context import Context

        settings, origins = self.settings(table, flags, knobs)
        name = settings.dataset.name if "dataset.name" in origins else None
        try:
            run = Run(locate(self.run, name))
        except UserError:
            if not may_create:
                raise
            run = Run(Path("runs") / settings.dataset.name)
        if classes is not None and not (of_labels and run.exists):
            settings, origins = self.settings(table, {**(flags or {}), "dataset.classes": names_of(classes)}, knobs)
        if not run.exists and name is None and not may_create:
            raise UserError(
                f"There is no run in {run.path}.",
                "Name the data set to start it: --dataset NAME|FILE|FOLDER.",
                run.path,
            )
        self.current_run = run
        self.report.say(f"run: {run.path}")
        if run.exists:
            # Also for a step that is finished: its run is now the one used last.
            run.mark_as_last()
        return Context(run, settings, origins, self.report, self.force)

    def result(self, lines: Sequence[object], payload: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print the result, one item per line or as JSON; with torchrun, in the first process only."""
        if os.environ.get("RANK", "0") != "0":
            return
        if self.as_json:
            typer.echo(json.dumps(_finite(payload), indent=1, default=str, allow_nan=False))
        else:
            for line in lines:
                typer.echo(str(line))

    @property
    def on_one_terminal(self) -> bool:
        """Whether the result and the messages appear on the same terminal."""
        return sys.stdout.isatty() and sys.stderr.isatty() and not self.quiet

    def say_written(self, path: Path) -> None:
        """Print that a file was written, unless its path follows on the same terminal as the result."""
        if not self.on_one_terminal:
            self.report.say(f"wrote {path}")

    def print_images(
        self, indices: Sequence[int], paths: Sequence[str], files: Sequence[Path], payload: Mapping[str, Any]
    ) -> None:
        """Print the written files, else the images, one per line, by path or index."""
        for path in files:
            self.say_written(path)
        self.result(files or [path or index for path, index in zip(paths, indices, strict=True)], payload)

    def provider(
        self,
        table: str,
        flags: Mapping[str, Any],
        knobs: Collection[str],
        files: UserFiles,
        *,
        inputs: Collection[str] = (),
        source: str = "",
        classes: str | None = None,
        of_labels: bool = False,
        groups: str | None = None,
    ) -> Provider:
        """Return the provider of the inputs: the files if they are enough and no run is named, else a run.

        Parameters
        ----------
        table, flags, knobs, classes, of_labels
            See `start`.
        files : UserFiles
        inputs : collection of str
            The inputs of the command's method.
        source : str
            ``--from``.
        groups : str, optional
            ``--groups``: a new run stores them; in a run with other groups or none, and without a run, they only matter
            for picks.

        Raises
        ------
        UserError
            No run, settings that are not valid, or ``--from`` without a run.
        """
        from initpools_cli.core.errors import UserError
        from initpools_cli.labeling.loop_embeddings import of_rounds
        from initpools_cli.steps.file_provider import FileProvider
        from initpools_cli.steps.run_provider import RunProvider

        if self.run is not None or self.dataset is not None or not files.enough_for(inputs):
            if files.ids is not None:
                raise UserError(
                    f"--ids {files.ids} has no effect in a run: its images are those of data/items.csv.",
                    "Leave out --ids.",
                    files.ids,
                )
            if groups is not None and self._is_fixed_without(groups, table):
                files = replace(files, groups=groups)
            else:
                flags = {**flags, "dataset.groups": groups}
            context = self.start(table, flags, knobs, classes=classes, of_labels=of_labels)
            context.loop_embeddings = of_rounds
            if files.groups:
                self.report.say(f"--groups {groups} is used for picks only: the split of {context.run.path} is fixed.")
            return RunProvider(context, files, source)
        if source:
            raise UserError(
                f"--from {source} needs a run, and only files are given.",
                "Leave out --from, or name the run: --run DIR.",
                source,
            )
        settings, origins = self.settings(table, flags, knobs)
        return FileProvider(settings, origins, self.report, replace(files, groups=groups or ""))

    def show_next(self, command: str, arguments: Mapping[str, Any], suggestion: str | None = None) -> None:
        """Print the next command: the suggestion, else one for the state of the run or the files."""
        from initpools_cli.reporting.next_step import next_in_run, next_with_files

        if suggestion is None and self.current_run is not None:
            suggestion = next_in_run(command, self.current_run)
        elif suggestion is None:
            suggestion = next_with_files(command, sys.argv[1:], arguments)
        if suggestion:
            self.report.say(f"next: {suggestion}")

    def report_done(self, folder: Path, fresh: bool, what: str) -> None:
        """Print the folder of a result, and whether it existed already."""
        self.report.say(f"{what}: {folder}" if fresh else f"already done: {folder} (--force repeats it)")

    def step_result(self, step: Any, fresh: bool, what: str) -> None:
        """Print the folder of a finished step."""
        self.report_done(step.folder, fresh, what)
        facts = step.facts
        self.result([step.folder], {"step": step.id, "folder": str(step.folder), "fresh": fresh, **facts})


def names_of(text: str | None) -> list[str]:
    """Split a comma-separated list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


Backend = Annotated[
    str,
    typer.Option("--backend", metavar="dask", help="Read embeddings on a Dask cluster, not in this process."),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a Dask scheduler; default: a cluster of one process per core on this machine.",
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        "--groups",
        metavar="FILE.csv|REGEX",
        help="Images that belong together, such as those of one patient or video, for a new run: .csv with columns "
        "path or index, and group; or a regular expression with one (group), searched in paths. Splits that "
        "initpools draws keep groups whole.",
        rich_help_panel=RUN,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B",
        help="All classes, in order; default: those that occur in the labels.",
        rich_help_panel=RUN,
    ),
]
Export = Annotated[
    list[str] | None,
    typer.Option(
        "--export",
        metavar="KIND=PATH",
        help="Also write label-studio=FILE.json, fiftyone=DIR, links=DIR, copies=DIR or another of "
        "`initpools list exports`; repeatable.",
    ),
]
Audit = Annotated[
    str | None,
    typer.Option(
        "--audit",
        metavar="10%|N",
        help="Also draw images at random from all without a label, to measure the accuracy without bias: a share of "
        "--budget (rounded, at least 1) or a number. They are added to --budget, mixed into the batch, and marked in "
        "its column 'origin'.",
    ),
]
ImageUrl = Annotated[
    str,
    typer.Option(
        "--image-url",
        metavar="PREFIX",
        help="Prefix of image paths in tasks for Label Studio; default: local files below the parent of the image "
        "folder.",
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="SOURCE",
        help="Embeddings to use, e.g. simclr or pixels; default: those of the last labeling round, else the newest.",
    ),
]

Download = Annotated[
    bool | None,
    typer.Option(
        "--download",
        envvar="INITPOOLS_DOWNLOAD",
        help="Download missing weights of a published backbone without asking. Default: ask on a terminal, otherwise "
        "say where to get them.",
    ),
]


def with_common(name: str, function: Callable[..., str | None]) -> Callable[..., None]:
    """Give a command whose first parameter is `common` its options of `Common`, and end it with the next command.

    A parameter that is a dataclass, such as `FileOptions`, stands for the options that are its fields.

    Parameters
    ----------
    name : str
        The command, such as "select-pool".
    function : callable
        Returns the next command, "" for none, or None to let the run or the files decide.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {each: kind for each, kind in hints.items() if is_dataclass(kind) and each != "common"}
    own = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in groups:
            own += _options_of(groups[parameter.name])
        elif parameter.name != "common":
            own.append(parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY))
    shared = [each for each in _options_of(Common) if name not in SHARED or each.name in SHARED[name]]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        common = Common(**{each.name: arguments.pop(each.name) for each in shared})
        values = dict(arguments)
        for group, kind in groups.items():
            values[group] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
        suggestion = function(common, **values)
        if not (common.as_json or common.report.quiet):
            common.show_next(name, arguments, suggestion)

    # `inspect` reads this attribute, which mypy does not know.
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return command


def _options_of(kind: Any) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as parameters of a command."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(kind)
    ]
