"""The options every command shares, in one place."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from initpools_cli.cli import completion
from initpools_cli.core.reporter import Reporter

if TYPE_CHECKING:
    from initpools_cli.core.rundir import Run
    from initpools_cli.steps.context import Context
    from initpools_cli.steps.user_files import UserFiles

#: What brings all its images only where a method asks for nothing else.
ALONE = ("clusters", "labels")
RUN, TALK = "Run and configuration", "Output"


@dataclass
class Common:
    """The options that every command has, and what they lead to: the run, the settings, the output."""

    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run directory.", rich_help_panel=RUN)
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME|FILE.npz|FOLDER",
            help="Names or starts runs/<dataset>.",
            rich_help_panel=RUN,
            autocompletion=completion.datasets,
        ),
    ] = None
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings from a file.", rich_help_panel=RUN)
    ] = None
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting, e.g. pretrain.epochs=20; may be repeated.",
            rich_help_panel=RUN,
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides everything random; default: the run's.", rich_help_panel=RUN)
    ] = None
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.", rich_help_panel=RUN)] = None
    threads: Annotated[
        int | None, typer.Option("--threads", help="Processor threads; 0: all.", rich_help_panel=RUN)
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Do the step again even if it is done.", rich_help_panel=RUN)
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="The result as JSON on standard output.", rich_help_panel=TALK)
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and results.", rich_help_panel=TALK)] = (
        False
    )
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Details too.", rich_help_panel=TALK)] = False

    def __post_init__(self) -> None:
        """Begin without a run."""
        #: The run that the command works in, as soon as it is known.
        self.used: Run | None = None

    @property
    def report(self) -> Reporter:
        """Messages and progress; of the processes that torchrun starts, the first one prints them."""
        return Reporter(self.quiet or os.environ.get("RANK", "0") != "0", self.verbose)

    def locate(self) -> Run:
        """Find the run and print its path."""
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run

        self.used = Run(locate(self.run, self.dataset))
        self.report.say(f"run: {self.used.path}")
        return self.used

    def settings(
        self, table: str, flags: Mapping[str, Any] | None = None, knobs: Collection[str] = ()
    ) -> tuple[Any, dict[str, str]]:
        """All tables resolved, and the keys the user set with where."""
        from initpools_cli.core.config import load_settings

        shared = {
            "dataset.name": self.dataset,
            "run.seed": self.seed,
            "run.device": self.device,
            "run.threads": self.threads,
        }
        return load_settings(
            table, file=self.config, sets=self.sets or (), flags={**shared, **(flags or {})}, knobs=knobs
        )

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
        """The context of a step in a run.

        Parameters
        ----------
        classes : str, optional
            What ``--classes`` names: a run that starts here fixes them, and one that is there must have the same.
        of_labels : bool
            Whether in a run that is there already they are of the ``--labels`` that are brought, and not of the run.
        may_create : bool
            Whether the command may start a run without naming a data set (the default one).

        Raises
        ------
        UserError
            No run, or settings that are not valid.
        """
        from initpools_cli.core.errors import UserError
        from initpools_cli.core.run_location import locate
        from initpools_cli.core.rundir import Run
        from initpools_cli.steps.context import Context

        settings, given = self.settings(table, flags, knobs)
        named = settings.dataset.name if "dataset.name" in given else None
        try:
            run = Run(locate(self.run, named))
        except UserError:
            if not may_create:
                raise
            run = Run(Path("runs") / settings.dataset.name)
        if classes is not None and not (of_labels and run.exists):
            settings, given = self.settings(table, {**(flags or {}), "dataset.classes": names_of(classes)}, knobs)
        if not run.exists and named is None and not may_create:
            raise UserError(
                f"There is no run in {run.path}.",
                "Start it by naming the data set: --dataset NAME|FILE.npz|FOLDER.",
            )
        self.used = run
        self.report.say(f"run: {run.path}")
        if run.exists:
            # A step that is already done writes nothing, and yet its run is the one used last.
            run.mark_as_last()
        return Context(run, settings, given, self.report, self.force)

    def result(self, lines: Sequence[object], payload: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print the result: one item a line, or everything as JSON. Of torchrun's processes one prints."""
        if os.environ.get("RANK", "0") != "0":
            return
        if self.as_json:
            typer.echo(json.dumps(_finite(payload), indent=1, default=str, allow_nan=False))
        else:
            for line in lines:
                typer.echo(str(line))

    def chosen(
        self, indices: Sequence[int], paths: Sequence[str], written: Sequence[Path], payload: Mapping[str, Any]
    ) -> None:
        """Print images one a line, by path or else by index; what was written alone where they were written."""
        for path in written:
            self.report.say(f"wrote {path}")
        self.result(written or [path or index for path, index in zip(paths, indices, strict=True)], payload)

    def works_without_run(self, files: UserFiles, inputs: Collection[str] = (), source: str = "") -> bool:
        """Whether the files brought are enough for a method of those inputs, and no run is named.

        Raises
        ------
        UserError
            They are, and `source` (``--from``) is of a run.
        """
        from initpools_cli.core.errors import UserError

        # Clusters or labels alone say which images there are only to a method that asks for nothing but them.
        enough = files.without_run or any(getattr(files, name, None) and name in inputs for name in ALONE)
        alone = enough and self.run is None and self.dataset is None
        if alone and source:
            raise UserError(
                f"--from {source} is of a run, and only files were given.", "Leave it out, or name the run: --run DIR."
            )
        return alone

    def show_next(self, command: str, arguments: Mapping[str, Any], suggested: str | None = None) -> None:
        """Print the next command to type, which the state of the run or the files decide where none is suggested."""
        from initpools_cli.reporting.next_step import next_in_run, next_with_files

        if suggested is None and self.used is not None:
            suggested = next_in_run(command, self.used)
        elif suggested is None:
            suggested = next_with_files(command, sys.argv[1:], arguments)
        if suggested:
            self.report.say(f"next: {suggested}")

    def say_done(self, folder: Path, fresh: bool, what: str) -> None:
        """Say where a step's result is, and whether it was there already."""
        self.report.say(f"{what}: {folder}" if fresh else f"already done: {folder} (--force does it again)")

    def step_result(self, done: Any, fresh: bool, what: str) -> None:
        """Say that a step is done, and print its folder."""
        self.say_done(done.folder, fresh, what)
        facts = done.facts
        self.result([done.folder], {"step": done.id, "folder": str(done.folder), "fresh": fresh, **facts})


def names_of(text: str | None) -> list[str]:
    """The names of a list with commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _finite(value: Any) -> Any:
    """The same with null where JSON has no number: NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


# What users bring themselves; each command lists those it can use.
BRING = "Bring your own numbers"
Embeddings = Annotated[
    Path | None,
    typer.Option("--embeddings", metavar="FILE.npy", help="(n, d); no run is needed then.", rich_help_panel=BRING),
]
Patches = Annotated[
    Path | None,
    typer.Option(
        "--patches",
        metavar="FILE.npy",
        help="Features of places in each image (n, patches, d), for `freesel`.",
        rich_help_panel=BRING,
    ),
]
Probs = Annotated[
    Path | None,
    typer.Option(
        "--probs",
        metavar="FILE.npy",
        help="Class probabilities (n, c) or (views, n, c); strategies that can do with and without a model use one if "
        "and only if you bring these.",
        rich_help_panel=BRING,
    ),
]
Scores = Annotated[
    Path | None, typer.Option("--scores", metavar="FILE.npy", help="One number per image (n,).", rich_help_panel=BRING)
]
Clusters = Annotated[
    Path | None,
    typer.Option("--clusters", metavar="FILE.npy", help="A cluster id per image (n,).", rich_help_panel=BRING),
]
Ranking = Annotated[
    Path | None,
    typer.Option(
        "--ranking",
        metavar="FILE.npy",
        help="Image indices, best first, for the strategy 'file'.",
        rich_help_panel=BRING,
    ),
]
Labeled = Annotated[
    Path | None,
    typer.Option(
        "--labeled",
        metavar="FILE",
        help="Already labeled: .npy of indices or bool, or .csv with index or path.",
        rich_help_panel=BRING,
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude",
        metavar="FILE",
        help="Images not to be seen at all: .npy of indices or bool, or .csv with index or path.",
        rich_help_panel=BRING,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Annotations: .csv with path or index, and label; or .npy of a class number per image, -1 for none.",
        rich_help_panel=BRING,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B",
        help="The only classes there can be, in order; default: those that occur.",
        rich_help_panel=RUN,
    ),
]
Export = Annotated[
    list[str] | None,
    typer.Option(
        "--export",
        metavar="KIND=PATH",
        help="Also write label-studio=FILE.json, fiftyone=DIR, links=DIR or copies=DIR; may be repeated.",
    ),
]
ImageUrl = Annotated[
    str,
    typer.Option(
        "--image-url",
        metavar="PREFIX",
        help="What stands before an image's path in Label Studio's tasks; default: local files, from the folder above "
        "the images.",
    ),
]
Source = Annotated[
    str, typer.Option("--from", metavar="SOURCE", help="Which embeddings, e.g. simclr, pixels; default: the newest.")
]


def with_common(name: str, function: Callable[..., str | None]) -> Callable[..., None]:
    """Give a command whose first parameter is `common` the options of `Common`, and end it with the next command.

    Parameters
    ----------
    name : str
        The command, such as "select-pool".
    function : callable
        Returns the command to type next, "" for none, or None where the run or the files decide.
    """
    hints = get_type_hints(function, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name])
        for p in inspect.signature(function).parameters.values()
        if p.name != "common"
    ]
    shared_hints = get_type_hints(Common, include_extras=True)
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=shared_hints[f.name])
        for f in fields(Common)
    ]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        common = Common(**{f.name: arguments.pop(f.name) for f in fields(Common)})
        suggested = function(common, **arguments)
        if not (common.as_json or common.report.quiet):
            common.show_next(name, arguments, suggested)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
    # Functions take this attribute, and `inspect` reads it; mypy knows of neither.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def brought(output: Path | None = None, classes: str | None = None, **files: Path | None) -> UserFiles:
    """The files given on the command line.

    Parameters
    ----------
    output : Path, optional
        What is to be written.
    classes : str, optional
        What ``--classes`` names, for the labels among them.

    Raises
    ------
    UserError
        One of them would be written over by `output`.
    """
    from initpools_cli.core.errors import UserError
    from initpools_cli.datasets.classes import class_list
    from initpools_cli.steps.user_files import UserFiles

    for name, path in files.items():
        if output is not None and path is not None and output.resolve() == path.resolve():
            raise UserError(f"-o {output} is the file of --{name}, and would be lost.", "Give -o another name.")
    return UserFiles(**files, classes=class_list(names_of(classes), "--classes"))
