"""What the user is told while a command works: lines and progress, all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ProgressBar:
    """One progress bar; without a terminal, a plain line every few seconds."""

    label: str
    total: int
    _task: Any = None
    _rich: Any = None
    _report: Reporter | None = None
    _done: int = 0
    _spoke: float = field(default_factory=time.monotonic)

    def advance(self, by: int = 1, note: str = "") -> None:
        """Move on by `by` of `total`, with a short note such as ``loss 4.21``."""
        self._done += by
        if self._rich is not None:
            self._rich.update(self._task, advance=by, note=note)
        elif self._report is not None and time.monotonic() - self._spoke >= self._report.every:
            self._spoke = time.monotonic()
            self._report.say(f"{self.label}: {self._done} of {self.total}" + (f", {note}" if note else ""))


@dataclass
class Reporter:
    """Where a command speaks.

    Parameters
    ----------
    quiet : bool
        Nothing but warnings.
    verbose : bool
        Details too.
    every : float
        Seconds between plain progress lines where there is no terminal.
    """

    quiet: bool = False
    verbose: bool = False
    every: float = 10.0
    _said: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        """One line, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 -- this is where the tool speaks

    def once(self, text: str, *, warn: bool = False) -> None:
        """One line that is not repeated in this command; with `warn` as a warning."""
        if text not in self._said:
            self._said.add(text)
            (self.warn if warn else self.say)(text)

    def detail(self, text: str) -> None:
        """One line for --verbose."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """One line that --quiet does not silence."""
        print(f"warning: {text}", file=sys.stderr, flush=True)  # noqa: T201 -- this is where the tool speaks

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[ProgressBar]:
        """A bar over `total` steps; use as ``with report.progress("embedding", n) as bar: bar.advance()``."""
        if self.quiet:
            yield ProgressBar(label, total)
        elif sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            with Progress(*columns, console=Console(stderr=True), transient=True) as rich:
                yield ProgressBar(label, total, rich.add_task(label, total=total, note=""), rich)
        else:
            yield ProgressBar(label, total, _report=self)
