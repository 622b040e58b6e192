"""The executable `initpools`: its commands, and how errors and interruptions end."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, Any

import typer

from initpools_cli.cli import (
    al_run,
    compare,
    embed,
    label,
    lists,
    plot,
    pretrain,
    rank,
    score,
    select_pool,
    status,
    verify,
)
from initpools_cli.cli.options import with_common
from initpools_cli.core.errors import UserError

app = typer.Typer(
    name="initpools",
    help="Choose which images to label first, and measure whether the choice beat a random one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: initpools pretrain simclr --dataset digits",
)

for name, module in {
    "pretrain": pretrain,
    "embed": embed,
    "score": score,
    "select-pool": select_pool,
    "label": label,
    "al-run": al_run,
    "rank": rank,
    "plot": plot,
    "list": lists,
    "status": status,
    "compare": compare,
    "verify": verify,
}.items():
    app.command(name, epilog=module.EXAMPLE)(with_common(module.command))


def _version(wanted: bool) -> None:
    if wanted:
        from initpools_cli.core.version import version

        typer.echo(f"initpools {version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Choose which images to label first, and measure whether the choice beat a random one."""


class Terminated(BaseException):
    """SIGTERM arrived."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns
    -------
    int
        0 done; 2 the user can mend it; 1 our bug; 130 or 143 interrupted.
    """
    # Click is Typer's own dependency, and the classes of its errors are the ones raised.
    from typer.main import get_command

    command = get_command(app)
    try:
        outcome = command.main(arguments, prog_name="initpools", standalone_mode=False)
        # Newer versions of Typer turn Ctrl-C into this outcome, without a word.
        if outcome == 130:
            return _interrupted(KeyboardInterrupt())
        return outcome if isinstance(outcome, int) else 0
    except UserError as error:
        return _fail(error)
    except BrokenPipeError:
        # Whoever read our output has closed it, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, Terminated) as stop:
        return _interrupted(stop)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        return _other(error)


def _other(error: Exception) -> int:
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        _tell(f"error: {error.format_message()}", _usage(error))
        return 2
    if type(error).__name__ == "Abort":
        return _interrupted(KeyboardInterrupt())
    if isinstance(error, OSError):
        from initpools_cli.core.files import disk_error

        known = disk_error(error)
        if known is not None:
            return _fail(known)
    traceback.print_exception(error)
    _tell("error: this is a bug in initpools.", "Please report it with the lines above and the command.")
    return 1


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"See `{context.command_path if context else 'initpools'} --help`."


def _fail(error: UserError) -> int:
    _tell(f"error: {error.fact}", error.remedy)
    return 2


def _interrupted(stop: BaseException) -> int:
    _tell("interrupted.", "What was finished in a run is kept, and there the same command goes on.")
    return 143 if isinstance(stop, Terminated) else 130


def _tell(*lines: str) -> None:
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 -- the last word, whatever --quiet says


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    main()
