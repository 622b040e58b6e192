"""The faults by kind, each as a list of tries: a key, and what is run."""

from __future__ import annotations

import functools
import importlib
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.cli import app

from .damage import DAMAGES, files_of_run, flip
from .fork import CALL_FAULTS, preloaded
from .scenarios import READERS, RUN, Scenario, workers_at_once
from .tries import (
    CIRCUMSTANCES,
    FRESH,
    LOCKS,
    SILENT,
    Found,
    Ready,
    count_calls,
    locks_of,
    make_ready,
    try_call,
    try_circumstance,
    try_damage,
    try_lock,
    try_signal,
    try_together,
)

#: Signals at random moments, for commands that are quick and that are slow.
MOMENTS, SLOW_MOMENTS = 50, 15
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: The first moments of a process, in seconds.
EARLY = 0.3
#: File calls of slow commands that are hit, for each fault.
SLOW_CALLS = 40
#: How often several processes are started at once.
REPEATS = 10


@dataclass(frozen=True)
class Try:
    """One try: the fault, the command and which of them; and what runs it."""

    key: tuple[str, ...]
    run: Callable[[], Found]


def import_for(ready: Ready) -> None:
    """Import what the command imports, so that its forked processes need not."""
    modules = ready.notes / "modules"

    def listed() -> None:
        import atexit
        import sys

        atexit.register(lambda: modules.write_text("\n".join(sys.modules)))

    ready.restore()
    ready.start(prepare=listed).wait()
    for name in modules.read_text().splitlines():
        if name.partition(".")[0] not in ("joblib", "loky", "__main__"):
            try:
                importlib.import_module(name)
            except Exception:  # Some can't be imported alone.
                continue
    # The command line is put together once.
    app._command()


@functools.cache
def _ready(scenario: Scenario, home: Path) -> Ready:
    ready = make_ready(scenario, home)
    import_for(ready)
    return ready


def calls(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Every file call of quick commands, and a sample of those of slow ones."""
    if preloaded() is None:
        return
    for scenario in commands:
        ready = _ready(scenario, home)
        for name, fault in CALL_FAULTS.items():
            numbers = list(range(1, count_calls(ready, fault) + 1))
            if scenario.slow and len(numbers) > SLOW_CALLS:
                numbers = sorted(random.Random(f"{name} {scenario.name}").sample(numbers, SLOW_CALLS))
            for at in numbers:
                yield Try((name, scenario.name, f"call {at}"), functools.partial(try_call, ready, name, at))


def signals(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Signals at random moments from the start to shortly after the end, and also to all processes where some work."""
    for scenario in commands:
        ready = _ready(scenario, home)
        for number in SIGNALS:
            moments = random.Random(f"{number.name} {scenario.name}")
            for each in range(SLOW_MOMENTS if scenario.slow else MOMENTS):
                delay = moments.uniform(0, 1.1 * ready.seconds)
                yield Try(
                    (number.name, scenario.name, f"moment {each}"), functools.partial(try_signal, ready, number, delay)
                )
                if scenario.patch is workers_at_once:
                    run = functools.partial(try_signal, ready, number, delay, all_at_once=True)
                    yield Try((f"{number.name} to all processes", scenario.name, f"moment {each}"), run)


def early_signals(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Signals in the first moments of a new process, which also imports everything."""
    for scenario in commands:
        if scenario.reads_messages:
            continue
        ready = _ready(scenario, home)
        for number in SIGNALS:
            moments = random.Random(f"early {number.name} {scenario.name}")
            for each in range(SLOW_MOMENTS if scenario.slow else MOMENTS):
                run = functools.partial(try_signal, ready, number, moments.uniform(0, EARLY), fresh=True)
                yield Try((f"{number.name} in the first {1000 * EARLY:.0f} ms", scenario.name, f"moment {each}"), run)


def damage(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Every file of a finished run, damaged, and every command that reads some of them."""
    names = {scenario.words[0] for scenario in commands}
    for scenario in READERS.values():
        if scenario.words[0] not in names:
            continue
        ready = _ready(scenario, home)
        for file in files_of_run(ready.base / "work" / RUN):
            path = file.relative_to(ready.base).as_posix()
            place = random.Random(f"{scenario.name} {path}").randrange(file.stat().st_size)
            for fault, act in (
                ("a flipped bit", functools.partial(flip, place=place)),
                ("a truncated file", DAMAGES["cut"]),
                ("a missing file", DAMAGES["lose"]),
            ):
                yield Try((fault, scenario.name, path), functools.partial(try_damage, ready, act, path))


def together(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Several processes at once, and what is no lock in the place of one."""
    for scenario in commands:
        ready = _ready(scenario, home)
        for count in (2, 3, 4):
            for each in range(1 if scenario.slow else REPEATS):
                run = functools.partial(try_together, ready, count)
                yield Try((f"{count} processes at once", scenario.name, f"{each}"), run)
        for how in LOCKS if locks_of(ready) else ():
            yield Try((how, scenario.name), functools.partial(try_lock, ready, how))


def circumstances(commands: Sequence[Scenario], home: Path) -> Iterator[Try]:
    """Streams that are closed or full, small disks, other clocks and folders."""
    for scenario in commands:
        ready = _ready(scenario, home)
        for name in CIRCUMSTANCES:
            if scenario.reads_messages and name in SILENT | FRESH:
                continue
            if name == "unwritable home" and preloaded() is None:
                continue
            yield Try((name, scenario.name), functools.partial(try_circumstance, ready, name))


KINDS: dict[str, Callable[[Sequence[Scenario], Path], Iterator[Try]]] = {
    "signals": signals,
    "early": early_signals,
    "calls": calls,
    "damage": damage,
    "together": together,
    "circumstances": circumstances,
}
