"""The command to type after one that has just ended, in a run or with files alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import check_npy
from initpools_cli.core.rundir import Run
from initpools_cli.reporting.next_command import FIRST_BUDGET, command_in
from initpools_cli.reporting.status import status

#: Shown where nothing more specific follows.
HELP = "initpools --help"
#: Arrays with a row for each image.
ROWS = ("embeddings", "patches", "scores", "clusters", "ranking")


def next_in_run(command: str, run: Run) -> str:
    """What follows `command` in a run; never the same command again."""
    if command == "repair":
        return command_in(run, ["verify"])
    try:
        suggested = status(run)["next"]
    except UserError:
        return command_in(run, ["verify" if command != "verify" else "repair"])
    if shlex.split(suggested)[1] == command:
        other = {"compare": ["plot", "curves"], "verify": ["status"]}
        return command_in(run, other[command]) if command in other else suggested
    return suggested


def next_with_files(command: str, typed: Sequence[str], given: Mapping[str, Any]) -> str:
    """What follows `command` where it was given files and no run.

    Parameters
    ----------
    typed : sequence of str
        The words after `initpools`.
    given : mapping
        The arguments of the command, by the names of its parameters.
    """
    output: Path | None = given.get("output")
    words: list[str] | None = None
    if output is None and command in ("select-pool", "rank", "score"):
        file = {"select-pool": "pool.csv", "rank": "sorted_idx.npy", "score": "scores.npy"}[command]
        words = [*typed, "-o", file]
    elif output is not None and command == "select-pool":
        words = _label_more(typed, given, output)
    elif output is not None and command == "rank":
        words = ["select-pool", "file", "--ranking", str(output), "--budget", _budget(_rows(output))]
    elif output is not None and command == "score":
        words = ["rank", "score", "--scores", str(output), "-o", "sorted_idx.npy"]
    elif command == "plot" and given.get("embeddings") is not None:
        n = _rows(given["embeddings"])
        words = ["select-pool", "typiclust", "--embeddings", str(given["embeddings"]), "--budget", _budget(n)]
    elif command == "plot" and given.get("scores") is not None:
        words = ["rank", "score", "--scores", str(given["scores"]), "-o", "sorted_idx.npy"]
    elif command == "compare" and len(Path(given["names"][0]).parts) > 2 and Path(given["names"][0]).is_dir():
        return command_in(Run(Path(given["names"][0]).parent.parent), ["plot", "curves"])
    return shlex.join(["initpools", *words]) if words else HELP


def _rows(file: Path) -> int:
    return check_npy(file)[0][0]


def _budget(images: int) -> str:
    return str(min(FIRST_BUDGET, images))


def _label_more(typed: Sequence[str], given: Mapping[str, Any], output: Path) -> list[str] | None:
    """Choose as many images again once these are labeled; where some were labeled before, show where the pool lies."""
    if output.suffix not in (".npy", ".csv"):
        return None
    if given.get("labeled") is None and given.get("exclude") is None and given.get("labels") is None:
        sizes = [_rows(given[name]) for name in ROWS if given.get(name) is not None]
        if sizes and given["budget"] is not None and 2 * given["budget"] <= min(sizes):
            return [*_without_output(typed), "--labeled", str(output), "-o", str(_more(output))]
    if given.get("embeddings") is not None:
        return ["plot", "scatter", "--embeddings", str(given["embeddings"]), "--labeled", str(output)]
    return None


def _more(output: Path) -> Path:
    return output.with_name(f"{output.stem}-next{output.suffix}")


def _without_output(typed: Sequence[str]) -> list[str]:
    """The words without -o and its value."""
    kept, words = [], iter(typed)
    for word in words:
        if word in ("-o", "--output"):
            next(words, None)
        elif not word.startswith(("-o=", "--output=")) and not (word.startswith("-o") and len(word) > 2):
            kept.append(word)
    return kept
