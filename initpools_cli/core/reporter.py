"""Messages and progress of a command, all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from initpools_cli.core.durations import duration

#: The first plain line of progress comes after this many seconds, if at least as many are left.
FIRST_AFTER = 2.0


@dataclass
class ProgressBar:
    """Counts finished work and shows it, with the rate and the time left.

    Attributes
    ----------
    label : str
        The current work, such as "embed simclr".
    total : int
        Number of units; 0: unknown.
    unit : str
        Name of the units in the plural, such as "images".
    done : int
        Number of finished units.
    """

    label: str
    total: int
    unit: str = ""
    done: int = 0
    _show: Callable[[ProgressBar, str], None] = lambda bar, note: None
    _skipped: int = 0
    _start: float = field(default_factory=time.monotonic)

    def advance(self, by: int = 1, note: str = "") -> None:
        """Count `by` more as finished, with a short note such as ``loss 4.21``."""
        self.done += by
        self._show(self, note)

    def skip(self, by: int) -> None:
        """Count work that was finished before this command began; the rate leaves it out."""
        self._skipped += by
        self.done += by

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float | None:
        """Estimated seconds until the end, or None as long as nothing is finished."""
        count = self.done - self._skipped
        return self.elapsed / count * max(0, self.total - self.done) if count > 0 and self.total else None

    def pace(self) -> str:
        """The rate and the time left, such as "210 images per second, about 40 s left"; empty at the beginning."""
        return self._pace(f" {self.unit} per second" if self.unit else " per second", "about ")

    def short_pace(self) -> str:
        """The same for a line of a terminal with little room, such as "210/s, 40 s left"."""
        return self._pace("/s", "")

    def _pace(self, unit: str, about: str) -> str:
        count, seconds = self.done - self._skipped, self.elapsed
        if count <= 0 or seconds <= 0:
            return ""
        rate = count / seconds
        number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        pace = f"{number}{unit}" if rate >= 1 else f"{duration(1 / rate)} each"
        return pace if self.left is None else f"{pace}, {about}{duration(self.left)} left"


@dataclass
class Reporter:
    """Messages and progress bars on standard error.

    Parameters
    ----------
    quiet : bool
        Show warnings only.
    verbose : bool
        Show details too.
    every : float
        Seconds between plain lines of progress where there is no terminal.
    """

    quiet: bool = False
    verbose: bool = False
    every: float = 10.0
    _messages: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 -- messages go through here

    def once(self, text: str, *, warn: bool = False) -> None:
        """Print a line that is not repeated in this command; with `warn` as a warning."""
        if text not in self._messages:
            self._messages.add(text)
            (self.warn if warn else self.say)(text)

    def detail(self, text: str) -> None:
        """Print a line with --verbose."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """Print a warning, also when quiet."""
        print(f"warning: {text}", file=sys.stderr, flush=True)  # noqa: T201 -- messages go through here

    def ask(self, question: str) -> bool:
        """Ask a question on a terminal, once; False if the answer is not yes, or if there is nobody to ask."""
        if self.quiet or question in self._messages or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        self._messages.add(question)
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201 -- messages go through here
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(self, label: str, total: int, unit: str = "") -> Iterator[ProgressBar]:
        """A progress bar on a terminal, else plain lines: ``with report.progress("embedding", n) as bar: …``."""
        if self.quiet:
            yield ProgressBar(label, total, unit)
        elif sys.stderr.isatty():
            with _terminal_bar(label, total, unit) as bar:
                yield bar
        else:
            yield ProgressBar(label, total, unit, _show=self._plain_lines())

    def _plain_lines(self) -> Callable[[ProgressBar, str], None]:
        """Print a line as soon as the time left is known, and then every few seconds."""
        due = min(FIRST_AFTER, self.every)

        def show(bar: ProgressBar, note: str) -> None:
            nonlocal due
            seconds = bar.elapsed
            almost_done = seconds < self.every and bar.left is not None and bar.left < due
            if seconds < due or almost_done:
                return
            due = seconds + self.every
            share = f" ({bar.done / bar.total:.0%})" if bar.total else ""
            count = f"{bar.done:,} of {bar.total:,}" if bar.total else f"{bar.done:,}"
            self.say(", ".join(part for part in (f"{bar.label}: {count}{share}", bar.pace(), note) if part))

        return show


@contextmanager
def _terminal_bar(label: str, total: int, unit: str) -> Iterator[ProgressBar]:
    """A bar of Rich that disappears when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total or None, pace="", note="")

        def show(bar: ProgressBar, note: str) -> None:
            progress.update(task, completed=bar.done, pace=bar.short_pace(), note=note)

        yield ProgressBar(label, total, unit, _show=show)
