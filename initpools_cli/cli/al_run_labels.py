"""`initpools al-run --labels`: a round of labeling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from initpools_cli.cli.options import Common

if TYPE_CHECKING:
    from initpools_cli.labeling.round import Round
    from initpools_cli.steps.context import Context
    from initpools_cli.steps.user_files import UserFiles


@dataclass(frozen=True)
class RoundRequest:
    """Options of a round of labeling."""

    labels: list[Path]
    annotators: str | None
    next_batch: Path | None
    predictions: Path | None
    doubtful: Path | None
    classes: tuple[str, ...]
    exports: list[str]
    image_url: str
    audit: str | None
    stop_at: float | None
    target: float | None

    @property
    def asks(self) -> bool:
        """Whether the round chooses a next batch."""
        return self.next_batch is not None or bool(self.exports)

    def refuse_without_labels(self) -> None:
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
            "--export": self.exports,
            "--image-url": self.image_url,
            "--audit": self.audit,
            "--stop-at": self.stop_at,
            "--target": self.target,
        }
        for flag, value in options.items():
            if value:
                raise UserError(f"{flag} requires --labels.", "Add --labels FILE.", flag)

    def refuse_without_next(self) -> None:
        """Refuse options that need a next batch.

        Raises
        ------
        UserError
            One of them is set.
        """
        from initpools_cli.core.errors import UserError

        for flag, value in {"--audit": self.audit, "--stop-at": self.stop_at}.items():
            if value is not None and not self.asks:
                raise UserError(f"{flag} {value} requires --next.", "Add --next FILE.csv.", flag)


def run_round(common: Common, context: Context, labels: list[Path], request: RoundRequest, files: UserFiles) -> None:
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

    request.refuse_without_next()
    require_ending(request.next_batch, *FORMATS)
    require_ending(request.predictions, ".csv")
    require_ending(request.doubtful, ".csv")
    exports = read_exports(request.exports, request.next_batch, request.image_url)
    _refuse_targets(request, labels)
    if request.doubtful is not None:
        context.require_one_class("--doubtful")
    require_images(context, exports)
    labeling_round = label_round(context, labels, request.classes, ask=request.asks, files=files)
    batch = read_next(labeling_round.done)
    paths = []
    if batch is not None and request.next_batch is not None:
        write_pool(batch, request.next_batch)
        paths.append(request.next_batch)
    if batch is not None and exports:
        write_exports(context, labeling_round.done.name, batch, exports, request.image_url)
        paths += [each.path for each in exports]
    if request.predictions is not None:
        write_table(request.predictions, labeling_round.done.frame("predictions.csv", dtype=str, keep_default_na=False))
        paths.append(request.predictions)
    if request.doubtful is not None:
        write_table(request.doubtful, read_doubtful(labeling_round.done))
        paths.append(request.doubtful)
    _show_round(common, context, labeling_round)
    outcome = labeling_round.done.facts["outcome"]
    if note := long_tail_note(outcome, labeling_round.done.frame("classes.csv")):
        common.report.say(note)
    tell(context, outcome)
    if "test_accuracy" in outcome:
        tell_test(context, (labeling_round.done.table.get("encoders") or [""])[0])
    if note := doubtful_note(context, labeling_round.done):
        common.report.say(note)
    if request.asks and batch is None and "stopped" not in labeling_round.done.facts["outcome"]:
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


def _refuse_targets(request: RoundRequest, labels: list[Path]) -> None:
    """Refuse to overwrite label files, or to write two results to one file."""
    from initpools_cli.core.errors import UserError

    options = {"--next": request.next_batch, "--predictions": request.predictions, "--doubtful": request.doubtful}
    targets = {flag: path for flag, path in options.items() if path is not None}
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
