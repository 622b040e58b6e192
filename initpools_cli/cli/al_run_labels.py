"""`initpools al-run --labels`: a round of labeling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli.options import Audit, Common

if TYPE_CHECKING:
    from initpools_cli.labeling.round import Round
    from initpools_cli.steps.context import Context
    from initpools_cli.steps.user_files import UserFiles


LABELING = "A round of labeling instead of a sweep"


@dataclass(frozen=True)
class RoundOptions:
    """Options of a round of labeling."""

    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Labels from annotators: a .csv, an export of Label Studio or CVAT, or a folder per class; repeat "
            "the option for each annotator.",
            rich_help_panel=LABELING,
        ),
    ] = None
    annotators: Annotated[
        str | None,
        typer.Option(
            "--annotators",
            metavar="last|majority|strict",
            help="Which label counts where annotators differ: the last, the one given most often, or only one that all "
            "gave; default: last.",
            rich_help_panel=LABELING,
        ),
    ] = None
    next_batch: Annotated[
        Path | None,
        typer.Option(
            "--next",
            metavar="FILE",
            help="Choose --budget images to label next with --query, and write them to this .csv, .json or .npy file.",
            rich_help_panel=LABELING,
        ),
    ] = None
    audit: Audit = None
    stop_at: Annotated[
        float | None,
        typer.Option(
            "--stop-at",
            metavar="0.9",
            help="Choose no next batch once audit labels show, with 95 % confidence, that this accuracy is reached.",
            rich_help_panel=LABELING,
        ),
    ] = None
    target: Annotated[
        float | None,
        typer.Option(
            "--target",
            metavar="0.9",
            help="Forecast how many more labels reach this accuracy; default: 0.9.",
            rich_help_panel=LABELING,
        ),
    ] = None
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE.csv",
            help="Write the predicted class and confidence of all other images to this file.",
            rich_help_panel=LABELING,
        ),
    ] = None
    doubtful: Annotated[
        Path | None,
        typer.Option(
            "--doubtful",
            metavar="FILE.csv",
            help="Write the labels that look wrong to this file, most doubtful first.",
            rich_help_panel=LABELING,
        ),
    ] = None

    def asks(self, export: list[str] | None) -> bool:
        """Return whether the round chooses a next batch."""
        return self.next_batch is not None or bool(export)

    def refuse_without_labels(self, export: list[str] | None, image_url: str) -> None:
        """Refuse options that need --labels.

        Raises
        ------
        UserError
            One of them is set.
        """
        from initpools_cli.core.errors import UserError

        options = {
            "--annotators": self.annotators,
            "--next": self.next_batch,
            "--predictions": self.predictions,
            "--doubtful": self.doubtful,
            "--export": export,
            "--image-url": image_url,
            "--audit": self.audit,
            "--stop-at": self.stop_at,
            "--target": self.target,
        }
        for flag, value in options.items():
            if value:
                raise UserError(f"{flag} requires --labels.", "Add --labels FILE.", flag)

    def refuse_without_next(self) -> None:
        """Refuse options that need a next batch, where there is none.

        Raises
        ------
        UserError
            One of them is set.
        """
        from initpools_cli.core.errors import UserError

        for flag, value in {"--audit": self.audit, "--stop-at": self.stop_at}.items():
            if value is not None:
                raise UserError(f"{flag} {value} requires --next.", "Add --next FILE.csv.", flag)


def run_round(
    common: Common,
    context: Context,
    options: RoundOptions,
    classes: list[str],
    files: UserFiles,
    export: list[str],
    image_url: str,
) -> None:
    """Do a round, write the requested files and print a summary."""
    from initpools_cli.core.files import require_ending
    from initpools_cli.core.spreadsheet import write_table
    from initpools_cli.labeling.replace_round import read_next
    from initpools_cli.labeling.review import doubtful_note, read_doubtful
    from initpools_cli.labeling.round import label_round
    from initpools_cli.labeling.summary import long_tail_note
    from initpools_cli.reporting.export import read_exports, require_images, write_exports
    from initpools_cli.reporting.pool_table import FORMATS, records, write_pool
    from initpools_cli.steps.split_overlap import tell, tell_test

    labels = options.labels or []
    asks = options.asks(export)
    if not asks:
        options.refuse_without_next()
    require_ending(options.next_batch, *FORMATS)
    require_ending(options.predictions, ".csv")
    require_ending(options.doubtful, ".csv")
    exports = read_exports(export, options.next_batch, image_url)
    _refuse_targets(options, labels)
    if options.doubtful is not None:
        context.require_one_class("--doubtful")
    require_images(context, exports)
    labeling_round = label_round(context, labels, tuple(classes), ask=asks, files=files)
    batch = read_next(labeling_round.done)
    paths = []
    if batch is not None and options.next_batch is not None:
        write_pool(batch, options.next_batch)
        paths.append(options.next_batch)
    if batch is not None and exports:
        write_exports(context, labeling_round.done.name, batch, exports, image_url)
        paths += [each.path for each in exports]
    if options.predictions is not None:
        write_table(options.predictions, labeling_round.done.frame("predictions.csv", dtype=str, keep_default_na=False))
        paths.append(options.predictions)
    if options.doubtful is not None:
        write_table(options.doubtful, read_doubtful(labeling_round.done))
        paths.append(options.doubtful)
    _show_round(common, context, labeling_round)
    outcome = labeling_round.done.facts["outcome"]
    if note := long_tail_note(outcome, labeling_round.done.frame("classes.csv")):
        common.report.say(note)
    tell(context, outcome)
    if "test_accuracy" in outcome:
        tell_test(context, (labeling_round.done.table.get("encoders") or [""])[0])
    if note := doubtful_note(context, labeling_round.done):
        common.report.say(note)
    if asks and batch is None and "stopped" not in labeling_round.done.facts["outcome"]:
        common.report.say(
            "no images are left to label: each one has a label, was skipped, is excluded or no longer exists."
        )
    payload = {
        "step": labeling_round.done.id,
        "folder": labeling_round.done.folder,
        "fresh": labeling_round.fresh,
        **labeling_round.done.facts["outcome"],
        "written": paths,
        "problem_rows": [problem._asdict() for problem in labeling_round.labeled.annotations.problems],
        "next": [] if batch is None else records(batch),
    }
    for path in paths:
        common.say_written(path)
    common.result(paths or [labeling_round.done.folder], payload)


def _refuse_targets(options: RoundOptions, labels: list[Path]) -> None:
    """Refuse to overwrite label files, or to write two results to one file."""
    from initpools_cli.core.errors import UserError

    paths = {"--next": options.next_batch, "--predictions": options.predictions, "--doubtful": options.doubtful}
    targets = {flag: path for flag, path in paths.items() if path is not None}
    for path in targets.values():
        if path.resolve() in [file.resolve() for file in labels]:
            raise UserError(
                f"{path} is the file of --labels and would be overwritten.", "Give the new file another name.", path
            )
    for (flag, path), (other, same) in combinations(targets.items(), 2):
        if path.resolve() == same.resolve():
            raise UserError(f"{flag} and {other} both name {path}.", "Give each file its own name.", path)
    for flag, column in (("--predictions", "confidence"), ("--doubtful", "doubt")):
        if flag in targets:
            _refuse_annotated(targets[flag], flag, column)


def _refuse_annotated(path: Path, flag: str, column: str) -> None:
    """Refuse to overwrite labels; a table of an earlier round, which has this column, may be overwritten."""
    import pandas as pd

    from initpools_cli.core.errors import UserError
    from initpools_cli.datasets.annotations.table import read_table
    from initpools_cli.reporting.pool_table import refuse_losing_labels

    try:
        earlier = column in read_table(path, flag).columns
    except UserError:
        return
    if not earlier:
        refuse_losing_labels(path, pd.DataFrame({"index": [], "label": []}))


def _show_round(common: Common, context: Context, labeling_round: Round) -> None:
    """Print the problems of the label file, a summary, and a table of all rounds."""
    from initpools_cli.cli.tables import show_grid
    from initpools_cli.labeling.annotators import TIES, agreement, tie_lines
    from initpools_cli.labeling.label_history import doubts
    from initpools_cli.labeling.stored_rounds import history
    from initpools_cli.labeling.summary import notes_of, table_of, tell_problems
    from initpools_cli.labeling.verdict import suggestions, verdict

    annotations, report, rounds = labeling_round.labeled.annotations, common.report, history(context.run)
    for note in annotations.notes:
        report.say(note)
    left_out = [f"{problem}; the row is ignored." for problem in annotations.problems]
    tell_problems(report, left_out, str(labeling_round.done.folder / "problems.csv"))
    for doubt in doubts(labeling_round.labeled):
        report.warn(doubt)
    common.report_done(labeling_round.done.folder, labeling_round.fresh, "round")
    report.say(_summary(labeling_round))
    if sentence := agreement(labeling_round.done.facts["outcome"]):
        report.say(sentence)
    if labeling_round.labeled.ties:
        for line in tie_lines(labeling_round.labeled.ties, context.data.splits["train"].paths):
            report.warn(line)
        report.say(
            f"label them again: `{context.command_for('label', '--batch', str(labeling_round.done.folder / TIES))}`"
        )
    show_grid(report, *table_of(rounds))
    last = rounds[-1]
    for sentence in [*verdict(rounds), *filter(None, [suggestions(last)])]:
        report.say(sentence)
    if "accuracy" in last or "auc" in last:
        for note in notes_of(rounds):
            report.say(note)
    if last.get("alone"):
        classes = _plural(last["alone"], "class has", "classes have")
        report.say(
            f"{classes} one labeled image; cross-validation predicts it by a model that saw no "
            "other image of its class."
        )


def _summary(labeling_round: Round) -> str:
    annotations, outcome = labeling_round.labeled.annotations, labeling_round.done.facts["outcome"]
    parts = [
        _plural(outcome["new"], "new label", "new labels"),
        _plural(outcome["corrected"], "of them a correction", "of them corrections"),
        _plural(annotations.empty, "row without a label", "rows without a label"),
        _plural(len(annotations.skipped), "skipped", "skipped"),
        _plural(outcome["problems"], "row ignored", "rows ignored"),
    ]
    summary = ", ".join([parts[0], *(part for part in parts[1:] if not part.startswith("0 "))])
    return f"{summary}; {_plural(outcome['unlabeled'], 'image has', 'images have')} no label."


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
