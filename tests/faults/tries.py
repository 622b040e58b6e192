"""One try: a command on a fresh copy of its folder, something that goes wrong, and the same command again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .fork import CALL_FAULTS, CallFault, Child, Ended, command, fork, new_process
from .scenarios import Scenario, write_base
from .state import Snapshot, different, extra, missing, snapshot, torn, unsaved

#: What a try may find, in the order of the columns of the table.
PROBLEMS = ("lost", "torn", "traceback", "leftover")
#: Files that a command may fail to write and still succeed, without a message: no result depends on them.
CONVENIENCES = re.compile(r"(runs/\.last|stamps\.json)$")
#: In a traceback: the program itself had started, and not only Python.
IN_MAIN = re.compile(r'initpools_cli/cli/app\.py", line \d+, in main')
#: Seconds within which the workers of a killed process have to end.
PATIENCE = 5.0
#: What was found, and where: ``("torn", "work/runs/x/pool/…")``.
Found = list[tuple[str, str]]


@dataclass(frozen=True)
class Ready:
    """A command that is ready to be tried.

    Attributes
    ----------
    scenario : Scenario
    base : Path
        A copy of the folder that it begins with.
    root : Path
        Where it is copied to for each try: always the same place, as runs hold absolute paths.
    notes : Path
        A folder for the streams of processes.
    before, want : mapping of str to bytes
        The files before, and after an undisturbed command.
    out : str
        What it printed.
    seconds : float
        How long that took.
    """

    scenario: Scenario
    base: Path
    root: Path
    notes: Path
    before: Snapshot
    want: Snapshot
    out: str
    seconds: float

    @property
    def work(self) -> Path:
        """The working folder of the command."""
        return self.root / "work"

    def restore(self) -> None:
        """Copy the folder that the command begins with."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.base, self.root, symlinks=True)

    def start(
        self,
        fault: CallFault | None = None,
        at: int = 0,
        prepare: Callable[[], object] = lambda: None,
        below: str = "",
        fresh: bool = False,
    ) -> Child:
        """Start the command.

        Parameters
        ----------
        prepare : callable
            What is done before it in its process.
        below : str
            The folder below `root` of which file calls are counted; default: all of it.
        fresh : bool
            Start Python, too, which imports everything; without the patch of the scenario.
        """

        def act() -> int:
            self.scenario.patch()
            prepare()
            return (new_process if fresh else command)(*self.scenario.words)()

        return fork(act, self.work, self.notes, fault, at, self.root / below)


def make_ready(scenario: Scenario, home: Path) -> Ready:
    """Run what comes before a command, and the command itself, undisturbed."""
    root, notes = home / "try", home / "notes"
    begin = f"{scenario.before} {scenario.change.__qualname__} {'photos' in scenario.words}"
    base = home / "bases" / hashlib.sha256(begin.encode()).hexdigest()[:16]

    def run(words: Sequence[str], cwd: Path) -> int:
        ended = fork(command(*words), cwd, notes).wait()
        assert ended.code == 0, (words, ended)
        return ended.code

    if not base.exists():
        shutil.rmtree(root, ignore_errors=True)
        write_base(root, scenario, run)
        shutil.copytree(root, base, symlinks=True)
    ready = Ready(scenario, base, root, notes, snapshot(base), {}, "", 0.0)
    ready.restore()
    ended = ready.start().wait()
    assert ended.code == 0, (scenario, ended)
    want = snapshot(root)
    again = ready.start().wait()
    assert again.code == 0 and snapshot(root) == want, (scenario, again, different(snapshot(root), want))
    return replace(ready, want=want, out=ended.out, seconds=ended.seconds)


# ---- file calls


def count_calls(ready: Ready, fault: CallFault) -> int:
    """The number of file calls that a fault can hit."""
    ready.restore()
    return ready.start(fault).wait().calls


def try_call(ready: Ready, name: str, at: int) -> Found:
    """Hit the file call number `at`."""
    fault = CALL_FAULTS[name]
    ready.restore()
    ended = ready.start(fault, at).wait()
    return judge(ready, ended, (0, 2) if fault.error else (-9, 0))


# ---- signals


def try_signal(
    ready: Ready, number: signal.Signals, delay: float, fresh: bool = False, all_at_once: bool = False
) -> Found:
    """Send a signal some seconds after the start, to the process or, as Ctrl-C does, to its workers, too."""
    ready.restore()
    child = ready.start(fresh=fresh)
    end = time.monotonic() + delay
    while child.running() and time.monotonic() < end:
        time.sleep(0.001)
    if child.status is None:
        # Before the process is the leader of its group, the group is not there.
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if all_at_once else os.kill)(child.pid, number)
    ended = child.wait()
    problems = wait_for_workers(child)
    codes = [0, -9] if number == signal.SIGKILL else [0, 128 + number]
    # Before Python comes to the program, it ends in its own way.
    if fresh and (ended.code, ended.err) == (-number, ""):
        codes = [-number]
    elif fresh and ended.err.endswith("KeyboardInterrupt\n") and not IN_MAIN.search(ended.err):
        ended, codes = replace(ended, err=""), [1, -number]
    return problems + judge(ready, ended, codes)


def wait_for_workers(child: Child) -> Found:
    """Wait for the workers of a process that has ended."""
    end = time.monotonic() + PATIENCE
    while (left := child.session()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, 9)
    return [("leftover", f"process {pid}") for pid in left]


# ---- damaged files


def try_damage(ready: Ready, damage: Callable[[Path], object], path: str) -> Found:
    """Damage a file of a finished run: it is refused by name, and nothing changes; or it is not read."""
    ready.restore()
    damage(ready.root / path)
    ended = ready.start().wait()
    output = ended.out + ended.err
    name = Path(path).name
    named = any(each in output for each in (name, *_steps_of(path)))
    # `repair` moves a step that has no whole step.toml.
    now = snapshot(ready.root)
    kept = {each.replace("/damaged/", "/"): content for each, content in now.items()} | now
    want = ready.before if ended.code else ready.want
    problems = [
        ("lost", f"{each} with a damaged {path}")
        for each in different(kept, want)
        if each != path
        and not CONVENIENCES.search(each)
        # The report says what is not in it, and why.
        and kept.get(each, b"").count(name.encode()) <= want[each].count(name.encode())
    ]
    if not named and (ended.code or ended.out != ready.out):
        problems.append(("lost", f"another result, and no name, with a damaged {path}: {output[-300:]}"))
    # `verify` lists what is damaged as its result.
    if ended.code == 2 and ended.out and "Traceback" not in ended.err:
        return problems
    return problems + judge_ending(ended, (0, 2))


def _steps_of(path: str) -> list[str]:
    """The step of a file in a run, as messages name it."""
    return ["/".join(path.split("/")[-3:-1])]


# ---- several processes


def try_together(ready: Ready, count: int) -> Found:
    """Start the command several times at once: all end well or say who works on it."""
    ready.restore()
    ended = [child.wait() for child in [ready.start() for _ in range(count)]]
    problems = [each for one in ended for each in judge_ending(one, (0, 2))]
    if all(one.code for one in ended):
        problems.append(("lost", "none of them ended well"))
    return problems + judge_again(ready, ended[0])


def _stale(lock: Path, kept: Path) -> None:
    lock.write_text(json.dumps({"process": 2**22 + 1, "host": "elsewhere"}))


def _link(lock: Path, kept: Path) -> None:
    lock.symlink_to(kept)


def _others(lock: Path, kept: Path) -> None:
    lock.write_text("{}")
    os.chown(lock, 12345, 12345)


def _folder(lock: Path, kept: Path) -> None:
    lock.mkdir()


#: What may be in the place of a lock, and the exit code.
LOCKS: dict[str, tuple[Callable[[Path, Path], None], int]] = {
    "stale lock": (_stale, 0),
    "link as a lock": (_link, 2),
    "folder as a lock": (_folder, 2),
    **({"lock of another user": (_others, 2)} if os.geteuid() == 0 else {}),
}


def locks_of(ready: Ready) -> list[Path]:
    """The locks of the steps that a command makes, in the run."""
    made = [Path(path) for path in ready.want if path.endswith("step.toml") and path not in ready.before]
    return [Path(*path.parts[:3], ".partial", path.parts[3], f"{path.parts[4]}.lock") for path in made]


def try_lock(ready: Ready, how: str) -> Found:
    """Put something else in the place of the command's first lock."""
    plant, code = LOCKS[how]
    ready.restore()
    lock, kept = ready.root / locks_of(ready)[0], ready.notes / "kept"
    kept.write_text("kept")
    lock.parent.mkdir(parents=True, exist_ok=True)
    plant(lock, kept)
    ended = ready.start().wait()
    problems = judge_ending(ended, (code,))
    if kept.read_text() != "kept":
        problems.append(("lost", "what the link led to"))
    if code:
        lock.rmdir() if lock.is_dir() and not lock.is_symlink() else lock.unlink()
    return problems + judge_again(ready, ended)


# ---- circumstances


def _closed(number: int) -> Callable[[], None]:
    return lambda: os.close(number)


def _ascii() -> None:
    os.environ |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _full(number: int) -> Callable[[], None]:
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), number) and None


def _no_larger_than(size: int) -> Callable[[], None]:
    def limit() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def _earlier() -> None:
    from initpools_cli.core import rundir

    rundir._now = lambda: "2001-01-01T00:00:00.000000Z"
    later = time.time() + 24 * 3600
    for file in Path.cwd().parent.rglob("*"):
        os.utime(file, (later, later))


def _no_home() -> None:
    os.environ |= {"INITPOOLS_DATA": "", "HOME": "/proc/home", "XDG_CACHE_HOME": "/proc/home"}


def _usual_cache() -> None:
    os.environ |= {"INITPOOLS_DATA": "", "XDG_CACHE_HOME": ""}


def _no_folder() -> None:
    gone = Path("gone")
    gone.mkdir()
    os.chdir(gone)
    Path("../gone").rmdir()


def _narrow() -> None:
    os.environ["COLUMNS"] = "20"


_LIMITS = {f"no file above {size} bytes": size for size in (1, 500, 2000)}
#: Circumstances in which nothing can be read of what a command says.
SILENT = {"closed messages", "full messages", *_LIMITS}
CIRCUMSTANCES: dict[str, tuple[Callable[[], None], tuple[int, ...]]] = {
    "closed input": (_closed(0), (0,)),
    "closed output": (_closed(1), (0, 2)),
    "closed messages": (_closed(2), (0,)),
    "full output": (_full(1), (0, 2)),
    "full messages": (_full(2), (0,)),
    **{name: (_no_larger_than(size), (0, 2)) for name, size in _LIMITS.items()},
    "clock set back": (_earlier, (0,)),
    "no home": (_no_home, (0, 2)),
    "removed working folder": (_no_folder, (2,)),
    "unwritable home": (_usual_cache, (0, 2)),
    "20 columns": (_narrow, (0,)),
    "LC_ALL=C": (_ascii, (0,)),
}
#: Those that Python finds at its start.
FRESH = {"LC_ALL=C"}


def try_circumstance(ready: Ready, name: str) -> Found:
    """Run the command in unusual circumstances, and then as usual."""
    prepare, codes = CIRCUMSTANCES[name]
    ready.restore()
    home = {"fault": CALL_FAULTS["read-only (EROFS)"], "at": 1, "below": "home"} if name == "unwritable home" else {}
    ended = ready.start(prepare=prepare, fresh=name in FRESH, **home).wait()
    if name in _LIMITS and len(ended.err) >= _LIMITS[name]:
        # The file of the messages ended there, too.
        ended = replace(ended, err="error: cut\ncut" if ended.code == 2 else "")
    return judge(ready, ended, codes)


# ---- what is found


def judge(ready: Ready, ended: Ended, codes: Sequence[int]) -> Found:
    """Say what is wrong after a command that was disturbed, and after the same command again.

    Parameters
    ----------
    codes : sequence of int
        The exit codes that it may end with.
    """
    problems = judge_ending(ended, codes)
    now = snapshot(ready.root)
    problems += [("torn", f"{path} after {ended.at}") for path in torn(now, ready.before, ready.want)]
    problems += [("lost", f"label {each} after {ended.at}") for each in unsaved(ready.root, ended.saved)]
    if ended.code != -9:
        problems += [("lost", f"{path} after {ended.at}") for path in missing(now, ready.before) if path not in now]
    if ended.code == 0:
        problems += [
            ("lost", f"{path}, exit 0, after {ended.at}")
            for path in different(now, ready.want)
            # A label that the disk refuses is said to be unsaved on the page, which stays open.
            if not CONVENIENCES.search(path) and "/labels/" not in path
        ]
    return problems + judge_again(ready, ended)


def judge_again(ready: Ready, ended: Ended) -> Found:
    """Run the command again, undisturbed, and say what lacks, differs or is left."""
    again = ready.start().wait()
    problems = judge_ending(again, (0,))
    now = snapshot(ready.root)
    lost = [path for path in different(now, ready.want) if not (path in now and CONVENIENCES.search(path))]
    problems += [("lost", f"{path} when run again, after {ended.at}") for path in lost]
    return problems + [("leftover", f"{path} after {ended.at}") for path in extra(now, ready.want)]


def judge_ending(ended: Ended, codes: Sequence[int]) -> Found:
    """Say whether the exit code is one of these, and the message of an error has two lines and no traceback."""
    lines = ended.err.rstrip("\n").splitlines()
    if ended.code not in codes or "Traceback" in ended.err or "is a bug" in ended.err:
        return [("traceback", f"exit {ended.code} after {ended.at}: {' | '.join(lines[-4:])}")]
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if ended.code == 2 and starts != [len(lines) - 2]:
        return [("traceback", f"not two lines after {ended.at}: {' | '.join(lines[-4:])}")]
    return []
