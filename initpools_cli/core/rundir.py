"""The run directory: which one a command means, and steps that are whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import disk_errors, read_array, read_file, sha256_of, write_text
from initpools_cli.core.locks import locked
from initpools_cli.core.schema import SCHEMA, check_schema
from initpools_cli.core.toml import parse_toml
from initpools_cli.core.version import git_commit, version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: What every step.toml says.
FACTS = {"command", "renew", "finished", "started", "digest", "table_digest", "table", "outcome", "reads", "writes"}
ITEMS = "data/items.csv"
KEPT = "data/kept.npy"
#: The longest path that ``runs/.last`` may hold, bytes.
LONGEST_PATH = 4096


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def exists(self) -> bool:
        """Whether a data set has been fixed here."""
        return (self.path / "run.toml").exists()

    def facts(self) -> dict[str, Any]:
        """What ``run.toml`` says.

        Raises
        ------
        UserError
            It is damaged, or a newer version wrote it.
        """
        facts = read_toml(self.path / "run.toml")
        check_schema(facts, self.path / "run.toml")
        if not isinstance(facts.get("dataset"), dict) or not isinstance(facts.get("run"), dict):
            raise UserError(
                f"{self.path / 'run.toml'} is damaged: it does not say which data set the run is about.",
                "Put it back from a copy, or begin another run with --run DIR.",
            )
        return facts

    def create(self, facts: Mapping[str, Any]) -> None:
        """Fix the data set's identity and the root seed."""
        write_text(self.path / "run.toml", tomli_w.dumps({"schema": SCHEMA, **facts}))

    def steps(self, kind: str = "") -> list[Done]:
        """The finished steps (of one kind), oldest first.

        Raises
        ------
        UserError
            One of them is damaged; `folders` lists them without reading.
        """
        return sorted(self.folders(kind), key=lambda step: (step.facts["finished"], step.id))

    def folders(self, kind: str = "") -> list[Done]:
        """The finished steps (of one kind) by name, damaged ones among them."""
        return [Done(self, file.parent) for file in sorted(self.path.glob(f"{kind or '*'}/*/step.toml"))]

    def done(self, step_id: str) -> Done | None:
        """The finished step of that id, such as ``embed/simclr``."""
        folder = self.path / step_id
        return Done(self, folder) if (folder / "step.toml").exists() else None

    def forget(self) -> None:
        """Take back a run that has come to nothing, and its name as the last one used."""
        shutil.rmtree(self.path / "data", ignore_errors=True)
        shutil.rmtree(self.path / ".partial", ignore_errors=True)
        (self.path / "run.toml").unlink(missing_ok=True)
        with contextlib.suppress(OSError, UserError):
            last = _last()
            if last is not None and last.resolve() == self.path.resolve():
                Path("runs/.last").unlink()
            self.path.rmdir()
            Path("runs").rmdir()

    def remember(self) -> None:
        """Make this the run that a command without ``--run`` or ``--dataset`` means, where the place can be written."""
        with contextlib.suppress(UserError):
            write_text(Path("runs/.last"), _relative(self.path) + "\n")

    def step(
        self,
        kind: str,
        name: str,
        table: Mapping[str, Any],
        reads: Mapping[str, str],
        *,
        force: bool = False,
        also: Sequence[str] = (),
    ) -> Step:
        """Where a step with this table and these inputs belongs.

        Its folder is ``kind/name``; where that holds another configuration or other inputs, the name takes six hex
        digits of their hash.

        Parameters
        ----------
        kind, name : str
            For example "pool" and "typiclust-b20-s0".
        table : mapping
            The resolved configuration.
        reads : mapping of str to str
            SHA-256 of every file the step reads, by path.
        force : bool
            Do it again even where it is done.
        also : sequence of str
            Other names that the very same step may have: its folder is kept where it is done under one of them.

        Raises
        ------
        UserError
            A name that is no name of a folder.
        """
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise UserError(f"'{name}' can't name a folder of {kind}/.", "Use letters, digits, '-' and '_'.")
        digest = digest_of(table, reads)
        plain = Step(self, f"{kind}/{name}", dict(table), dict(reads), digest, force)
        for each in (f"{kind}/{other}{end}" for other in also for end in ("", f"-{digest[:6]}")):
            done = self.done(each)
            if done is not None and done.facts["digest"] == digest:
                return replace(plain, id=each)
        return replace(plain, id=f"{kind}/{name}-{digest[:6]}") if plain.taken else plain


@dataclass(frozen=True)
class Done:
    """A finished step."""

    run: Run
    folder: Path

    @property
    def id(self) -> str:
        """For example ``embed/simclr``."""
        return self.folder.relative_to(self.run.path).as_posix()

    @property
    def name(self) -> str:
        """For example ``simclr``."""
        return self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """What its ``step.toml`` says.

        Raises
        ------
        UserError
            It is damaged, or a newer version wrote it.
        """
        facts = read_toml(self.folder / "step.toml")
        check_schema(facts, self.folder / "step.toml")
        wrong = next((key for key in sorted(FACTS) if key not in facts or not _fits(key, facts[key])), None)
        if wrong:
            what = f"{wrong} = {facts[wrong]!r:.60}" if wrong in facts else f"it does not say {wrong}"
            raise UserError(
                f"{self.folder / 'step.toml'} is damaged: {what}.",
                f"Remove the folder {self.folder} and make the step again.",
            )
        return facts

    @property
    def lost(self) -> str | None:
        """The first of its files that is no longer there, or None."""
        return next((name for name in self.facts["writes"] if not (self.folder / name).exists()), None)

    @property
    def table(self) -> dict[str, Any]:
        """Its resolved configuration."""
        return dict(self.facts["table"])

    def reads(self, *files: str) -> dict[str, str]:
        """The checksums of its files as they are, for the step that reads them; all files where none is named.

        Raises
        ------
        UserError
            One of them is damaged; with the command that makes it again.
        """
        return {f"{self.id}/{name}": checksum(self.checked(name)) for name in (files or sorted(self.facts["writes"]))}

    def stale_input(self) -> str | None:
        """The first file it was made from that has been made anew since, or None."""
        # A round of labelling is a record of what was known then, which later rounds build on.
        if self.id.startswith("loop/"):
            return None
        for path, before in self.facts["reads"].items():
            if path == ITEMS:
                # An encoder trained before images were appended still applies to them; rows of images do not.
                items = self.run.path / ITEMS
                if not self.id.startswith("pretrain/") and not (items.exists() and checksum(items) == before):
                    return ITEMS
                continue
            producer = self.run.done("/".join(path.split("/")[:2]))
            if producer is None:
                continue
            if producer.facts["writes"].get(path.split("/", 2)[2]) != before:
                return path
            if producer.stale_input():
                return producer.stale_input()
        return None

    def require_fresh(self) -> Done:
        """The step itself, if it is whole and nothing it was made from has changed.

        Raises
        ------
        UserError
            A lost file or a stale input, with the command that renews the step.
        """
        if self.lost:
            raise UserError(f"{self.id}/{self.lost} is no longer there.", f"Make it again with `{self.renewal()}`.")
        stale = self.stale_input()
        if stale:
            raise UserError(
                f"{self.id} was made from an earlier {stale}, which has changed since.",
                f"Renew it with `{self.renewal()}`.",
            )
        return self

    def renewal(self) -> str:
        """The command that makes the step again, wherever it is typed."""
        words = self.facts["renew"]
        return shlex.join(["initpools", *words, "--run", str(self.run.path), "--force"])

    def array(self, file: str, *, mapped: bool = False) -> np.ndarray:
        """One of its .npy files.

        Raises
        ------
        UserError
            It is damaged; with the command that makes it again.
        """
        return read_array(self.checked(file), "a result", mapped=mapped)

    def frame(self, file: str, **how: Any) -> pd.DataFrame:
        """One of its .csv files, read with pandas' own options.

        Raises
        ------
        UserError
            It is damaged; with the command that makes it again.
        """
        import pandas as pd

        return pd.read_csv(self.checked(file), **how)

    def checked(self, file: str) -> Path:
        """The path of one of its files, whose bytes are as they were written; every reader goes through here.

        Raises
        ------
        UserError
            It is lost or damaged; with the command that makes it again.
        """
        path, again = self.folder / file, f"Make it again with `{self.renewal()}`."
        if not path.is_file():
            raise UserError(f"{path} is no longer there.", again)
        if checksum(path) != self.facts["writes"].get(file):
            raise UserError(f"{path} is not as it was made.", again)
        return path

    def whole(self) -> Done:
        """The step itself, if all its files are there and as they were written.

        Raises
        ------
        UserError
            One of them is lost or damaged; with the command that makes it again.
        """
        self.reads()
        return self


@dataclass
class Step:
    """A step about to be done."""

    run: Run
    id: str
    table: dict[str, Any]
    reads: dict[str, str]
    digest: str
    force: bool
    outcome: dict[str, Any] = field(default_factory=dict)
    #: The command that makes it again, where what was typed leaves it to what is newest.
    renew: str = ""

    @property
    def folder(self) -> Path:
        """Where its results go."""
        return self.run.path / self.id

    @property
    def scratch(self) -> Path:
        """Where it works until it is whole."""
        return self.run.path / ".partial" / self.id

    @property
    def taken(self) -> bool:
        """Whether its folder belongs to another configuration or other inputs, finished or under way."""
        done = self.run.done(self.id)
        if done is not None and done.facts["digest"] != self.digest:
            # Forced, a step takes the place of the one that differs in nothing but outdated inputs.
            return not (self.force and done.facts["table_digest"] == digest_of(self.table, {}))
        mark, work = self.scratch / "digest", self.scratch / "work"
        under_way = mark.exists() and work.is_dir() and any(work.iterdir())
        return under_way and mark.read_text() != self.digest

    @property
    def finished(self) -> Done | None:
        """The same step if it is done already, no file of it is lost, and it is not forced.

        Raises
        ------
        UserError
            One of its files is damaged; with the command that makes it again.
        """
        self._rescue()
        done = self.run.done(self.id)
        if done is None or self.force or done.facts["digest"] != self.digest or done.lost:
            return None
        return done.whole()

    @contextlib.contextmanager
    def writing(self, command: str, machine: Mapping[str, Any]) -> Iterator[Path]:
        """A scratch folder that becomes the step's folder if the block ends well.

        ``work/`` inside it is for unfinished business (checkpoints, blocks of a sweep): it survives a kill when the
        same step is started again, and is not part of the result.

        Parameters
        ----------
        command : str
            The command line, for ``step.toml``.
        machine : mapping
            Device, threads and precision, for ``step.toml``.
        """
        started = _now()
        with disk_errors(fallback=self.run.path), _locked(self.scratch):
            try:
                self._prepare()
                yield self.scratch
                refuse_changed(self.run.path, {path: sum_ for path, sum_ in self.reads.items() if path != ITEMS})
                self._seal(command, machine, started)
            except BaseException:
                work = self.scratch / "work"
                if not work.is_dir() or not any(work.iterdir()):
                    shutil.rmtree(self.scratch, ignore_errors=True)
                raise
            self._publish()

    def _prepare(self) -> None:
        """Keep the work that an interrupted attempt at the very same step left, and nothing else."""
        mark, work = self.scratch / "digest", self.scratch / "work"
        if not (mark.exists() and mark.read_text() == self.digest):
            shutil.rmtree(self.scratch, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        # Half-written files of a killed process: those of `atomic_file` have a dot in front.
        for left in [*self.scratch.iterdir(), *work.glob(".*")]:
            if left not in (mark, work):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        mark.write_text(self.digest)

    def _seal(self, command: str, machine: Mapping[str, Any], started: str) -> None:
        """Write ``step.toml``; from here on the scratch folder is the result."""
        written = {
            file.relative_to(self.scratch).as_posix(): sha256_of(file)
            for file in sorted(self.scratch.rglob("*"))
            if file.is_file() and file.relative_to(self.scratch).parts[0] not in ("work", "digest")
        }
        commit = git_commit()
        facts = {
            "schema": SCHEMA,
            "command": command,
            "renew": renewal_words(self.renew or command),
            "version": version(),
            **({"git_commit": commit} if commit else {}),
            "started": started,
            "finished": _now(),
            **machine,
            "digest": self.digest,
            "table_digest": digest_of(self.table, {}),
            "table": self.table,
            "outcome": self.outcome,
            "reads": self.reads,
            "writes": written,
        }
        write_text(self.scratch / "step.toml", tomli_w.dumps(facts))

    def _publish(self) -> None:
        """Give the sealed scratch folder its name; a kill between any two lines is made good by `_rescue`."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(self._old)
        self.scratch.rename(self.folder)
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        (self.folder / "digest").unlink(missing_ok=True)
        shutil.rmtree(self._old, ignore_errors=True)

    def _rescue(self) -> None:
        """Finish what a kill interrupted while the step was given its name; whoever is at it now is left alone."""
        if not (self.scratch.exists() or self._old.exists()):
            return
        with contextlib.suppress(UserError), _locked(self.scratch):
            self._finish_publishing()

    def _finish_publishing(self) -> None:
        mark = self.scratch / "digest"
        if (self.scratch / "step.toml").exists() and mark.exists() and mark.read_text() == self.digest:
            self._publish()
        elif self._old.exists() and not self.folder.exists():
            self._old.rename(self.folder)

    @property
    def _old(self) -> Path:
        return self.scratch.with_name(self.scratch.name + ".old")


def _fits(key: str, value: object) -> bool:
    """Whether a value of step.toml is of the type that the key has."""
    match key:
        case "table" | "outcome":
            return isinstance(value, dict)
        case "reads" | "writes":
            return isinstance(value, dict) and all(isinstance(checksum, str) for checksum in value.values())
        case "renew":
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case "started" | "finished":
            try:
                return isinstance(value, str) and bool(datetime.fromisoformat(value))
            except ValueError:
                return False
    return isinstance(value, str)


def _last() -> Path | None:
    """The run that was used last."""
    last = Path("runs/.last")
    if not last.is_file():
        return None
    with last.open("rb") as stream:
        content = stream.read(LONGEST_PATH + 1).strip()
    if not content or len(content) > LONGEST_PATH or b"\0" in content or b"\n" in content:
        raise UserError(f"{last} is damaged: it holds no path.", "Name the run with --run DIR.")
    return Path(os.fsdecode(content))


def locate(run: Path | None, dataset: str | None) -> Run:
    """The run a command means: ``--run``, ``$INITPOOLS_RUN``, ``runs/<dataset>``, or the last one used.

    Raises
    ------
    UserError
        Nothing says which run is meant.
    """
    if run is not None:
        return Run(run)
    if os.environ.get("INITPOOLS_RUN"):
        return Run(Path(os.environ["INITPOOLS_RUN"]))
    if dataset is not None:
        return Run(Path("runs") / run_name(dataset))
    last = _last()
    if last is not None:
        return Run(last)
    raise UserError(
        f"There is no run here: {Path('runs').resolve()} has none.",
        "Start one with `initpools pretrain simclr --dataset digits`, or name one with --run DIR.",
    )


def run_name(dataset: str) -> str:
    """The folder name under ``runs/`` for a data set's name or path."""
    path = Path(dataset)
    name = path.resolve().name if path.name in ("", ".", "..") else path.name
    return name.removesuffix(".npz") or "data"


def digest_of(table: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Hex SHA-256 of a resolved table and of the checksums of what is read."""
    text = json.dumps([table, sorted(reads.items())], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of the run.

    Raises
    ------
    UserError
        It was damaged.
    """
    if not path.exists():
        raise UserError(f"{path} is missing.", "Check --run; `initpools status` lists what a run has.")
    try:
        return parse_toml(read_file(path, "of a run").decode())
    except ValueError as error:
        raise UserError(
            f"{path} is damaged: {error}.", f"Remove the folder {path.parent} and make the step again."
        ) from None


def command_line() -> str:
    """The command line of the process as a user would type it."""
    return shlex.join(["initpools", *sys.argv[1:]])


def renewal_words(command: str) -> list[str]:
    """A command line without the run and without what only concerns output, its files by absolute path."""
    words: list[str] = []
    typed = iter(shlex.split(command)[1:])
    for word in typed:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in SILENT:
            continue
        if option in DROPPED:
            if not equals:
                next(typed, None)
            continue
        words += [option, _absolute(value)] if equals else [_absolute(word)]
    return words


#: Options without a value, and with one, that do not change what a step is.
SILENT = {"--force", "--json", "--quiet", "-q", "--verbose", "-v", "--with-labels"}
DROPPED = {"--run", "--dataset", "--output", "-o"}


def _absolute(word: str) -> str:
    path = Path(word)
    return str(path.resolve()) if path.suffix and path.is_file() else word


@contextlib.contextmanager
def _locked(scratch: Path) -> Iterator[None]:
    """One process per step; the lock falls with the process, and its file goes with the work."""
    lock = scratch.with_name(scratch.name + ".lock")
    taken = UserError(
        f"Another initpools process is working on {scratch.parent.name}/{scratch.name}.",
        "Wait for it, or stop it first.",
    )
    with locked(lock, taken):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _relative(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
