"""`initpools label`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli.options import Common, names_of

if TYPE_CHECKING:
    from initpools_cli.cli.labeler.label_lock import LabelLock
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.labeling.session import LabelingSession
    from initpools_cli.steps.context import Context

EXAMPLE = "Example: initpools label --classes cat,dog,horse"


def command(
    common: Common,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="NAME|FILE",
            help="Pool or round of the run, or a table with a column path or index; default: the newest.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", metavar="A,B,C", help="Classes, in the order of their keys; more can be added on the page."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.csv", help="File to write; default: labels/<batch>.csv in the run."
        ),
    ] = None,
    annotator: Annotated[
        str,
        typer.Option(
            "--annotator", metavar="NAME", help="Name of the person who labels; each annotator has their own file."
        ),
    ] = "",
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="1/2", help="Label this part of the batch; others label the other parts."),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap",
            metavar="10%",
            help="Share of the batch, drawn at random, that everyone labels; without --part, label only these images.",
        ),
    ] = None,
    review: Annotated[
        bool, typer.Option("--review", help="Open the labels that the newest round finds doubtful, to correct them.")
    ] = False,
    no_suggestions: Annotated[
        bool, typer.Option("--no-suggestions", help="Do not show the classes that the newest round predicts.")
    ] = False,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="Rename a class everywhere, then exit; repeatable."),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option("--merge", metavar="A,B=C", help="Merge classes into one, which may be new, then exit."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="A=B,C", help="Split a class, then exit; its images have to be labeled again."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the page; 0: any free port.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address of the page without opening it.")
    ] = False,
) -> str:
    """Label a batch in the browser, with one key per image; every label is saved at once. Ctrl-C ends it."""
    from initpools_cli.cli.label_classes import change_classes_by, change_requests
    from initpools_cli.core.errors import UserError
    from initpools_cli.core.files import require_ending
    from initpools_cli.labeling.page import files_with, open_labeling, round_words

    require_ending(output, ".csv")
    context = common.start("dataset")
    changes = change_requests(rename, merge, split)
    if changes:
        others = {
            "--batch": batch,
            "--review": review,
            "--classes": classes,
            "--port": port,
            "--no-browser": no_browser,
            "--annotator": annotator,
            "--part": part,
            "--overlap": overlap,
        }
        return change_classes_by(common, context, changes, output, {**others, "--no-suggestions": no_suggestions})
    if review and batch is not None:
        raise UserError(f"--review opens no batch, but --batch is {batch}.", "Leave out --review or --batch.", batch)
    if (part or overlap) and not annotator:
        flag, value = ("--part", part) if part else ("--overlap", overlap)
        raise UserError(f"{flag} {value} needs the name of who labels.", "Add --annotator NAME.", f"{flag} {value}")
    labeling = open_labeling(
        context,
        batch,
        names_of(classes),
        output,
        suggestions=not no_suggestions,
        review=review,
        annotator=annotator,
        part=part,
        overlap=overlap,
    )

    def next_words() -> str:
        """Return the next command, with the labels of all annotators of this batch so far."""
        size = 0 if review or annotator else len(labeling.indices)
        return context.command_for(*round_words(files_with(labeling), size, labeling.vocabulary.names))

    which = ["--review"] if review else ["--batch", batch or labeling.name]
    options = {"-o": output, "--annotator": annotator, "--part": part, "--overlap": overlap}
    which += [word for flag, value in options.items() if value for word in (flag, str(value))]
    again = context.command_for("label", *which)
    n_left = _serve(common, context, labeling, port, next_words, again, no_browser=no_browser, review=review)
    counts = {"labeled": labeling.labeled, "skipped": labeling.skipped, "left": n_left}
    then = next_words()
    names = labeling.vocabulary.names
    file = labeling.file if labeling.file.exists() else None
    common.result([file] if file else [], {"labels": file, "classes": names, **counts, "next": then})
    return again if n_left or file is None else then


def _serve(
    common: Common,
    context: Context,
    labeling: LabelingSession,
    port: int,
    next_words: Callable[[], str],
    again: str,
    *,
    no_browser: bool,
    review: bool,
) -> int:
    """Serve the page until Ctrl-C, and return how many images are left."""
    from initpools_cli.cli.labeler.label_lock import label_lock
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.core.run_location import run_name
    from initpools_cli.labeling.images import RunImages

    with label_lock(labeling.file) as lock:
        # Another process may have written labels before it ended.
        if labeling.changed_elsewhere():
            labeling.read_again()
        facts = {"dataset": run_name(context.data.spec.name), "next": next_words(), "again": again}
        state = LabelingState(labeling, facts, RunImages(context), context.run)
        with _start_server(state, lock, port) as server:
            lock.remember(server.server_port, server.token)
            typer.echo(f"label {labeling.name} at {server.address}", err=True)
            common.report.say("Every label is saved at once; Ctrl-C ends the program.")
            if not no_browser:
                _open(server.address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                pass
            finally:
                state.close()
                n_left = labeling.left
                progress = f"{len(labeling.checked)} checked" if review else f"{labeling.labeled} labeled"
                common.report.say(f"{progress}, {labeling.skipped} skipped, {n_left} left: {labeling.file}")
    return n_left


def _start_server(state: LabelingState, lock: LabelLock, port: int) -> Server:
    """Start the server at `port`, else at the last one if it is free, else at any."""
    from initpools_cli.cli.labeler.label_lock import new_token
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.core.errors import UserError

    # The old token is valid only at the old port: at another one, somebody else may know it.
    if lock.port and port in (0, lock.port):
        try:
            return Server(state, lock.token or new_token(), lock.port)
        except UserError:
            if port:
                raise
    return Server(state, new_token(), port)


def _open(address: str) -> None:
    """Open the page if there is a display; a text browser would take over the terminal."""
    import webbrowser

    has_display = not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_display:
        webbrowser.open(address)
