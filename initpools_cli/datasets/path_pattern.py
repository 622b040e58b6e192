"""Regular expressions searched in the paths of images, within a time limit."""

from __future__ import annotations

import json
import re
import subprocess  # Python itself, without a shell  # nosec B404
import sys
from collections.abc import Sequence

from initpools_cli.core.errors import UserError
from initpools_cli.core.wording import counted

#: Seconds that a search may take, and paths for each of which there is one second more.
SECONDS, PATHS_PER_SECOND = 5.0, 50_000
#: What the child process runs. Nothing else stops a search in every system: it holds Python's global lock.
SEARCH = """
import json, re, sys
pattern, paths = json.load(sys.stdin)
search = re.compile(pattern).search
json.dump([(match[1] or "") if match else "" for match in map(search, paths)], sys.stdout)
"""


def search_paths(expression: str, paths: Sequence[str], what: str) -> list[str]:
    """Return what the group of an expression matches in each path; empty where nothing matches.

    Parameters
    ----------
    expression : str
        A regular expression with one group in parentheses.
    paths : sequence of str
    what : str
        The option, for messages.

    Raises
    ------
    UserError
        The expression is not valid or has no group or several, no image has a path, or the search takes too long.
    """
    _check(expression, what)
    if not any(paths):
        raise UserError(
            f"{expression!r} ({what}) is a regular expression on paths, but these images have no paths.",
            "Name a .csv file with the columns index and group.",
            repr(expression),
        )
    seconds = SECONDS + len(paths) / PATHS_PER_SECOND
    # -I: neither the environment nor the working folder decides which modules are imported.
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", SEARCH]
    try:
        process = subprocess.run(  # nosec B603
            command, input=json.dumps([expression, list(paths)]).encode(), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{expression!r} ({what}) takes more than {seconds:.3g} seconds to search in {counted(paths, 'path')}.",
            f"Write one without a repetition inside another, such as {what} '^([^/]+)/', or name a .csv file.",
            repr(expression),
        ) from None
    if process.returncode:
        why = (process.stderr.decode(errors="replace").splitlines() or [f"exit {process.returncode}"])[-1]
        raise UserError(
            f"{expression!r} ({what}) can't be searched in the paths: {why}.",
            "Write a simpler expression, or name a .csv file.",
            repr(expression),
        )
    matches: list[str] = json.loads(process.stdout)
    return matches


def _check(expression: str, what: str) -> None:
    try:
        groups = re.compile(expression).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"{expression!r} ({what}) is not a valid regular expression: {error}.",
            f"Write one with a group in parentheses, such as {what} '^([^/]+)/', or name a .csv file.",
            repr(expression),
        ) from None
    if groups != 1:
        raise UserError(
            f"{expression!r} ({what}) is no .csv or .npy file, and as a regular expression it has {groups} groups in "
            "parentheses.",
            f"Use exactly one, such as {what} '^([^/]+)/' for the first folder, or name a file.",
            repr(expression),
        )
