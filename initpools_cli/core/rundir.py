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

from initpools_cli.core.checked_toml import DamagedFile, read_checked_toml, write_checked_toml
from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import disk_errors, read_array, sha256_of, write_bytes, write_text
from initpools_cli.core.locks import locked
from initpools_cli.core.version import git_commit, version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: What every step.toml says.
FACTS = {"command", "renew", "finished", "started", "digest", "table_digest", "table", "outcome", "reads", "writes"}
#: The kinds of steps, each with a folder of its name, in the order of the work.
KINDS = (
    *("pretrain", "embed", "patches", "score", "dynamics", "reference"),
    *("pool", "card", "compare", "loop", "al", "rank"),
)
#: The kind of the rounds of the labeling loop.
LOOP = "loop"
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
        """Whether a data set has been fixed here.

        Raises
        ------
        DamagedFile
            There are steps without ``run.toml``: another data set must not be fixed for them.
        """
        if (self.path / "run.toml").exists():
            return True
        if self.folders():
            raise self.damaged("run.toml", "is missing")
        return False

    def facts(self) -> dict[str, Any]:
        """What ``run.toml`` says.

        Raises
        ------
        UserError
            It is damaged, or a newer version wrote it.
        """
        again = f"`{self.repair}` makes it again from the steps and deletes nothing."
        facts = read_checked_toml(self.path / "run.toml", again)
        if not isinstance(facts.get("dataset"), dict) or not isinstance(facts.get("run"), dict):
            raise DamagedFile(
                f"{self.path / 'run.toml'} is damaged: it does not say which data set the run is about.", again
            )
        return facts

    def create(self, facts: Mapping[str, Any], files: Mapping[str, bytes] | None = None) -> None:
        """Fix the data set's identity, the root seed, and the files that hold for all steps.

        Parameters
        ----------
        files : mapping of str to bytes, optional
            The content of `ITEMS` and `KEPT`.
        """
        files = files or {}
        for name, content in files.items():
            write_bytes(self.path / name, content)
        write_checked_toml(self.path / "run.toml", {**facts, **({"writes": _sums(files)} if files else {})})

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Put other content in place of that of `ITEMS` and `KEPT`.

        Killed between any two lines, the run has each file as it was or as it will be, and either is known.
        """
        facts, sums = self.facts(), _sums(files)
        write_checked_toml(self.path / "run.toml", {**facts, "replacing": sums})
        for name, content in files.items():
            write_bytes(self.path / name, content)
        write_checked_toml(self.path / "run.toml", {**_without(facts, "replacing"), "writes": sums})

    def read(self, file: str) -> bytes:
        """The content of `ITEMS` or `KEPT`, as it was written; runs of schema 1 don't know their checksums.

        Raises
        ------
        UserError
            It is missing or damaged.
        """
        try:
            content = (self.path / file).read_bytes()
        except FileNotFoundError:
            raise self.damaged(file, "is missing") from None
        known = self.sums(file)
        if known and hashlib.sha256(content).hexdigest() not in known:
            raise self.damaged(file)
        return content

    def sums(self, file: str) -> list[str]:
        """The checksums that `ITEMS` or `KEPT` may have: one, or two where its replacement was interrupted."""
        facts = self.facts()
        return [facts[table][file] for table in ("writes", "replacing") if file in facts.get(table, {})]

    def damaged(self, file: str, how: str = "is not as it was made") -> DamagedFile:
        """The error for a file that no step makes."""
        return DamagedFile(
            f"{self.path / file} {how}.",
            f"`{self.repair}` makes it again where it can and deletes nothing; else put it back from a copy.",
        )

    @property
    def repair(self) -> str:
        """The command that makes what no step makes again."""
        return shlex.join(["initpools", "repair", "--run", str(self.path)])

    def steps(self, kind: str = "") -> list[FinishedStep]:
        """The finished steps (of one kind), oldest first.

        Raises
        ------
        UserError
            One of them is damaged; `folders` lists them without reading.
        """
        return sorted(self.folders(kind), key=lambda step: (step.facts["finished"], step.id))

    def folders(self, kind: str = "") -> list[FinishedStep]:
        """The finished steps (of one kind) by name, damaged ones and those that lost ``step.toml`` among them."""
        found = [folder for each in ([kind] if kind else KINDS) for folder in sorted((self.path / each).glob("*"))]
        return [FinishedStep(self, folder) for folder in found if _is_step(folder)]

    def done(self, step_id: str) -> FinishedStep | None:
        """The finished step of that id, such as ``embed/simclr``."""
        folder = self.path / step_id
        return FinishedStep(self, folder) if _is_step(folder) else None

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
    ) -> PendingStep:
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
        assert kind in KINDS, f"{kind} is no kind of step"
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise UserError(f"'{name}' can't name a folder of {kind}/.", "Use letters, digits, '-' and '_'.")
        digest = digest_of(table, reads)
        plain = PendingStep(self, f"{kind}/{name}", dict(table), dict(reads), digest, force)
        for each in (f"{kind}/{other}{end}" for other in also for end in ("", f"-{digest[:6]}")):
            done = self.done(each)
            if done is not None and done.facts["digest"] == digest:
                return replace(plain, id=each)
        return replace(plain, id=f"{kind}/{name}-{digest[:6]}") if plain.taken else plain


@dataclass(frozen=True)
class FinishedStep:
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
        again = f"`{self.run.repair}` moves the step aside, so that it can be made again, and deletes nothing."
        facts = read_checked_toml(self.folder / "step.toml", again)
        wrong = next((key for key in sorted(FACTS) if key not in facts or not _fits(key, facts[key])), None)
        if wrong:
            what = f"{wrong} = {facts[wrong]!r:.60}" if wrong in facts else f"it does not say {wrong}"
            raise DamagedFile(
                f"{self.folder / 'step.toml'} is damaged: {what}.",
                again,
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
        # A round of labeling is a record of what was known then, which later rounds build on.
        if self.id.startswith("loop/"):
            return None
        for path, before in self.facts["reads"].items():
            if path == ITEMS:
                # An encoder trained before images were appended still applies to them; rows of images do not.
                if not self.id.startswith("pretrain/") and before not in self._items():
                    return ITEMS
                continue
            # Files from elsewhere are stored by their absolute paths.
            producer = None if Path(path).is_absolute() else self.run.done("/".join(path.split("/")[:2]))
            if producer is None:
                continue
            if producer.facts["writes"].get(path.split("/", 2)[2]) != before:
                return path
            if producer.stale_input():
                return producer.stale_input()
        return None

    def _items(self) -> list[str]:
        """The checksums of items.csv; whether it is damaged is for those to say who read it."""
        items = self.run.path / ITEMS
        return self.run.sums(ITEMS) or ([checksum(items)] if items.exists() else [])

    def require_fresh(self) -> FinishedStep:
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
            raise DamagedFile(f"{path} is no longer there.", again)
        if checksum(path) != self.facts["writes"].get(file):
            raise DamagedFile(f"{path} is not as it was made.", again)
        return path

    def whole(self) -> FinishedStep:
        """The step itself, if all its files are there and as they were written.

        Raises
        ------
        UserError
            One of them is lost or damaged; with the command that makes it again.
        """
        self.reads()
        return self


@dataclass
class PendingStep:
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
    def finished(self) -> FinishedStep | None:
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
        identity = _without(self.run.facts(), "schema") if self.run.exists else {}
        with disk_errors(fallback=self.run.path), _locked(self.scratch):
            try:
                self._prepare()
                yield self.scratch
                refuse_changed(self.run.path, {path: sum_ for path, sum_ in self.reads.items() if path != ITEMS})
                self._seal(command, machine, started, identity)
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

    def _seal(self, command: str, machine: Mapping[str, Any], started: str, identity: Mapping[str, Any]) -> None:
        """Write ``step.toml``; from here on the scratch folder is the result."""
        written = {
            file.relative_to(self.scratch).as_posix(): sha256_of(file)
            for file in sorted(self.scratch.rglob("*"))
            if file.is_file() and file.relative_to(self.scratch).parts[0] not in ("work", "digest")
        }
        commit = git_commit()
        facts = {
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
            # From which `initpools repair` makes run.toml again.
            **({"identity": identity} if identity else {}),
        }
        write_checked_toml(self.scratch / "step.toml", facts)

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
        with contextlib.suppress(UserError), disk_errors(), _locked(self.scratch):
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


def _is_step(folder: Path) -> bool:
    """Whether there is a step; a folder with files and without ``step.toml`` has lost it."""
    return folder.is_dir() and not folder.name.startswith(".") and any(folder.iterdir())


def _sums(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _without(facts: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in keys}


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


def _locked(scratch: Path) -> contextlib.AbstractContextManager[None]:
    """The lock of a step: one process at a time works on it."""
    step = f"{scratch.parent.name}/{scratch.name}"
    return locked(
        scratch.with_name(scratch.name + ".lock"),
        lambda holder: UserError(
            f"Another initpools process{holder} is working on {step}.", "Wait for it, or stop it first.", step
        ),
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _relative(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
