"""The downloader against a server of our own that fails in every way a real one does."""

from __future__ import annotations

import hashlib
import http.server
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter

QUIET = Reporter(quiet=True)
CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Server:
    """Serves CONTENT; `cut` bytes at a time, with or without ranges, with a status of choice."""

    def __init__(self, *, cut: int | None = None, ranges: bool = True, status: int = 200, failures: int = 10**9):
        self.cut, self.ranges, self.status, self.failures = cut, ranges, status, failures
        self.asked: list[str | None] = []
        self.url = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        byte_range = handler.headers.get("Range")
        self.asked.append(byte_range)
        if self.status != 200 and len(self.asked) <= self.failures:
            handler.send_error(self.status)
            return
        start = int(byte_range.removeprefix("bytes=").removesuffix("-")) if byte_range and self.ranges else 0
        if start >= len(CONTENT):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("Content-Length", str(len(CONTENT) - start))
        handler.end_headers()
        cut = self.cut if len(self.asked) <= self.failures else None
        handler.wfile.write(CONTENT[start : None if cut is None else start + cut])


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{running.server_port}/data.npz"
        yield server
        running.shutdown()
        thread.join()


def remote(url: str, checksum: str = MD5) -> RemoteFile:
    return RemoteFile((url,), "data.npz", checksum)


def got(server: Server, folder: Path) -> bytes:
    return fetch(remote(server.url), folder, QUIET, wait=0).read_bytes()


def test_a_file_is_fetched_verified_and_named(tmp_path):
    with serving(Server()) as server:
        assert got(server, tmp_path / "new") == CONTENT
        assert server.asked == [None]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["data.npz"]


def test_a_file_with_the_right_checksum_is_not_fetched_again(tmp_path):
    (tmp_path / "data.npz").write_bytes(CONTENT)
    assert fetch(remote("http://127.0.0.1:9/nothing"), tmp_path, QUIET).read_bytes() == CONTENT


def test_sha256_is_told_from_md5_by_its_length(tmp_path):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    with serving(Server()) as server:
        assert fetch(remote(server.url, sha256), tmp_path, QUIET).exists()


def test_a_file_put_there_by_hand_with_the_wrong_content_is_refused_and_kept(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"something else")
    with pytest.raises(UserError, match=f"MD5 {hashlib.md5(b'something else').hexdigest()}, not {MD5}"):
        fetch(remote("http://127.0.0.1:9/nothing"), tmp_path, QUIET)
    assert (tmp_path / "data.npz").read_bytes() == b"something else"


def test_a_cut_off_transfer_goes_on_where_it_stopped(tmp_path):
    with serving(Server(cut=100_000)) as server:
        assert got(server, tmp_path) == CONTENT
        assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_server_without_ranges_is_read_from_the_start(tmp_path):
    with serving(Server(cut=100_000, ranges=False, failures=2)) as server:
        assert got(server, tmp_path) == CONTENT
        assert len(server.asked) == 3


def test_what_is_left_of_a_killed_transfer_is_used(tmp_path):
    (tmp_path / "data.npz.part").write_bytes(CONTENT[:250_000])
    with serving(Server()) as server:
        assert got(server, tmp_path) == CONTENT
        assert server.asked == ["bytes=250000-"]


def test_a_whole_file_that_was_never_named_is_recognized(tmp_path):
    (tmp_path / "data.npz.part").write_bytes(CONTENT)
    with serving(Server()) as server:
        assert got(server, tmp_path) == CONTENT


@pytest.mark.parametrize("content", [b"x" * 1000, b"x" * 400_000])
def test_what_is_left_of_another_file_is_thrown_away(tmp_path, content):
    (tmp_path / "data.npz.part").write_bytes(content)
    with serving(Server()) as server:
        assert got(server, tmp_path) == CONTENT
        assert server.asked == [f"bytes={len(content)}-", None]


def test_a_transfer_that_is_always_cut_off_ends_with_what_to_do_and_keeps_what_came(tmp_path):
    with serving(Server(cut=1000)) as server, pytest.raises(UserError, match="interrupted after 6000 bytes") as caught:
        got(server, tmp_path)
    assert (tmp_path / "data.npz.part").read_bytes() == CONTENT[:6000]
    for fact in (server.url, "data.npz", str(tmp_path), MD5):
        assert fact in str(caught.value)


def test_a_wrong_checksum_leaves_nothing(tmp_path):
    with serving(Server()) as server, pytest.raises(UserError, match=f"wrong MD5 {MD5} and was discarded") as caught:
        fetch(remote(server.url, "0" * 32), tmp_path, QUIET)
    assert "0" * 32 in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_twice(tmp_path):
    with serving(Server(status=404)) as server, pytest.raises(UserError, match="404") as caught:
        got(server, tmp_path)
    assert len(server.asked) == 1
    for fact in (server.url, f"{tmp_path}/data.npz", f"MD5 {MD5}"):
        assert fact in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again(tmp_path):
    with serving(Server(status=503, failures=2)) as server:
        assert got(server, tmp_path) == CONTENT
        assert len(server.asked) == 3


def test_a_mirror_is_tried_where_the_first_address_fails(tmp_path):
    with serving(Server(status=404)) as dead_server, serving(Server()) as server:
        both = RemoteFile((dead_server.url, server.url), "data.npz", MD5)
        assert fetch(both, tmp_path, QUIET).read_bytes() == CONTENT
        assert len(dead_server.asked) == len(server.asked) == 1


def test_a_refused_port_and_an_unknown_host_are_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=rf"http://127.0.0.1:{port}/data.npz \(Connection refused\)"):
        fetch(remote(f"http://127.0.0.1:{port}/data.npz"), tmp_path, QUIET)


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/data.npz"
        with pytest.raises(UserError, match="timed out"):
            fetch(remote(url), tmp_path, QUIET, timeout=0.02, wait=0)


def test_files_are_fetched_from_disks_too_and_other_addresses_are_refused(tmp_path):
    (tmp_path / "source").write_bytes(CONTENT)
    assert fetch(remote((tmp_path / "source").as_uri()), tmp_path / "a", QUIET).read_bytes() == CONTENT
    with pytest.raises(UserError, match="only http, https and file"):
        fetch(remote("ftp://127.0.0.1/data.npz"), tmp_path / "b", QUIET)
    with pytest.raises(UserError, match="No such file"):
        fetch(remote((tmp_path / "nothing").as_uri()), tmp_path / "b", QUIET)


def test_a_full_disk_names_the_folder_and_the_setting_that_moves_it(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(Server()) as server, pytest.raises(UserError, match="no space left") as caught:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            got(server, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in caught.value.fact
    assert "INITPOOLS_DATA" in caught.value.remedy


def test_a_second_process_is_told_to_wait(tmp_path):
    lock, refused = FileLock(tmp_path / "data.npz.part.lock"), pytest.raises(UserError, match="Another initpools")
    with lock, serving(Server()) as server, refused:
        got(server, tmp_path)
    assert server.asked == []


def test_a_download_says_how_large_it_is_and_from_where_it_goes_on(tmp_path, capsys):
    (tmp_path / "data.npz.part").write_bytes(CONTENT[:150_000])
    with serving(Server()) as server:
        fetch(remote(server.url), tmp_path, Reporter(), wait=0)
    assert capsys.readouterr().err == "downloading data.npz, 0.3 MiB, resuming at 0.1 MiB\n"
