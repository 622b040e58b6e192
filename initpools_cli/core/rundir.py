"""The run directory: its identity, its finished steps, and the writing of new ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.core.checked_toml import DamagedFile, read_checked_toml, write_checked_toml
from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.command_line import renewal_arguments
from initpools_cli.core.cpu import provenance
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, write_bytes
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.run_location import remove_last_run, write_last_run
from initpools_cli.core.step_folder import StepFolder
from initpools_cli.core.step_toml import read_step_toml
from initpools_cli.core.system_errors import disk_errors
from initpools_cli.core.version import git_commit, version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: The kinds of steps, each with a folder of its name, in the usual order of commands.
KINDS = (
    *("pretrain", "embed", "patches", "shards", "score", "dynamics", "reference"),
    *("pool", "card", "compare", "loop", "al", "rank"),
)
#: The kind of the rounds of the labeling loop.
LOOP = "loop"
ITEMS = "data/items.csv"
KEPT = "data/kept.npy"


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
        """Whether the run has a ``run.toml``, and with it a data set.

        Raises
        ------
        DamagedFile
            There are steps but no ``run.toml``: a new data set must not be set for them.
        """
        if (self.path / "run.toml").exists():
            return True
        if self.folders():
            raise self.damaged("run.toml", "is missing")
        return False

    def facts(self) -> dict[str, Any]:
        """Read ``run.toml``.

        Raises
        ------
        UserError
            It is damaged, or a newer version wrote it.
        """
        remedy = f"Run `{self.repair}`: it rebuilds the file from the steps and deletes nothing."
        path = self.path / "run.toml"
        facts = read_checked_toml(path, remedy)
        for key in ("dataset", "run"):
            if not isinstance(facts.get(key), dict):
                raise DamagedFile(f"{path} is damaged: the table [{key}] is missing.", remedy, key)
        return facts

    def create(self, facts: Mapping[str, Any], files: Mapping[str, bytes] | None = None) -> None:
        """Write ``run.toml`` with the data set's identity and the root seed, and the files shared by all steps.

        Parameters
        ----------
        files : mapping of str to bytes, optional
            The content of `ITEMS` and `KEPT`.
        """
        files = files or {}
        for name, content in files.items():
            write_bytes(self.path / name, content)
        write_checked_toml(self.path / "run.toml", {**facts, **({"writes": _sha256(files)} if files else {})})

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Replace the content of `ITEMS` and `KEPT`.

        If the process is killed, each file has either its old or its new content, and both checksums are recorded.
        """
        facts, checksums = self.facts(), _sha256(files)
        write_checked_toml(self.path / "run.toml", {**facts, "replacing": checksums})
        for name, content in files.items():
            write_bytes(self.path / name, content)
        write_checked_toml(self.path / "run.toml", {**_without(facts, "replacing"), "writes": checksums})

    def read(self, file: str) -> bytes:
        """Read `ITEMS` or `KEPT` and verify its checksum; runs of schema 1 have none.

        Raises
        ------
        UserError
            It is missing or damaged.
        """
        try:
            content = (self.path / file).read_bytes()
        except FileNotFoundError:
            raise self.damaged(file, "is missing") from None
        checksums = self.checksums(file)
        if checksums and hashlib.sha256(content).hexdigest() not in checksums:
            raise self.damaged(file)
        return content

    def checksums(self, file: str) -> list[str]:
        """Return the valid checksums of `ITEMS` or `KEPT`: one, or two if a replacement was interrupted."""
        facts = self.facts()
        return [facts[table][file] for table in ("writes", "replacing") if file in facts.get(table, {})]

    def damaged(self, file: str, problem: str = "was changed after it was written") -> DamagedFile:
        """Return the error for a damaged file that does not belong to a step."""
        path = self.path / file
        return DamagedFile(
            f"{path} {problem}.",
            f"Run `{self.repair}`: it rebuilds what it can and deletes nothing. Otherwise restore the file from a "
            "backup.",
            path,
        )

    @property
    def repair(self) -> str:
        """The command that repairs the run."""
        return shlex.join(["initpools", "repair", "--run", str(self.path)])

    def steps(self, kind: str = "") -> list[FinishedStep]:
        """Return the finished steps (of one kind), oldest first.

        Raises
        ------
        UserError
            One of them is damaged; `folders` lists them without reading.
        """
        return sorted(self.folders(kind), key=lambda step: (step.facts["finished"], step.id))

    def folders(self, kind: str = "") -> list[FinishedStep]:
        """Return the steps (of one kind) by name without reading ``step.toml``, damaged ones included."""
        kinds = [kind] if kind else KINDS
        folders = [folder for each in kinds for folder in sorted((self.path / each).glob("*"))]
        return [FinishedStep(self, folder) for folder in folders if _is_step(folder)]

    def find_step(self, step_id: str) -> FinishedStep | None:
        """Return the finished step of an id such as ``embed/simclr``, or None."""
        folder = self.path / step_id
        return FinishedStep(self, folder) if _is_step(folder) else None

    def remove(self) -> None:
        """Remove a run without results, and the record of it as the run used last."""
        remove_folder(self.path / "data")
        remove_folder(self.path / ".partial")
        (self.path / "run.toml").unlink(missing_ok=True)
        remove_last_run(self.path)
        with contextlib.suppress(OSError):
            self.path.rmdir()
            Path("runs").rmdir()

    def mark_as_last(self) -> None:
        """Make this the run of commands without ``--run`` and ``--dataset``, if the folder is writable."""
        write_last_run(self.path)

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
        """Return the pending step for a configuration and its inputs.

        Its folder is ``kind/name``. If that folder has another configuration or other inputs, six hexadecimal digits of
        the step's digest are appended to the name.

        Parameters
        ----------
        kind, name : str
            For example "pool" and "typiclust-b20-s0".
        table : mapping
            The resolved configuration.
        reads : mapping of str to str
            SHA-256 of every input file, by path.
        force : bool
            Run the step even if it is finished.
        also : sequence of str
            Other names of the same step: if it is finished under one of them, that folder is kept.

        Raises
        ------
        UserError
            The name can't be the name of a folder.
        """
        assert kind in KINDS, f"{kind} is not a kind of step"
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise UserError(f"'{name}' can't name a folder in {kind}/.", "Use letters, digits, '-' and '_'.", name)
        digest = digest_of(table, reads)
        plain = PendingStep(self, f"{kind}/{name}", dict(table), dict(reads), digest, force)
        for each in (f"{kind}/{other}{end}" for other in also for end in ("", f"-{digest[:6]}")):
            step = self.find_step(each)
            if step is not None and step.facts["digest"] == digest:
                return replace(plain, id=each)
        return replace(plain, id=f"{kind}/{name}-{digest[:6]}") if plain.occupied else plain


@dataclass(frozen=True)
class FinishedStep:
    """A finished step of a run."""

    run: Run
    folder: Path

    @property
    def id(self) -> str:
        """The kind and the name, for example ``embed/simclr``."""
        return self.folder.relative_to(self.run.path).as_posix()

    @property
    def name(self) -> str:
        """The name without the kind, for example ``simclr``."""
        return self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """The content of ``step.toml``.

        Raises
        ------
        UserError
            It is damaged, or a newer version wrote it.
        """
        remedy = f"Run `{self.run.repair}`: it moves the step aside, so that it can be run again, and deletes nothing."
        return read_step_toml(self.folder / "step.toml", remedy)

    @property
    def missing_file(self) -> str | None:
        """The first of the step's files that no longer exists, or None."""
        return next((name for name in self.facts["writes"] if not (self.folder / name).exists()), None)

    @property
    def table(self) -> dict[str, Any]:
        """The resolved configuration."""
        return dict(self.facts["table"])

    def checksums(self, *files: str) -> dict[str, str]:
        """Return the verified checksums of some files (default: all) by path in the run, as inputs of another step.

        Raises
        ------
        UserError
            One of them is damaged; the remedy is the command that makes it again.
        """
        names = files or sorted(self.facts["writes"])
        return {f"{self.id}/{name}": checksum(self.verified_path(name)) for name in names}

    def stale_input(self) -> str | None:
        """Return the first input that was renewed after this step was run, or None."""
        # A round of labeling records what was known then; later rounds build on it.
        if self.id.startswith("loop/"):
            return None
        for path, before in self.facts["reads"].items():
            if path == ITEMS:
                # An encoder trained before images were appended still applies to them; rows of images do not.
                if not self.id.startswith("pretrain/") and before not in self._items_checksums():
                    return ITEMS
                continue
            # Files outside the run have absolute paths.
            producer = None if Path(path).is_absolute() else self.run.find_step("/".join(path.split("/")[:2]))
            if producer is None:
                continue
            if producer.facts["writes"].get(path.split("/", 2)[2]) != before:
                return path
            if producer.stale_input():
                return producer.stale_input()
        return None

    def _items_checksums(self) -> list[str]:
        """Return the valid checksums of items.csv; readers of that file verify it."""
        items = self.run.path / ITEMS
        return self.run.checksums(ITEMS) or ([checksum(items)] if items.exists() else [])

    def require_fresh(self) -> FinishedStep:
        """Return the step itself if its files exist and its inputs have not changed.

        Raises
        ------
        UserError
            A missing file or a stale input; the remedy is the command that renews the step.
        """
        missing = self.missing_file
        if missing:
            path = f"{self.id}/{missing}"
            raise UserError(f"{path} no longer exists.", f"Make it again with `{self.renewal()}`.", path)
        stale = self.stale_input()
        if stale:
            raise UserError(
                f"{self.id} was made from an earlier version of {stale}.",
                f"Renew it with `{self.renewal()}`.",
                stale,
            )
        return self

    def renewal(self) -> str:
        """Return the command that makes the step again, from any folder."""
        return shlex.join(["initpools", *self.facts["renew"], "--run", str(self.run.path), "--force"])

    def array(self, file: str, *, mapped: bool = False) -> np.ndarray:
        """Read one of its .npy files.

        Raises
        ------
        UserError
            It is damaged; the remedy is the command that makes it again.
        """
        return read_array(self.verified_path(file), "a result", mapped=mapped)

    def frame(self, file: str, **options: Any) -> pd.DataFrame:
        """Read one of its .csv files; `options` go to `pandas.read_csv`.

        Raises
        ------
        UserError
            It is damaged; the remedy is the command that makes it again.
        """
        import pandas as pd

        return pd.read_csv(self.verified_path(file), **options)

    def verified_path(self, file: str) -> Path:
        """Return the path of one of its files after its checksum was verified; all readers use this.

        Raises
        ------
        UserError
            It is missing or damaged; the remedy is the command that makes it again.
        """
        path, remedy = self.folder / file, f"Make it again with `{self.renewal()}`."
        if not path.is_file():
            raise DamagedFile(f"{path} no longer exists.", remedy, path)
        if checksum(path) != self.facts["writes"].get(file):
            raise DamagedFile(f"{path} was changed after it was written.", remedy, path)
        return path

    def require_intact(self) -> FinishedStep:
        """Return the step itself if all its files exist and have their checksums.

        Raises
        ------
        UserError
            One of them is missing or damaged; the remedy is the command that makes it again.
        """
        self.checksums()
        return self


@dataclass
class PendingStep:
    """A step that a command is about to run."""

    run: Run
    id: str
    table: dict[str, Any]
    reads: dict[str, str]
    digest: str
    force: bool
    outcome: dict[str, Any] = field(default_factory=dict)
    #: The command that makes it again, if it differs from the command line because that refers to the newest input.
    renew: str = ""

    @property
    def folder(self) -> Path:
        """The folder of its results."""
        return self._files.folder

    @property
    def scratch(self) -> Path:
        """The folder that files are written to until the step is complete."""
        return self._files.scratch

    @property
    def _files(self) -> StepFolder:
        return StepFolder(self.run.path / self.id, self.run.path / ".partial" / self.id, self.digest)

    @property
    def occupied(self) -> bool:
        """Whether its folder belongs to another configuration or other inputs, finished or interrupted."""
        step = self.run.find_step(self.id)
        if step is not None and step.facts["digest"] == self.digest and not self.force:
            # Finished, whatever an interrupted attempt with another configuration left beside it.
            return False
        if step is not None and step.facts["digest"] != self.digest:
            # With force, a step replaces one that differs only in outdated inputs.
            return not (self.force and step.facts["table_digest"] == digest_of(self.table, {}))
        return self._files.belongs_to_other_step

    @property
    def finished(self) -> FinishedStep | None:
        """The same step if it is finished, has all its files, and is not forced; else None.

        Raises
        ------
        UserError
            One of its files is damaged; the remedy is the command that makes it again.
        """
        self._files.recover()
        step = self.run.find_step(self.id)
        if step is None or self.force or step.facts["digest"] != self.digest or step.missing_file:
            return None
        return step.require_intact()

    @contextlib.contextmanager
    def writing(self, command: str, machine: Mapping[str, Any]) -> Iterator[Path]:
        """Open a scratch folder that becomes the step's folder if the block succeeds.

        Its sub-folder ``work/`` is for unfinished files (checkpoints, blocks of a sweep). They survive an interruption,
        are there when the same step is started again, and are not part of the result.

        Parameters
        ----------
        command : str
            The command line, for ``step.toml``.
        machine : mapping
            Device, threads and precision, for ``step.toml``; the processor and the versions of libraries are added.
        """
        start = _now()
        identity = _without(self.run.facts(), "schema") if self.run.exists else {}
        files = self._files
        with disk_errors(fallback=self.run.path), files.locked():
            try:
                files.prepare()
                yield files.scratch
                refuse_changed(self.run.path, {path: sha256 for path, sha256 in self.reads.items() if path != ITEMS})
                self._write_step_toml(command, machine, start, identity)
            except BaseException:
                files.discard_if_empty()
                raise
            files.publish()

    def _write_step_toml(
        self, command: str, machine: Mapping[str, Any], start: str, identity: Mapping[str, Any]
    ) -> None:
        """Write ``step.toml``, which makes the scratch folder complete."""
        commit = git_commit()
        facts = {
            "command": command,
            "renew": renewal_arguments(self.renew or command),
            "version": version(),
            **({"git_commit": commit} if commit else {}),
            "started": start,
            "finished": _now(),
            **provenance(),
            **machine,
            "digest": self.digest,
            "table_digest": digest_of(self.table, {}),
            "table": self.table,
            "outcome": self.outcome,
            "reads": self.reads,
            "writes": self._files.checksums(),
            # `initpools repair` rebuilds run.toml from this.
            **({"identity": identity} if identity else {}),
        }
        write_checked_toml(self.scratch / "step.toml", facts)


def digest_of(table: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Return the SHA-256 (hex) of a resolved table and the checksums of the inputs."""
    text = json.dumps([table, sorted(reads.items())], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_step(folder: Path) -> bool:
    """Whether a folder is a step; one with files but without ``step.toml`` is a damaged step."""
    return folder.is_dir() and not folder.name.startswith(".") and any(folder.iterdir())


def _sha256(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _without(facts: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in keys}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
