"""`initpools label`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli.options import Common, names_of

if TYPE_CHECKING:
    from initpools_cli.cli.labeler.label_lock import LabelLock
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.cli.labeler.state import LabelingState

EXAMPLE = "Example: initpools label --classes cat,dog,horse"


def command(
    common: Common,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="NAME|FILE",
            help="A pool, a round of the loop, or a table with path or index; default: the newest of the run.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="The first of these gets the first key; more can be added."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.csv", help="Default: labels/<batch>.csv in the run."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address of the page.")] = False,
) -> str:
    """Label a batch on a page of your own browser: a key an image, saved after every click, until Ctrl-C."""
    from initpools_cli.cli.labeler.label_lock import label_lock
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.core.files import require_ending
    from initpools_cli.core.run_location import run_name
    from initpools_cli.labeling.page import open_labeling, round_words

    require_ending(output, ".csv")
    context = common.start("dataset")
    labeling = open_labeling(context, batch, names_of(classes), output)
    then = context.command_for(*round_words(labeling.file, len(labeling.indices), labeling.vocabulary.names))
    again = context.command_for("label", "--batch", batch or labeling.name, *(["-o", str(output)] if output else []))
    with label_lock(labeling.file) as lock:
        # What another process wrote before it let go.
        if labeling.changed_elsewhere():
            labeling.read_again()
        desk = LabelingState(labeling, {"dataset": run_name(context.data.spec.name), "next": then, "again": again})
        with _bound(desk, lock, port) as server:
            lock.remember(server.server_port, server.token)
            typer.echo(f"label {labeling.name} at {server.address}", err=True)
            common.report.say("Every click is saved; end with Ctrl-C.")
            if not no_browser:
                _open(server.address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                pass
            finally:
                desk.close()
                left = len(labeling.marks) - labeling.labeled - labeling.skipped
                common.report.say(
                    f"{labeling.labeled} labeled, {labeling.skipped} skipped, {left} left: {labeling.file}"
                )
    found = {"labeled": labeling.labeled, "skipped": labeling.skipped, "left": left}
    names = labeling.vocabulary.names
    written = labeling.file if labeling.file.exists() else None
    common.result([written] if written else [], {"labels": written, "classes": names, **found, "next": then})
    return again if left else then


def _bound(desk: LabelingState, lock: LabelLock, port: int) -> Server:
    """At the port that is asked for, else at the last one if it is free, else at any."""
    from initpools_cli.cli.labeler.label_lock import new_token
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.core.errors import UserError

    # The old token only at the old port: elsewhere, somebody else may have been told it.
    if lock.port and port in (0, lock.port):
        try:
            return Server(desk, lock.token or new_token(), lock.port)
        except UserError:
            if port:
                raise
    return Server(desk, new_token(), port)


def _open(address: str) -> None:
    """Show the page, where there is a screen; a browser of the terminal would take it over."""
    import webbrowser

    screen = not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen:
        webbrowser.open(address)
