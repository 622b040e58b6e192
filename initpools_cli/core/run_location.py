"""Which folder a command's run is in: ``--run``, an environment variable, the data set's name, or the last run used."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_text

#: The file that holds the path of the run used last.
LAST_RUN = Path("runs/.last")
#: The longest path that `LAST_RUN` may hold, bytes.
LONGEST_PATH = 4096
#: Endings of files that are data sets, which names of runs leave out.
ENDINGS = (".npz", ".npy", ".tar", ".safetensors", ".pt", ".pth", ".parquet", ".csv", ".tsv", ".h5", ".hdf5")
#: The array or column in ``feats.npz:NAME``.
MEMBER = re.compile(rf"(?<=\.)(?P<ending>{'|'.join(ending[1:] for ending in ENDINGS)}):[^/]+(/.*)?$", re.IGNORECASE)


def locate(run: Path | None, dataset: str | None) -> Path:
    """Return the folder of the run that a command means.

    Parameters
    ----------
    run : Path, optional
        The value of ``--run``.
    dataset : str, optional
        The value of ``--dataset``.

    Raises
    ------
    UserError
        No option, no variable, and no run was used before.
    """
    if run is not None:
        return run
    if os.environ.get("INITPOOLS_RUN"):
        return Path(os.environ["INITPOOLS_RUN"])
    if dataset is not None:
        return Path("runs") / run_name(dataset)
    last = read_last_run()
    if last is not None:
        return last
    folder = Path("runs").resolve()
    raise UserError(
        f"There is no run in {folder}.",
        "Start one with `initpools select-pool --dataset FOLDER --budget 20`, or name one with --run DIR.",
        folder,
    )


def run_name(dataset: str) -> str:
    """Return the folder name under ``runs/`` for a data set's name or path."""
    path = Path(MEMBER.sub(r"\g<ending>", dataset))
    # A pattern of embeddings, in the folder that names them.
    path = path.parent if "*" in path.name else path
    name = path.resolve().name if path.name in ("", ".", "..") else path.name
    if "{" in name:
        # A pattern of shards, without what shells expand.
        name = re.sub(r"[{}]", "", name)
    return name.removesuffix(path.suffix) if path.suffix.lower() in ENDINGS else name or "data"


def read_last_run() -> Path | None:
    """Return the folder of the run used last, or None if there is none.

    Raises
    ------
    UserError
        The file does not hold a path.
    """
    if not LAST_RUN.is_file():
        return None
    with LAST_RUN.open("rb") as stream:
        content = stream.read(LONGEST_PATH + 1).strip()
    if not content or len(content) > LONGEST_PATH or b"\0" in content or b"\n" in content:
        raise UserError(f"{LAST_RUN} is damaged: it does not hold a path.", "Name the run with --run DIR.", LAST_RUN)
    return Path(os.fsdecode(content))


def write_last_run(run: Path) -> None:
    """Record the run used last; does nothing where the file can't be written."""
    with contextlib.suppress(UserError):
        write_text(LAST_RUN, _relative(run) + "\n")


def remove_last_run(run: Path) -> None:
    """Remove the record of the run used last if it names this run."""
    with contextlib.suppress(OSError, UserError):
        last = read_last_run()
        if last is not None and last.resolve() == run.resolve():
            LAST_RUN.unlink()


def _relative(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
