"""Run finished steps again from their ``step.toml``, in a scratch folder, and compare the results."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from initpools_cli.core.checksums import checksum
from initpools_cli.core.cpu import THREADS_PER_CORE, available_cores
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep, Run
from initpools_cli.steps.compare_results import difference_within, first_difference
from initpools_cli.steps.revisions import changed_methods

#: Runs a command in this process: its arguments without ``initpools``, and the folder to be in.
Rerun = Callable[[list[str], Path], None]
#: Facts of the machine in a ``step.toml``; if all are the same, equal bytes are expected.
MACHINE = {
    "cpu": "another processor",
    "libraries": "other versions of libraries",
    "threads": "another number of threads",
    "device": "another device",
}
#: Options that write files of the user.
WRITERS = ("--export", "--image-url")


@dataclass(frozen=True)
class Replay:
    """The outcome of the replay of a step.

    Attributes
    ----------
    step : str
        Its id.
    outcome : str
        "same" bytes, "close": within the tolerances on another machine, "differs", or "not replayed".
    detail : str
        The first difference, why it was not replayed, or how the machines differ.
    """

    step: str
    outcome: str
    detail: str = ""

    @property
    def line(self) -> str:
        """The three fields, separated by tabs."""
        return "\t".join([self.step, self.outcome, *([self.detail] if self.detail else [])])


def replay(step: FinishedStep, rerun: Rerun) -> Replay:
    """Run a step again from its ``step.toml``, in a folder that is removed afterwards, and compare its results.

    The run is only read: the scratch folder has a copy of its data set's items, and links to the steps that were read.
    """
    reason = obstacle(step)
    if reason:
        return Replay(step.id, "not replayed", reason)
    with tempfile.TemporaryDirectory(prefix="initpools-") as name:
        scratch = link_run(step.run, Path(name) / "run", _inputs(step))
        try:
            rerun([*arguments(step), "--run", str(scratch.path)], Path(name))
        except UserError as error:
            return Replay(step.id, "not replayed", f"{error.fact} {error.remedy}")
        return _compare(step, scratch)


def obstacle(step: FinishedStep) -> str:
    """Return why a step can't be replayed; empty if it can."""
    try:
        facts = step.facts
    except UserError as error:
        return error.fact
    if step.id.startswith(f"{LOOP}/"):
        return "people labeled its images"
    if facts.get("processes", 1) != 1:
        return f"it was computed by {facts['processes']} processes"
    methods = changed_methods(step)
    if methods:
        return f"this version of initpools gives other results with {', '.join(methods)}"
    for path, before in facts["reads"].items():
        file = step.run.path / path
        if not file.is_file():
            return f"its input {path} is gone"
        if checksum(file) != before:
            return f"its input {path} has changed since"
    return ""


def seconds_of(step: FinishedStep) -> float:
    """Return how long the step took."""
    facts = step.facts
    return (datetime.fromisoformat(facts["finished"]) - datetime.fromisoformat(facts["started"])).total_seconds()


def arguments(step: FinishedStep) -> list[str]:
    """Return the arguments that make a step again, with as many threads, but without settings of the data set."""
    args: list[str] = []
    words = iter(step.facts["renew"])
    for word in words:
        option, equals, value = word.partition("=")
        if option in WRITERS or option == "--set":
            value = value if equals else next(words, "")
            if option in WRITERS or value.startswith("dataset."):
                continue
            args += [option, value]
            continue
        path = Path(word)
        # The command runs in another folder; names of methods and steps have no file of their own.
        args.append(str(path.resolve()) if "/" in word and path.exists() else word)
    threads = step.facts.get("threads")
    if "--threads" not in args and isinstance(threads, int) and threads <= THREADS_PER_CORE * available_cores():
        args += ["--threads", str(threads)]
    return args


def link_run(run: Run, folder: Path, steps: Iterable[FinishedStep]) -> Run:
    """Make a run with the data set of another one, and links to some of its steps."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(run.path / "run.toml", folder / "run.toml")
    shutil.copytree(run.path / "data", folder / "data")
    for step in steps:
        link = folder / step.id
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(step.folder.resolve())
    return Run(folder)


def machine_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return how the machines of two ``step.toml`` differ, in words; a missing fact is a difference."""
    return [
        words if key in old else f"step.toml does not name the {key}"
        for key, words in MACHINE.items()
        if old.get(key) != new.get(key)
    ]


def _inputs(step: FinishedStep) -> Sequence[FinishedStep]:
    """Return the steps that a step depends on, directly or through others."""
    inputs: dict[str, FinishedStep] = {}
    waiting = [step]
    while waiting:
        for path in waiting.pop().facts["reads"]:
            name = "/".join(path.split("/")[:2])
            other = None if Path(path).is_absolute() else step.run.find_step(name)
            if other is not None and name not in inputs:
                inputs[name] = other
                waiting.append(other)
    return list(inputs.values())


def _compare(step: FinishedStep, scratch: Run) -> Replay:
    kind, facts = step.id.partition("/")[0], step.facts
    steps = [each for each in scratch.folders(kind) if not each.folder.is_symlink()]
    again = next((each for each in steps if each.facts["digest"] == facts["digest"]), None)
    if again is None:
        return Replay(step.id, "differs", _other_settings(step, steps))
    machine = machine_differences(facts, again.facts)
    pairs = [(name, step.folder / name, again.folder / name) for name in sorted(facts["writes"])]
    for name in sorted(facts["writes"].keys() ^ again.facts["writes"].keys()):
        where = "is not written when the step is replayed" if name in facts["writes"] else "is missing"
        return Replay(step.id, "differs", f"{name} {where}")
    for name, stored, _ in pairs:
        # It may be unreadable, and `verify` says how to renew it.
        if not stored.is_file() or checksum(stored) != facts["writes"][name]:
            return Replay(step.id, "differs", f"{name} has changed since it was written")
    differing = [(name, difference) for name, old, new in pairs if (difference := first_difference(old, new))]
    if not differing:
        return Replay(step.id, "same")
    if not machine:
        return Replay(step.id, "differs", ": ".join(differing[0]))
    for name, old, new in pairs:
        difference = difference_within(old, new)
        if difference:
            return Replay(step.id, "differs", f"{name}: {difference} ({', '.join(machine)})")
    return Replay(step.id, "close", ", ".join(machine))


def _other_settings(step: FinishedStep, steps: Sequence[FinishedStep]) -> str:
    """Return how the settings or inputs of a step differ from those of its replay."""
    if not steps:
        return "its command no longer makes this step"
    for table in ("table", "reads"):
        old, new = step.facts[table], steps[-1].facts[table]
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key):
                before, after = (f"{facts[key]!r:.60}" if key in facts else "nothing" for facts in (old, new))
                return f"step.toml: {key} is {before}, and {after} when it is replayed"
    return "step.toml: the digest is not that of its settings and inputs"
