"""Every fault on every command, resumable: ``python -m tests.faults [--state DIR] [--minutes M] [-o FAULTS.csv]``.

It stops after some minutes, and goes on when it is run again; tries that found something are repeated. Ends with 0: all
done, nothing found; 1: something was lost, torn, left over, or ended in a traceback; 3: the time was up before the end.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .fork import library, preloaded
from .kinds import KINDS, Try
from .scenarios import SCENARIOS, environment_of
from .tries import PROBLEMS

STATE = "tries.jsonl"


def main() -> int:
    """Run what is not done yet, and write the table."""
    args = _arguments()
    args.state.mkdir(parents=True, exist_ok=True)
    _preload(args.state)
    file, end = args.state / STATE, time.monotonic() + 60 * args.minutes
    done, left = _read(file), 0
    with _folder(args.place) as root, file.open("a") as stream:
        os.environ |= environment_of(root / "try")
        for each in _plan(args, root):
            if done.get(each.key) == []:
                continue
            if time.monotonic() > end:
                left = 1
                break
            problems = each.run()
            done[each.key] = problems
            stream.write(json.dumps({"key": each.key, "found": problems}) + "\n")
            stream.flush()
            if problems:
                print(f"{' / '.join(each.key)}: {problems[:3]}", flush=True)
    rows = table(done)
    _show(rows)
    if args.output:
        write_table(args.output, rows)
    wrong = any(int(row[name]) for row in rows for name in PROBLEMS)
    if left:
        print("the time is up: run the same command again to go on")
    return 1 if wrong else 3 * left


@contextlib.contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    """A temporary folder. One of `tempfile` would be removed at the end of each forked process, too."""
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("runs/faults"), help="folder of the tries that are done")
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--commands", default=",".join(SCENARIOS), help="names of the first column, with commas")
    parser.add_argument("--thin", type=int, default=1, help="do one of N tries")
    parser.add_argument("--each", type=int, default=0, help="do at most N tries of each fault and command")
    parser.add_argument("--place", type=Path, help="where runs are made, such as /dev/shm; it is named in the table")
    parser.add_argument("-o", "--output", type=Path, help="CSV file of the table")
    return parser.parse_args()


def _preload(state: Path) -> None:
    """Start this program again with the library of file calls."""
    if preloaded() is None:
        compiled = library(state)
        if compiled is None:
            print("no C compiler or not Linux: no faults of file calls are tried", file=sys.stderr)
            return
        os.environ["LD_PRELOAD"] = str(compiled.resolve())
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]])
    # Processes that are not forked from this one are not disturbed.
    os.environ.pop("LD_PRELOAD", None)


def _plan(args: Any, home: Path) -> Iterator[Try]:
    commands = [SCENARIOS[name] for name in SCENARIOS if name in _names(args.commands)]
    number = 0
    for kind in args.kinds.split(","):
        for each in _sample(KINDS[kind](commands, home), args.each):
            number += 1
            if number % args.thin == 0:
                fault, *others = each.key
                yield Try((f"{fault}, in {args.place}" if args.place else fault, *others), each.run)


def _sample(tries: Iterable[Try], most: int) -> Iterator[Try]:
    """At most some tries of each fault and command, always the same ones; with 0, all."""
    groups: dict[tuple[str, ...], list[Try]] = {}
    if not most:
        yield from tries
        return
    for each in tries:
        groups.setdefault(each.key[:2], []).append(each)
    for key, group in groups.items():
        yield from random.Random(" ".join(key)).sample(group, min(most, len(group)))


def _names(text: str) -> set[str]:
    """The names in a list, which may have commas themselves."""
    return {name for name in SCENARIOS if f",{name}," in f",{text},"}


def _read(file: Path) -> dict[tuple[str, ...], list[Any]]:
    """What the tries found that are done, by key."""
    if not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    return {tuple(line["key"]): line["found"] for line in lines}


def table(done: dict[tuple[str, ...], list[Any]]) -> list[dict[str, Any]]:
    """Count the tries of each fault and command, and those that found something."""
    tries: Counter[tuple[str, str]] = Counter()
    survived: Counter[tuple[str, str]] = Counter()
    problems: Counter[tuple[str, str, str]] = Counter()
    for (fault, command, *_), results in done.items():
        tries[fault, command] += 1
        survived[fault, command] += not results
        for problem in {problem for problem, _ in results}:
            problems[fault, command, problem] += 1
    return [
        {
            "fault": fault,
            "command": command,
            "tries": count,
            "survived": survived[fault, command],
            **{name: problems[fault, command, name] for name in PROBLEMS},
        }
        for (fault, command), count in sorted(tries.items())
    ]


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table as .csv."""
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["fault", "command", "tries", "survived", *PROBLEMS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        wrong = "".join(f", {row[name]} {name}" for name in PROBLEMS if row[name])
        print(f"{row['fault']:28} {row['command']:26} {row['survived']:>5} of {row['tries']}{wrong}")
    print(f"{sum(row['survived'] for row in rows)} of {sum(row['tries'] for row in rows)} tries survived")


if __name__ == "__main__":
    sys.exit(main())
