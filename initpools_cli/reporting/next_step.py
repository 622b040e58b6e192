"""The suggested command after another one, in a run or with files only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from initpools_cli.core.budget import Share
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import check_npy
from initpools_cli.core.rundir import Run
from initpools_cli.reporting.next_command import FIRST_BUDGET, command_in
from initpools_cli.reporting.overview import overview

#: Arrays with a row for each image.
ROWS = ("embeddings", "patches", "scores", "clusters", "ranking")


def next_in_run(command: str, run: Run) -> str:
    """Suggest the command after `command` in a run; never the same command."""
    if command == "repair":
        return command_in(run, ["verify"])
    try:
        suggestion = overview(run)["next"]
    except UserError:
        return command_in(run, ["verify" if command != "verify" else "repair"])
    if shlex.split(suggestion)[1] == command:
        other = {"compare": ["plot", "curves"], "verify": ["status"]}
        return command_in(run, other[command]) if command in other else suggestion
    return suggestion


def next_with_files(command: str, command_words: Sequence[str], arguments: Mapping[str, Any]) -> str:
    """Suggest the command after `command` with files and no run; empty if there is none.

    Parameters
    ----------
    command_words : sequence of str
        The words after `initpools`.
    arguments : mapping
        The arguments of the command, by the names of its parameters.
    """
    output: Path | None = arguments.get("output")
    words: list[str] | None = None
    if output is None and command in ("select-pool", "rank", "score"):
        file = {"select-pool": "pool.csv", "rank": "sorted_idx.npy", "score": "scores.npy"}[command]
        words = [*command_words, "-o", file]
    elif output is not None and command == "select-pool":
        words = _label_more(command_words, arguments, output)
    elif output is not None and command == "rank":
        words = ["select-pool", "file", "--ranking", str(output), "--budget", _budget(_rows(output))]
    elif output is not None and command == "score":
        words = ["rank", "score", "--scores", str(output), "-o", "sorted_idx.npy"]
    elif command == "plot" and arguments.get("embeddings") is not None:
        file = arguments["embeddings"]
        n = _rows(file) if file.suffix == ".npy" and file.is_file() else FIRST_BUDGET
        words = ["select-pool", "--embeddings", str(file), "--budget", _budget(n)]
    elif command == "plot" and arguments.get("scores") is not None:
        words = ["rank", "score", "--scores", str(arguments["scores"]), "-o", "sorted_idx.npy"]
    elif command == "compare" and len(Path(arguments["names"][0]).parts) > 2 and Path(arguments["names"][0]).is_dir():
        return command_in(Run(Path(arguments["names"][0]).parent.parent), ["plot", "curves"])
    return shlex.join(["initpools", *words]) if words else ""


def _rows(file: Path) -> int:
    return check_npy(file)[0][0]


def _budget(images: int) -> str:
    return str(min(FIRST_BUDGET, images))


def _label_more(command_words: Sequence[str], arguments: Mapping[str, Any], output: Path) -> list[str] | None:
    """Suggest a second pool of the same size, or, if some images were labeled before, a scatter plot of the pool."""
    if output.suffix not in (".npy", ".csv"):
        return None
    if arguments.get("labeled") is None and arguments.get("exclude") is None and arguments.get("labels") is None:
        files = [arguments[name] for name in ROWS if arguments.get(name) is not None]
        sizes = [_rows(file) for file in files if file.suffix == ".npy" and file.is_file()]
        if sizes and arguments["budget"] is not None and 2 * _number(arguments["budget"], min(sizes)) <= min(sizes):
            return [*_without_output(command_words), "--labeled", str(output), "-o", str(_more(output))]
    if arguments.get("embeddings") is not None:
        return ["plot", "scatter", "--embeddings", str(arguments["embeddings"]), "--labeled", str(output)]
    return None


def _number(budget: str, images: int) -> int:
    return Share(budget).of(images) if budget.strip().endswith("%") else int(budget)


def _more(output: Path) -> Path:
    return output.with_name(f"{output.stem}-next{output.suffix}")


def _without_output(command_words: Sequence[str]) -> list[str]:
    """Remove -o and its value from the words."""
    others, words = [], iter(command_words)
    for word in words:
        if word in ("-o", "--output"):
            next(words, None)
        elif not word.startswith(("-o=", "--output=")) and not (word.startswith("-o") and len(word) > 2):
            others.append(word)
    return others
