"""`initpools label --rename`, `--merge` and `--split`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from initpools_cli.cli.options import Common, names_of
from initpools_cli.core.errors import UserError

if TYPE_CHECKING:
    from initpools_cli.labeling.change_classes import ChangeResult
    from initpools_cli.steps.context import Context

#: An option, the text of its value, and the kind of the change.
ChangeRequest = tuple[str, str, str]


def change_requests(
    rename: Sequence[str] | None, merge: Sequence[str] | None, split: Sequence[str] | None
) -> list[ChangeRequest]:
    """Return the changes on the command line: first renames, then merges, then splits."""
    options = {"rename": rename, "merge": merge, "split": split}
    return [(f"--{do}", text, do) for do, texts in options.items() for text in texts or []]


def change_classes_by(
    common: Common,
    context: Context,
    changes: Sequence[ChangeRequest],
    output: Path | None,
    others: Mapping[str, object],
) -> str:
    """Change classes, report what has changed, and return the next command.

    Parameters
    ----------
    common : Common
    context : Context
    changes : sequence
        From `change_requests`.
    output : Path, optional
        A label file outside the run that is changed, too.
    others : mapping of str to object
        Options of the page, which have no effect here, and their values.

    Raises
    ------
    UserError
        If a change is not possible; those before it are done.
    """
    from initpools_cli.labeling.change_classes import change_classes, valid_change
    from initpools_cli.labeling.classes import CLASSES, ClassList
    from initpools_cli.labeling.stored_rounds import classes_of_rounds

    for option, value in others.items():
        if value:
            raise UserError(
                f"{option} has no effect with {changes[0][0]}, which opens no page.", f"Leave out {option}.", option
            )
    if output is not None and not output.exists():
        raise UserError(f"There is no file {output} (--output).", "Correct the path: --output FILE.csv.", output)
    context.require_one_class(changes[0][0])
    results = []
    for option, text, do in changes:
        vocabulary = ClassList(context.data.classes, [], context.run.path / CLASSES)
        vocabulary.learn([*classes_of_rounds(context.run), *_classes_of_files(context, output)])
        old, new = _parts(option, text, do, vocabulary.names)
        change = valid_change(do, old, new, vocabulary, context.data.spec.name)
        result = change_classes(
            context.run, context.data, change, vocabulary, also=[output] if output is not None else []
        )
        common.report.say(_sentence(result))
        results.append(result)
    files = list(dict.fromkeys(file for result in results for file in result.files))
    queue = sorted({index for result in results for index in result.queue})
    common.result(
        files, {"classes": vocabulary.names, "changes": [str(result.change) for result in results], "queued": queue}
    )
    return context.command_for("label", *(["-o", str(output)] if output else []))


def _classes_of_files(context: Context, output: Path | None) -> list[str]:
    from initpools_cli.datasets.classes import KnownClasses
    from initpools_cli.labeling.change_classes import label_files
    from initpools_cli.labeling.label_file import read_marks

    files = label_files(context.run, [output] if output is not None else [])
    classes = KnownClasses(fixed=False)
    return [
        mark.label for file in files for mark in read_marks(file, context.data, classes).marks.values() if mark.label
    ]


def _parts(option: str, text: str, do: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide a value at the sign "=" that leaves classes on its left; a name may have one, too."""
    places = [place for place, character in enumerate(text) if character == "="]
    for place in places:
        old, new = text[:place].strip(), text[place + 1 :].strip()
        before = names_of(old) if do == "merge" else [old]
        if old and new and (len(places) == 1 or all(name in names for name in before)):
            return before, names_of(new) if do == "split" else [new]
    form = {"rename": "OLD=NEW", "merge": "A,B=C", "split": "A=B,C"}[do]
    raise UserError(
        f"'{text}' ({option}) names no classes of the run and what they become.", f"Write {option} {form}.", text
    )


def _sentence(result: ChangeResult) -> str:
    labels = sum(result.files.values())
    files = f"{labels} label{'s' * (labels != 1)} in {len(result.files)} file{'s' * (len(result.files) != 1)}"
    again = f"; {len(result.queue)} images are to be labeled again" if result.queue else ""
    in_rounds = f"{result.round_labels} label{'s' * (result.round_labels != 1)} of finished rounds"
    return f"{result.change}: {files}, {in_rounds}{again}."
