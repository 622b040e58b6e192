"""Fuzzing of every reader with hypothesis; what breaks one is kept in ``corpus`` as a test.

python tests/bad_input/fuzz.py [SECONDS]
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from readers import READERS, Reader

from initpools_cli.core.errors import UserError

CORPUS = Path(__file__).parent / "corpus"
#: Inputs for a reader before the next one has its turn.
EXAMPLES = 200
#: What one input may take: seconds, and bytes of addresses.
LIMIT, BYTES = 10, 2 << 30
#: Texts that mean something to some reader.
WORDS = [
    *(
        b"\0",
        b"\r",
        b"\n",
        b'"',
        b"'",
        b",",
        b";",
        b"|",
        b"\t",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\x1b[",
    ),
    *(b"nan", b"-inf", b"1e400", b"-1", b"9" * 30, b"9" * 5000, b"0x" + b"f" * 6000, b"true", b"null", b"1979-05-27"),
    *(b"[" * 2000, b"{", b"}", b"]", b'{"a":', b"<!DOCTYPE a>", b"&x;", b"<", b">", b"http://[", b"../", b"\\ud800"),
    *(b"'|O'", b"'<U9999999'", b"(9999999999,)", b"(-1,)", b"path", b"index", b"label", b"labels", b"PK\3\4"),
]


class TooLong(Exception):
    """An input takes longer than `LIMIT`."""


def inputs(reader: Reader) -> st.SearchStrategy[bytes]:
    """Files near to good ones, and any bytes."""
    piece = st.one_of(st.binary(max_size=8), st.sampled_from(WORDS), st.text(max_size=8).map(str.encode))
    change = st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), piece)

    def changed(arguments: tuple[bytes, list[tuple[int, int, bytes]]]) -> bytes:
        content, changes = arguments
        for place, length, new in changes:
            start = place % (len(content) + 1)
            content = content[:start] + new + content[start + length :]
        return content

    near = st.tuples(st.sampled_from(reader.good), st.lists(change, min_size=1, max_size=6)).map(changed)
    return st.one_of(near, near, near, st.lists(piece, max_size=30).map(b"".join))


def require_user_error(reader: Reader, path: Path) -> None:
    """Read a file, and let only a UserError pass."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"more than {LIMIT} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    try:
        reader.read(path)
    except UserError:
        return
    except UnicodeEncodeError:
        # The command line says so in two lines.
        return
    finally:
        signal.alarm(0)


def fuzz(reader: Reader, folder: Path, examples: int) -> bytes | None:
    """Return the smallest input found that breaks a reader; None without any."""
    broken: list[bytes] = []

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(inputs(reader))
    def check(content: bytes) -> None:
        path = folder / f"x{reader.ending}"
        path.write_bytes(content)
        try:
            require_user_error(reader, path)
        except Exception:
            broken.append(content)
            raise

    try:
        check()
    except Exception:
        traceback.print_exc(limit=-4)
        return min(broken, key=len) if broken else None
    return None


def main(seconds: float, say: Callable[[str], object] = print) -> int:
    """Fuzz readers in turn for some time; return 1 if one of them breaks."""
    warnings.simplefilter("ignore")
    os.environ["INITPOOLS_DATA"] = tempfile.mkdtemp(prefix="initpools-fuzz-")
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, -1))
    end, left = time.monotonic() + seconds, dict(READERS)
    with tempfile.TemporaryDirectory(prefix="initpools-fuzz-") as folder:
        while left and time.monotonic() < end:
            for name, reader in list(left.items()):
                found = fuzz(reader, Path(folder), EXAMPLES) if time.monotonic() < end else None
                if found is not None:
                    file = CORPUS / name / f"{hashlib.sha256(found).hexdigest()[:12]}{reader.ending}"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(found)
                    say(f"{name}: kept {file.relative_to(CORPUS.parent)}")
                    # The same fault would be found again and again.
                    del left[name]
    broken = READERS.keys() - left.keys()
    say(f"{len(broken)} readers break: {', '.join(sorted(broken))}" if broken else "nothing but UserErrors")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
