"""Fetch a file: resumed where the server allows it, verified, and only then given its name."""

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
from initpools_cli.core.system_errors import disk_error
from initpools_cli.core.version import version
from initpools_cli.datasets.cache import place_errors

#: How often a cut-off transfer is taken up again.
RETRIES = 5
#: Seconds a server may be silent.
TIMEOUT = 30.0
CHUNK = 1 << 16
MIB = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file to fetch.

    Attributes
    ----------
    urls : tuple of str
        http, https or file; the later ones are mirrors.
    name : str
        What the file is called here.
    checksum : str
        Hexadecimal, MD5 (32 digits) or SHA-256 (64 digits).
    """

    urls: tuple[str, ...]
    name: str
    checksum: str

    @property
    def algorithm(self) -> str:
        """As hashlib calls it."""
        return "md5" if len(self.checksum) == 32 else "sha256"


def fetch(remote: Remote, folder: Path, report: Reporter, *, timeout: float = TIMEOUT, wait: float = 1.0) -> Path:
    """The file in `folder`: the one that is there if its checksum is right, else fetched.

    What has arrived of an interrupted transfer stays as ``NAME.part`` and is taken up again.

    Parameters
    ----------
    remote : Remote
        What to fetch.
    folder : Path
        Where to; made if need be.
    report : Reporter
        Where progress goes.
    timeout : float
        Seconds a server may be silent.
    wait : float
        Seconds before the first of the retries; each next one waits twice as long.

    Raises
    ------
    UserError
        Unreachable or missing file, wrong checksum, no space, or another process is fetching it.
    """
    target = folder / remote.name
    if target.exists():
        _refuse_wrong_file(target, remote)
        return target
    part = folder / f"{remote.name}.part"
    reasons = []

    def taken(holder: str) -> UserError:
        return UserError(
            f"Another initpools process{holder} is downloading {target}.",
            "Wait for it, or stop it first.",
            str(target),
        )

    with place_errors(folder), locked(part.with_name(f"{part.name}.lock"), taken):
        for url in remote.urls:
            # It becomes the file itself, which others may read.
            with os.fdopen(open_private(part, 0o666 & ~umask()), "r+b") as stream:
                reason = _fetch_from(url, remote, part, stream, report, timeout, wait)
            if reason is None:
                part.rename(target)
                return target
            reasons.append(f"{url} ({reason})")
        if part.stat().st_size == 0:
            part.unlink()
    raise UserError(
        f"{remote.name} could not be fetched from {' or '.join(reasons)}.", f"Try again, or {_by_hand(remote, target)}."
    )


def _fetch_from(
    url: str, remote: Remote, part: Path, stream: BinaryIO, report: Reporter, timeout: float, wait: float
) -> str | None:
    """Bring `part` to the whole file; the reason if that can't be done."""
    reason = ""
    resumed = stream.seek(0, 2) > 0
    for attempt in range(RETRIES + 1):
        if attempt > 0:
            report.detail(f"{url}: {reason}; taking it up again")
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            whole = _transfer(url, stream, remote.name, report, timeout)
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            error.close()
            if error.code == 416:
                # What is here is not shorter than what is there: it is whole, or of another file.
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
            reason = f"the connection was cut off after {stream.tell()} bytes"
            continue
        stream.flush()
        found = _checksum(part, remote.algorithm)
        if found == remote.checksum:
            return None
        stream.truncate(0)
        if not resumed:
            return f"its file had the wrong {remote.algorithm.upper()} {found} and was removed"
        # The beginning was from an earlier day; the file may have changed since.
        resumed, reason = False, "what was left of an earlier transfer did not fit"
    return reason


def _transfer(url: str, stream: BinaryIO, name: str, report: Reporter, timeout: float) -> bool:
    """Append what is missing; whether all of it came."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise urllib.error.URLError("only http, https and file addresses are fetched")
    start = stream.seek(0, 2)
    headers = {"User-Agent": f"initpools/{version()}"} | ({"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
        if start and not _continues(response, start):
            start = stream.seek(0)
            stream.truncate()
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        report.say(
            f"downloading {name}"
            + (f", {total / MIB:.1f} MiB" if total else "")
            + (f", from {start / MIB:.1f} on" if start else "")
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
    """Whether the answer is the rest of the file from `start` on, and not the whole of it."""
    where = response.headers.get("Content-Range") or ""
    return response.status == 206 and where.replace("bytes", "").strip().startswith(f"{start}-")


def _refuse_wrong_file(target: Path, remote: Remote) -> None:
    found = _checksum(target, remote.algorithm)
    if found != remote.checksum:
        raise UserError(
            f"{target} has the {remote.algorithm.upper()} {found}, not {remote.checksum}.",
            f"Move it away (`mv {target} {target}.wrong`) to have it fetched from {remote.urls[0]}, or put the right "
            "one there.",
        )


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _by_hand(remote: Remote, target: Path) -> str:
    return f"fetch it by hand and save it as {target} ({remote.algorithm.upper()} {remote.checksum})"
