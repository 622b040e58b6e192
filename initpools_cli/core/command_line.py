"""The command line of a process, and the arguments that make a step again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from initpools_cli.core.plugins import absolute_names

#: Options without a value that do not change the result of a step.
FLAGS_WITHOUT_EFFECT = {"--force", "--json", "--quiet", "-q", "--verbose", "-v", "--with-labels"}
#: Options with a value that do not change the result of a step.
OPTIONS_WITHOUT_EFFECT = {"--run", "--dataset", "--output", "-o"}


def command_line() -> str:
    """Return the command line of this process as a user would type it."""
    return shlex.join(["initpools", *sys.argv[1:]])


def renewal_arguments(command: str) -> list[str]:
    """Return the arguments of a command without the run and output options; files become absolute paths."""
    arguments: list[str] = []
    words = iter(shlex.split(command)[1:])
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in FLAGS_WITHOUT_EFFECT:
            continue
        if option in OPTIONS_WITHOUT_EFFECT:
            if not equals:
                next(words, None)
            continue
        arguments += [option, _absolute(value)] if equals else [_absolute(word)]
    return arguments


def _absolute(word: str) -> str:
    path = Path(word)
    return str(path.resolve()) if path.suffix and path.is_file() else absolute_names(word)
