"""Entry point of `initpools`: signals, errors and exit codes.

The commands and what they import are loaded only once signals are handled.
"""

from __future__ import annotations

import functools
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

    from initpools_cli.core.errors import UserError

INTERRUPTED = "interrupted.\nFinished work in a run is kept; type the same command again to continue.\n"


class _Signals:
    """Number of the last signal, and whether a command is running."""

    number = 0
    working = False


_signals = _Signals()


class Terminated(BaseException):
    """SIGTERM arrived."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Signals that the shell ignores for background commands stay ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _unraisable
    from initpools_cli.cli.streams import open_streams

    open_streams()
    sys.exit(_flush(run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns
    -------
    int
        0 done; 2 an error that the user can correct; 1 a bug; 130 or 143 interrupted.
    """
    from initpools_cli.cli.streams import close_output
    from initpools_cli.core.errors import UserError

    command = _command()
    try:
        try:
            _signals.working = True
            _refuse_bytes(arguments)
            outcome = command.main(arguments or ["--help"], prog_name="initpools", standalone_mode=False)
        finally:
            _signals.working = False
        # Newer versions of Typer return 130 after Ctrl-C.
        if outcome == 130:
            return _report_interrupt()
        return outcome if isinstance(outcome, int) else 0
    except UserError as error:
        return _fail(error)
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does.
        close_output()
        return 0
    except (KeyboardInterrupt, Terminated):
        return _report_interrupt()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        return _other(error)


@functools.cache
def _command() -> Any:
    """Return the command line as an object of Click, which Typer depends on; its errors are the ones raised."""
    from typer.main import get_command

    from initpools_cli.cli.commands import app

    command = get_command(app)
    _show_no_value_of_flags(command)
    return command


def _show_no_value_of_flags(command: Any, parent: Any = None) -> None:
    """Show flags without a value in the help; newer versions of Typer show their type, as if they took one."""
    context = command.context_class(command, parent=parent, **command.context_settings)
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for subcommand in getattr(command, "commands", {}).values():
        _show_no_value_of_flags(subcommand, context)


def _refuse_bytes(arguments: list[str]) -> None:
    """Refuse an argument that is not UTF-8: it could not be stored with the results."""
    from initpools_cli.core.errors import UserError

    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"The argument {argument!a} is not valid UTF-8.",
                "Rename the file, or write the name in UTF-8.",
                ascii(argument),
            ) from None


def _other(error: Exception) -> int:
    from initpools_cli.core.system_errors import system_error

    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        _print_error(f"error: {_fact(error)}", _usage(error))
        return 2
    # An import that a signal interrupts may end in any error.
    if _signals.number or type(error).__name__ == "Abort":
        return _report_interrupt()
    user_error = system_error(error)
    if user_error is not None:
        return _fail(user_error)
    import traceback

    traceback.print_exception(error)
    _print_error("error: this is a bug in initpools.", "Please report it with the lines above and the command.")
    return 1


def _fact(error: Any) -> str:
    """Return the error of the command line, with the value of the option, which the library leaves out."""
    from itertools import pairwise

    option, context = getattr(error, "param", None), getattr(error, "ctx", None)
    flags = getattr(option, "opts", []) if type(error).__name__ == "BadParameter" else []
    words = [*sys.argv[1:], ""]
    for word, following in pairwise(words):
        flag, equals, value = word.partition("=")
        if context is not None and flag in flags:
            why = error.message.partition(",")[0].removeprefix("Input ")
            return f"{flag} {value if equals else following!r} is not valid: it {why}."
    return str(error.format_message())


def _usage(error: Any) -> str:
    """Return the example of the command, and the command that explains its options."""
    context = getattr(error, "ctx", None)
    if context is None or context.parent is None:
        return "`initpools --help` lists all commands."
    return f"{context.command.epilog}; `{context.command_path} --help` explains all options."


def _flush(code: int) -> int:
    """Flush the output and return the exit code."""
    from initpools_cli.cli.streams import close_output
    from initpools_cli.core.errors import UserError

    try:
        sys.stdout.flush()
    except SystemExit:
        return code
    except UserError as error:
        close_output()
        # It may have been printed already, when the buffer was full.
        return code or _fail(error)
    return code


def _fail(error: UserError) -> int:
    _print_error(f"error: {_printable(error.fact)}", _printable(error.remedy))
    return 2


#: The longest sentence of an error that is printed, characters: a file may have a million columns.
LONGEST = 1000


def _printable(sentence: str) -> str:
    """Shorten a sentence, and escape what files could send to the terminal: control characters."""
    import unicodedata

    text = sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1]}…"
    return "".join(ascii(each)[1:-1] if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)


def _report_interrupt() -> int:
    _print_error(INTERRUPTED.rstrip("\n"))
    # A signal that arrived while text was executed leaves a flag, by which Python would kill itself at the end.
    exec("")  # an empty text  # nosec B102
    return 128 + (_signals.number or signal.SIGINT)


def _print_error(*lines: str) -> None:
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 -- also with --quiet


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Interrupt the command; before it starts and after it ends, exit at once."""
    _signals.number = number
    if _signals.working:
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated
    try:
        os.write(2, INTERRUPTED.encode())
    finally:
        os._exit(128 + number)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeat a signal that Python has dropped, as in a destructor."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt | Terminated) and _signals.number:
        import threading

        again = threading.Timer(0.05, os.kill, (os.getpid(), _signals.number))
        again.daemon = True
        again.start()
    elif not _signals.number:
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    main()
