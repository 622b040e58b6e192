"""`initpools export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Common, ImageUrl

if TYPE_CHECKING:
    from initpools_cli.reporting.run_labels import RunLabels
    from initpools_cli.steps.context import Context

EXAMPLE = "Example: initpools export csv -o labels.csv"


def command(
    common: Common,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="Format; `initpools list exports` lists all.", autocompletion=completion.exports
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PATH", help="File or folder to write, depending on the format.")
    ],
    extra: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="predictions",
            help="Add the images without a label, with the class that the model of the newest round predicts.",
        ),
    ] = "",
    above: Annotated[
        float | None,
        typer.Option(
            "--above", metavar="SHARE", help="Add only predictions with at least this calibrated confidence, in (0, 1]."
        ),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(
            "--val",
            metavar="SHARE",
            help="Share of the labels of each class for validation, in (0, 1); adds a column split.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Also write copies of the images to DIR, and refer to them."),
    ] = None,
    image_url: ImageUrl = "",
    dataset_labels: Annotated[
        bool, typer.Option("--dataset-labels", help="Export the labels of the data set instead of those of the run.")
    ] = False,
) -> None:
    """Write the labels of the run for other programs: tables, folders per class, files of annotation tools."""
    from initpools_cli.reporting.export import Export, refuse_overlap, require_images, valid_export, write_exports
    from initpools_cli.reporting.exports.registry import exports, place_of

    remedy = f"`initpools export {kind} -o {place_of(exports.get(kind))}`"
    export = valid_export(kind, output, f"export {kind}", remedy)
    _refuse_options(kind, extra, above, val, image_url)
    targets = [export, *([Export("copies", images.resolve())] if images else [])]
    refuse_overlap([each.path for each in targets])
    context = common.start("dataset")
    require_images(context, targets, "export")
    labels = _labels(context, extra == "predictions", above or 0.0, val, dataset_labels)
    write_exports(context, labels.name, labels.rows, targets, image_url, "--images DIR")
    count = len(labels.rows)
    n_predicted = int((labels.rows["source"] == "prediction").sum())
    parts = [f"{count - n_predicted:,} labels of {labels.name}", *([f"{n_predicted:,} predictions"] if extra else [])]
    note = f"; {len(labels.skipped):,} skipped images are left out" if labels.skipped else ""
    common.report.say(f"exported {' and '.join(parts)}{note}")
    for each in targets:
        common.say_written(each.path)
    payload = {
        "kind": kind,
        "written": [each.path for each in targets],
        "from": labels.name,
        "labels": count - n_predicted,
        "predictions": n_predicted,
        "skipped": len(labels.skipped),
    }
    common.result([each.path for each in targets], payload)


def _refuse_options(kind: str, extra: str, above: float | None, val: float | None, image_url: str) -> None:
    """Raise an error for options that are not valid, or have no effect."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.reporting.exports.registry import exports

    if extra not in ("", "predictions"):
        raise UserError(f"--with {extra} is unknown.", "Use --with predictions, or leave out --with.", extra)
    if above is not None and not extra:
        raise UserError("--above requires --with predictions.", "Add --with predictions.", "--above")
    if above is not None and not 0 < above <= 1:
        raise UserError(f"--above {above:g} is not in (0, 1].", "Use a confidence such as --above 0.9.", f"{above:g}")
    if val is not None and not exports.get(kind).traits.split:
        raise UserError(f"--val has no effect on {kind}.", "Leave out --val.", "--val")
    if val is not None and not 0 < val < 1:
        raise UserError(f"--val {val:g} is not in (0, 1).", "Use a share such as --val 0.2.", f"{val:g}")
    if image_url and kind != "label-studio":
        raise UserError(
            f"--image-url has no effect on {kind}: it is for label-studio.", "Leave out --image-url.", "--image-url"
        )


def _labels(context: Context, predictions: bool, above: float, val: float | None, dataset_labels: bool) -> RunLabels:
    """Return the labels to export, and say which labels of the run are not among them."""
    from initpools_cli.reporting.run_labels import (
        labels_of_dataset,
        labels_of_run,
        unread_files,
        with_predictions,
        with_validation,
    )

    labels = labels_of_dataset(context) if dataset_labels else labels_of_run(context)
    for file, count in unread_files(context, labels) if labels.round else []:
        context.report.warn(
            f"{file} has {count} labels that no round has read, and they are not exported: run "
            f"`{context.command_for('al-run', '--labels', str(file))}` first."
        )
    if predictions:
        labels = with_predictions(context, labels, above)
    return labels if val is None else with_validation(context, labels, val)
