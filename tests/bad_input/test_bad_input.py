"""Bad input, as tables: each row ends in two lines, what is wrong with the value in it and what to type."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bad_arrays import IMAGES, LABELS, POINTS, array_rows, dataset_rows, embedding_rows, weight_rows
from bad_requests import REQUESTS, TOKEN, Request
from bad_rows import Row, Shut
from bad_settings import rows as setting_rows
from bad_tables import export_rows, file_rows, table_rows
from conftest import Initpools, Outcome, run_in
from permissions import hold, respected
from readers import READERS
from user_errors import refused

from initpools_cli.core.errors import UserError

ROWS = [
    *setting_rows(),
    *array_rows(),
    *embedding_rows(),
    *dataset_rows(),
    *weight_rows(),
    *table_rows(),
    *export_rows(),
    *file_rows(),
]
#: What a row may take: seconds of the processor, and bytes of addresses beyond what the process has.
SECONDS, BYTES = 10.0, 1 << 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 images with embeddings. No row may write to it."""
    folder = tmp_path_factory.mktemp("bad")
    np.savez(folder / "images.npz", train_images=IMAGES, train_labels=LABELS)
    run_in(folder, ["embed", "pixels", "--dataset", "images.npz"])
    return folder / "runs/images"


@contextmanager
def limited() -> Iterator[None]:
    """Limit the addresses of this process, so that a large allocation fails at once."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def state_of(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(file), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file())


def ended(row: Row, run: Path, initpools: Initpools) -> Outcome:
    words = row.words.split() if isinstance(row.words, str) else row.words
    return initpools(*(word.replace("{run}", str(run)) for word in words))


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(ROWS) + len(REQUESTS) >= 400 and len(set(names)) == len(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.encode("ascii", "replace").decode()[:80])
def test_bad_input(row: Row, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("e.npy", POINTS)
    for name, content in row.files.items():
        if isinstance(content, bytes):
            Path(name).write_bytes(content)
        else:
            content(Path(name))
    before, started = state_of(run), time.process_time()
    with limited(), respected():
        if any(isinstance(each, Shut) for each in row.files.values()) and not hold(tmp_path):
            pytest.skip("this user may read every file")
        found = ended(row, run, initpools)
    assert time.process_time() - started < SECONDS
    if row.code == 0:
        assert found.code == 0, found.err
    else:
        refused(found, *row.message)
        assert "not enough memory" not in found.err, found.err
    assert state_of(run) == before and not Path("it-ran").exists()
    shutil.rmtree(tmp_path, ignore_errors=True)


# ---- inputs that fuzzing found, and files that are read


CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_only_user_errors_come_out_of_readers(file: Path) -> None:
    with limited(), contextlib.suppress(UserError, UnicodeEncodeError):
        READERS[file.parent.name].read(file)


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_fuzzing_starts_from_are_read(name: str, tmp_path: Path) -> None:
    for content in READERS[name].good:
        file = tmp_path / f"x{READERS[name].ending}"
        (tmp_path / "x.png").write_bytes(b"")
        file.write_bytes(content)
        READERS[name].read(file)


# ---- the labeling page


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address of the labeling page of a copy of the run."""
    from initpools_cli.cli.labeler.server import Server
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.cli.options import Common
    from initpools_cli.labeling.page import open_labeling

    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(run, folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_in(folder, ["select-pool", "kcenter", "--budget", "4", "--run", "run"])
        context = Common(run=folder / "run", quiet=True).start("dataset")
        labeling = open_labeling(context, None, [], None)
        with Server(LabelingState(labeling, {}, None, context.run), TOKEN, 0) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield server.server_address[0], server.server_port
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.name.encode("ascii", "replace").decode()[:80])
def test_bad_requests(request_: Request, page: tuple[str, int], capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(page, timeout=SECONDS) as connection:
        connection.sendall(request_.content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionResetError:
            # The server does not read what is too long.
            pass
    # A line that is no request gets a page without a status line.
    found = re.search(rb"^HTTP/1\.[01] (\d+)|Error code: (\d+)", answer)
    status = (found[1] or found[2]).decode() if found else ""
    assert status == request_.status or (not answer and request_.status in ("400", "414", "431")), answer[:300]
    assert "Traceback" not in capfd.readouterr().err
