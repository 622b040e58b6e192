"""Download of files, with resuming, retries and checksum verification."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import umask
from initpools_cli.core.locks import locked, open_private
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import disk_error, place_errors
from initpools_cli.core.version import version

#: Number of retries after an interrupted transfer.
RETRIES = 5
#: Seconds without data before a transfer counts as interrupted.
TIMEOUT = 30.0
CHUNK = 1 << 16
MIB = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes
    ----------
    urls : tuple of str
        http, https or file; the later ones are mirrors.
    name : str
        The local file name.
    checksum : str
        Hexadecimal: MD5 (32 digits), SHA-256 (64 digits), or the beginning of SHA-256. Empty: only the length that the
        server tells is checked.
    variable : str
        The environment variable that names another folder.
    """

    urls: tuple[str, ...]
    name: str
    checksum: str
    variable: str = "INITPOOLS_DATA"

    @property
    def algorithm(self) -> str:
        """The checksum's algorithm, as a name of hashlib."""
        return "md5" if len(self.checksum) == 32 else "sha256"


def fetch(remote: RemoteFile, folder: Path, report: Reporter, *, timeout: float = TIMEOUT, wait: float = 1.0) -> Path:
    """Download a file unless it exists with the right checksum, and return its path.

    The beginning of an interrupted transfer is kept as ``NAME.part`` and resumed.

    Parameters
    ----------
    remote : RemoteFile
        What to download.
    folder : Path
        The target folder; created if it does not exist.
    report : Reporter
        Where progress goes.
    timeout : float
        Seconds without data before a transfer counts as interrupted.
    wait : float
        Seconds before the first retry; doubled for each following one.

    Raises
    ------
    UserError
        The file can't be reached, has a wrong checksum or does not fit on the disk, or another process downloads it.
    """
    target = folder / remote.name
    if target.exists():
        _refuse_wrong_file(target, remote)
        return target
    part = folder / f"{remote.name}.part"
    reasons = []

    def busy_error(holder: str) -> UserError:
        return UserError(
            f"Another initpools process{holder} is downloading {target}.",
            "Wait for it, or stop it first.",
            str(target),
        )

    with place_errors(folder, remote.variable), locked(part.with_name(f"{part.name}.lock"), busy_error):
        for url in remote.urls:
            # Readable by others, since it is renamed to the file.
            with os.fdopen(open_private(part, 0o666 & ~umask()), "r+b") as stream:
                reason = _fetch_from(url, remote, part, stream, report, timeout, wait)
            if reason is None:
                part.rename(target)
                return target
            reasons.append(f"{url} ({reason})")
        if part.stat().st_size == 0:
            part.unlink()
    raise UserError(
        f"{remote.name} could not be downloaded from {' or '.join(reasons)}.",
        f"Try again, or {_by_hand(remote, target)}.",
        remote.name,
    )


def _fetch_from(
    url: str, remote: RemoteFile, part: Path, stream: BinaryIO, report: Reporter, timeout: float, wait: float
) -> str | None:
    """Download or resume `part` from one address; return the reason if it fails, else None."""
    reason = ""
    resumed = stream.seek(0, 2) > 0
    for attempt in range(RETRIES + 1):
        if attempt > 0:
            report.detail(f"{url}: {reason}; retrying")
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            whole = _transfer(url, stream, remote.name, report, timeout)
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            error.close()
            if error.code == 416:
                # The local part is not shorter than the file: it is complete, or of another file.
                whole = True
            elif error.code < 500 and error.code != 429:
                return reason
            else:
                continue
        except urllib.error.URLError as error:
            return str(getattr(error.reason, "strerror", None) or error.reason)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and disk_error(error):
                raise
            reason = str(error) or type(error).__name__
            continue
        if not whole:
            reason = f"the connection was interrupted after {stream.tell()} bytes"
            continue
        stream.flush()
        actual = _checksum(part, remote.algorithm)
        if actual.startswith(remote.checksum):
            return None
        stream.truncate(0)
        if not resumed:
            return f"its file had the wrong {remote.algorithm.upper()} {actual} and was discarded"
        # The file may have changed since the earlier transfer.
        resumed, reason = False, "the rest of an earlier transfer did not match"
    return reason


def _transfer(url: str, stream: BinaryIO, name: str, report: Reporter, timeout: float) -> bool:
    """Append the missing bytes; return whether the file is complete."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise urllib.error.URLError("only http, https and file addresses are supported")
    start = stream.seek(0, 2)
    headers = {"User-Agent": f"initpools/{version()}"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:  # the scheme is checked above  # nosec B310
        if start and not _continues(response, start):
            start = stream.seek(0)
            stream.truncate()
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        report.say(
            f"downloading {name}"
            + (f", {total / MIB:.1f} MiB" if total else "")
            + (f", resuming at {start / MIB:.1f} MiB" if start else "")
        )
        have = start
        with report.progress(f"downloading {name}", -(-(total or 0) // MIB), "MiB") as bar:
            bar.skip(start // MIB)
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                bar.advance((have + len(chunk)) // MIB - have // MIB)
                have += len(chunk)
        return total is None or have >= total


def _continues(response: Any, start: int) -> bool:
    """Whether a response is the rest of the file from byte `start`, not the whole file."""
    where = response.headers.get("Content-Range") or ""
    return response.status == 206 and where.replace("bytes", "").strip().startswith(f"{start}-")


def _refuse_wrong_file(target: Path, remote: RemoteFile) -> None:
    actual = _checksum(target, remote.algorithm)
    if not actual.startswith(remote.checksum):
        raise UserError(
            f"{target} has the {remote.algorithm.upper()} {actual}, not {remote.checksum}.",
            f"Move it away (`mv {target} {target}.wrong`) to download it again from {remote.urls[0]}, or replace it "
            "with the right file.",
            actual,
        )


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _by_hand(remote: RemoteFile, target: Path) -> str:
    checksum = f" ({remote.algorithm.upper()} {remote.checksum})" if remote.checksum else ""
    return f"download it yourself and save it as {target}{checksum}"
