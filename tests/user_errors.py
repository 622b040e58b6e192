"""Check every `UserError` that the package raises while the tests run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import initpools_cli
from initpools_cli.core.errors import UserError

if TYPE_CHECKING:
    from conftest import Outcome

PACKAGE = str(Path(initpools_cli.__file__).parent)
#: What a remedy may ask of the user, if it names no command, option or setting.
VERBS = re.compile(
    r"(?i)(?:add|apply|ask|bring|build|buy|change|check|choose|close|compare|compute|copy|correct|"
    r"create|delete|divide|download|draw|end|exclude|export|fetch|fill|fix|fold|free|get|give|"
    r"install|keep|label|leave|list|load|lower|make|merge|mount|move|name|number|open|pack|"
    r"pass|put|raise|reload|rename|repeat|replace|report|rerun|resize|restart|restore|return|"
    r"run|save|scale|see|select|send|set|shorten|shrink|skip|split|start|stop|store|train|try|upgrade|use|"
    r"wait|write)"
)
TO_TYPE = re.compile(r"`[^`]+`|--\w|\w+ = |\w+=|pip install|Did you mean")


def faults_of(error: UserError) -> list[str]:
    """What an error lacks: one line each for what is wrong and what to do, the value, something to type or do."""
    faults = []
    for part, text in (("fact", error.fact), ("remedy", error.remedy)):
        if not text.strip() or "\n" in text:
            faults.append(f"the {part} is not one line")
        elif not text.rstrip().endswith((".", "?", "!", "…")):
            faults.append(f"the {part} is not a sentence")
    if error.value is None:
        faults.append("it has no value")
    elif str(error.value) not in error.fact:
        faults.append(f"the value {str(error.value)!r} is not shown")
    first = [
        sentence.split()[0].strip("`'\"(").lower() for sentence in re.split(r"(?<=[.;:,?]) ", error.remedy) if sentence
    ]
    if not TO_TYPE.search(error.remedy) and not any(map(VERBS.fullmatch, first)):
        faults.append("the remedy asks for nothing")
    return faults


def refused(ended: Outcome, *words: str) -> None:
    """Check that a command ended with exit code 2 and two lines, of which the words are part."""
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err and len(ended.err) < 5000
    fact, remedy = ended.err.splitlines()[-2:]
    assert fact.startswith("error: ") and remedy
    for word in words:
        assert word in ended.err or word in " ".join(ended.err.split()), ended.err


@contextmanager
def checked() -> Iterator[list[str]]:
    """Collect the faults of all errors that the package makes meanwhile, each with its text."""
    faults: list[str] = []
    make = UserError.__init__

    def init(self: UserError, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        frame = sys._getframe(1)
        if frame.f_code.co_filename.startswith(PACKAGE):
            place = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"
            faults.extend(f"{place}: {fault}: {self.fact} | {self.remedy}" for fault in faults_of(self))

    UserError.__init__ = init  # type: ignore[method-assign]
    try:
        yield faults
    finally:
        UserError.__init__ = make  # type: ignore[method-assign]
