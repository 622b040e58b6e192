"""The scratch folder of a step, which becomes the step's folder when its results are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.locks import locked
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.system_errors import disk_errors


@dataclass(frozen=True)
class StepFolder:
    """The folder of a step and its scratch folder.

    The scratch folder holds ``digest`` (which step it belongs to), ``work/`` (checkpoints and other unfinished files,
    which survive an interruption) and the results. With ``step.toml`` written, it is complete.

    Attributes
    ----------
    folder : Path
        The final folder.
    scratch : Path
        Where files are written first.
    digest : str
        Identifies the step's configuration and inputs.
    """

    folder: Path
    scratch: Path
    digest: str

    @property
    def belongs_to_other_step(self) -> bool:
        """Whether another step with the same name was interrupted and left unfinished work."""
        return self._has_work() and self._marker.exists() and self._marker.read_text() != self.digest

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of the step, so that one process at a time works on it."""
        step = f"{self.scratch.parent.name}/{self.scratch.name}"
        return locked(
            self._lock,
            lambda holder: UserError(
                f"Another initpools process{holder} is working on {step}.",
                "Wait until it has finished, or stop it.",
                step,
            ),
        )

    def prepare(self) -> None:
        """Create the scratch folder; keep only the work that an interrupted attempt at the same step left."""
        if not (self._marker.exists() and self._marker.read_text() == self.digest):
            remove_folder(self.scratch)
        self._work.mkdir(parents=True, exist_ok=True)
        # Half-written files of a killed process: `atomic_file` gives them a name that starts with a dot.
        for path in [*self.scratch.iterdir(), *self._work.glob(".*")]:
            if path not in (self._marker, self._work):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._marker.write_text(self.digest)

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of every result in the scratch folder by relative path."""
        return {
            file.relative_to(self.scratch).as_posix(): sha256_of(file)
            for file in sorted(self.scratch.rglob("*"))
            if file.is_file() and file.relative_to(self.scratch).parts[0] not in ("work", "digest")
        }

    def discard_if_empty(self) -> None:
        """Remove the scratch folder of a failed step unless it holds unfinished work."""
        if not self._has_work():
            remove_folder(self.scratch)

    def publish(self) -> None:
        """Rename the complete scratch folder to its final name; `recover` completes an interrupted call."""
        remove_folder(self._work)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        remove_folder(self._previous)
        if self.folder.exists():
            self.folder.rename(self._previous)
        try:
            self.scratch.rename(self.folder)
        except OSError:
            with contextlib.suppress(OSError):
                self._previous.rename(self.folder)
            raise
        self._tidy()

    def recover(self) -> None:
        """Complete a `publish` that was interrupted; does nothing while another process holds the lock."""
        leftovers = (self.scratch, self._previous, self._lock, self.folder / "digest")
        if not any(map(os.path.lexists, leftovers)):
            return
        with contextlib.suppress(UserError), disk_errors(), self.locked():
            complete = (self.scratch / "step.toml").exists() and self._marker.exists()
            if complete and self._marker.read_text() == self.digest:
                self.publish()
            elif self._previous.exists() and not self.folder.exists():
                self._previous.rename(self.folder)
            if (self.folder / "step.toml").exists():
                self._tidy()

    def _tidy(self) -> None:
        """Remove what a published step no longer needs."""
        remove_folder(self.folder / "work")
        (self.folder / "digest").unlink(missing_ok=True)
        remove_folder(self._previous)

    @property
    def _lock(self) -> Path:
        return self.scratch.with_name(self.scratch.name + ".lock")

    @property
    def _marker(self) -> Path:
        return self.scratch / "digest"

    @property
    def _work(self) -> Path:
        return self.scratch / "work"

    @property
    def _previous(self) -> Path:
        return self.scratch.with_name(self.scratch.name + ".old")

    def _has_work(self) -> bool:
        return self._work.is_dir() and any(self._work.iterdir())
